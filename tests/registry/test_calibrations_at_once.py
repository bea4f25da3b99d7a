"""What happens when four processes certify ranges of the same keys at once?"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from registry import Registry, Timespan
from registry.errors import Conflict, ValidityOverlap
from registry.schema.calibrations import calibration
from tests.registry import observatory
from tests.registry.observatory import BIAS, bias_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Databases

N_WRITERS = 4
N_RANGES = 24
US = 1000


def spans(writer: int) -> Iterator[tuple[int, int, int]]:
    """Detector, begin and end [µs]: ranges of a writer, which adjoin or overlap those of others."""
    for n in range(N_RANGES):
        yield n % 2, 10 * (n // 2) + 2 * writer, 10 * (n // 2) + 2 * writer + (2, 4)[n % 3 == 0]


def write(url: str, writer: int) -> None:
    """Certify one range after the other; tell what became of each."""
    told: list[Any] = []
    with Registry.connect(url) as registry:
        kind = registry.dataset_type("bias")
        mine = registry.query_datasets(kind, f"made{writer}")
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        for detector, begin, end in spans(writer):
            ref = next(r for r in mine if r.data_id["detector"] == detector)
            try:
                registry.certify("calib", [ref], Timespan(begin * US, end * US))
                told.append(None)
            except Conflict as error:
                told.append([type(error).__name__, str(error), error.__dict__.get("pairs")])
    print(json.dumps(told), flush=True)  # noqa: T201


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    with databases.migrated() as made:
        with Registry.connect(made) as registry:
            observatory.fill(registry)
            registry.register_collection("calib", "CALIBRATION")
            for n in range(N_WRITERS):
                registry.register_collection(f"made{n}")
                ids = [bias_id(20220920, detector=d) for d in (0, 1)]
                registry.insert_datasets(BIAS, ids, f"made{n}")
        yield made


def test_no_two_ranges_overlap_and_each_refused_writer_is_told_both(url: str) -> None:
    code = f"from {__name__} import write; write({url!r}, {{}})"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(N_WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    answers = [writer.communicate("go\n", timeout=120)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * N_WRITERS
    done = [
        (writer, *span, answer)
        for writer, text in enumerate(answers)
        for span, answer in zip(spans(writer), json.loads(text), strict=True)
    ]
    assert len(done) == N_WRITERS * N_RANGES
    c = calibration.c
    with Registry.connect(url) as registry, registry.read() as connection:
        stored = connection.execute(
            sa.select(c.data_id, c.valid_begin_tai_ns, c.valid_end_tai_ns).order_by(
                c.data_id, c.valid_begin_tai_ns
            )
        ).all()
        held = {
            (ref.data_id["detector"], span.begin, span.end)
            for name in [f"made{n}" for n in range(N_WRITERS)]
            for ref, span in _validity(registry, name)
        }
    for (key, _, end), (next_key, begin, _) in itertools.pairwise(stored):
        assert key != next_key or end <= begin
    taken = {(d, b * US, e * US) for _, d, b, e, answer in done if answer is None}
    assert held == taken
    assert len(stored) == len(taken)
    refused = [(d, b, e, answer) for _, d, b, e, answer in done if answer is not None]
    assert len(refused) >= N_RANGES // 3
    for detector, begin, end, (kind, message, pairs) in refused:
        assert kind == ValidityOverlap.__name__
        span = Timespan(begin * US, end * US)
        assert pairs
        for new, old in pairs:
            assert new.endswith(f"over {span}")
            assert f"detector: {detector}," in new
            assert f"detector: {detector}," in old
            assert new in message
        assert any(d == detector and b < end * US and begin * US < e for d, b, e in taken)


def _validity(registry: Registry, run: str) -> Any:
    from registry import calibrations

    with registry.read() as connection:
        every = calibrations.validity_of(connection, BIAS, "calib")
    return [(ref, span) for ref, span in every if ref.run == run]
