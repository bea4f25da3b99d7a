from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from butler import Butler
from butler.errors import ExchangeError, MissingFile, PathOutsideRepository
from butler.exchange import document
from butler.exchange.document import Document, TaiTime, read_document, write_document
from butler.exchange.universe import required
from registry import Timespan
from registry.errors import Conflict, SkyspineError
from tests.butler.exchange import small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.identity import DatasetRef

KINDS = ("metrics", "flat", "coadd")
ALSO = ("chosen", "calib", "all", "night", "day", "flats")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Butler]:
    with Butler.create(tmp_path / "source") as butler:
        small.fill(butler)
        yield butler


@pytest.fixture
def target(database_url: str, tmp_path: Path) -> Iterator[Butler]:
    with Butler.create(tmp_path / "target", database_url) as butler:
        yield butler


def everything(butler: Butler) -> list[DatasetRef]:
    return [
        ref
        for kind in KINDS
        for ref in butler.query_datasets(kind, collections="*", find_first=False)
    ]


def told(butler: Butler, path: Path) -> list[dict[str, Any]]:
    """Everything that a repository holds, as an export without files."""
    butler.export(path, everything(butler), also=ALSO, transfer=None, records="all")
    return read_document(path).parts


def export_text(*parts: str) -> str:
    head = "description: x\nversion: 1.0.2\nuniverse_version: 8\nuniverse_namespace: daf_butler\n"
    return head + "data:\n" + "".join(parts)


CAMERA = """\
- {type: dimension, element: instrument, records: [{name: Cam, detector_max: 2}]}
- type: dimension
  element: detector
  records: [{instrument: Cam, id: 0, full_name: a, purpose: SCIENCE}]
- {type: dataset_type, name: flat, dimensions: [instrument, detector],
   storage_class: StructuredDataDict, is_calibration: true}
"""


def flat(key: str, path: str = "", run: str = "flats") -> str:
    return (
        f"- type: dataset\n  dataset_type: flat\n  run: {run}\n  records:\n"
        f"  - {{dataset_id: [{key}], path: '{path}', "
        "data_id: [{instrument: Cam, detector: 0}]}\n"
    )


ONE = "!uuid '00000000-0000-4000-8000-000000000001'"


@pytest.mark.parametrize("transfer", ["auto", "hardlink", "direct"])
def test_all_that_a_repository_holds_arrives_in_another(
    source: Butler, target: Butler, tmp_path: Path, transfer: str
) -> None:
    refs = everything(source)
    made = source.export(
        tmp_path / "out", refs, also=ALSO, records="all", format="daf-butler-yaml",
        transfer="direct" if transfer == "direct" else "auto",
    )  # fmt: skip
    assert (made.datasets, made.files) == (6, 6)
    taken = target.import_(tmp_path / "out", transfer=transfer)
    assert {ref.id for ref in taken.refs} == {ref.id for ref in refs}
    assert taken.files == 6
    for ref in refs:
        assert target.get(ref) == source.get(ref)
    assert target.get("metrics", instrument="Cam", exposure=1, detector=0, collections="all") == {
        "seeing": 0.9
    }
    found = target.find_dataset(
        "flat", instrument="Cam", exposure=2, detector=0, collections="calib"
    )
    assert found is not None
    here, there = (told(b, tmp_path / f"{b.root.name}.yaml") for b in (source, target))
    for record in (r for part in (*here, *there) for r in part.get("records", ())):
        path = record.pop("path", "")
        assert transfer == "direct" or not path.startswith("/")
    assert here == there
    again = target.import_(tmp_path / "out", transfer=transfer)
    assert (again.refs, again.present, sum(again.records.values())) == ([], 6, 0)


def test_needed_records_go_along_and_no_others(
    source: Butler, target: Butler, tmp_path: Path
) -> None:
    query = {"dataset_type": "metrics", "collections": "day", "where": "detector = 0"}
    made = source.export(tmp_path / "one.yaml", query, transfer=None)
    assert made.datasets == 1
    assert made.records == {
        "instrument": 1,
        "physical_filter": 1,
        "detector": 1,
        "day_obs": 1,
        "group": 1,
        "exposure": 1,
    }
    taken = target.import_(tmp_path / "one.yaml", transfer=None)
    assert taken.files == 0
    assert "without their files" in " ".join(taken.notes)
    (exposure,) = target.query_dimension_records("exposure")
    assert (exposure["ra"], exposure["seq_num"]) == (11.0, 1)
    assert not target.exists(taken.refs[0])


