"""A small observatory: one camera, two nights, four exposures and three dataset types."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from registry import DatasetType

if TYPE_CHECKING:
    from registry import Registry

DAY_NS = 86_400_000_000_000
SECOND_NS = 1_000_000_000

RAW = DatasetType("raw", ("instrument", "detector", "exposure"), "Exposure")
BIAS = DatasetType("bias", ("instrument", "detector", "day_obs"), "Exposure", is_calibration=True)
CATALOG = DatasetType("catalog", ("instrument", "target"), "Table")


def noon(day_obs: int) -> int:
    """Begin of a night [TAI ns], for a site at Greenwich."""
    day = dt.datetime.strptime(str(day_obs), "%Y%m%d").replace(tzinfo=dt.UTC)
    return int(day.timestamp()) * SECOND_NS + DAY_NS // 2


def exposure(number: int, day_obs: int, kind: str, **more: Any) -> dict[str, Any]:
    """Make an exposure record; the n-th one begins n hours after noon."""
    begin = noon(day_obs) + number * 3600 * SECOND_NS
    return {
        "instrument": "Cam",
        "id": number,
        "obs_id": f"obs{number}",
        "day_obs": day_obs,
        "observation_type": kind,
        "begin_tai_ns": begin,
        "end_tai_ns": begin + 60 * SECOND_NS,
    } | more


def fill(registry: Registry) -> None:
    """Register the camera with its nights and exposures, and the dataset types."""
    registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 2}])
    registry.insert_dimension_records(
        "detector", [{"instrument": "Cam", "id": i, "full_name": f"chip{i}"} for i in (0, 1)]
    )
    registry.insert_dimension_records(
        "physical_filter",
        [
            {"instrument": "Cam", "name": "SDSS g", "band": "g"},
            {"instrument": "Cam", "name": "SDSS r", "band": "r"},
            {"instrument": "Cam", "name": "Ha", "band": None},
        ],
    )
    registry.insert_dimension_records(
        "day_obs",
        [
            {"instrument": "Cam", "id": d, "begin_tai_ns": noon(d), "end_tai_ns": noon(d) + DAY_NS}
            for d in (20220920, 20220921)
        ],
    )
    registry.insert_dimension_records(
        "exposure",
        [
            exposure(1, 20220920, "bias"),
            exposure(2, 20220920, "flat", physical_filter="SDSS g", exposure_time=2.0),
            exposure(
                3,
                20220920,
                "science",
                physical_filter="SDSS g",
                target_name="M31",
                exposure_time=60.0,
            ),
            exposure(
                4,
                20220921,
                "science",
                physical_filter="SDSS r",
                target_name="M33",
                exposure_time=120.0,
                quality="rejected",
            ),
        ],
    )
    for kind in (RAW, BIAS, CATALOG):
        registry.register_dataset_type(kind)


def raw_id(number: int, detector: int = 0) -> dict[str, Any]:
    """Make the data ID of a raw frame."""
    return {"instrument": "Cam", "detector": detector, "exposure": number}


def bias_id(day_obs: int, detector: int = 0) -> dict[str, Any]:
    """Make the data ID of a combined bias."""
    return {"instrument": "Cam", "detector": detector, "day_obs": day_obs}
