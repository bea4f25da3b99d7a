"""How do datasets and their records move between this and other registries?

In this project's own format, Parquet tables with the whole history (`bundle`, `columnar`; the verbs
are in `packing` and `unpacking`), or in those of lsst-daf-butler, which reads and writes them too:
`document` is its YAML, `zips` its archives, `universe` its dimensions, `formats` its names of
formatters; the verbs are in `exporting` and `importing`.  `choosing` has the verbs for all.
"""

from __future__ import annotations

from butler.exchange.choosing import FORMATS, export, import_
from butler.exchange.exporting import Exported
from butler.exchange.importing import Imported

__all__ = ["FORMATS", "Exported", "Imported", "export", "import_"]
