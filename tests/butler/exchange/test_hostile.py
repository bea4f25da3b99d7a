"""Exports that somebody has tampered with, or that were damaged on their way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from butler import Butler
from butler.errors import PathOutsideRepository
from butler.exchange.bundle import inside
from registry.errors import SkyspineError
from tests.butler.exchange import small
from tests.butler.exchange.contents import all_collections, everything

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export as a folder, and as an archive beside it."""
    folder = tmp_path_factory.mktemp("good")
    with Butler.create(folder / "repo") as butler:
        small.complete(butler)
        for name in ("out", "out.zip"):
            butler.export(
                folder / name, everything(butler), also=all_collections(butler), records="all"
            )
    return folder


@pytest.fixture
def export(good: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be spoilt."""
    shutil.copytree(good / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Butler]:
    with Butler.create(tmp_path / "target") as butler:
        yield butler


def refused(target: Butler, path: Path, sentence: str, **options: Any) -> None:
    """An import fails with a sentence, and leaves no trace."""
    before = sorted(target.root.rglob("*"))
    with pytest.raises(SkyspineError) as caught:
        target.import_(path, **options)
    assert sentence in str(caught.value), caught.value
    assert len(str(caught.value)) < 1000
    assert target.registry.collections() == []
    assert target.query_dimension_records("instrument") == []
    left = [p for p in target.root.rglob("*") if p.is_file() and p not in before]
    assert [p for p in left if not p.name.startswith("registry.sqlite3")] == []


def change_table(
    export: Path, name: str, change: Callable[[pa.Table], pa.Table], *, rows: int | None = None
) -> None:
    """Write a table anew, with a manifest that says so."""
    path = export / f"tables/{name}.parquet"
    table = change(pq.read_table(path))
    stream = io.BytesIO()
    pq.write_table(table, stream)
    change_content(export, name, stream.getvalue(), table.num_rows if rows is None else rows)


def change_content(export: Path, name: str, content: bytes, rows: int) -> None:
    (export / f"tables/{name}.parquet").write_bytes(content)
    manifest = json.loads((export / "manifest.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    manifest["tables"][name] = {"rows": rows, "size": len(content), "sha256": digest}
    (export / "manifest.json").write_text(json.dumps(manifest))


def with_values(column: str, values: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.column_names.index(column)
        field = table.schema.field(column)
        made = pa.array([values(v) for v in table.column(column).to_pylist()], field.type)
        return table.set_column(place, field, made)

    return change


@pytest.mark.parametrize(
    "path", ["../../x", "/etc/hostname", "a/../../b", "..\\x", "a\x00b", "", "."]
)
def test_files_outside_of_the_export_are_not_taken(export: Path, target: Butler, path: str) -> None:
    def change(table: pa.Table) -> pa.Table:
        return with_values("checksum", lambda _: None)(with_values("path", lambda _: path)(table))

    change_table(export, "file", change)
    sentence = "it may be any file" if path.startswith("/") else "outside its folder"
    if "\x00" in path:
        sentence = "with a zero byte"
    refused(target, export, sentence)


def test_links_that_lead_out_of_the_export_are_not_followed(
    export: Path, target: Butler, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.yaml"
    (victim,) = (export / "files").rglob("coadd_*.yaml")
    secret.write_bytes(b"x" * victim.stat().st_size)
    victim.unlink()
    victim.symlink_to(secret)
    refused(target, export, "its checksum differs")
    change_table(export, "file", with_values("checksum", lambda _: None))
    refused(target, export, "it may be any file")
    tables = export / "tables"
    (tables / "dataset.parquet").rename(tmp_path / "dataset.parquet")
    (tables / "dataset.parquet").symlink_to(tmp_path / "dataset.parquet")
    refused(target, export, "is not a plain file")


def test_damage_is_told(export: Path, target: Butler) -> None:
    (victim,) = (export / "files").rglob("coadd_*.yaml")
    content = victim.read_bytes()
    victim.write_bytes(content[:-1])
    refused(target, export, "74 are recorded. Export again.")
    victim.write_bytes(content[:-1] + b"x")
    refused(target, export, "its checksum differs. Export again.")
    refused(target, export, "its checksum differs. Export again.", transfer="direct")
    victim.unlink()
    refused(target, export, "1 of 8 files of the export are not there")
    table = export / "tables/dataset.parquet"
    whole = table.read_bytes()
    table.write_bytes(whole[:-1])
    refused(target, export, "is not what the manifest says")
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        change_content(export, "dataset", whole[:cut], 9)
        refused(target, export, "The table dataset of the export is damaged, or no Parquet")
    table.unlink()
    refused(target, export, "lacks tables/dataset.parquet")


MANIFESTS = [
    ("{}", "does not say so"),
    ("[1]", "does not say so"),
    ("{", "does not say so"),
    ("[" * 100_000, "does not say so"),
    ('{"format": "other"}', "does not say so"),
    (" " * 2_000_000, "at most 1048576 are expected"),
]


@pytest.mark.parametrize(("text", "sentence"), MANIFESTS, ids=range(len(MANIFESTS)))
def test_manifests(export: Path, target: Butler, text: str, sentence: str) -> None:
    (export / "manifest.json").write_text(text)
    refused(target, export, sentence)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"version": 2}, "version 2 of the format; this one knows version 1. Update skyspine"),
        ({"files": "there"}, "does not say where its files are"),
        ({"tables": {"users": {"rows": 1, "size": 1, "sha256": ""}}}, "has the table users"),
        ({"tables": {"../x": {"rows": 1, "size": 1, "sha256": ""}}}, "has the table ../x"),
        ({"tables": {"dataset": {"rows": "a"}}}, "does not say so"),
        ({"tables": []}, "does not say so"),
    ],
)
def test_manifests_that_say_something_else(
    export: Path, target: Butler, changed: dict[str, Any], sentence: str
) -> None:
    manifest = json.loads((export / "manifest.json").read_text())
    (export / "manifest.json").write_text(json.dumps(manifest | changed))
    refused(target, export, sentence)


def _drop(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def _retyped(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.nulls(table.num_rows, kind))

    return change


OTHER = "00000000-0000-4000-8000-000000000001"
TABLES: list[tuple[str, Callable[[pa.Table], pa.Table], str]] = [
    ("dataset", _drop("run"), "lacks the column run"),
    ("dataset", _retyped("detector", pa.string()), "is of the type string; int64 is expected"),
    ("dataset", _retyped("run", pa.string()), "lacks 9 values"),
    ("dataset", lambda t: t.append_column("x", pa.nulls(9)), "the column 'x', which is not known"),
    ("dataset", lambda t: pa.concat_tables([t, t]), "two rows with the same id"),
    ("dataset", with_values("id", lambda _: "1; DROP TABLE"), "values that are no identity"),
    ("dataset", with_values("run", lambda _: "r" * 300), "texts of more than 255 characters"),
    ("dataset", with_values("run", lambda _: "nope"), "names the collection nope"),
    ("dataset", with_values("detector", lambda _: 2**40), "numbers beyond 2147483647"),
    ("dataset", with_values("band", lambda _: "a|b"), "neither '|' nor a zero byte"),
    ("dataset", with_values("extra", lambda _: "{"), "that is no JSON"),
    ("dataset", with_values("extra", lambda _: "[" * 100_000), "that is no JSON"),
    ("dataset", with_values("extra", lambda _: "[1]"), "must be an object"),
    ("exposure", with_values("exposure_time", lambda _: float("nan")), "no finite numbers"),
    ("exposure", with_values("quality", lambda _: "bad"), "quality"),
    ("exposure", with_values("day_obs", lambda _: 20200101), "day_obs"),
    ("visit", with_values("region", lambda _: b"xyz"), "no region of the sky"),
    ("collection", with_values("name", lambda v: f"{v}*"), "names the collection"),
    ("collection", with_values("type", lambda _: "HEAP"), "is not a type of collection"),
    ("collection_chain", with_values("child", lambda v: "above" if v == "day" else v), "ring"),
    ("quantum", with_values("state", lambda _: "asleep"), "breaks a rule of the database"),
    ("quantum_input", with_values("dataset_id", lambda _: OTHER), "two rows with the same"),
    ("quantum_output", with_values("quantum_id", lambda _: OTHER), f"names the quantum {OTHER}"),
    ("tagged", with_values("dataset_id", lambda _: OTHER), f"names the dataset {OTHER}"),
    ("calibration", with_values("valid_end_tai_ns", lambda _: -(2**62)), "begin before it ends"),
]


@pytest.mark.parametrize(
    ("name", "change", "sentence"), TABLES, ids=[f"{n}-{t[0]}" for n, t in enumerate(TABLES)]
)
def test_tables(
    export: Path,
    target: Butler,
    name: str,
    change: Callable[[pa.Table], pa.Table],
    sentence: str,
) -> None:
    change_table(export, name, change)
    refused(target, export, sentence)


def test_tables_that_unpack_to_far_more_than_they_hold(export: Path, target: Butler) -> None:
    text = "x" * (15 * 2**20)

    def long(table: pa.Table) -> pa.Table:
        one = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000), pa.array([text]))
        place = table.column_names.index("doc")
        return table.take(pa.array([0] * 1_000)).set_column(place, "doc", one)

    change_table(export, "collection", long)
    refused(target, export, "would unpack from")
    change_table(export, "collection", lambda t: t.slice(0, 2), rows=3)
    refused(target, export, "has 2 rows; its manifest says 3")


@pytest.fixture
def archive(good: Path, tmp_path: Path) -> Path:
    """A copy of the archive, to be spoilt."""
    shutil.copyfile(good / "out.zip", tmp_path / "out.zip")
    return tmp_path / "out.zip"


def rewrite(archive: Path, change: Callable[[zipfile.ZipInfo, bytes], Any]) -> None:
    """Write each member as a change tells: name or info, content, way of packing."""
    with zipfile.ZipFile(archive) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(archive, "w") as new:
        for info, content in members:
            for arguments in change(info, content):
                new.writestr(*arguments)


def test_archives_are_damaged_or_none(archive: Path, target: Butler, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 30):
        archive.write_bytes(whole[:cut])
        refused(target, archive, "is damaged, or no zip archive")
    spoilt = bytearray(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as content:
        member = next(i for i in content.infolist() if "coadd_" in i.filename)
    place = member.header_offset + 30 + len(member.filename) + 10
    spoilt[place] ^= 0xFF
    archive.write_bytes(bytes(spoilt))
    refused(target, archive, "is damaged: Bad CRC-32")
    refused(target, tmp_path / "gone.zip", "There is no export")


def test_members_of_archives_that_are_none(archive: Path, target: Butler) -> None:
    def linked(info: zipfile.ZipInfo, content: bytes) -> Any:
        if "coadd_" in info.filename:
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            content = b"/etc/hostname".ljust(info.file_size, b" ")
        yield info, content

    whole = archive.read_bytes()
    rewrite(archive, linked)
    refused(target, archive, "is not a plain file")
    archive.write_bytes(whole)
    with pytest.warns(UserWarning, match="Duplicate name"):
        rewrite(archive, lambda info, content: [(info.filename, content)] * 2)
    refused(target, archive, "twice")


def test_an_archive_that_unpacks_to_far_more_than_it_holds(archive: Path, target: Butler) -> None:
    def bomb(info: zipfile.ZipInfo, content: bytes) -> Any:
        if "coadd_" in info.filename:
            yield info.filename, bytes(50 * 2**20), zipfile.ZIP_DEFLATED
        else:
            yield info.filename, content

    rewrite(archive, bomb)
    refused(target, archive, "would unpack from")


def test_an_archive_that_holds_more_than_it_says(archive: Path, target: Butler) -> None:
    with zipfile.ZipFile(archive) as content:
        member = next(i for i in content.infolist() if "coadd_" in i.filename)
    content_ = archive.read_bytes()
    longer = member.file_size + 1
    # the directory at the end says one byte more than there is
    place = content_.rindex(member.filename.encode()) - 46 + 24
    assert int.from_bytes(content_[place : place + 4], "little") == member.file_size
    archive.write_bytes(content_[:place] + longer.to_bytes(4, "little") + content_[place + 4 :])
    refused(target, archive, "74 are recorded")


def test_names_in_an_archive_do_not_matter(archive: Path, target: Butler) -> None:
    def more(info: zipfile.ZipInfo, content: bytes) -> Any:
        yield info.filename, content
        if info.filename == "manifest.json":
            yield "../../evil", b"x"
            yield "/tmp/evil", b"x"  # noqa: S108 (a name in an archive)

    rewrite(archive, more)
    assert len(target.import_(archive).refs) == 9
    assert not list(target.root.parent.parent.rglob("evil"))


def test_paths_are_checked_by_their_parts() -> None:
    assert inside("a/b..c/.d") == "a/b..c/.d"
    for path in ("a/..", "/a", "", ".", "../a", "a\\b", "a\x00"):
        with pytest.raises(PathOutsideRepository):
            inside(path)


def test_what_is_no_file_at_all(target: Butler, tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    os.mkfifo(tmp_path / "pipe.yaml")
    for path, told in (
        (tmp_path / "round", "cannot be read: Too many levels of symbolic links"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
        (tmp_path / "a\0b", "There is no export file"),
        (tmp_path / "none", "There is no export file"),
        (tmp_path / "pipe.yaml", "is a pipe or a device, and no export"),
    ):
        refused(target, path, told)
