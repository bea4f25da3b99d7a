"""Do datasets change their format and place whole, while others read them, whatever is killed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.nddata import CCDData, VarianceUncertainty
from astropy.table import Table
from astropy.time import Time

from backbone import audit, endpoints, files
from butler import Butler
from butler.formatters import get_formatter
from butler.moving import removal
from butler.objects.comparing import difference
from registry.errors import MissingDataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry import DatasetRef
    from tests.nursery import Nursery

N_OBJECTS = 4


def table(detector: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [detector, 7], "flux": [0.1, float("nan")], "name": ["a", "b"]})


@pytest.fixture
def refs(butler: Butler, tmp_path: Path) -> list[DatasetRef]:
    """Tables of four detectors; `archive` is a further endpoint."""
    (tmp_path / "archive").mkdir()
    butler.registry.database.transact(endpoints.register, "archive", str(tmp_path / "archive"))
    butler.register_dataset_type("objects", ("instrument", "detector"), "DataFrame")
    return [
        butler.put(table(d), "objects", instrument="DemoCam", detector=d)
        for d in range(1, N_OBJECTS + 1)
    ]


def stored(butler: Butler, refs: Sequence[DatasetRef]) -> list[files.Stored]:
    found = butler.registry.database.ask(files.locate, [ref.id for ref in refs])
    return [found[ref.id][0] for ref in refs]


def test_format_and_endpoint_change_and_identity_stays(
    butler: Butler, refs: list[DatasetRef], tmp_path: Path
) -> None:
    before = stored(butler, refs)
    trial = butler.convert(refs, format="csv", dry_run=True)
    assert trial.changes == {
        ("parquet", "root", "csv", "root"): (N_OBJECTS, sum(one.size for one in before))
    }
    assert stored(butler, refs) == before
    zstd = {"name": "parquet", "compression": "zstd", "row_group": 10}
    done = butler.convert(refs, format=zstd)
    assert (done.n_files, done.unchanged, done.failed) == (N_OBJECTS, 0, [])
    after = stored(butler, refs)
    assert {one.path for one in after}.isdisjoint(one.path for one in before)
    assert all(one.options == {"compression": "zstd", "row_group": 10} for one in after)
    assert done.new_bytes == sum(one.size for one in after)
    for one, ref in zip(after, refs, strict=True):
        cards = get_formatter("parquet").read_provenance(one.place(butler.root))
        assert cards == {"SKYS_ID": str(ref.id), "SKYS_RUN": "u/test"}
    again = butler.convert(refs, format=zstd)
    assert (again.n_files, again.unchanged) == (0, N_OBJECTS)

    moved = butler.convert(refs[:2], endpoint="archive")
    assert moved.changes[("parquet", "root", "parquet", "archive")][0] == 2
    assert [one.endpoint.name for one in stored(butler, refs)] == ["archive"] * 2 + ["root"] * 2
    assert stored(butler, refs)[0].options == {"compression": "zstd", "row_group": 10}
    butler.policy.set(dataset_type="objects", format="parquet", endpoint="root")
    assert butler.convert(refs).n_files == N_OBJECTS
    assert [one.endpoint.name for one in stored(butler, refs)] == ["root"] * N_OBJECTS
    assert butler.get_deferred("objects", instrument="DemoCam", detector=1).ref == refs[0]
    for n, ref in enumerate(refs, 1):
        assert butler.get(ref).equals(table(n))

    assert all(one.place(butler.root).exists() for one in [*before, *after])
    assert removal.empty_trash(butler, older_than=600) == 0
    assert butler.empty_trash() == 2 * N_OBJECTS + 2
    assert not any(one.place(butler.root).exists() for one in [*before, *after])
    report = audit.check(butler.registry.database, butler.root, checksums=True, grace=0)
    assert report.findings == []
    assert list((tmp_path / "archive").rglob("objects_*")) == []


def test_what_a_format_loses_is_found_and_the_old_file_stays(butler: Butler) -> None:
    butler.register_dataset_type("picture", ("instrument",), "Exposure")
    noise = np.random.default_rng(2).normal(100, 8, (90, 100)).astype("f4")
    kept = CCDData(
        noise, unit=u.adu, mask=noise > 115, uncertainty=VarianceUncertainty(noise**0 * 64)
    )
    kept.meta["OBJECT"] = "M 31"
    ref = butler.put(kept, "picture", instrument="DemoCam")
    before, whole = stored(butler, [ref]), butler.get(ref)
    lossy = {"name": "fits-image-tiles", "quantize": 16}
    [(_, why)] = butler.convert([ref], format=lossy).failed
    assert "fits-image-tiles does not keep all of it: image has values that differ by up to" in why
    assert stored(butler, [ref]) == before
    assert butler.convert([ref], format=lossy, tolerance=0.01).n_files == 0
    assert butler.convert([ref], format="fits-image-tiles").n_files == 1
    assert difference(whole, butler.get(ref)) == ""
    assert butler.convert([ref], format=lossy, tolerance=0.5).n_files == 1
    assert "image" in difference(whole, butler.get(ref))
    assert difference(whole, butler.get(ref), 0.5) == ""
    assert butler.get(ref).meta["OBJECT"] == "M 31"


def test_what_cannot_be_converted_is_told(butler: Butler, refs: list[DatasetRef]) -> None:
    butler.replicate(refs[:1], "archive")
    stored(butler, refs)[1].place(butler.root).unlink()
    butler.prune([refs[2]])
    done = butler.convert(refs, format="csv")
    assert done.n_files == 1
    told = {ref.data_id["detector"]: why for ref, why in done.failed}
    assert told[1] == ("it has copies at root, archive; say which endpoint shall have the new")
    assert "is not there" in told[2]
    assert told[3] == "no copy of it can be read here"
    assert butler.convert(refs[:1], format="csv", endpoint="archive").n_files == 1
    assert butler.get(refs[0]).equals(table(1))


def test_who_looked_a_file_up_before_reads_it_before_and_after_the_old_one_goes(
    butler: Butler, repository: Path, refs: list[DatasetRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer that a reader got from the database is given again, once, after the conversion."""
    looked_up = files.copies

    with Butler(repository) as reader:
        old = reader.registry.database.ask(looked_up, refs[0].id)
        butler.convert(refs, format="csv")
        answers = [old]

        def late(connection: Any, one: Any) -> Any:
            return answers.pop() if answers else looked_up(connection, one)

        monkeypatch.setattr(files, "copies", late)
        assert reader.get(refs[0]).equals(table(1))
        assert answers == []
        butler.empty_trash()
        answers.append(old)
        assert reader.get(refs[0]).equals(table(1))
        assert answers == []
        butler.prune([refs[0]])
        answers.append(old)
        with pytest.raises(MissingDataset):
            reader.get(refs[0])


