"""What does an export file of lsst-daf-butler say, and how is one written?

The file is YAML: a header, and a list of parts (dimension records, collections, dataset types,
datasets, associations) that `Document` holds as they are.  Times are TAI nanoseconds here, regions
the bytes of `lsst.sphgeom`; nothing is looked up and no universe is known, see
`butler.exchange.universe`.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from butler.errors import ExchangeError
from butler.exchange import quick_yaml
from registry import plain_yaml
from registry.timespan import BEGINNING, END, Timespan

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

__all__ = [
    "Document",
    "EncodedRegion",
    "TaiTime",
    "dataset_uuid",
    "read_document",
    "write_document",
]

VERSION = "1.0.2"
"""Version of the format that is written; any 1.0.x is read, and the 0 of old files."""
UNIVERSE = "daf_butler"
UNIVERSE_VERSION = 8
"""Version of the dimension universe of what is written; 0 to this one are read."""
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 (a TAI epoch has no time zone)
_DAY_NS = 86_400_000_000_000
_TIME_TAG = "!butler_time/tai/iso"
_TIMESPAN_TAG = "!lsst.daf.butler.Timespan"
_TIME = re.compile(r"(\d{4,})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?$", re.ASCII)
_INTEGER_IDS = uuid.UUID("4d4851f4-2890-4d41-8779-5f38a3f5062b")
"""Namespace in which the format turns the integer identities of old files into UUIDs."""


class TaiTime(int):
    """A moment as TAI nanoseconds since 1970-01-01T00:00:00 TAI."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> TaiTime:
        """Read ``2013-06-17 13:34:45.775000000``, TAI, exact to the nanosecond."""
        found = _TIME.match(text.strip())
        if found is None:
            raise ExchangeError(
                f"'{text[:60]}' is not a time of an export; it has the form "
                "2013-06-17 13:34:45.775000000."
            )
        year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
        days = (dt.datetime(year, month, day) - _EPOCH).days  # noqa: DTZ001
        seconds = hour * 3600 + minute * 60 + second
        return cls(days * _DAY_NS + seconds * 10**9 + int((found[7] or "0").ljust(9, "0")))

    def __str__(self) -> str:
        days, ns = divmod(int(self), _DAY_NS)
        seconds, ns = divmod(ns, 10**9)
        moment = _EPOCH + dt.timedelta(days=days, seconds=seconds)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{ns:09d}"


class EncodedRegion(bytes):
    """A region of the sky as `lsst.sphgeom` encodes it."""

    __slots__ = ()


@dataclass(slots=True)
class Document:
    """An export file.

    Parameters
    ----------
    parts : list of dict
        As in the file, in its order; each has a ``type``.
    universe_version : int
        Of the dimensions.
    """

    parts: list[dict[str, Any]] = field(default_factory=list)
    universe_version: int = UNIVERSE_VERSION

    def of_type(self, name: str) -> list[dict[str, Any]]:
        """List the parts of one type."""
        return [part for part in self.parts if part["type"] == name]


class _Loader(plain_yaml.Bounded, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads the tags of the format, and no others."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._resolved: dict[tuple[str, Any], str] = {}

    def resolve(self, kind: Any, value: str, implicit: Any) -> str:
        """Find the tag of a scalar; most of them, such as the keys, come again and again."""
        if kind is not yaml.ScalarNode:
            found: str = super().resolve(kind, value, implicit)
            return found
        key = (value, implicit)
        if key not in self._resolved:
            self._resolved[key] = super().resolve(kind, value, implicit)
        return self._resolved[key]


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes the tags of the format."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out, since nothing is meant to be shared."""
        del data
        return True


def _region(_loader: Any, _suffix: str, node: Any) -> EncodedRegion:
    texts = [v.value for k, v in node.value if k.value == "encoded"]
    try:
        return EncodedRegion.fromhex(texts[0])
    except (IndexError, ValueError) as error:
        raise ExchangeError(f"A region {node.start_mark} is not encoded as hex digits.") from error


def _timespan(loader: Any, node: Any) -> Timespan | None:
    if isinstance(node, yaml.ScalarNode):
        return None  # the empty one, which contains no moment
    bounds = loader.construct_mapping(node, deep=True)
    begin, end = bounds["begin"], bounds["end"]
    return Timespan(None if begin is None else int(begin), None if end is None else int(end))


def _utc(loader: Any, node: Any) -> TaiTime:
    """Read a plain YAML timestamp of an old file, which is UTC."""
    from astropy.time import Time

    from registry.timespan import tai_ns

    value = loader.construct_yaml_timestamp(node)
    return TaiTime(tai_ns(Time(str(value).removesuffix("+00:00"), scale="utc")))


_Loader.add_constructor(_TIME_TAG, lambda _, node: TaiTime.parse(node.value))
_Loader.add_constructor(_TIMESPAN_TAG, _timespan)
_Loader.add_constructor("!uuid", lambda _, node: uuid.UUID(hex=node.value))
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _utc)
_Loader.add_multi_constructor("lsst.sphgeom.", _region)