def test_facts_without_a_column_are_read_by_name(target: Butler, tmp_path: Path) -> None:
    path = tmp_path / "export.yaml"
    path.write_text(
        export_text(
            CAMERA,
            "- {type: dimension, element: physical_filter, records: [{instrument: Cam, name: g}]}\n"
            "- type: dimension\n  element: exposure\n  records:\n",
            *(
                f"  - {{instrument: Cam, id: {n}, physical_filter: g, obs_id: o{n}, "
                f"day_obs: 20240101, observation_type: x, group: g{n}, azimuth: {n}.5, "
                f"can_see_sky: {sees}, seq_end: {2**40 + n}, "
                "datetime_begin: !butler_time/tai/iso '2024-01-01 13:00:00', "
                "datetime_end: !butler_time/tai/iso '2024-01-01 13:01:00'}\n"
                for n, sees in ((1, "true"), (2, "false"), (3, "null"))
            ),
        )
    )
    taken = target.import_(path)
    assert "nights of exposures without a record" in taken.notes[0]
    for where, expected in (
        ("exposure.azimuth > 2", {2, 3}),
        ("exposure.can_see_sky", {1}),
        ("NOT exposure.can_see_sky", {2}),
        ("exposure.can_see_sky IS NULL", {3}),
        ("exposure.group = 'g2'", {2}),
        ("group != 'g2'", {1, 3}),
        (f"exposure.seq_end = {2**40 + 3}", {3}),
        ("exposure.sky_angle IS NULL", {1, 2, 3}),
        ("exposure.timespan.end > T'2024-01-01T13:00:30/tai'", {1, 2, 3}),
    ):
        found = target.query_dimension_records("exposure", where=where)
        assert {row["id"] for row in found} == expected, where


