"""How do datasets and their records move between this and other registries?

The format is the export of lsst-daf-butler, which reads and writes it too: `document` is its YAML,
`universe` its dimensions, `formats` its names of formatters; `importing` and `exporting` are the
verbs.
"""

from __future__ import annotations

from butler.exchange.exporting import Exported, export
from butler.exchange.importing import Imported, import_

__all__ = ["Exported", "Imported", "export", "import_"]
