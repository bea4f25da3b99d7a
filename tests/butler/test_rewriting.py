"""Datasets go from files to tables, into parts, and back, while somebody reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from backbone import audit, files
from butler import Butler
from butler.formatters import get_formatter
from butler.objects.comparing import difference
from tests.butler.declared import install
from tests.butler.test_image_parts import APART, HEADER, SUMMARY, frame
from tests.nursery import Moments, Nursery, moments_to_die

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.identity import DatasetRef

SOURCE = """
doc: Sources.
dataset_types: [source]
columns:
  - {name: n, type: int64, doc: Number}
  - {name: flux, type: float64, unit: nJy, doc: Flux, nullable: true}
"""
N = 12


def table(n: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(n, n + 3), "flux": [1.5, float("nan"), float("inf")]})


@pytest.fixture
def butler(repository: Path) -> Iterator[Butler]:
    install(repository, SOURCE)
    with Butler(repository, run="u/test") as opened:
        opened.register_dataset_type("source", ("healpix",), "DataFrame")
        yield opened


@pytest.fixture
def refs(butler: Butler) -> list[DatasetRef]:
    return [butler.put(table(n), "source", healpix=n, format="parquet") for n in range(N)]


def places(butler: Butler, refs: list[DatasetRef]) -> set[tuple[str, str]]:
    with butler.registry.read() as connection:
        found = files.all_copies(connection, [ref.id for ref in refs])
    return {(copy.formatter, copy.endpoint.name) for each in found.values() for copy in each}


def n_rows(butler: Butler, name: str) -> int:
    with butler.registry.read() as connection:
        asked = sa.select(sa.func.count()).select_from(sa.table(name))
        return int(connection.execute(asked).scalar_one())


def test_files_become_rows_and_rows_files(butler: Butler, refs: list[DatasetRef]) -> None:
    trial = butler.convert(refs, dry_run=True)
    [(change, (count, size))] = trial.changes.items()
    assert (change, count) == (("parquet", "root", "rows-pandas", "rows_source"), N)
    assert size == sum(p.stat().st_size for p in butler.root.rglob("source_*.parquet"))
    done = butler.convert(refs)
    assert (done.n_files, done.failed, done.old_bytes) == (N, [], size)
    assert places(butler, refs) == {("rows-pandas", "tables")}
    assert n_rows(butler, "rows_source") == 3 * N
    found = butler.query_datasets("source", where="source.n = 4")
    assert [ref.data_id["healpix"] for ref in found] == [2, 3, 4]
    assert butler.convert(refs).unchanged == N

    one, *_ = butler.convert(refs[:1], format="csv").changes
    assert one == ("rows-pandas", "rows_source", "csv", "root")
    back = butler.convert(refs, endpoint="root")
    assert (back.n_files, back.unchanged, back.failed) == (N - 1, 1, [])
    assert places(butler, refs) == {("csv", "root"), ("parquet", "root")}
    assert n_rows(butler, "rows_source") == 0
    for n, ref in enumerate(refs):
        assert butler.get(ref).equals(table(n))
    cards = get_formatter("parquet").read_provenance(
        next(p for p in butler.root.rglob("*.parquet") if p.name.startswith("source_1_"))
    )
    assert cards["SKYS_ID"] == str(refs[1].id)
    butler.empty_trash()
    report = audit.check(butler.registry.database, butler.root, checksums=True, grace=0)
    assert report.findings == []


def test_what_a_table_cannot_hold_stays_a_file(butler: Butler, refs: list[DatasetRef]) -> None:
    odd = butler.put(table(0).assign(more=1), "source", healpix=99, format="parquet")
    done = butler.convert([*refs[:2], odd])
    assert done.n_files == 2
    assert done.failed[0][0] == odd
    assert "column 'more' is not declared there" in done.failed[0][1]
    assert butler.get(odd)["more"].tolist() == [1, 1, 1]
    assert not list(butler.root.rglob(".*source*"))


def reading(root: str) -> None:
    """Read again and again, until a file says that it is enough."""
    with Butler(root, collections="u/test") as butler:
        print("reading", flush=True)  # noqa: T201
        n = 0
        while not (Path(root) / "enough").exists():
            assert butler.get("source", healpix=n % N).equals(table(n % N))
            some = butler.get("source", healpix=n % N, parameters={"columns": ["n"]})
            assert len(some) == 3
            n += 1
    print(n, flush=True)  # noqa: T201


def converting(root: str, at: int) -> None:
    """Convert all into the table, and die at a moment."""
    with Butler(root, writeable=True, collections="u/test") as butler:
        refs = butler.query_datasets("source")
        moments = Moments(at)
        butler.convert(refs)
    print(moments.count, flush=True)  # noqa: T201


def test_readers_go_on_and_a_killed_one_is_gone_on_with(
    butler: Butler, refs: list[DatasetRef], nursery: Nursery
) -> None:
    root = str(butler.root)
    child = nursery.start(f"{__name__}:reading", root)
    said = iter(child)
    assert next(said) == "reading"
    for _ in range(2):
        assert butler.convert(refs).n_files == N
        butler.empty_trash()
        assert butler.convert(refs, format="parquet").n_files == N
    (butler.root / "enough").touch()
    assert int(next(said)) > 0
    assert child.wait() == 0

    status, [n_moments] = nursery.run(f"{__name__}:converting", root, 0)
    assert status == 0
    for moment in moments_to_die(int(n_moments), 2):
        butler.convert(refs, format="parquet")
        nursery.kill(f"{__name__}:converting", root, moment)
        for n, ref in enumerate(refs):
            assert butler.get(ref).equals(table(n))
        done = butler.convert(refs)
        assert (done.n_files + done.unchanged, done.failed) == (N, [])
    audit.check(butler.registry.database, butler.root, repair=True, grace=0)
    report = audit.check(butler.registry.database, butler.root, checksums=True, grace=0)
    assert report.findings == []


def test_images_come_into_parts_and_out_of_them(butler: Butler) -> None:
    butler.register_dataset_type("calexp", ("healpix",), "Exposure")
    ref = butler.put(frame(), "calexp", healpix=1)
    bare = butler.put(frame(), "calexp", healpix=2)
    whole = butler.get(ref)
    install(butler.root, SUMMARY, HEADER)
    with Butler(butler.root, writeable=True) as other:
        other.policy.set(storage_class="Exposure", **APART)
        done = other.convert([ref])
        assert (done.n_files, done.failed) == (2, [])  # the image, and the summary in YAML
        assert difference(whole, other.get(ref)) == ""
        assert n_rows(other, "rows_summary") == 1
        assert other.query_datasets("calexp", collections="u/test", where="calexp.summary.seeing<1")
        stored = other.registry.database.ask(files.copies, ref.id)
        assert {name: each[0].formatter for name, each in stored.items()} == {
            "image": "fits-image",
            "mask": "fits-image-tiles",
            "stddev": "fits-image",
            "header": "rows-cards",
            "summary": "rows-mapping",
        }
        assert other.convert([ref]).unchanged == 5
        other.convert([ref], format="fits-image-gzip")
        stored = other.registry.database.ask(files.copies, ref.id)
        assert stored["image"][0].formatter == "fits-image-gzip"
        other.policy.unset(*APART, storage_class="Exposure")
        for part in ("header", "summary"):
            other.policy.set(dataset_type="calexp", **{f"{part}.endpoint": "root"})
        assert other.convert([ref, bare]).n_files == 7
        assert n_rows(other, "rows_header") == 0
        assert difference(whole, other.get(ref)) == ""
        np.testing.assert_array_equal(other.get(bare, component="mask"), frame().mask)
