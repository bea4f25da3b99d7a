"""Where is a repository, and which database does it use?

A repository is a folder with ``skyspine.yaml`` in it; that file names the database, relative to the
folder when it is SQLite inside it.  A graph file is one too: its database is the file itself, and
its folder the one that outputs are written below.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import yaml

from backbone import endpoints
from backbone.cache_settings import NOTHING_KEPT, CacheSettings
from backbone.owners import SETTINGS
from butler.errors import (
    CopiedRepository,
    RepositoryExists,
    RepositoryNotFound,
    UnreadableRepository,
)
from registry import plain_yaml
from registry.database import has_file, safe_url
from registry.errors import DatabaseUnavailable, SkyspineError, WrongRevision
from registry.plans.giving import graph_of_file
from registry.registry import Registry

__all__ = ["CONFIG", "Repository"]

CONFIG = SETTINGS
_INSIDE = "sqlite:///registry.sqlite3"
_AT = "at"
"""Setting: the folder in which it was made, where the database lies elsewhere."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository's folder and database.

    Parameters
    ----------
    root : Path
        Its folder, absolute.
    url : str
        URL of its database.
    file : Path, optional
        The graph file that it is.
    caches : CacheSettings
        What may be kept of what was read.
    """

    root: Path
    url: str
    file: Path | None = None
    caches: CacheSettings = NOTHING_KEPT

    @property
    def address(self) -> str:
        """What it is opened by: its folder, or the graph file."""
        return str(self.file or self.root)

    @classmethod
    def create(cls, root: str | os.PathLike[str], db: str | None = None) -> Repository:
        """Make a repository in a folder that has none.

        Parameters
        ----------
        root : path-like
            Folder; made when it does not exist.
        db : str, optional
            URL of an empty database; SQLite inside the folder by default.

        Raises
        ------
        RepositoryExists
            If the folder holds one, or the database has the files of one in another folder.
        RepositoryNotFound
            If the folder cannot be made.
        """
        folder = _folder(root)
        url = db or _INSIDE
        new = False
        try:
            if (folder / CONFIG).exists():
                raise RepositoryExists(
                    f"{folder} holds a repository already; open it, or choose another folder.",
                    path=folder,
                )
            new = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            made = cls(folder, _absolute(url, folder))
            with Registry.create(made.url) as registry:
                if url != _INSIDE and registry.database.ask(endpoints.has_copies, endpoints.ROOT):
                    raise RepositoryExists(
                        f"The database {safe_url(made.url)} is that of a repository whose files "
                        f"lie in another folder; open that one, or name an empty database. If "
                        f"that folder was moved to {folder}, write into {folder / CONFIG} the "
                        "line that its settings had: 'db: ' and the URL.",
                        path=folder,
                    )
                registry.database.transact(endpoints.set_up)
            settings = {"db": url} if url == _INSIDE else {"db": url, _AT: str(folder)}
            (folder / CONFIG).write_text(yaml.safe_dump(settings), encoding="utf-8")
        except SkyspineError:
            if new:
                shutil.rmtree(folder)
            raise
        except OSError as error:
            why = error.strerror or error
            if isinstance(error, FileExistsError):
                why = "it is a file, or a link that leads nowhere"
            raise RepositoryNotFound(
                f"No repository can be made in {folder}: {why}.", path=folder
            ) from error
        return made

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Repository:
        """Find the repository in a folder.

        Raises
        ------
        RepositoryNotFound
            If there is none.
        UnreadableRepository
            If the disk or its permissions do not let it be read.
        CopiedRepository
            If it is a copy of another folder, and both use one database.
        """
        folder = _folder(root)
        try:
            content = None if folder.is_file() else plain_yaml.read_bytes(folder / CONFIG)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RepositoryNotFound(
                f"{folder} holds no repository; make one with: skyspine create {root}", path=folder
            ) from error
        except OSError as error:
            raise UnreadableRepository(
                f"{folder / CONFIG} cannot be read: {error.strerror or error}. See to the folder's "
                "name, its permissions and its disk.",
                path=folder,
            ) from error
        except yaml.YAMLError as error:
            raise _not_understood(folder) from error
        return cls._of_graph(folder) if content is None else cls._of_settings(folder, content)

    @classmethod
    def _of_settings(cls, folder: Path, content: bytes) -> Repository:
        try:
            settings = plain_yaml.load(content)
            url = settings["db"]
            if not isinstance(url, str):
                raise TypeError
            caches = CacheSettings.of(settings.get("cache"))
        except (yaml.YAMLError, TypeError, KeyError) as error:
            raise _not_understood(folder) from error
        _require_no_copy(folder, url, settings.get(_AT))
        full = _absolute(url, folder)
        if not has_file(full):
            raise DatabaseUnavailable(
                f"The database file of the repository {folder} is gone, and {safe_url(full)} "
                "cannot be opened. Put it back, or restore it from a backup."
            )
        return cls(folder, full, caches=caches)

    @classmethod
    def _of_graph(cls, file: Path) -> Repository:
        url = f"sqlite:///{file}"
        try:
            with Registry.connect(url, writeable=False) as registry, registry.read() as connection:
                found = graph_of_file(connection)
        except WrongRevision as error:
            if error.current is not None:
                raise
            found = None
        except DatabaseUnavailable:
            found = None
        if found is None:
            raise RepositoryNotFound(
                f"{file} is a file, and no graph file: name the folder of a repository, or a file "
                "that `skyspine graph export` has written.",
                path=file,
            )
        return cls(Path(found.root), url, file, CacheSettings.of(None))


def _folder(root: str | os.PathLike[str]) -> Path:
    if not os.fspath(root):
        raise RepositoryNotFound("The name of the repository's folder is empty.", path="")
    if "\0" in os.fspath(root):
        raise RepositoryNotFound("The name of the repository's folder holds a NUL.", path="")
    return Path(root).absolute()


def _not_understood(folder: Path) -> RepositoryNotFound:
    return RepositoryNotFound(
        f"{folder / CONFIG} cannot be understood; it should hold one line such as 'db: {_INSIDE}'.",
        path=folder,
    )


def _require_no_copy(folder: Path, url: str, made_at: object) -> None:
    """Refuse a copy of a folder beside the folder itself, when both use one database.

    A folder that was moved, or is mounted elsewhere, is itself.
    """
    if not isinstance(made_at, str) or made_at == str(folder):
        return
    here, there = folder / CONFIG, Path(made_at, CONFIG)
    try:
        mine, theirs = here.stat(), there.stat()
        if (mine.st_ino, mine.st_mtime_ns) == (theirs.st_ino, theirs.st_mtime_ns):
            return
        if plain_yaml.load_file(there)["db"] != url:
            return
    except (OSError, yaml.YAMLError, TypeError, KeyError):
        return
    raise CopiedRepository(
        f"{folder} is a copy of the repository in {made_at}, and both use one database: what is "
        f"put by one would be missing in the other. Open {made_at}; if this folder is to take its "
        f"place, remove {there}; for a repository of its own: skyspine create, then skyspine "
        "transfer.",
        path=folder,
    )


def _absolute(url: str, folder: Path) -> str:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return url
    relative = parsed.get_backend_name() == "sqlite" and parsed.database
    if relative and not Path(str(parsed.database)).is_absolute():
        parsed = parsed.set(database=str(folder / str(parsed.database)))
    return parsed.render_as_string(hide_password=False)
