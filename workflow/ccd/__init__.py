"""The sample astronomical tasks: raw CCD frames in, calibrated images and source lists out.

A tour, in the order of a night's data:

- `CombineBiasTask`, `CombineDarkTask`, `CombineFlatTask` (`workflow.ccd.combine`) make the
  calibrations of a night;
- `IsrTask` (`workflow.ccd.isr`) calibrates each exposure: `workflow.ccd.assembly` cuts and joins
  the amplifiers, `workflow.ccd.signature` subtracts and divides, `workflow.ccd.cosmic_rays` looks
  for hits;
- `DetectSourcesTask` and its kin (`workflow.ccd.detection`) find and measure sources above the sky
  of `workflow.ccd.background`;
- `StackTask` (`workflow.ccd.stack`) combines exposures that lie on the same pixels, `CoaddTask`
  (`workflow.ccd.coadd`) those that do not, by way of `workflow.ccd.grid` and `workflow.ccd.warp`.

Every image has a variance and a mask whose bits are named planes (`workflow.ccd.planes`). The
algorithms are plain functions on arrays; the tasks add configuration, metrics and provenance.
"""

from __future__ import annotations

from workflow.ccd.background import BackgroundConfig, BackgroundTask
from workflow.ccd.coadd import CoaddConfig, CoaddTask
from workflow.ccd.combine import (
    CombineBiasConfig,
    CombineBiasTask,
    CombineDarkConfig,
    CombineDarkTask,
    CombineFlatConfig,
    CombineFlatTask,
)
from workflow.ccd.detection import (
    DetectCoaddSourcesTask,
    DetectSourcesConfig,
    DetectSourcesTask,
    DetectStackSourcesTask,
)
from workflow.ccd.errors import CcdError
from workflow.ccd.grid import TanGrid
from workflow.ccd.isr import IsrConfig, IsrTask
from workflow.ccd.planes import BAD_PLANES, PLANES, bad_pixels, bit
from workflow.ccd.stack import StackConfig, StackTask

__all__ = [
    "BAD_PLANES",
    "PLANES",
    "BackgroundConfig",
    "BackgroundTask",
    "CcdError",
    "CoaddConfig",
    "CoaddTask",
    "CombineBiasConfig",
    "CombineBiasTask",
    "CombineDarkConfig",
    "CombineDarkTask",
    "CombineFlatConfig",
    "CombineFlatTask",
    "DetectCoaddSourcesTask",
    "DetectSourcesConfig",
    "DetectSourcesTask",
    "DetectStackSourcesTask",
    "IsrConfig",
    "IsrTask",
    "StackConfig",
    "StackTask",
    "TanGrid",
    "bad_pixels",
    "bit",
]