def reading(root: str, ids: list[str]) -> None:
    """Read datasets again and again, until a file says that it is enough."""
    with Butler(root, collections="u/test") as butler:
        print("reading", flush=True)  # noqa: T201
        n = 0
        while not (Path(root) / "enough").exists():
            detector = n % len(ids) + 1
            found = butler.get("objects", instrument="DemoCam", detector=detector)
            assert found.equals(table(detector)), detector
            n += 1
    print(n, flush=True)  # noqa: T201


def test_a_reader_goes_on_during_conversions(
    butler: Butler, repository: Path, refs: list[DatasetRef], nursery: Nursery
) -> None:
    child = nursery.start(f"{__name__}:reading", str(repository), [str(r.id) for r in refs])
    said = iter(child)
    assert next(said) == "reading"
    for kind in ("csv", "parquet", "csv", {"name": "parquet", "compression": "gzip"}):
        assert butler.convert(refs, format=kind).n_files == N_OBJECTS
        butler.empty_trash()
    (repository / "enough").touch()
    assert int(next(said)) > 0
    assert child.wait() == 0


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (table(1), table(1), ""),
        (table(1), table(1).rename(columns={"id": "key"}), "the names of its columns"),
        (table(1), table(1).astype({"id": "int32"}), "column id: type"),
        (table(1), table(1).fillna(0.0), "column flux: missing"),
        (table(1), table(2), "column id has other values"),
        ({"a": [1, float("nan")]}, {"a": [1, float("nan")]}, ""),
        ({"a": [1, 2.5]}, {"a": [1, 2.0]}, "a.[1] is 2.5 and becomes 2.0"),
        ({"a": 1}, {}, "a is only in one of them"),
        ({"a": 1}, {"a": True}, "a is int and becomes bool"),
        (np.zeros(3), np.zeros(4), "of shape (3,) and becomes float64 of shape (4,)"),
        (np.zeros(3, "f4"), np.zeros(3), "it is float32"),
        (np.array([1.0, 2]), np.array([1.0, 2.25]), "differ by up to 0.25"),
        (np.array([1.0, np.inf]), np.array([1.0, np.inf]), ""),
        (Table({"t": [1, 2] * u.s}), Table({"t": [1, 2] * u.m}), "column t: unit"),
        (Table({"t": Time([1, 2], format="mjd")}), Table({"t": Time([1, 3], format="mjd")}), "t."),
        (Table({"a": [1]}, meta={"SKYS_ID": "x"}), Table({"a": [1]}), ""),
    ],
)
def test_differences_are_named(one: Any, other: Any, said: str) -> None:
    found = difference(one, other)
    assert said in found
    assert bool(said) == bool(found)
