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
from butler.errors import RepositoryExists, RepositoryNotFound
from registry import plain_yaml
from registry.errors import DatabaseUnavailable, SkyspineError, WrongRevision
from registry.plans.giving import graph_of_file
from registry.registry import Registry

__all__ = ["CONFIG", "Repository"]

CONFIG = SETTINGS
_INSIDE = "sqlite:///registry.sqlite3"


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
            If the folder holds one.
        RepositoryNotFound
            If the folder cannot be made.
        """
        folder = _folder(root)
        if (folder / CONFIG).exists():
            raise RepositoryExists(
                f"{folder} holds a repository already; open it, or choose another folder.",
                path=folder,
            )
        url = db or _INSIDE
        new = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            made = cls(folder, _absolute(url, folder))
            with Registry.create(made.url) as registry:
                registry.database.transact(endpoints.set_up)
            (folder / CONFIG).write_text(yaml.safe_dump({"db": url}), encoding="utf-8")
        except SkyspineError:
            if new:
                shutil.rmtree(folder)
            raise
        except OSError as error:
            raise RepositoryNotFound(
                f"No repository can be made in {folder}: {error.strerror or error}.", path=folder
            ) from error
        return made

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Repository:
        """Find the repository in a folder.

        Raises
        ------
        RepositoryNotFound
            If there is none.
        """
        folder = _folder(root)
        if folder.is_file():
            return cls._of_graph(folder)
        try:
            settings = plain_yaml.load_file(folder / CONFIG)
            url = settings["db"]
            if not isinstance(url, str):
                raise TypeError
            caches = CacheSettings.of(settings.get("cache"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RepositoryNotFound(
                f"{folder} holds no repository; make one with: skyspine create {root}", path=folder
            ) from error
        except (yaml.YAMLError, TypeError, KeyError) as error:
            raise RepositoryNotFound(
                f"{folder / CONFIG} cannot be understood; it should hold one line such as "
                f"'db: {_INSIDE}'.",
                path=folder,
            ) from error
        return cls(folder, _absolute(url, folder), caches=caches)

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
    return Path(root).absolute()


def _absolute(url: str, folder: Path) -> str:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        return url
    relative = parsed.get_backend_name() == "sqlite" and parsed.database
    if relative and not Path(str(parsed.database)).is_absolute():
        parsed = parsed.set(database=str(folder / str(parsed.database)))
    return parsed.render_as_string(hide_password=False)
