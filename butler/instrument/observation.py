"""What does the registry learn from one raw file (or one dataset of several files)?

`Observation` is what a translation gives; `exposure_records` and `visit_records` make the rows of
the dimension tables out of many of them.  How it is made: `butler.instrument.translation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import ConflictingExposure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from butler.instrument.rules import Origin
    from registry.identity import DataId

__all__ = ["FileGroup", "Observation", "exposure_records", "visit_records"]

_EXPOSURE_COLUMNS = (
    "obs_id",
    "day_obs",
    "physical_filter",
    "observation_type",
    "observation_reason",
    "target_name",
    "science_program",
    "seq_num",
    "exposure_time",
    "dark_time",
    "begin_tai_ns",
    "end_tai_ns",
    "ra",
    "dec",
    "airmass",
    "quality",
)
_MUST_AGREE = ("obs_id", "day_obs", "physical_filter", "observation_type", "begin_tai_ns")


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files that make one dataset.

    Parameters
    ----------
    path : Path
        The file whose header is translated.
    components : mapping of str to Path
        Component to file; empty when the dataset is one file.
    kind : str
        Name of the kind in the definition; empty when no pattern fits (`observe` then says so).
    """

    path: Path
    components: Mapping[str, Path] = field(default_factory=dict)
    kind: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the dataset."""
        return tuple(self.components.values()) or (self.path,)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A file, translated: what it is a dataset of, and what is known of its exposure.

    Times are TAI nanoseconds since 1970-01-01 TAI; coordinates are ICRS degrees; None is "not
    known".

    Parameters
    ----------
    instrument : str
        The instrument's name.
    kind : str
        Name of the kind of file in the definition.
    dataset_type : str
        What it is a dataset of.
    data_id : DataId
        Exactly the dimensions of the dataset type.
    path : Path
        The file whose header was translated.
    components : mapping of str to Path
        Component to file, for datasets of several files.
    size : int
        Of all files together [byte].
    hdu : int
        Number of the header-data unit with the data.
    detector, exposure, visit, day_obs, seq_num : int or None
        Numbers; exposure, visit and day_obs are None for curated calibrations.
    obs_id, physical_filter, band, observation_type, observation_reason, target_name,
    science_program : str or None
        As in the exposure table.
    exposure_time, dark_time : float or None
        Durations [s].
    begin_tai_ns, end_tai_ns : int or None
        Of the exposure.
    ra, dec : float or None
        Pointing [deg].
    airmass : float or None
        At the begin.
    quality : str
        ``good`` or ``rejected``.
    run_suffix : str or None
        Sub-collection of the run that the file enters: ``rejected`` means RUN ``<run>/rejected``.
    keys : mapping
        Values of the data ID keys that the definition declares beyond the dimensions.
    extra : mapping
        Further facts, JSON-ready; the keys are among them.
    region : array of float, shape (n, 2), or None
        Vertices of the footprint, ICRS [deg].
    curated : bool
        Whether it is a calibration made by people, valid over ``validity``.
    validity : tuple of (int or None), or None
        Begin and end of validity [TAI ns] of a curated calibration; None without limit.
    origins : mapping of str to Origin
        Where each value came from.
    unused_cards : tuple of str
        Cards of the header that no rule looked at.
    """

    instrument: str
    kind: str
    dataset_type: str
    data_id: DataId
    path: Path
    components: Mapping[str, Path]
    size: int
    hdu: int
    detector: int | None = None
    exposure: int | None = None
    visit: int | None = None
    obs_id: str | None = None
    day_obs: int | None = None
    physical_filter: str | None = None
    band: str | None = None
    observation_type: str | None = None
    observation_reason: str | None = None
    target_name: str | None = None
    science_program: str | None = None
    seq_num: int | None = None
    exposure_time: float | None = None
    dark_time: float | None = None
    begin_tai_ns: int | None = None
    end_tai_ns: int | None = None
    ra: float | None = None
    dec: float | None = None
    airmass: float | None = None
    quality: str = "good"
    run_suffix: str | None = None
    keys: Mapping[str, str | int] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    region: NDArray[np.float64] | None = None
    curated: bool = False
    validity: tuple[int | None, int | None] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    unused_cards: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the dataset."""
        return tuple(self.components.values()) or (self.path,)

    def exposure_record(self) -> dict[str, Any]:
        """Give the row of the exposure table (a curated calibration has none).

        Raises
        ------
        ValueError
            For a curated calibration.
        """
        if self.exposure is None:
            raise ValueError(f"{self.path} is a curated calibration: it belongs to no exposure.")
        record = {"instrument": self.instrument, "id": self.exposure}
        record |= {column: getattr(self, column) for column in _EXPOSURE_COLUMNS}
        record["extra"] = dict(self.extra) or None
        return record

    def visit_record(self) -> dict[str, Any]:
        """Give the row of the visit table that this exposure makes alone.

        Raises
        ------
        ValueError
            For a curated calibration.
        """
        exposure = self.exposure_record()
        columns = (
            "day_obs",
            "physical_filter",
            "target_name",
            "exposure_time",
            "begin_tai_ns",
            "end_tai_ns",
        )
        record = {"instrument": self.instrument, "id": self.visit, "name": self.obs_id}
        return record | {column: exposure[column] for column in (*columns, "ra", "dec")}


def exposure_records(observations: Iterable[Observation]) -> list[dict[str, Any]]:
    """Make one row of the exposure table per exposure, from the files of its detectors and copies.

    The first file of an exposure gives its facts, an accepted one before a rejected one; a missing
    fact is taken from the next file that has it.  The exposure is rejected when any of its files
    is.

    Raises
    ------
    ConflictingExposure
        If two files disagree on what the exposure was; names both and the fact.
    """
    groups: dict[tuple[str, int], list[Observation]] = {}
    for observation in observations:
        if observation.exposure is not None:
            groups.setdefault((observation.instrument, observation.exposure), []).append(
                observation
            )
    return [_merged(sorted(group, key=lambda o: o.quality != "good")) for group in groups.values()]


def _merged(group: list[Observation]) -> dict[str, Any]:
    record = group[0].exposure_record()
    for other in group[1:]:
        row = other.exposure_record()
        for column in _MUST_AGREE:
            if row[column] != record[column]:
                raise ConflictingExposure(
                    f"Exposure {record['id']} of {record['instrument']} has {column} "
                    f"{record[column]!r} in "
                    f"{group[0].path} and {row[column]!r} in {other.path}. Make the rule of "
                    "`exposure` in the "
                    "instrument definition give them different numbers, or leave one file out."
                )
        for column, value in row.items():
            if record[column] is None:
                record[column] = value
        if row["quality"] == "rejected":
            record["quality"] = "rejected"
    return record


def visit_records(observations: Iterable[Observation]) -> list[dict[str, Any]]:
    """Make one row of the visit table per visit: its exposures from first to last, times summed."""
    visits: dict[tuple[str, int], dict[int, Observation]] = {}
    for observation in observations:
        if observation.visit is not None and observation.exposure is not None:
            exposures = visits.setdefault((observation.instrument, observation.visit), {})
            exposures.setdefault(observation.exposure, observation)
    records = []
    for exposures in visits.values():
        members = sorted(exposures.values(), key=lambda o: (o.begin_tai_ns or 0, o.exposure or 0))
        record = members[0].visit_record()
        times = [o.exposure_time for o in members if o.exposure_time is not None]
        record["exposure_time"] = sum(times) if times else None
        record["end_tai_ns"] = max(o.end_tai_ns or 0 for o in members)
        records.append(record)
    return records
