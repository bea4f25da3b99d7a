"""Which kind of file is this, by its name, and which files belong together?

Reads no file.  Compression suffixes (.gz, .fz) do not count: patterns see names without them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from butler.instrument.errors import IncompleteComposite, UnmatchedFile
from butler.instrument.observation import FileGroup

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from butler.instrument.parts import Components, FileKind

__all__ = ["FileNames", "plain_name"]

_COMPRESSED = (".gz", ".fz")


def plain_name(path: Path) -> str:
    """Give a file's name without compression suffix."""
    name = path.name
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name


class FileNames:
    """The file-name patterns of a definition.

    Parameters
    ----------
    instrument : str
        For messages.
    kinds : tuple of FileKind
        The first whose pattern fits counts.
    ignored : tuple of re.Pattern
        Files that are passed over.
    """

    def __init__(
        self, instrument: str, kinds: tuple[FileKind, ...], ignored: tuple[re.Pattern[str], ...]
    ) -> None:
        self._instrument = instrument
        self.kinds = kinds
        self._by_name = {kind.name: kind for kind in kinds}
        self._ignored = ignored

    def match(self, path: Path) -> tuple[FileKind, re.Match[str]] | None:
        """Recognise a file; None when no pattern fits."""
        text = _plain_path(path)
        for kind in self.kinds:
            match = kind.pattern.fullmatch(text)
            if match is not None:
                return kind, match
        return None

    def recognised(self, path: Path) -> tuple[FileKind, dict[str, str | None]]:
        """Give the kind of a file and the named groups of its name.

        Raises
        ------
        UnmatchedFile
            If no pattern fits; lists them.
        """
        found = self.match(path)
        if found is None:
            patterns = "; ".join(f"{k.name}: {_bare(k.pattern)}" for k in self.kinds)
            raise UnmatchedFile(
                path,
                f"fits no file-name pattern of {self._instrument} ({patterns}). Add a pattern "
                "under `files`, or one "
                "under `ignore` if such files are not to be ingested.",
            )
        return found[0], found[1].groupdict()

    def ignores(self, path: Path) -> bool:
        """Tell whether a pattern of ignored files fits."""
        text = _plain_path(path)
        return any(pattern.fullmatch(text) for pattern in self._ignored)

    def group(self, paths: Iterable[str | Path]) -> list[FileGroup]:
        """Sort files into datasets; see `InstrumentDefinition.group`."""
        groups: dict[tuple[str, str], dict[str, Path]] = {}
        for path in map(Path, paths):
            if self.ignores(path):
                continue
            found = self.match(path)
            components = found[0].components if found is not None else None
            if found is None or components is None:
                groups[(found[0].name if found is not None else "", str(path))] = {"": path}
            else:
                component, rest = _component(components, found[1], path)
                groups.setdefault((found[0].name, rest), {})[component] = path
        return [self._file_group(kind, members) for (kind, _), members in groups.items()]

    def with_companions(self, path: Path) -> FileGroup:
        """Seek the other files of a file's dataset beside it."""
        found = self.match(path)
        if found is None:
            return FileGroup(path)
        kind, match = found
        components = kind.components
        if components is None:
            return FileGroup(path, kind=kind.name)
        members: dict[str, Path] = {}
        for content, component in components.names.items():
            companion = _with_group(path, match, components.group, content)
            if companion == path or companion.exists():
                members[component] = companion
        return self._file_group(kind.name, members)

    def check_complete(self, kind: FileKind, files: FileGroup) -> None:
        """Make sure that no file of a dataset is absent.

        Raises
        ------
        IncompleteComposite
            With the names of the absent ones.
        """
        if kind.components is None:
            return
        missing = [c for c in kind.components.required if c not in files.components]
        found = self.match(files.path)
        if missing and found is not None:
            content = {component: group for group, component in kind.components.names.items()}
            names = [
                _with_group(files.path, found[1], kind.components.group, content[c]).name
                for c in missing
            ]
            raise IncompleteComposite(
                files.path,
                f"is one of {len(kind.components.names)} files of a {kind.dataset_type}; "
                f"{' and '.join(missing)} ({', '.join(names)}) "
                f"{'is' if len(missing) == 1 else 'are'} not there. "
                "Give them together, or list what may be absent under components.optional.",
                missing=missing,
            )

    def _file_group(self, kind: str, members: dict[str, Path]) -> FileGroup:
        components = self._by_name[kind].components if kind else None
        if components is None:
            return FileGroup(members[""], kind=kind)
        ordered = {c: members[c] for c in components.names.values() if c in members}
        header = ordered.get(components.header) or next(iter(members.values()))
        return FileGroup(header, ordered, kind)


def _plain_path(path: Path) -> str:
    return path.with_name(plain_name(path)).as_posix() if path.name else path.as_posix()


def _with_group(path: Path, match: re.Match[str], group: str, content: str) -> Path:
    """Give the path with another content of a named group; a compression suffix stays."""
    begin, end = match.span(group)
    text = path.as_posix()
    return Path(text[:begin] + content + text[end:])


def _component(components: Components, match: re.Match[str], path: Path) -> tuple[str, str]:
    """Give the component that a file is, and its path without the part that tells."""
    rest = _with_group(path, match, components.group, "*")
    content = match[components.group]
    return components.names.get(content, content), str(rest)


def _bare(pattern: re.Pattern[str]) -> str:
    return pattern.pattern.removeprefix("(?:.*/)?(?:").removesuffix(")")
