"""Cameras as YAML: raw files become key/value pairs, datasets and paths, with no Python per camera.

A camera engineer writes an *instrument definition*; `InstrumentDefinition` reads it.  Its
`observe` translates a file into an `Observation` (exposure, detector, filter, night, footprint,
with where each value came from), `group` sorts files into datasets, `expand` completes partial
data IDs, `path` makes paths.  `load_shipped` has the cameras that come with skyspine.  Which keys
a definition may have: `schema.reference`.  What can go wrong: `errors`.

No database is touched here: the Butler registers what these objects give.

>>> from butler.instrument import load_shipped
>>> camera = load_shipped("ohp-t152")
>>> camera.expand({"exposure": 20220921020539})["day_obs"]
20220920
"""

from __future__ import annotations

from butler.instrument.definition import InstrumentDefinition
from butler.instrument.observation import FileGroup, Observation, exposure_records, visit_records
from butler.instrument.parts import DatasetTypeSpec, Detector, PhysicalFilter, Site
from butler.instrument.rules import Origin
from butler.instrument.shipped import load_shipped, shipped, shipped_file
from butler.instrument.templates import DEFAULT_TEMPLATE, PathTemplate

__all__ = [
    "DEFAULT_TEMPLATE",
    "DatasetTypeSpec",
    "Detector",
    "FileGroup",
    "InstrumentDefinition",
    "Observation",
    "Origin",
    "PathTemplate",
    "PhysicalFilter",
    "Site",
    "exposure_records",
    "load_shipped",
    "shipped",
    "shipped_file",
    "visit_records",
]
