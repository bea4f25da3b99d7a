"""What is an instrument definition made of, once its text has been understood?

Frozen values, built and checked by `butler.instrument.build`, used by the translation of files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from butler.instrument.footprint import PixelFrame
from butler.instrument.times import DAY_NS
from registry.identity import DatasetType

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence

    from butler.instrument.expressions import Expression
    from butler.instrument.rules import Rules

__all__ = [
    "AUTOMATIC",
    "RECORD_FIELDS",
    "AuxiliarySpec",
    "Check",
    "Components",
    "DatasetTypeSpec",
    "Detector",
    "FileKind",
    "PhysicalFilter",
    "Site",
]

RECORD_FIELDS = {
    "obs_id": ("exposure",),
    "seq_num": ("exposure",),
    "target_name": ("exposure", "visit"),
    "observation_type": ("exposure",),
    "observation_reason": ("exposure",),
    "science_program": ("exposure",),
    "quality": ("exposure",),
    "full_name": ("detector",),
    "raft": ("detector",),
    "purpose": ("detector",),
}
"""Fields of records that stand for their keys in data IDs, and of which dimensions."""

AUTOMATIC = ("instrument", "file", "stem", "folder")
"""Names that stand for something without a rule: the instrument, and parts of the file's path."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the telescope stands.

    Parameters
    ----------
    name : str
        The observatory; may be empty.
    longitude, latitude : float or None
        Positive east and north [deg].
    elevation : float or None
        Above the sea [m].
    noon_ns : int
        From 0h UTC of a date to the noon at which the night of that date begins [ns].
    """

    name: str
    longitude: float | None
    latitude: float | None
    elevation: float | None
    noon_ns: int

    @staticmethod
    def noon(longitude: float | None, noon_utc: str | None) -> int:
        """Work out the noon: as written (hh:mm UTC), or local mean noon of the longitude."""
        if noon_utc is not None:
            hours, minutes = noon_utc.split(":")
            return (int(hours) * 3600 + int(minutes) * 60) * 1_000_000_000
        east = (float(longitude or 0.0) + 180) % 360 - 180
        return DAY_NS // 2 - round(east / 360 * DAY_NS)


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector of the camera; rows and columns in pixels of a raw frame."""

    number: int
    name: str
    aliases: tuple[str, ...] = ()
    purpose: str = "science"
    raft: str | None = None
    nrows: int | None = None
    ncols: int | None = None


@dataclass(frozen=True, slots=True)
class PhysicalFilter:
    """A filter of the camera: its common band (none: it passes no light) and its passband [m]."""

    name: str
    band: str | None = None
    aliases: tuple[str, ...] = ()
    doc: str = ""
    wavelength_min_m: float | None = None
    wavelength_max_m: float | None = None


@dataclass(frozen=True, slots=True)
class DatasetTypeSpec:
    """A dataset type that the camera brings, with the formatter of its files."""

    name: str
    dimensions: tuple[str, ...]
    storage_class: str
    formatter: str | None = None
    is_calibration: bool = False
    doc: str = ""

    @property
    def dataset_type(self) -> DatasetType:
        """The type as the registry takes it."""
        return DatasetType(self.name, self.dimensions, self.storage_class, self.is_calibration)


@dataclass(frozen=True, slots=True)
class AuxiliarySpec:
    """An auxiliary table: its file's name, columns to match, whether a row must be there.

    One that is kept with the definition has its rows here.
    """

    file: str
    match: Mapping[str, Rules]
    required: bool
    rows: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A cross-check: what must hold, and what to say when it does not."""

    where: str
    expression: Expression
    message: str


@dataclass(frozen=True, slots=True)
class Components:
    """How several files make one dataset.

    Parameters
    ----------
    group : str
        Named group of the file name that tells them apart.
    names : mapping
        Content of the group to component.
    header : str
        Component whose header is translated.
    optional : frozenset of str
        Components that may be absent.
    """

    group: str
    names: Mapping[str, str]
    header: str
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> tuple[str, ...]:
        """Components that must be there."""
        return tuple(c for c in self.names.values() if c not in self.optional)


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: how it is recognised and translated.

    Parameters
    ----------
    name : str
        For messages.
    pattern : re.Pattern
        Matches the whole path without compression suffix.
    dataset_type : str
        What it is a dataset of.
    hdu : int, str or None
        Unit with the data; None for the first that has any.
    has_header : bool
        False for files without FITS header.
    components : Components or None
        For datasets of several files.
    curated : bool
        A calibration without exposure.
    region : bool
        Whether a footprint is taken from the header's WCS.
    footprint : PixelFrame
        Which pixels it is that of.
    identify : mapping
        Card to the content or contents that it must have.
    rules, extra : mapping of str to Rules
        How values and further facts are made.
    """

    name: str
    pattern: re.Pattern[str]
    dataset_type: str
    hdu: int | str | None = None
    has_header: bool = True
    components: Components | None = None
    curated: bool = False
    region: bool = True
    footprint: PixelFrame = field(default_factory=PixelFrame)
    identify: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Rules] = field(default_factory=dict)
    extra: Mapping[str, Rules] = field(default_factory=dict)