def _write_region(dumper: Any, region: EncodedRegion) -> Any:
    from lsst.sphgeom import Region

    shape = type(Region.decode(bytes(region))).__name__
    return dumper.represent_mapping(f"lsst.sphgeom.{shape}", {"encoded": region.hex()})


def _write_timespan(dumper: Any, span: Timespan) -> Any:
    begin, end = span.bounds
    bounds = {
        "begin": None if begin <= BEGINNING else TaiTime(begin),
        "end": None if end >= END else TaiTime(end),
    }
    return dumper.represent_mapping(_TIMESPAN_TAG, bounds)


_Dumper.add_representer(
    TaiTime, lambda dumper, time: dumper.represent_scalar(_TIME_TAG, str(time), style="'")
)
_Dumper.add_representer(
    uuid.UUID, lambda dumper, value: dumper.represent_scalar("!uuid", str(value), style="'")
)
_Dumper.add_representer(EncodedRegion, _write_region)
_Dumper.add_representer(Timespan, _write_timespan)


def read_document(path: Path) -> Document:
    """Read an export file.

    Raises
    ------
    ExchangeError
        If it is not one, or of a version that is not known.
    FileNotFoundError
        If there is none.
    """
    try:
        text, taken = quick_yaml.take_datasets(path.read_text(encoding="utf-8"), _scalar)
        whole = plain_yaml.load(text, _Loader)
    except FileNotFoundError as error:
        raise ExchangeError(f"There is no export file {path}.", path=path) from error
    except OSError as error:
        raise ExchangeError(
            f"{path} cannot be read: {error.strerror or error}.", path=path
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place is not None else ""
        raise ExchangeError(
            f"{path} cannot be read as an export{where}: {getattr(error, 'problem', error)}.",
            path=path,
        ) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("data"), list):
        raise ExchangeError(
            f"{path} is not an export of lsst-daf-butler: it lacks the list 'data'.", path=path
        )
    version = str(whole.get("version", ""))
    if version != "0" and not version.startswith("1.0."):
        raise ExchangeError(
            f"{path} has version {version or 'none'} of the export format; 0 and 1.0.x are known.",
            path=path,
        )
    namespace = whole.get("universe_namespace", UNIVERSE)
    number = whole.get("universe_version", 0)
    if namespace != UNIVERSE or not isinstance(number, int) or number > UNIVERSE_VERSION:
        raise ExchangeError(
            f"{path} has dimensions of the universe {namespace} {number}; "
            f"{UNIVERSE} up to version {UNIVERSE_VERSION} is known.",
            path=path,
        )
    parts = [
        taken[part["n"]]
        if isinstance(part, dict) and part.get("type") == quick_yaml.PLACE
        else part
        for part in whole["data"]
    ]
    for part in parts:
        if not isinstance(part, dict) or "type" not in part:
            raise ExchangeError(f"{path}: a part of 'data' has no type: {part!r:.80}.", path=path)
    return Document(parts, number)


def _scalar(text: str) -> Any:
    return plain_yaml.load(text, _Loader)


def dataset_uuid(value: uuid.UUID | int) -> uuid.UUID:
    """Give the identity of a dataset; old files count them."""
    if isinstance(value, uuid.UUID):
        return value
    return uuid.uuid3(_INTEGER_IDS, str(value))


def write_document(document: Document, stream: IO[str]) -> None:
    """Write an export file."""
    whole = {
        "description": "Butler Data Repository Export",
        "version": VERSION,
        "universe_version": document.universe_version,
        "universe_namespace": UNIVERSE,
    }
    stream.write(_dumped(whole))
    stream.write("data:\n" if document.parts else "data: []\n")
    for part in document.parts:
        quick = None
        if part["type"] == "dataset":
            quick = quick_yaml.write_datasets(part, lambda value: _dumped([value])[2:-1])
        stream.write(quick or _dumped([part]))


def _dumped(value: Any) -> str:
    text: str = yaml.dump(value, None, _Dumper, sort_keys=False, allow_unicode=True, width=4096)
    return text
