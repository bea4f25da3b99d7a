"""Where may copies of what was read be kept on this machine, and how much?

Said by the repository, in ``skyspine.yaml``, or by the environment, which comes first::

    cache: {folder: /scratch/skyspine, files: 200 GB, objects: 512 MB}

``SKYSPINE_CACHE_FOLDER``, ``SKYSPINE_CACHE_FILES`` and ``SKYSPINE_CACHE_OBJECTS`` say the same.
Nothing is kept unless one of them says so.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InvalidSetting
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NOTHING_KEPT", "CacheSettings", "n_bytes"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT]?[bB]?)\s*")
_NAMES = ("folder", "files", "objects")


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """What may be kept.

    Parameters
    ----------
    folder : Path or None
        Where files of servers are kept; None: nowhere.
    files : int
        Most that is kept there [byte].
    objects : int
        Most that each process keeps of what was read [byte].
    """

    folder: Path | None = None
    files: int = 0
    objects: int = 0

    @classmethod
    def of(
        cls, said: Mapping[str, Any] | None, environment: Mapping[str, str] = os.environ
    ) -> CacheSettings:
        """Read what a repository says, and the environment.

        Raises
        ------
        InvalidSetting
            If it cannot be understood.
        """
        said = {} if said is None else said
        if not hasattr(said, "keys"):
            raise InvalidSetting(f"cache: has {', '.join(_NAMES)} below it, and not {said!r}.")
        for name in said:
            if name not in _NAMES:
                raise InvalidSetting(
                    f"cache: knows no '{name}'; it has {', '.join(_NAMES)}."
                    f"{did_you_mean(str(name), _NAMES)}"
                )
        found = dict(said)
        for name in _NAMES:
            given = environment.get(f"SKYSPINE_CACHE_{name.upper()}")
            if given is not None:
                found[name] = given
        files = n_bytes(found.get("files", 0), "files")
        objects = n_bytes(found.get("objects", 0), "objects")
        folder = str(found.get("folder") or "")
        if files and not folder:
            raise InvalidSetting(
                "Files of servers may be kept, but it is not said where: set the folder, as in "
                "cache: {folder: /scratch/skyspine, files: 200 GB}, or SKYSPINE_CACHE_FOLDER."
            )
        if folder and not Path(folder).expanduser().is_absolute():
            raise InvalidSetting(f"The folder of a cache is absolute, and '{folder}' is not.")
        return cls(Path(folder).expanduser() if files else None, files, objects)


NOTHING_KEPT = CacheSettings()


def n_bytes(given: Any, what: str) -> int:
    """Read a size, such as ``200 GB``; units are powers of ten.

    Raises
    ------
    InvalidSetting
        If it is none.
    """
    found = _SIZE.fullmatch(str(given))
    unit = found[2].upper() if found else ""
    if found is None or (unit and unit[-1] != "B" and f"{unit}B" not in _UNITS):
        raise InvalidSetting(f"The size of the cache of {what} is such as '200 GB', not '{given}'.")
    return int(float(found[1]) * _UNITS[unit if unit in _UNITS else f"{unit}B"])
