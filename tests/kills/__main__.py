"""Run it: `python -m tests.kills --moments 500 --db sqlite,mariadb --storage files,s3`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.backbone import storage_servers
from tests.conftest import KINDS
from tests.databases import Databases, MariaDBDatabases, PostgreSQLDatabases, SQLiteDatabases
from tests.kills.killing import LIBRARIES, Killed, kill
from tests.kills.verbs import VERBS
from tests.kills.world import World
from tests.nursery import Nursery
from tests.servers import PrivateServers

if TYPE_CHECKING:
    from collections.abc import Collection

STORAGES = ("files", "s3")


class Journal:
    """What came of each moment; in a file if there is one, from which a later start goes on."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.told: dict[tuple[str, str], list[Killed]] = defaultdict(list)
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                cell, one = json.loads(line)
                self.told[cell, one["verb"]].append(Killed(**one))

    def add(self, cell: str, one: Killed) -> None:
        """Note it."""
        self.told[cell, one.verb].append(one)
        if self.path is not None:
            with self.path.open("a") as written:
                written.write(json.dumps([cell, asdict(one)]) + "\n")

    def lines(self) -> list[str]:
        """Tell all of it as a table, and the faults below."""
        told = [f"{'':<18} {'verb':<9} {'tried':>6} {'killed':>6} {'faults':>6}  left, and removed"]
        faults = []
        for (cell, verb), ones in self.told.items():
            left: Counter[str] = Counter()
            for one in ones:
                left.update(one.left)
                faults += [f"{cell}, {verb} {one.number} ({one.how}): {f}" for f in one.faults]
            n_faults, n_killed = sum(bool(one.faults) for one in ones), sum(o.killed for o in ones)
            found = ", ".join(f"{n} {what}" for what, n in sorted(left.items()))
            told.append(f"{cell:<18} {verb:<9} {len(ones):>6} {n_killed:>6} {n_faults:>6}  {found}")
        return [*told, *faults]

    @property
    def has_faults(self) -> bool:
        """Whether something was not as it must be."""
        return any(one.faults for ones in self.told.values() for one in ones)


def main() -> int:
    """Kill on one database and storage after the other; 1 when there were faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--moments", type=int, default=500, help="of each verb (500)")
    parser.add_argument("--db", default=",".join(KINDS), help="comma-separated (all three)")
    parser.add_argument("--storage", default=",".join(STORAGES), help="comma-separated (both)")
    parser.add_argument("--verbs", default=",".join(VERBS), help="comma-separated (all)")
    parser.add_argument("--seed", type=int, default=1, help="what the dice begin with")
    parser.add_argument("--journal", type=Path, help="file to go on from, when it was cut short")
    asked = parser.parse_args()
    names = _among(parser, asked.db, KINDS)
    storages, verbs = _among(parser, asked.storage, STORAGES), _among(parser, asked.verbs, VERBS)
    journal = Journal(asked.journal)
    os.environ |= storage_servers.KEYS
    with contextlib.ExitStack() as stack:
        nursery = stack.enter_context(Nursery(*LIBRARIES))
        servers = stack.enter_context(PrivateServers([n for n in names if n != "sqlite"]))
        if servers.errors:
            parser.error("; ".join(f"{name}: {why}" for name, why in servers.errors.items()))
        for name in names:
            for storage in storages:
                with contextlib.ExitStack() as of_cell:
                    folder = Path(of_cell.enter_context(tempfile.TemporaryDirectory("-kills")))
                    databases = _databases(name, folder, servers)
                    of_cell.callback(databases.close)
                    url = of_cell.enter_context(databases.migrated())
                    far = (
                        of_cell.enter_context(storage_servers.s3()).root if storage == "s3" else ""
                    )
                    other = far.replace("/data?", "/other?")
                    world = of_cell.enter_context(World(folder / "work", url, far, other))
                    cell = f"{name} {storage}"
                    for verb in verbs:
                        done = len(journal.told[cell, verb])
                        for one in kill(nursery, world, verb, asked.moments, asked.seed, done):
                            journal.add(cell, one)
    print("\n".join(journal.lines()))  # noqa: T201
    return int(journal.has_faults)


def _among(parser: argparse.ArgumentParser, given: str, known: Collection[str]) -> list[str]:
    names = given.split(",")
    if unknown := set(names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    return names


def _databases(name: str, folder: Path, servers: PrivateServers) -> Databases:
    if name == "sqlite":
        return SQLiteDatabases(folder / "db")
    kind = PostgreSQLDatabases if name == "postgresql" else MariaDBDatabases
    return kind(servers.urls[name])


if __name__ == "__main__":
    sys.exit(main())
