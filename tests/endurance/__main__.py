"""Run it: `python -m tests.endurance --minutes 10 --db sqlite,postgresql,mariadb`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from tests.conftest import BESIDE, KINDS
from tests.databases import Databases, MariaDBDatabases, PostgreSQLDatabases, SQLiteDatabases
from tests.endurance.enduring import LIBRARIES, PROGRAMS, endure, new_seed
from tests.nursery import Nursery
from tests.servers import PrivateServers

FRAMES = "ohp-t152-longslit-2022/bias"


def main() -> int:
    """Run on one database after the other; give the number of faults, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="on each database (10)")
    parser.add_argument("--db", default=",".join(KINDS), help="comma-separated (all three)")
    parser.add_argument("--seed", type=int, default=new_seed(), help="what the dice begin with")
    asked = parser.parse_args()
    names = asked.db.split(",")
    if unknown := set(names) - set(KINDS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    data = Path(os.environ.get("SKYSPINE_TEST_DATA", BESIDE)) / FRAMES
    frames = sorted(data.glob("*.fits.gz"))[:3]
    n_faults = 0
    print(f"seed {asked.seed}")  # noqa: T201
    with contextlib.ExitStack() as stack:
        nursery = stack.enter_context(Nursery(*LIBRARIES, *PROGRAMS))
        servers = stack.enter_context(PrivateServers([n for n in names if n != "sqlite"]))
        if servers.errors:
            parser.error("; ".join(f"{name}: {why}" for name, why in servers.errors.items()))
        for name in names:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="endurance-")))
            made: Databases
            if name == "sqlite":
                made = SQLiteDatabases(folder / "db")
            elif name == "postgresql":
                made = PostgreSQLDatabases(servers.urls[name])
            else:
                made = MariaDBDatabases(servers.urls[name])
            with made.empty() as url:
                found = endure(
                    nursery, folder / "work", url, 60 * asked.minutes, frames, asked.seed
                )
            made.close()
            n_faults += len(found.faults)
            print("\n".join([f"\n{name}", *found.lines()]), flush=True)  # noqa: T201
    return min(n_faults, 1)


if __name__ == "__main__":
    sys.exit(main())
