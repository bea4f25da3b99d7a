"""What identifies a dataset: its type, its data ID, its run and its UUID?

The values that every other part passes around; no database access here.  The tables are in
`registry.schema.identity`, the questions and verbs in `registry.datasets`.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from registry.errors import InvalidDataId, did_you_mean

__all__ = [
    "DIMENSIONS",
    "KEY_LETTERS",
    "TEMPORAL",
    "DataId",
    "DatasetRef",
    "DatasetType",
    "columns_of",
    "refs_of",
    "uuid7",
    "uuid7s",
    "uuid_number",
    "uuids_of",
    "with_dashes",
]

DIMENSIONS: dict[str, type] = {
    "instrument": str,
    "detector": int,
    "physical_filter": str,
    "band": str,
    "exposure": int,
    "visit": int,
    "day_obs": int,
    "skymap": str,
    "tract": int,
    "patch": int,
    "healpix": int,
}
"""The dimensions with a column of their own, in their order, and the type of their values."""

TEMPORAL = frozenset({"exposure", "visit", "day_obs"})
"""Dimensions that say when data were taken; a calibration is looked up without them."""

KEY_LETTERS = {
    "instrument": "i",
    "detector": "d",
    "physical_filter": "f",
    "band": "b",
    "exposure": "x",
    "visit": "v",
    "day_obs": "n",
    "skymap": "s",
    "tract": "t",
    "patch": "p",
    "healpix": "h",
}
"""What stands before the value of each dimension in the text that identifies a data ID."""
_POSITION = {name: i for i, name in enumerate(DIMENSIONS)}
_MAX_INT = 2**63 - 1
_MAX_KEY = 767


class DataId(Mapping[str, "str | int"]):
    """An immutable, hashable set of key/value pairs in canonical order.

    The dimensions come first, in the order of `DIMENSIONS`; keys beyond them follow by name.  Make
    one with `DataId.of`, which checks and converts the values.
    """

    __slots__ = ("_items",)

    def __init__(self, items: dict[str, str | int]) -> None:
        self._items = items

    @classmethod
    def of(cls, mapping: Mapping[str, Any] | None = None, /, **keys: Any) -> DataId:
        """Check and order key/value pairs.

        Parameters
        ----------
        mapping : mapping, optional
            Key/value pairs; a `DataId` is returned as it is when no ``keys`` are given.
        **keys
            More pairs; they win over ``mapping``.

        Raises
        ------
        InvalidDataId
            If a value has the wrong type or is out of range, or all are too long to be stored.
        """
        if isinstance(mapping, DataId) and not keys:
            return mapping
        merged = {**(mapping or {}), **keys}
        ordered = sorted(merged, key=lambda k: (_POSITION.get(k, 99), k))
        made = cls({k: _checked(k, merged[k]) for k in ordered})
        if ordered and ordered[-1] not in DIMENSIONS and len(made.key) > _MAX_KEY:
            raise InvalidDataId(
                f"The values of {', '.join(made.extra)} are too long: a data ID may take "
                f"{_MAX_KEY} characters, and this one takes {len(made.key)}."
            )
        return made

    def __getitem__(self, key: str) -> str | int:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(self._items.items()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DataId):
            return self._items == other._items
        return NotImplemented if not isinstance(other, Mapping) else self._items == dict(other)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{k}: {v!r}" for k, v in self._items.items()) + "}"

    def __reduce__(self) -> tuple[Any, ...]:
        return DataId, (self._items,)

    @property
    def extra(self) -> dict[str, str | int]:
        """The pairs whose keys are not dimensions with a column of their own."""
        return {k: v for k, v in self._items.items() if k not in DIMENSIONS}

    @property
    def extra_json(self) -> str | None:
        """The extra pairs as canonical JSON, or None when there are none."""
        extra = self.extra
        return (
            json.dumps(extra, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            if extra
            else None
        )

    @property
    def key(self) -> str:
        """The text unique to this data ID, as the generated column ``data_id.identity_key``."""
        parts = [f"{KEY_LETTERS[k]}{v}|" for k, v in self._items.items() if k in KEY_LETTERS]
        return "".join(parts) + (self.extra_json or "")

    def subset(self, dimensions: Any) -> DataId:
        """Keep only the named keys.

        Raises
        ------
        InvalidDataId
            If one is missing.
        """
        names = tuple(dimensions)
        missing = [d for d in names if d not in self._items]
        if missing:
            raise InvalidDataId(
                f"The data ID {self!r} lacks {', '.join(missing)}: {', '.join(names)} are needed."
            )
        return DataId({k: v for k, v in self._items.items() if k in names})

    def without(self, dimensions: Any) -> DataId:
        """Drop the named keys where they are present."""
        return DataId({k: v for k, v in self._items.items() if k not in dimensions})


def columns_of(data_ids: Sequence[DataId]) -> dict[str, list[Any]]:
    """Give the values of data IDs by column of the table ``data_id``, for sending them at once.

    Returns
    -------
    dict
        Each dimension that one of them has, None where another lacks it; ``extra`` where one has
        further keys; ``identity_key``, the `DataId.key` of each.
    """
    items = [d._items for d in data_ids]  # noqa: SLF001 (its own class)
    alike = len(set(map(tuple, items))) == 1
    names = {k: None for i in items[: 1 if alike else None] for k in i}
    columns: dict[str, list[Any]] = {
        name: [i.get(name) for i in items] for name in DIMENSIONS if name in names
    }
    plain = 0 < len(columns) == len(names)
    if not plain:
        columns["extra"] = [d.extra_json for d in data_ids]
    if alike and plain:
        form = "".join(f"{KEY_LETTERS[k]}%s|" for k in columns)
        columns["identity_key"] = [form % row for row in zip(*columns.values(), strict=True)]
    else:
        columns["identity_key"] = [d.key for d in data_ids]
    return columns


def _plain_columns(
    dimensions: tuple[str, ...], mappings: Sequence[Mapping[str, Any]]
) -> list[list[Any]] | None:
    """Take data IDs apart by key; None when they need a closer look, one by one."""
    items = [m._items if type(m) is DataId else m for m in mappings]  # noqa: SLF001 (its own class)
    if set(map(len, items)) != {len(dimensions)} or not set(dimensions) <= set(DIMENSIONS):
        return None
    try:
        columns = [[m[d] for m in items] for d in dimensions]
    except KeyError:
        return None
    for name, values in zip(dimensions, columns, strict=True):
        if set(map(type, values)) != {DIMENSIONS[name]}:
            return None
        for extreme in (min(values), max(values)) if DIMENSIONS[name] is int else set(values):
            _checked(name, extreme)
    return columns


def _checked(key: str, value: Any) -> str | int:
    kind = DIMENSIONS.get(key)
    if hasattr(value, "item") and not isinstance(value, (str, int)):
        value = value.item()  # numpy scalars
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidDataId(
                f"{key} must be an integer, but is {value!r} ({type(value).__name__})."
            )
        if not -_MAX_INT <= value <= _MAX_INT:
            raise InvalidDataId(f"{key}={value} does not fit into 64 bits.")
        return int(value)
    if kind is str:
        if not isinstance(value, str):
            raise InvalidDataId(
                f"{key} must be a string, but is {value!r} ({type(value).__name__})."
            )
        if "|" in value or "\x00" in value or not value or len(value) > 128:
            raise InvalidDataId(
                f"{key}={value[:140]!r} must have 1 to 128 characters "
                "and neither '|' nor a zero byte."
            )
        return _whole(key, value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InvalidDataId(
            f"{key} must be a string or an integer, but is {value!r} ({type(value).__name__})."
        )
    if isinstance(value, str) and "\x00" in value:
        raise InvalidDataId(f"{key} must not hold a zero byte.")
    return _whole(key, value) if isinstance(value, str) else value


def _whole(key: str, value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidDataId(
                f"{key}={value!r} holds half of a surrogate pair, which is no character."
            ) from error
    return str(value)


@dataclass(frozen=True, slots=True)
class DatasetType:
    """A kind of dataset.

    Parameters
    ----------
    name : str
        Unique name, for example ``calexp``.
    dimensions : tuple of str
        Keys of its data IDs, in the order of `DIMENSIONS`, then extra keys by name.
    storage_class : str
        Name of the Python type that a ``get`` returns.
    is_calibration : bool
        Whether it may be certified into calibration collections with validity ranges.
    """

    name: str
    dimensions: tuple[str, ...]
    storage_class: str
    is_calibration: bool = False

    def __post_init__(self) -> None:
        ordered = tuple(sorted(set(self.dimensions), key=lambda k: (_POSITION.get(k, 99), k)))
        object.__setattr__(self, "dimensions", ordered)

    @property
    def lookup_dimensions(self) -> tuple[str, ...]:
        """The dimensions by which a calibration is looked up: all but the temporal ones."""
        return tuple(d for d in self.dimensions if d not in TEMPORAL)

    def data_id(self, mapping: Mapping[str, Any] | None = None, /, **keys: Any) -> DataId:
        """Check that a data ID has exactly this type's keys, and return it in order.

        Raises
        ------
        InvalidDataId
            If keys are missing, unknown or of the wrong type.
        """
        full = DataId.of(mapping, **keys)
        unknown = [k for k in full if k not in self.dimensions]
        missing = [k for k in self.dimensions if k not in full]
        if missing or unknown:
            problem = " and ".join(
                filter(
                    None,
                    (
                        f"lacks {', '.join(missing)}" if missing else "",
                        f"has {', '.join(unknown)} too many" if unknown else "",
                    ),
                )
            )
            hint = did_you_mean(unknown[0], missing) if unknown and missing else ""
            raise InvalidDataId(
                f"A {self.name} is identified by {', '.join(self.dimensions) or 'no key'}; "
                f"the data ID {full!r} {problem}.{hint}"
            )
        return full

    def data_ids(self, mappings: Sequence[Mapping[str, Any]]) -> list[DataId]:
        """Check many data IDs as `data_id` does, column by column where they are plain."""
        many = len(mappings) > 1 and self.dimensions
        columns = _plain_columns(self.dimensions, mappings) if many else None
        if columns is None:
            return [self.data_id(m) for m in mappings]
        names = self.dimensions
        if set(map(type, mappings)) == {dict} and set(map(tuple, mappings)) == {names}:
            return [DataId(dict(m)) for m in mappings]
        return [DataId(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """A dataset that the registry knows.

    Parameters
    ----------
    id : uuid.UUID
        Global identity (version 7).
    dataset_type : DatasetType
        Its kind.
    data_id : DataId
        Exactly the keys of its dataset type.
    run : str
        The RUN collection that it belongs to.
    """

    id: uuid.UUID
    dataset_type: DatasetType
    data_id: DataId
    run: str

    def __str__(self) -> str:
        return f"{self.dataset_type.name}@{self.data_id!r} in '{self.run}' [{self.id}]"


_SLOTS = vars(uuid.UUID)
_64_BITS = 2**64 - 1


def _uuids(values: Sequence[int]) -> list[uuid.UUID]:
    """Make UUIDs of integers without the checks of their constructor."""
    made = list(map(uuid.UUID.__new__, repeat(uuid.UUID, len(values))))
    deque(map(_SLOTS["int"].__set__, made, values), maxlen=0)
    deque(map(_SLOTS["is_safe"].__set__, made, repeat(uuid.SafeUUID.unknown)), maxlen=0)
    return made


def refs_of(
    kind: DatasetType, ids: Sequence[str], runs: Sequence[str], columns: Sequence[Sequence[Any]]
) -> list[DatasetRef]:
    """Make the references of many datasets of one type from whole columns.

    Parameters
    ----------
    ids : sequence of str
        UUIDs, with or without dashes.
    runs : sequence of str
    columns : sequence of sequence
        Of the dimensions of the type that have a column; then, when it has others too, the
        mappings that hold those.
    """
    names = [d for d in kind.dimensions if d in DIMENSIONS]
    if len(names) < len(kind.dimensions):
        extras = [extra or {} for extra in columns[-1]]
        declared = [d for d in kind.dimensions if d not in DIMENSIONS]
        names += declared
        columns = [*columns[:-1], *([extra[d] for extra in extras] for d in declared)]
    if columns:
        rows = zip(*columns, strict=True)
        data_ids = [DataId(dict(zip(names, row, strict=True))) for row in rows]
    else:
        data_ids = [DataId({})] * len(ids)
    return list(map(DatasetRef, uuids_of(ids), repeat(kind), data_ids, runs))


def with_dashes(texts: Sequence[str]) -> list[str]:
    """Write many UUIDs as they are usually written, whether a database gives them so or not."""
    if not texts or len(texts[0]) != 32:
        return list(texts)
    return [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts]


def uuids_of(texts: Iterable[str]) -> list[uuid.UUID]:
    """Read many UUIDs, with or without dashes."""
    return _uuids([int(text.replace("-", ""), 16) for text in texts])


_last_uuid = [0, 0]
_uuid_lock = threading.Lock()


def uuid7() -> uuid.UUID:
    """Make a UUID of version 7 (RFC 9562): a millisecond clock, then a counter and random bits.

    Values made by one process sort in the order they were made.
    """
    return uuid7s(1)[0]


def uuid_number(n: int = 1) -> int:
    """Give the first of n numbers with which UUIDs of version 7 begin: clock and counter."""
    with _uuid_lock:
        ms, counter = time.time_ns() // 1_000_000, _last_uuid[1] + 1
        if ms > _last_uuid[0]:
            counter = int.from_bytes(os.urandom(2)) & 0x7FF
        else:
            ms = _last_uuid[0]
        first = ms * 0x1000 + counter
        _last_uuid[0], _last_uuid[1] = divmod(first + n - 1, 0x1000)
    return first


def uuid7s(n: int) -> list[uuid.UUID]:
    """Make many at once; see `uuid7`."""
    first = uuid_number(n)
    noise = struct.unpack(f">{n}Q", os.urandom(8 * n))
    return _uuids(
        [
            ((k & ~0xFFF) << 4 & _64_BITS | 0x7000 | k & 0xFFF) << 64 | 0b10 << 62 | bits >> 2
            for k, bits in enumerate(noise, first)
        ]
    )
