"""What does the name of a file in an archive say, when a template would make such names?

The templates that make paths read them too: ``raw/{visit:07d}/c{detector:03d}`` finds visit and
detector in ``/archive/2013/raw/0012345/c042.fits``.  Escapes that `butler.instrument.templates`
writes are undone.  A name that can be read in two ways is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import UnmatchedFile, UnsafePath
from butler.instrument.templates import Field, Literal, Optional, decode, encode
from registry.identity import DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path, PurePath

    from butler.instrument.templates import PathTemplate

__all__ = ["NameReader"]

_INTEGERS = {name for name, kind in DIMENSIONS.items() if kind is int} | {"seq_num"}
_ENDING = re.compile(r"(?:\.[A-Za-z]\w*)?(?:\.(?:gz|fz|bz2|xz))?$")
_WIDTH = re.compile(r"0(\d+)([dx]?)")


class NameReader:
    """A template that reads names.

    Parameters
    ----------
    template : PathTemplate
        The template; a ``{run}`` at its beginning may be anything.
    known : mapping
        Fields whose values are known, such as the dataset type.
    integers : iterable of str
        Keys beyond the dimensions whose values are integers.
    choices : mapping of str to iterable of str
        Fields that have one of a few values, such as names of detectors.

    Raises
    ------
    UnsafePath
        If the template writes a field in a form that cannot be read back.

    Examples
    --------
    >>> from pathlib import Path
    >>> from butler.instrument.templates import PathTemplate
    >>> reader = NameReader(PathTemplate("raw/{visit:07d}/c{detector:03d}[_{band}]"), {})
    >>> reader.read(Path("/archive/raw/0012345/c042_g.fits"))
    {'visit': 12345, 'detector': 42, 'band': 'g'}
    """

    def __init__(
        self,
        template: PathTemplate,
        known: Mapping[str, Any],
        integers: Iterable[str] = (),
        choices: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self._choices = {
            name: {written for value in values for written in (value, encode(value))}
            for name, values in (choices or {}).items()
        }
        self.text = template.text
        self._known = known
        self._integers = _INTEGERS | set(integers)
        self._formats: dict[str, str] = {}
        parts = list(template.parts)
        if parts[:1] == [Field("run", "")] and "run" not in known:
            del parts[0]
            if parts and isinstance(parts[0], Literal):
                parts[0] = Literal(parts[0].text.lstrip("/"))
        last = parts[-1] if parts else Literal("")
        in_template = isinstance(last, Literal) and "." in last.text
        self._has_ending = not in_template and "extension" not in template.fields
        ways = [self._pattern(parts, more) for more in ("+?", "+")]
        # a path that the template makes as a whole is read so, else one that ends so
        self._forms = [
            [re.compile(way, re.DOTALL) for way in ways],
            [re.compile(f"(?:{any_}/)?{way}", re.DOTALL) for any_ in (".*?", ".*") for way in ways],
        ]

    def _pattern(self, parts: Any, more: str) -> str:
        seen: set[str] = set()
        return "".join(self._part(part, more, seen) for part in parts)

    def _part(self, part: Any, more: str, seen: set[str]) -> str:
        if isinstance(part, Literal):
            return re.escape(part.text)
        if isinstance(part, Optional):
            return f"(?:{''.join(self._part(p, more, seen) for p in part.parts)})?"
        name = part.name
        if name in self._known:
            return re.escape(encode(str(self._known[name])))
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        self._formats[name] = part.spec
        return f"(?P<{name}>{self._content(name, part.spec, more)})"

    def _content(self, name: str, spec: str, more: str) -> str:
        if self._choices.get(name):
            return f"(?:{'|'.join(map(re.escape, sorted(self._choices[name])))})"
        width = _WIDTH.fullmatch(spec)
        digits = "[0-9a-f]" if spec.endswith("x") else r"\d"
        if width:
            n = int(width[1])
            return f"(?:{digits}{{{n}}}|(?!0){digits}{{{n},}})"
        if spec.endswith(("f", "g")):
            raise UnsafePath(
                f"The template {self.text!r} writes {name} as '{spec}', which cannot be read back: "
                "digits are lost."
            )
        if name in self._integers or spec in {"d", "x"}:
            return f"{digits}+"
        return f".{more}" if name == "run" else f"[^/]{more}"

    def read(self, path: Path | PurePath) -> dict[str, str | int]:
        """Read the fields out of a file's path.

        Raises
        ------
        UnmatchedFile
            If the template makes no such name, or the name can be read in two ways.
        """
        text = path.as_posix()
        if self._has_ending:
            text = _ENDING.sub("", text)
        for form in self._forms:
            found = [m.groupdict() for m in (p.fullmatch(text) for p in form) if m is not None]
            if found:
                return self._agreed(path, found)
        raise UnmatchedFile(
            path, f"is no name that the template {self.text!r} makes, in whatever folder."
        )

    def _agreed(
        self, path: Path | PurePath, found: list[dict[str, str | None]]
    ) -> dict[str, str | int]:
        first = found[0]
        for other in found[1:]:
            for name, text in first.items():
                if text != other[name]:
                    raise UnmatchedFile(
                        path,
                        f"can be read in two ways by the template {self.text!r}: {name} is "
                        f"{text!r} or {other[name]!r}. Put something between its fields that no "
                        "value holds, or begin it with the name of a folder.",
                    )
        return {name: self._value(name, text) for name, text in first.items() if text is not None}

    def _value(self, name: str, text: str) -> str | int:
        spec = self._formats[name]
        if spec.endswith("x"):
            return int(text, 16)
        if name in self._integers or spec.endswith("d"):
            return int(text)
        return decode(text)
