from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbone.audit import check
from butler import Butler
from butler.errors import ExchangeError, MissingFile
from registry import Timespan
from registry.errors import Conflict, DatasetExists, ValidityOverlap
from registry.identity import DatasetType
from tests.butler.exchange import small
from tests.butler.exchange.contents import all_collections, contents, everything
from tests.conftest import BACKENDS
from tests.databases import MariaDBDatabases, PostgreSQLDatabases
from tests.nursery import Moments, moments_to_die
from tests.registry.observatory import DAY_NS, exposure, noon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.databases import Databases
    from tests.nursery import Nursery


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a little of all that an export may hold, to be copied."""
    root = tmp_path_factory.mktemp("model") / "repo"
    with Butler.create(root) as butler:
        small.complete(butler)
    return root


@pytest.fixture
def source(model: Path, tmp_path: Path) -> Iterator[Butler]:
    shutil.copytree(model, tmp_path / "source")
    with Butler(tmp_path / "source", writeable=True) as butler:
        yield butler


@pytest.fixture
def target(database_url: str, tmp_path: Path) -> Iterator[Butler]:
    with Butler.create(tmp_path / "target", database_url) as butler:
        yield butler


def export_all(butler: Butler, path: Path, **options: Any) -> Any:
    options = {"also": all_collections(butler), "records": "all", **options}
    return butler.export(path, everything(butler), **options)


def sound(butler: Butler) -> None:
    """Nothing is recorded that is not there, and nothing is there that is not recorded."""
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert report.findings == []


@pytest.mark.parametrize(
    ("name", "transfer"),
    [("out", "auto"), ("out.zip", "auto"), ("out", "hardlink"), ("out", "symlink")],
)
def test_all_that_a_repository_holds_arrives_in_another(
    source: Butler, target: Butler, tmp_path: Path, name: str, transfer: str
) -> None:
    made = export_all(source, tmp_path / name, transfer=transfer)
    assert (made.datasets, made.files, made.quanta) == (9, 8, 3)
    taken = target.import_(tmp_path / name)
    assert (len(taken.refs), taken.files, taken.quanta, taken.notes) == (9, 8, 3, [])
    assert contents(target) == contents(source)
    for ref in everything(source):
        if source.exists(ref):
            assert target.get(ref) == source.get(ref)
    sound(target)
    again = target.import_(tmp_path / name)
    assert (again.refs, again.present, again.files, again.records) == ([], 9, 0, {})
    assert contents(target) == contents(source)
    assert target.definition("DemoCam").digest == source.definition("DemoCam").digest


def test_tables_are_the_same_after_a_way_through_every_database(
    source: Butler, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    backends = pytestconfig.stash[BACKENDS]
    backends.start(backends.names)
    expected, here = contents(source), source
    with ExitStack() as opened:
        servers = [name for name in backends.names if name in backends.urls]
        for n, name in enumerate([*servers, "sqlite"]):
            url = None
            if name != "sqlite":
                makes = PostgreSQLDatabases if name == "postgresql" else MariaDBDatabases
                server = makes(backends.urls[name])
                opened.callback(server.close)
                url = opened.enter_context(server.empty())
            path = tmp_path / f"{n}.zip"
            export_all(here, path)
            here = opened.enter_context(Butler.create(tmp_path / str(n), url))
            here.import_(path)
            assert contents(here) == expected, name


def test_datasets_bring_their_whole_history_and_nothing_else(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    (coadd,) = source.query_datasets("coadd", collections="day")
    made = source.export(tmp_path / "out", [coadd])
    assert (made.datasets, made.files, made.quanta) == (1, 1, 2)
    assert made.notes == ["datasets go along as records only, since others were made from them (3)"]
    target.import_(tmp_path / "out")
    told = [set(b.registry.provenance.ancestors(coadd.id)) for b in (source, target)]
    assert told[0] == told[1]
    assert [len(edges) for edges in told] == [3, 3]
    assert {c.name for c in target.registry.collections()} == {"day", "step/1", "step/2"}
    assert [k.name for k in target.registry.dataset_types()] == ["between", "coadd", "metrics"]
    assert [r["name"] for r in target.query_dimension_records("instrument")] == ["Cam"]
    (metrics, _) = target.query_datasets("metrics", collections="day")
    assert not target.exists(metrics)
    export_all(source, tmp_path / "all")
    target.import_(tmp_path / "all")
    assert target.exists(metrics)
    assert contents(target) == contents(source)


def test_history_stays_at_home_when_asked(source: Butler, target: Butler, tmp_path: Path) -> None:
    query = {"dataset_type": "coadd", "collections": "day"}
    assert source.export(tmp_path / "out", query, history=False).quanta == 0
    taken = target.import_(tmp_path / "out")
    assert target.registry.provenance.ancestors(taken.refs[0].id) == []
    assert [c.name for c in target.registry.collections()] == ["day"]


def test_files_stay_where_they_are(source: Butler, target: Butler, tmp_path: Path) -> None:
    export_all(source, tmp_path / "direct", transfer="direct")
    export_all(source, tmp_path / "none", transfer=None)
    assert not (tmp_path / "direct/files").exists()
    with pytest.raises(MissingFile, match="without files; say where they are with directory="):
        target.import_(tmp_path / "none")
    assert everything(target) == []
    told = target.import_(tmp_path / "none", transfer=None)
    assert told.notes == ["datasets registered without their files, as asked"]
    (coadd,) = source.query_datasets("coadd", collections="day")
    assert not target.exists(coadd)
    taken = target.import_(tmp_path / "direct", transfer="direct")
    assert (taken.files, taken.present) == (8, 9)
    assert target.get(coadd) == {"depth": 25}
    assert not list(target.root.rglob("*.yaml"))[1:]
    with Butler.create(tmp_path / "third") as third:
        third.import_(tmp_path / "none", directory=source.root)
        assert third.get(coadd) == {"depth": 25}
        export_all(target, tmp_path / "again.zip")
        assert third.import_(tmp_path / "again.zip").files == 0
        sound(third)


def test_a_dry_run_tells_what_an_import_would_do(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    export_all(source, tmp_path / "out")
    empty = contents(target)
    told = target.import_(tmp_path / "out", dry_run=True)
    assert contents(target) == empty
    sound(target)
    done = target.import_(tmp_path / "out")
    assert (told.records, told.files, told.quanta) == (done.records, done.files, done.quanta)
    assert {r.id for r in told.refs} == {r.id for r in done.refs}


def test_what_contradicts_is_told_before_anything_is_written(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    export_all(source, tmp_path / "out")
    insert = target.registry.insert_dimension_records
    insert("instrument", [{"name": "Cam", "detector_max": 3}])
    night = {"instrument": "Cam", "id": small.NIGHT}
    insert("day_obs", [{**night, "begin_tai_ns": noon(small.NIGHT), "end_tai_ns": 2 * 10**18}])
    before = contents(target)
    with pytest.raises(Conflict) as caught:
        target.import_(tmp_path / "out")
    told = str(caught.value)
    assert "contradicts what is here in 3 places, and nothing was imported: " in told
    assert "instrument Cam: detector_max is 3 here, and 2 in the export" in told
    assert told.endswith("(on the command line --keep-here).")
    assert contents(target) == before
    sound(target)
    taken = target.import_(tmp_path / "out", conflicts="keep")
    assert taken.notes == ["places contradict the export; what is here was kept (3)"]
    (camera,) = target.query_dimension_records("instrument", where="instrument = 'Cam'")
    assert camera["detector_max"] == 3
    assert len(everything(target)) == 9


def test_names_that_mean_something_else_here_are_never_overridden(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    export_all(source, tmp_path / "out")
    target.registry.register_collection("chosen", "RUN")
    target.registry.register_dataset_type(
        DatasetType("flat", ("instrument",), "StructuredDataDict")
    )
    with pytest.raises(Conflict, match="must be put right first") as caught:
        target.import_(tmp_path / "out", conflicts="keep")
    assert "collection chosen: type is 'RUN' here, and 'TAGGED' in the export" in str(caught.value)
    assert "dataset_type flat: dimensions is 'instrument' here" in str(caught.value)
    assert everything(target) == []


def test_datasets_tags_and_ranges_in_the_place_of_others(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    export_all(source, tmp_path / "out")
    source.export(tmp_path / "base", also=["calib", "chosen", "all"], records="all", history=False)
    target.import_(tmp_path / "base")
    keys = {"instrument": "Cam", "detector": 0}
    mine = target.put({"level": 7}, "flat", keys, run="mine")
    target.certify("calib", [mine], Timespan(None, 10**18))
    before = contents(target)
    with pytest.raises(ValidityOverlap):
        target.import_(tmp_path / "out")
    assert contents(target) == before
    target.decertify("calib", "flat", Timespan(None, None))
    target.collections.tag("chosen", [mine])
    with pytest.raises(Conflict, match="holds the dataset"):
        target.import_(tmp_path / "out")
    target.collections.untag("chosen", [mine])
    other = target.put({"level": 8}, "flat", keys, run="flats")
    with pytest.raises(DatasetExists):
        target.import_(tmp_path / "out")
    target.prune([other], purge=True)
    target.import_(tmp_path / "out")
    assert target.exists("flat", keys, collections="flats")
    sound(target)


def test_a_newer_definition_of_a_camera_comes_into_force(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    export_all(source, tmp_path / "one")
    target.import_(tmp_path / "one")
    told = yaml.safe_load(source.definition("DemoCam").to_yaml())
    source.register_instrument({**told, "doc": "The same camera, told anew"})
    export_all(source, tmp_path / "two")
    target.import_(tmp_path / "two")
    assert target.definition("DemoCam").digest == source.definition("DemoCam").digest
    (camera,) = target.query_dimension_records("instrument", where="instrument = 'DemoCam'")
    assert camera["definition_version"] == 2


@st.composite
def registries(draw: st.DrawFn) -> dict[str, Any]:
    """A few cameras, exposures, dataset types of any dimensions, runs, tags and chains."""
    cameras = draw(st.lists(st.sampled_from(["A", "Böse", "c d"]), min_size=1, unique=True))
    dims = ("instrument", "detector", "exposure", "day_obs", "object")
    kinds = draw(
        st.lists(st.sets(st.sampled_from(dims), max_size=4).map(sorted), min_size=1, max_size=3)
    )
    values = {
        "detector": st.integers(0, 1),
        "exposure": st.integers(1, 3),
        "day_obs": st.just(20240101),
        "object": st.sampled_from(["M 31", "NGC 1", "é'\\\"%"]),
    }
    datasets = []
    for n, names in enumerate(kinds):
        keys = {d: values[d] for d in names if d in values}
        if set(names) - {"object"}:
            keys["instrument"] = st.sampled_from(cameras)
        kinds[n] = sorted(keys)
        for run in draw(st.lists(st.sampled_from(["r/1", "r/2"]), unique=True)):
            ids = draw(st.lists(st.fixed_dictionaries(keys), max_size=4))
            unique = {json.dumps(i, sort_keys=True): i for i in ids}
            datasets.append((n, run, list(unique.values())))
    times = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)
    return {
        "cameras": cameras,
        "exposure_time": draw(times),
        "kinds": kinds,
        "datasets": datasets,
        "tagged": draw(st.booleans()),
        "chain": draw(st.permutations(["r/1", "r/2", "tagged"])),
    }


def build(butler: Butler, drawn: dict[str, Any]) -> None:
    insert = butler.registry.insert_dimension_records
    for name in drawn["cameras"]:
        insert("instrument", [{"name": name}])
        insert("detector", [{"instrument": name, "id": n, "full_name": f"{n}"} for n in (0, 1)])
        times = {"begin_tai_ns": noon(20240101), "end_tai_ns": noon(20240101) + DAY_NS}
        insert("day_obs", [{"instrument": name, "id": 20240101, **times}])
        more = {"exposure_time": drawn["exposure_time"], "extra": {"a": [1, 2.5, None, "ü"]}}
        insert(
            "exposure",
            [{**exposure(n, 20240101, "science", **more), "instrument": name} for n in (1, 2, 3)],
        )
    for name, sort in (("r/1", "RUN"), ("r/2", "RUN"), ("tagged", "TAGGED")):
        butler.registry.register_collection(name, sort)
    refs = []
    for n, run, ids in drawn["datasets"]:
        kind = DatasetType(f"kind{n}", tuple(drawn["kinds"][n]), "StructuredDataDict")
        butler.registry.register_dataset_type(kind)
        refs += butler.registry.insert_datasets(kind, ids, run)
    if drawn["tagged"]:
        first = {(ref.dataset_type.name, ref.data_id): ref for ref in refs}
        butler.collections.tag("tagged", list(first.values()))
    butler.collections.chain("chain", drawn["chain"])


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=registries())
def test_whatever_a_registry_holds_arrives(
    drawn: dict[str, Any], databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    with (
        databases.migrated() as url,
        Butler.create(folder / "source") as source,
        Butler.create(folder / "target", url) as target,
    ):
        build(source, drawn)
        export_all(source, folder / "out.zip")
        target.import_(folder / "out.zip")
        assert contents(target) == contents(source)
        export_all(target, folder / "back.zip")
        with Butler.create(folder / "back") as back:
            back.import_(folder / "back.zip")
            assert contents(back) == contents(source)


def program(root: str, path: str, last: int) -> None:
    """Import, and die at a moment."""
    moments = Moments(last)
    with Butler(root, writeable=True) as butler:
        butler.import_(path)
    print(moments.count, flush=True)  # noqa: T201


def test_an_import_that_is_killed_at_any_moment_goes_on(
    source: Butler, databases: Databases, nursery: Nursery, tmp_path: Path
) -> None:
    export_all(source, tmp_path / "out")
    expected = contents(source)
    this = f"{__name__}:program"
    with databases.migrated() as url:
        Butler.create(tmp_path / "calm", url).close()
        status, said = nursery.run(this, str(tmp_path / "calm"), str(tmp_path / "out"), 0)
        assert status == 0, said
    for n, last in enumerate(moments_to_die(int(said[-1]), 5)):
        root = tmp_path / f"killed{n}"
        with databases.migrated() as url:
            Butler.create(root, url).close()
            nursery.kill(this, str(root), str(tmp_path / "out"), last)
            with Butler(root, writeable=True) as butler:
                found = check(butler.registry.database, root, grace=0, checksums=True).findings
                assert {f.problem for f in found} <= {"orphan", "unfinished"}
                butler.import_(tmp_path / "out")
                assert contents(butler) == expected
                sound(butler)


def test_files_that_came_whole_are_not_brought_again(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    export_all(source, tmp_path / "out")
    (coadd,) = source.query_datasets("coadd", collections="day")
    with Butler.create(tmp_path / "whole") as whole:
        whole.import_(tmp_path / "out")
        (place,) = [p.relative_to(whole.root) for p in whole.root.rglob("coadd_*.yaml")]
        content = (whole.root / place).read_bytes()
    (target.root / place).parent.mkdir(parents=True)
    left = target.root / place.parent / f".{place.name}.part"
    left.write_bytes(content)
    number = left.stat().st_ino
    target.import_(tmp_path / "out")
    assert (target.root / place).stat().st_ino == number
    target.prune([coadd], unstore=True)
    left.write_bytes(content[:-1])  # cut short
    target.import_(tmp_path / "out")
    assert (target.root / place).read_bytes() == content
    sound(target)


def test_an_export_that_was_cut_short_goes_on(source: Butler, tmp_path: Path) -> None:
    export_all(source, tmp_path / "out")
    (tmp_path / "out/manifest.json").unlink()
    files = [p for p in (tmp_path / "out/files").rglob("*") if p.is_file()]
    files[0].unlink()
    numbers = {p: p.stat().st_ino for p in files[1:]}
    with pytest.raises(ExchangeError, match="cut short: it lacks manifest.json. Run the export"):
        source.import_(tmp_path / "out")
    export_all(source, tmp_path / "out")
    assert {p: p.stat().st_ino for p in files[1:]} == numbers
    assert files[0].exists()
    with pytest.raises(ExchangeError, match="holds an export already"):
        export_all(source, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    with pytest.raises(ExchangeError, match="holds letter.txt, which is no part of an export"):
        export_all(source, tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["letter.txt"]  # noqa: PTH208 (names are compared)


def test_a_file_that_is_not_as_recorded_is_not_exported(source: Butler, tmp_path: Path) -> None:
    (place,) = source.root.rglob("coadd_*.yaml")
    place.write_text("depth: 2")
    with pytest.raises(MissingFile, match="has 8 bytes, and 74 are recorded; `skyspine check"):
        export_all(source, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    place.unlink()
    with pytest.raises(MissingFile, match="is gone, though it is recorded.*goes on from here"):
        export_all(source, tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()
