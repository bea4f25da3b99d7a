"""What happens when a process dies by SIGKILL at any moment?

Starts a program of puts or of an ingest, kills it when it has said a number of lines that the seed
chooses, plus a while that the seed chooses, and afterwards asks whether database and files agree.
"""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from backbone import files
from backbone.audit import check
from registry.schema.identity import dataset

if TYPE_CHECKING:
    import random

    from butler import Butler
    from registry.identity import DatasetRef

CHECKOUT = Path(__file__).parents[2]

PUTS = """
import sys
from butler import Butler
with Butler(sys.argv[1], run="u/test") as butler:
    for n in range(100_000):
        target = f"{sys.argv[2]}-{n}"
        value = {"target": target, "text": "x" * 2000}
        butler.put(value, "summary", instrument="DemoCam", detector=1, target=target)
        print(target, flush=True)
"""

INGESTS = """
import sys
from butler import Butler, ingest
ingest.BATCH = 7
with Butler(sys.argv[1], run=sys.argv[2]) as butler:
    print("open", flush=True)
    taken = butler.ingest_raws(sys.argv[3:], progress=lambda done, total: print(done, flush=True))
    sys.exit(len(taken.errors))
"""


def killed(program: str, *arguments: str | Path, dice: random.Random, lines: int) -> list[str]:
    """Run a program, kill it, and give the lines that it said."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(dice.randint(1, lines))]
        # the next line, or the end of a span within which the child is in the midst of its work
        select.select([child.stdout], [], [], dice.uniform(0, 0.03))
        child.kill()
        return [*said, *child.stdout]


def assert_recovers(butler: Butler) -> list[DatasetRef]:
    """Repair, and look at everything: agreement, whole files, no identity twice."""
    database = butler.registry.database
    found = check(database, butler.root, grace=0, repair=True, checksums=True)
    assert {f.problem for f in found.findings} <= {"orphan", "unfinished"}
    assert found.unrepaired == []
    assert check(database, butler.root, grace=0, checksums=True).findings == []
    with butler.registry.read() as connection:
        d = dataset.c
        twice = connection.execute(
            sa.select(d.run_id, d.dataset_type_id, d.data_id)
            .group_by(d.run_id, d.dataset_type_id, d.data_id)
            .having(sa.func.count() > 1)
        ).all()
        ids = list(connection.execute(sa.select(d.id)).scalars())
        assert files.stored(connection, ids) == set(ids)
    assert twice == []
    refs = butler.registry.get_refs(ids)
    for ref in refs.values():
        butler.get(ref)
    return list(refs.values())
