"""Datasets that lie as rows in tables of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from backbone.audit import check
from backbone.errors import ChangedFile, EndpointConflict
from butler import Butler
from butler.errors import (
    CannotWrite,
    InvalidParameter,
    NoGoodCopy,
    PolicyError,
    TransferError,
    UnknownComponent,
)
from butler.repository import Repository
from registry import deploy, site_migrations
from registry.errors import Conflict, DatasetExists, MissingDataset, UnknownRevision
from registry.expressions import ExpressionError
from registry.site_migrations import SiteBehind
from tests.butler.declared import install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.identity import DatasetRef
    from tests.databases import Databases

SOURCES = """
table: rows_source
doc: Sources found in exposures, 100 % of them; "all" of 'them'.
dataset_types: [source, source_table, source_arrow]
columns:
  - {name: source_id, type: int64, doc: Number of the source, indexed: true}
  - {name: flux, type: float64, unit: nJy, doc: Flux, nullable: true}
  - {name: snr, type: float32, doc: Signal to noise, nullable: true}
  - {name: band, type: text, length: 8, doc: Filter band, indexed: true}
  - {name: note, type: text, doc: Remark, nullable: true}
  - {name: flag, type: bool, doc: Whether it is bad, nullable: true}
  - {name: n, type: uint32, doc: How often, nullable: true}
  - {name: seen, type: timestamp, doc: When, nullable: true}
  - {name: shape, type: bytes, doc: Packed shape, nullable: true}
  - {name: peak, type: tai, doc: Time of the peak, nullable: true}
