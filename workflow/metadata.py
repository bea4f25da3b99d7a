"""What may a task note about its run, and how do the notes become rows?

Numbers, texts and lists of them in levels. The numbers become metrics (`quantum_metric`), all of
it the JSON of the quantum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

__all__ = ["Metadata"]


class Metadata(MutableMapping[str, Any]):
    """What a task notes about its run: numbers, texts, lists of them, and further levels.

    A dotted key goes down: ``metadata["background.mean"] = 612.3`` is
    ``metadata["background"]["mean"]``.  Iteration shows the first level.  Numpy scalars and arrays
    become plain numbers and lists.  Metadata given as a value are a level that stays linked, as
    those of a sub-task are; other mappings are copied.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = {}
        self._linked: dict[str, Metadata] = {}
        self.update(values or {})

    def __getitem__(self, key: str) -> Any:
        first, _, rest = key.partition(".")
        value = self._values[first]
        if not rest:
            return value
        if not isinstance(value, Metadata):
            raise KeyError(key)
        return value[rest]

    def __setitem__(self, key: str, value: Any) -> None:
        if not all(key.split(".")):
            raise TypeError(f"A metadata key is a dotted name, not {key!r}.")
        first, _, rest = key.partition(".")
        if not rest:
            self._values[first] = _plain(key, value)
            if isinstance(value, Metadata):
                self._linked[first] = value
            return
        below = self._values.get(first)
        if not isinstance(below, Metadata):
            below = self._values[first] = Metadata()
        below[rest] = value

    def __delitem__(self, key: str) -> None:
        above, _, last = key.rpartition(".")
        if not above:
            del self._values[last]
            self._linked.pop(last, None)
            return
        level = self[above]
        if not isinstance(level, Metadata):
            raise KeyError(key)
        del level[last]

    def __contains__(self, key: object) -> bool:
        try:
            self[str(key)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Metadata({self.to_dict()!r})"

    def clear(self) -> None:
        """Forget all values; linked levels stay and are cleared as well."""
        for level in self._linked.values():
            level.clear()
        self._values = dict(self._linked)

    def add(self, key: str, value: Any) -> None:
        """Append to the list under this key."""
        self[key] = [*self.get(key, ()), value]

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries of plain numbers, texts and lists."""
        return {k: v.to_dict() if isinstance(v, Metadata) else v for k, v in self._values.items()}

    def to_json(self) -> dict[str, Any]:
        """Return nested dictionaries that any database takes as JSON: nan and inf are texts."""
        return {k: _json(v) for k, v in self.to_dict().items()}

    def numbers(self) -> dict[str, int | float]:
        """Return every single finite number by its dotted name, but the ``timing`` of each level.

        Returns
        -------
        dict
            The quality metrics; true and false are 1 and 0.
        """
        found: dict[str, int | float] = {}
        for key, value in self._values.items():
            if isinstance(value, Metadata):
                if key != "timing":
                    found.update({f"{key}.{k}": v for k, v in value.numbers().items()})
            elif isinstance(value, bool):
                found[key] = int(value)
            elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
                found[key] = value
        return found


def _plain(key: str, value: Any) -> Any:
    """Turn a value into what metadata may hold."""
    if isinstance(value, Metadata):
        return value
    if isinstance(value, Mapping):
        return Metadata(value)
    if type(value).__name__ == "MaskedConstant":
        return float("nan")
    if hasattr(value, "tolist") and not hasattr(value, "unit"):
        value = value.tolist()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [
            _plain(key, v)
            for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)
        ]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(
        f"metadata['{key}'] holds numbers, texts, lists of them and levels below, "
        f"not {type(value).__name__}; note a plain number, with its unit in the name."
    )


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_json(v) for v in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value