def test_a_failed_import_leaves_no_trace(target: Butler, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    path = tmp_path / "export.yaml"
    other = ONE.replace("1'", "2'")
    path.write_text(export_text(CAMERA, flat(ONE, "a.yaml"), flat(other, "gone.yaml", "more")))
    with pytest.raises(MissingFile, match=r"1 of 2 files .*gone.yaml; say where"):
        target.import_(path)
    path.write_text(export_text(CAMERA, flat(ONE, "a.yaml"), flat(other, "a.yaml")))
    with pytest.raises(Conflict):
        target.import_(path)
    assert target.query_dimension_records("instrument") == []
    assert target.registry.collections() == []
    assert [p for p in target.root.rglob("*a_*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "lacks the list 'data'"),
        ("version: 2.0.0\ndata: []", "has version 2.0.0 of the export format"),
        ("version: 1.0.2\nuniverse_version: 9\ndata: []", "the universe daf_butler 9"),
        ("version: 0\nuniverse_namespace: mine\ndata: []", "the universe mine 0"),
        ("version: 0\ndata: [1]", "has no type"),
        ("version: 0\ndata: [{type: quantum}]", "unknown type quantum"),
        ("version: 0\ndata: [{type: dimension, element: moon}]", "records of moon"),
        ("version: 0\ndata: [", "cannot be read as an export (line 3)"),
        ("version: 0\ndata: !!python/object/apply:os.system ['true']", "cannot be read as an"),
        ("version: 0\ndata: [{type: dataset, dataset_type: x, run: r}]", "it does not define"),
        ("version: 0\ndata: [{type: collection}]", "does not have the form"),
        ("version: 0\ndata: [{type: dimension, element: tract, records: [{id: 1}]}]", "lacks its"),
        (
            "version: 0\ndata: [{type: dimension, element: day_obs, "
            "records: [{instrument: C, id: 20241301}]}]",
            "is not a night",
        ),
        (
            "version: 0\ndata: [{type: dimension, element: visit, records: "
            "[{region: !<lsst.sphgeom.Circle> {encoded: xyz}}]}]",
            "not encoded as hex",
        ),
        (export_text(CAMERA, flat(ONE), flat(ONE, "", "other")), "two datasets with the identity"),
        (
            export_text("- {type: collection, collection_type: CHAINED, name: a, children: [b]}\n"
                        "- {type: collection, collection_type: CHAINED, name: b, children: [a]}\n"),
            "in a ring",
        ),
        (
            export_text("- {type: collection, collection_type: TAGGED, name: t}\n",
                        "- {type: associations, collection: t, collection_type: TAGGED, "
                        f"dataset_ids: [{ONE}]}}\n"),
            "which it does not hold",
        ),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused_in_a_sentence(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with Butler.create(tmp_path / "repo") as butler:
        with pytest.raises(ExchangeError) as caught:
            butler.import_(tmp_path / "x.yaml")
        assert sentence in str(caught.value)
        assert butler.registry.collections() == []


def test_paths_do_not_lead_out_of_the_repository(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "x").write_text("{}")
    (tmp_path / "deep/export.yaml").write_text(export_text(CAMERA, flat(ONE, "../x")))
    with (
        Butler.create(tmp_path / "repo") as butler,
        pytest.raises(PathOutsideRepository, match="outside its folder"),
    ):
        butler.import_(tmp_path / "deep")


def test_an_identity_given_twice_is_refused(target: Butler, tmp_path: Path) -> None:
    for run in ("flats", "others"):
        (tmp_path / f"{run}.yaml").write_text(export_text(CAMERA, flat(ONE, "", run)))
    target.import_(tmp_path / "flats.yaml")
    with pytest.raises(Conflict, match="gave it away twice"):
        target.import_(tmp_path / "others.yaml")
    assert [c.name for c in target.registry.collections()] == ["flats"]


def test_forms_of_old_exports(target: Butler, tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(
        "version: 1.0.1\nuniverse_version: 1\ndata:\n" + CAMERA + flat("77") +
        "- {type: run, name: empty}\n"
        "- {type: dimension, element: physical_filter, records: [{instrument: Cam, name: g}]}\n"
        "- type: dimension\n  element: exposure\n  records:\n"
        "  - {instrument: Cam, id: 5, physical_filter: g, obs_id: o, day_obs: 20240101, "
        "group_id: 9, group_name: nine, observation_type: x, "
        "datetime_begin: 2024-01-01 13:00:00, datetime_end: 2024-01-01 13:01:00}\n"
        "- type: dimension\n  element: visit\n  records:\n"
        "  - {instrument: Cam, id: 5, physical_filter: g, name: o, day_obs: 20240101, "
        "visit_system: 0, "
        "datetime_begin: 2024-01-01 13:00:00, datetime_end: 2024-01-01 13:01:00}\n"
        "- {type: associations, collection: calib, collection_type: CALIBRATION, validity_ranges: "
        "[{begin: !butler_time/tai/iso '2024-01-01 00:00:00.000000001', end: null, "
        "dataset_ids: [77]}]}\n"
    )  # fmt: skip
    taken = target.import_(path)
    assert "validity ranges were cut to microseconds" in taken.notes
    (ref,) = taken.refs
    assert ref.id == uuid.uuid3(uuid.UUID("4d4851f4-2890-4d41-8779-5f38a3f5062b"), "77")
    (exposure,) = target.query_dimension_records("exposure", where="group = 'nine'")
    assert exposure["begin_tai_ns"] == TaiTime.parse("2024-01-01 13:00:37")  # UTC in those days
    assert taken.records["visit_system_membership"] == 1
    later = int(TaiTime.parse("2025-01-01 00:00:00"))
    found = target.find_dataset("flat", instrument="Cam", detector=0, collections="calib", at=later)
    assert found == ref


def test_what_lsst_daf_butler_lacks_is_refused_or_told(source: Butler, tmp_path: Path) -> None:
    source.register_dataset_type("map", ("healpix",), "StructuredDataDict")
    odd = source.put({}, "map", run="day", healpix=3)
    with pytest.raises(ExchangeError, match="map has the dimension healpix"):
        source.export(tmp_path / "a.yaml", [odd])
    source.register_dataset_type(
        "nightly", ("instrument", "exposure", "day_obs"), "StructuredDataDict"
    )
    over = source.put({}, "nightly", run="day", instrument="Cam", exposure=1, day_obs=small.NIGHT)
    with pytest.raises(ExchangeError, match="day_obs follows from the others"):
        source.export(tmp_path / "a.yaml", [over])
    assert not (tmp_path / "a.yaml").exists()
    made = source.export(tmp_path / "a.yaml", everything(source), also=["all"], transfer=None)
    assert "chain all holds chosen, which the export lacks" in made.notes
    assert "exposures without a group: obs_id is written as their group" in made.notes
    with pytest.raises(ExchangeError, match="exists already"):
        source.export(tmp_path / "a.yaml")
    for wrong in ("move", "cpy"):
        with pytest.raises(ExchangeError, match="no way to export files"):
            source.export(tmp_path / "b.yaml", transfer=wrong)
    with pytest.raises(ExchangeError, match="'needed' or 'all'"):
        source.export(tmp_path / "b.yaml", records="some")
    with pytest.raises(SkyspineError, match="nope"):
        source.export(tmp_path / "b.yaml", also=["nope"])
    with pytest.raises(ExchangeError, match="'dataset_type'"):
        source.export(tmp_path / "b.yaml", {"collections": "day"})


@pytest.mark.parametrize("kind", ["parquet", "daf-butler-yaml"])
def test_a_moved_file_is_gone_after_the_commit(
    source: Butler, target: Butler, tmp_path: Path, kind: str
) -> None:
    source.export(tmp_path / "out", everything(source), format=kind)
    before = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    target.import_(tmp_path / "out", transfer="move")
    left = {p.suffix for p in before if p.exists()}
    assert left == ({".json", ".parquet"} if kind == "parquet" else {".yaml"})
    assert len([p for p in before if not p.exists()]) == 6
    assert {
        target.get(r)["seeing"] for r in target.query_datasets("metrics", collections="day")
    } == {
        0.7,
        0.8,
    }


@given(st.integers(-(10**18), 9 * 10**18))
def test_times_are_exact_to_the_nanosecond(ns: int) -> None:
    assert TaiTime.parse(str(TaiTime(ns))) == ns
    assert str(TaiTime(0)) == "1970-01-01 00:00:00.000000000"
    day = dt.datetime(2024, 2, 29, 12) - dt.datetime(1970, 1, 1)  # noqa: DTZ001
    assert TaiTime.parse("2024-02-29 12:00:00.000000007") == int(day.total_seconds()) * 10**9 + 7


@given(
    begin=st.none() | st.integers(-(10**17), 10**18).map(lambda n: n * 1000 // 1000),
    texts=st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)),
    key=st.uuids(),
)
def test_a_document_is_read_as_it_was_written(
    begin: int | None, texts: list[str], key: uuid.UUID, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "document.yaml"
    span = Timespan(begin, None)
    parts = [{"type": "x", "span": span, "texts": texts, "key": key, "n": [None, 1, 2.5, True]}]
    with path.open("w", encoding="utf-8") as stream:
        write_document(Document(parts), stream)
    (back,) = read_document(path).parts
    assert back.pop("span").bounds == span.bounds
    assert back == {k: v for k, v in parts[0].items() if k != "span"}


def test_implied_dimensions_identify_nothing() -> None:
    calexp = ["band", "instrument", "day_obs", "detector", "physical_filter", "visit"]
    assert required(calexp) == ("instrument", "detector", "visit")
    assert required(["band", "skymap", "tract"]) == ("band", "skymap", "tract")
    assert required(["band", "subfilter", "physical_filter"]) == (
        "band",
        "subfilter",
        "physical_filter",
    )


SCALARS = st.one_of(
    st.integers(-(10**18), 10**18),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ["yes", "NULL", "~", "1e3", "010", "1:30", "- a", "a: b", "a #b", "'", "=", "&a"]
    ),
)


@given(
    ids=st.lists(
        st.dictionaries(st.text(st.characters(categories=["L", "P"]), max_size=5), SCALARS),
        max_size=4,
    ),
    name=SCALARS.filter(lambda v: isinstance(v, str)),
    path=SCALARS.filter(lambda v: isinstance(v, str)),
)
def test_datasets_are_written_and_read_as_the_yaml_library_does(
    ids: list[dict[str, Any]], name: str, path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "datasets.yaml"
    records = [
        {"dataset_id": [uuid.UUID(int=n)], "data_id": [i], "path": path, "formatter": name}
        for n, i in enumerate(ids)
    ]
    part = {"type": "dataset", "dataset_type": name, "run": path, "records": records}
    other: list[dict[str, Any]] = [{"type": "x", "text": "- type: dataset\n  a: b\n"}]
    parts = [*other, part, {"type": "y"}]
    with file.open("w", encoding="utf-8", newline="") as stream:
        write_document(Document(parts), stream)
    assert read_document(file).parts == parts
    with file.open("rb") as written:
        assert yaml.load(written, document._Loader)["data"] == parts  # noqa: S506, SLF001 (its own)


def test_lines_of_a_document_are_counted_as_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(export_text(CAMERA, flat(ONE), "- {type: [\n"))
    with pytest.raises(ExchangeError, match=r"\(line 18\)"):
        read_document(path)