"""
TEXTS = ["r", "", 'ü"\n,\t\\', "\\N"]


def make(root: Path, url: str | None, *, with_table: bool = True) -> None:
    with Butler.create(root, db=url) as made:
        made.register_dataset_type("source", (), "DataFrame")
        made.register_dataset_type("source_table", (), "Table")
        made.register_dataset_type("source_arrow", (), "ArrowTable")
        made.register_dataset_type("plain", (), "DataFrame")
    if with_table:
        install(root, SOURCES)


@pytest.fixture
def root(tmp_path: Path, database_url: str) -> Path:
    """Repository with the table `rows_source`, for three dataset types."""
    folder = tmp_path / "repo"
    make(folder, database_url)
    return folder


@pytest.fixture
def butler(root: Path) -> Iterator[Butler]:
    with Butler(root, run="u/me") as opened:
        yield opened


@pytest.fixture(scope="module")
def kept(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Butler]:
    """The same, one for all tests that are refused something."""
    folder = tmp_path_factory.mktemp("kept") / "repo"
    with databases.migrated() as url:
        make(folder, url)
        with Butler(folder, run="u/me") as opened:
            yield opened


@pytest.fixture(scope="module")
def stored(kept: Butler) -> DatasetRef:
    """Four rows in it."""
    return kept.put(frame(), "source", run="u/stored")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Butler]:
    """Another repository, with no table."""
    folder = tmp_path / "other"
    make(folder, None, with_table=False)
    with Butler(folder, run="u/me") as opened:
        yield opened


def frame(n_rows: int = 4) -> pd.DataFrame:
    numbers = np.arange(n_rows)
    return pd.DataFrame(
        {
            "source_id": numbers + 100,
            "flux": numbers * 1.5,
            "band": [("g", "r")[n % 2] for n in numbers],
        }
    )


def arrow() -> pa.Table:
    """Every type, with what is hard to keep: limits, NaN beside NULL, odd texts."""
    return pa.table(
        {
            "source_id": pa.array([2**63 - 1, -(2**63), 0, 7]),
            "flux": pa.array([float("nan"), None, float("-inf"), 1.7976931348623157e308]),
            "snr": pa.array([0.1, None, float("nan"), 1e-38], pa.float32()),
            "band": pa.array(TEXTS),
            "note": pa.array(["", None, "a" * 70_000, "\r\n'"]),
            "flag": pa.array([True, None, False, True]),
            "n": pa.array([2**32 - 1, None, 0, 1], pa.uint32()),
            "seen": pa.array([-1, None, 2**62, 0], pa.timestamp("ns")),
            "shape": pa.array([b"\x00\xff\\x", None, b"", b"'"]),
            "peak": pa.array([-(2**62), None, 0, 1]),
        }
    )


def execute(butler: Butler, statement: str) -> None:
    with butler.registry.begin() as connection:
        connection.execute(sa.text(statement))


def count(butler: Butler) -> int:
    with butler.registry.read() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM rows_source")).scalar_one())


def test_every_value_comes_back_as_it_was(butler: Butler, root: Path) -> None:
    given = arrow()
    ref = butler.put(given, "source_arrow")
    found = butler.get(ref)
    # Arrow's equality takes NaN for different from itself
    assert found.schema == given.schema
    assert str(found.to_pydict()) == str(given.to_pydict())
    assert found.schema.field("flux").metadata == {b"unit": b"nJy"}
    assert not list(root.glob("u/**/*")), "no file was made"
    assert check(butler.registry.database, root, checksums=True, grace=0).findings == []
    assert butler.exists(ref)
    assert deploy.check(Repository.open(root).url) == []


def test_a_data_frame_keeps_its_types_and_its_index(butler: Butler) -> None:
    given = frame().assign(
        n=pd.array([1, None, 2**32 - 1, 0], "UInt32"),
        flag=pd.array([True, None, False, True], "boolean"),
        note=pd.Series(["a", None, "", "b"], dtype="string"),
        seen=pd.Series(["2020-01-01", None, "1990-05-05", "2019-01-01"], dtype="datetime64[us]"),
        flux=[1.0, np.nan, np.inf, -0.0],
    )
    given.index = pd.RangeIndex(10, 18, 2)
    given.attrs["sky"] = "dark"
    ref = butler.put(given, "source")
    pd.testing.assert_frame_equal(butler.get(ref), given)
    assert butler.get(ref).attrs == {"sky": "dark"}
    by_number = given.assign(source_id=[3, 1, 4, 15]).set_index("source_id")
    other_ref = butler.put(by_number, "source", run="u/other")
    pd.testing.assert_frame_equal(butler.get(other_ref), by_number)


def test_an_astropy_table_keeps_units_masks_metadata_and_times(butler: Butler) -> None:
    given = Table(
        {
            "band": ["g", "r"],
            "source_id": [1, 2],
            "flux": MaskedColumn([np.nan, 2.0], mask=[False, True], unit="nJy"),
            "snr": np.array([1, 2], "f4"),
            "peak": Time(["2020-01-01T00:00:00.123456789", "1999-12-31"], scale="utc"),
            "shape": [b"abc", b"d"],
        },
        meta={"visit": 12, "tags": ["a", "b"]},
    )
    ref = butler.put(given, "source_table")
    found = butler.get(ref)
    assert found.colnames == given.colnames
    assert found.meta == given.meta
    assert found["flux"].unit == "nJy"
    assert found["flux"].mask.tolist() == [False, True]
    assert np.isnan(found["flux"].data.data[0])
    assert found["snr"].dtype == np.float32
    assert np.asarray(found["shape"]).tolist() == [b"abc", b"d"]
    assert found["peak"].scale == "utc"
    assert abs((found["peak"] - given["peak"]).to_value("s")).max() < 1e-9
    with butler.registry.read() as connection:
        ns = connection.execute(sa.text("SELECT peak FROM rows_source WHERE source_id = 1"))
        assert ns.scalar_one() == 1_577_836_837_123_456_789, "37 s ahead of UTC"
    assert butler.get(ref, component="meta") == given.meta
    assert butler.get("source_table.columns") == given.colnames


def test_columns_and_rows_are_selected_by_the_database(butler: Butler) -> None:
    ref = butler.put(frame(1000), "source")
    expected = frame(1000)

    def get(**parameters: Any) -> pd.DataFrame:
        found: pd.DataFrame = butler.get(ref, parameters=parameters)
        return found

    pd.testing.assert_frame_equal(get(columns=["band", "flux"]), expected[["band", "flux"]])
    pd.testing.assert_frame_equal(get(rows=(10, 20)), expected[10:20])
    pd.testing.assert_frame_equal(get(rows=slice(-5, None)), expected[-5:])
    assert len(get(rows=(5, 5))) == 0
    found = get(where="flux >= :limit AND band = 'r'", bind={"limit": 1490}, columns="source_id")
    assert found["source_id"].tolist() == [1095, 1097, 1099]
    assert get(where="source_id IN (100..110:5)")["flux"].tolist() == [0, 7.5, 15]
    statements: list[str] = []
    sa.event.listen(
        butler.registry.database.engine,
        "before_cursor_execute",
        lambda *given: statements.append(given[2]),
    )
    get(columns=["flux"], rows=(0, 2))
    assert "flux" in statements[-1]
    assert "band" not in statements[-1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"columns": "fluxx"}, r"has no column 'fluxx'\. Did you mean 'flux'"),
        ({"rows": (0, 5)}, r"rows \(0, 5\) do not lie in .*whose rows are \(0, 4\)"),
        ({"rows": slice(0, 4, 2)}, "without a step"),
        ({"bbox": (0, 1, 2, 3)}, "cannot be read with the parameter 'bbox'"),
    ],
)
def test_a_wrong_selection_is_told(
    kept: Butler, stored: DatasetRef, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidParameter, match=message):
        kept.get(stored, parameters=parameters)


def test_a_wrong_condition_shows_the_place(kept: Butler, stored: DatasetRef) -> None:
    with pytest.raises(ExpressionError, match="flx"):
        kept.get(stored, parameters={"where": "flx > 3"})
    with pytest.raises(UnknownComponent, match="no component 'meta'"):
        kept.get(stored, component="meta")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1.0}, "column 'colour' is not declared there"),
        ({"source_id": 1.5}, r"'source_id' is double and is declared as int64; .*'int64'"),
        ({"n": -1}, r"'n' is int64 and is declared as uint32; .*'UInt32'"),
        ({"band": "infrared!"}, "'band' has a text of 9 characters .* length: 8"),
        ({"band": None}, "'band' has 4 missing values and is not declared nullable"),
        ({"note": "a\0"}, "'note' has a text with the character NUL"),
        ({"flag": 1}, "'flag' is int64 and is declared as bool"),
        ({"seen": pd.Timestamp("2020-01-01", tz="UTC")}, "'seen' .*take the time zone away"),
        ({"note": [[1], [2], [3], [4]]}, "'note' is list.*make several columns of it"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_column(
    kept: Butler, change: dict[str, Any], message: str
) -> None:
    before = count(kept)
    with pytest.raises(CannotWrite, match=message):
        kept.put(frame().assign(**change), "source")
    assert not kept.exists("source")
    assert count(kept) == before


def test_a_column_that_is_missing_or_in_another_unit_is_refused(butler: Butler) -> None:
    with pytest.raises(CannotWrite, match="'source_id' is declared there and is missing"):
        butler.put(frame()[["band"]], "source")
    given = Table.from_pandas(frame())
    given["flux"].unit = "mJy"
    with pytest.raises(CannotWrite, match=r"'flux' is in mJy and is declared in nJy; convert it"):
        butler.put(given, "source_table")
    given["flux"].unit = "1e-9 Jy"
    butler.put(given, "source_table")


def test_put_is_one_transaction_and_the_same_identity_is_refused(butler: Butler) -> None:
    butler.put(frame(), "source")
    with pytest.raises(DatasetExists):
        butler.put(frame(), "source")
    assert count(butler) == 4
    with pytest.raises(ZeroDivisionError), butler.transaction():
        butler.put(frame(), "source", run="u/other")
        raise ZeroDivisionError
    assert count(butler) == 4


def test_a_call_may_ask_for_a_file_or_for_rows(butler: Butler, root: Path) -> None:
    ref = butler.put(frame(), "source", format="parquet")
    assert len(list(root.glob("u/**/*.parquet"))) == 1
    assert count(butler) == 0
    pd.testing.assert_frame_equal(butler.get(ref), frame())
    with pytest.raises(PolicyError, match="of 'plain' should lie in a table, and none is"):
        butler.put(frame(), "plain", endpoint="tables")
    butler.put(frame(), "plain")
    butler.put(frame(), "source", run="u/other", endpoint="tables")
    assert count(butler) == 4


def test_a_table_may_be_of_a_storage_class(butler: Butler, root: Path) -> None:
    install(
        root,
        "{doc: Every frame, storage_classes: [DataFrame], table: rows_frame,"
        " columns: [{name: a, type: int8, doc: A number}]}",
    )
    with Butler(root, run="u/me") as again:
        again.put(pd.DataFrame({"a": np.array([1, 2], "i1")}), "plain")
        again.put(frame(), "source")
        with again.registry.read() as connection:
            found = connection.execute(sa.text("SELECT a FROM rows_frame ORDER BY row_no"))
            assert list(found.scalars()) == [1, 2]
    assert count(butler) == 4


def test_prune_and_removal_take_the_rows_along(butler: Butler, root: Path) -> None:
    first = butler.put(frame(), "source")
    second = butler.put(frame(7), "source", run="u/other")
    butler.prune([first])
    assert count(butler) == 7
    assert not butler.exists(first)
    with pytest.raises(MissingDataset, match="registered, but no copy"):
        butler.get(first)
    butler.prune([first], purge=True)
    pd.testing.assert_frame_equal(butler.get(second), frame(7))
    butler.remove_runs("u/other")
    assert count(butler) == 0
    report = check(butler.registry.database, root, grace=0)
    assert (report.findings, report.n_copies) == ([], 0)


def test_the_check_tells_what_was_changed_behind_the_registry(butler: Butler, root: Path) -> None:
    whole = butler.put(frame(), "source")
    short = butler.put(frame(), "source", run="u/short")
    gone = butler.put(frame(), "source", run="u/gone")
    changed = butler.put(frame(), "source", run="u/changed")
    dataset = "(SELECT dataset_id FROM file WHERE path = '{}')"
    for ref, statement in (
        (short, "DELETE FROM rows_source WHERE row_no = 2 AND dataset_id = "),
        (gone, "DELETE FROM rows_source WHERE dataset_id = "),
        (changed, "UPDATE rows_source SET flux = 99 WHERE row_no = 1 AND dataset_id = "),
    ):
        execute(butler, statement + dataset.format(f"rows_source/{ref.id.hex}"))
    with pytest.raises(ChangedFile, match="has 3 rows from 0 to 4 .* and 4 were recorded"):
        butler.get(short)
    database = butler.registry.database
    quick = {f.problem for f in check(database, root, grace=0).findings}
    assert quick == {"size", "missing"}
    found = check(database, root, checksums=True, repair=True, grace=0).findings
    assert {(f.problem, f.what.partition("/")[2]) for f in found} == {
        ("size", short.id.hex),
        ("missing", gone.id.hex),
        ("checksum", changed.id.hex),
    }
    assert [butler.exists(r) for r in (whole, short, gone, changed)] == [True, False, False, False]
    butler.prune([short, gone, changed], purge=True)
    assert count(butler) == 4


def test_rows_that_nothing_records_are_orphans(butler: Butler, root: Path) -> None:
    ref = butler.put(frame(), "source")
    execute(butler, "DELETE FROM file_rows")
    execute(butler, "DELETE FROM replica")
    execute(butler, "DELETE FROM file")
    found = check(butler.registry.database, root, repair=True, grace=0).findings
    assert [(f.problem, f.what) for f in found] == [("orphan", f"rows_source/{ref.id.hex}")]
    assert count(butler) == 0


def test_another_repository_reads_the_rows_and_takes_them(
    butler: Butler, root: Path, other: Butler, tmp_path: Path
) -> None:
    given = frame()
    ref = butler.put(given, "source")
    with Butler(tmp_path / "other", run="u/mine", inputs=[root]) as reader:
        pd.testing.assert_frame_equal(reader.get("source", collections="u/me"), given)
        half = reader.get(ref, parameters={"columns": ["flux"], "rows": (0, 2)})
        assert half["flux"].tolist() == [0, 1.5]
    taken = other.transfer_from(butler, [ref])
    assert (taken.files, taken.without_file) == (1, [])
    pd.testing.assert_frame_equal(other.get(ref), given)
    assert len(list((tmp_path / "other").glob("u/**/*.parquet"))) == 1, "no table, so a file"
    with pytest.raises(TransferError, match="lies in the table rows_source there"):
        other.transfer_from(butler, [butler.put(given, "source", run="u/more")], transfer="direct")


def test_a_transfer_puts_rows_into_the_table_that_is_declared_here(
    butler: Butler, tmp_path: Path
) -> None:
    given = arrow()
    ref = butler.put(given, "source_arrow")
    make(tmp_path / "third", None)
    with Butler(tmp_path / "third", writeable=True) as third:
        third.transfer_from(butler, [ref])
        assert count(third) == 4
        assert str(third.get(ref).to_pydict()) == str(given.to_pydict())
        assert third.transfer_from(butler, [ref]).present == 1


@pytest.mark.parametrize("name", ["all", "all.zip"])
def test_an_export_holds_the_rows_as_a_file(
    butler: Butler, other: Butler, tmp_path: Path, name: str
) -> None:
    given = frame()
    ref = butler.put(given, "source")
    made = butler.export(tmp_path / "export" / name, [ref])
    assert (made.datasets, made.files, made.notes) == (1, 1, [])
    other.import_(tmp_path / "export" / name)
    pd.testing.assert_frame_equal(other.get(ref), given)
    assert [p.name for p in (tmp_path / "export").iterdir()] == [name], "nothing temporary is left"


def test_a_copy_elsewhere_is_refused_with_what_to_do(butler: Butler, tmp_path: Path) -> None:
    from backbone import endpoints

    (tmp_path / "disk").mkdir()
    database = butler.registry.database
    database.transact(endpoints.register, "disk", str(tmp_path / "disk"))
    ref = butler.put(frame(), "source")
    with pytest.raises(ChangedFile, match="lies in the table rows_source.*export it"):
        butler.replicate([ref], "disk")
    with pytest.raises(EndpointConflict, match="'tables' is the database itself"):
        database.transact(endpoints.register, "tables", str(tmp_path / "disk"))


def test_many_datasets_lie_in_one_table(butler: Butler) -> None:
    with butler.transaction():
        refs = [butler.put(frame(n), "source", run=f"u/{n}") for n in range(30)]
    assert count(butler) == sum(range(30))
    assert [len(butler.get(ref)) for ref in refs] == list(range(30))
    with butler.registry.read() as connection:
        plain = (
            "SELECT c.name, count(*) FROM rows_source r JOIN dataset d ON d.id = r.dataset_id "
            "JOIN collection c ON c.id = d.run_id WHERE r.flux > 40 GROUP BY c.name"
        )
        found = {row[0]: row[1] for row in connection.execute(sa.text(plain))}
    assert found == {"u/28": 1, "u/29": 2}


def test_a_repository_behind_its_own_migrations_is_refused(root: Path) -> None:
    url = Repository.open(root).url
    (root / "more.yaml").write_text(
        "{doc: More, dataset_types: [more], columns: [{name: a, type: int8, doc: A number}]}"
    )
    site_migrations.write(root / "migrations", root / "more.yaml")
    with pytest.raises(SiteBehind, match=r"at revision 0001.* has 0002.*skyspine db upgrade"):
        Butler(root)
    deploy.upgrade(url, site=root / "migrations")
    Butler(root).close()
    assert (deploy.current(url), deploy.current_site(url)) == (deploy.head(), "0002")
    (root / "migrations" / "0002_rows_more.py").unlink()
    with pytest.raises(SiteBehind, match="take the files that are missing"):
        Butler(root)


def test_a_table_goes_when_nothing_lies_in_it(butler: Butler, root: Path) -> None:
    url, site = Repository.open(root).url, root / "migrations"
    ref = butler.put(frame(), "source")
    with pytest.raises(Conflict, match="1 datasets lie in the table rows_source; remove them"):
        deploy.downgrade_site(url, "base", site)
    with pytest.raises(UnknownRevision, match="There is no revision '7'"):
        deploy.downgrade_site(url, "7", site)
    with pytest.raises(Conflict, match="has the tables rows_source, which an older schema"):
        deploy.downgrade(url, "0015")
    butler.prune([ref], purge=True)
    butler.close()
    deploy.downgrade_site(url, "base", site)
    assert deploy.current_site(url) is None
    deploy.downgrade(url, "0015")
    deploy.upgrade(url, site=site)
    assert deploy.check(url) == []
    deploy.downgrade(url, "base")
    assert deploy.current(url) is None


def test_the_check_of_the_schema_knows_the_tables(butler: Butler, root: Path) -> None:
    execute(butler, "ALTER TABLE rows_source ADD COLUMN extra INTEGER")
    differences = deploy.check(Repository.open(root).url)
    assert len(differences) == 1
    assert "extra" in differences[0]


def test_a_missing_copy_is_told(butler: Butler) -> None:
    ref: DatasetRef = butler.put(frame(), "source")
    execute(butler, "UPDATE endpoint SET state = 'offline' WHERE name = 'tables'")
    with pytest.raises((MissingDataset, NoGoodCopy)):
        butler.get(ref)
