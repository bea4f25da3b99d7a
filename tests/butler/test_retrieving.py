"""Are files found, and brought out of a repository, by who wants nothing but files?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import url2pathname

import pytest
import sqlalchemy as sa

from backbone import endpoints, files
from backbone.errors import ChangedFile
from butler import Butler, FileDataset
from butler.errors import ExchangeError, MissingComponent, MissingFile, TransferError
from registry.errors import MissingDataset
from tests.butler.declared import install
from tests.butler.test_image_parts import APART, SUMMARY, frame

if TYPE_CHECKING:
    from registry.identity import DatasetRef


def put(butler: Butler, n: int, run: str = "u/test") -> DatasetRef:
    return butler.put({"n": n}, "summary", instrument="DemoCam", detector=n, run=run)


def test_a_uri_leads_to_the_file(butler: Butler) -> None:
    ref = put(butler, 1)
    [[path]] = butler.registry.to_dataframe("SELECT path FROM file").to_numpy().tolist()
    uri = (butler.root.absolute() / path).as_uri()
    assert butler.get_uri(ref) == uri
    assert butler.get_uri("summary", instrument="DemoCam", detector=1) == uri
    assert butler.get_uris([ref]) == {ref.id: {"": uri}}
    butler.prune([ref])
    assert butler.get_uris([ref]) == {}
    with pytest.raises(MissingFile, match="No file of"):
        butler.get_uri(ref)
    with pytest.raises(MissingDataset, match="No summary with"):
        butler.get_uri("summary", instrument="DemoCam", detector=3)


def test_the_uri_of_a_server_is_its_url(butler: Butler) -> None:
    ref = put(butler, 1)
    root = "s3://bucket/deep"
    butler.registry.database.transact(endpoints.register, "far", root)
    [(file_id, path)] = butler.registry.database.ask(_files)
    butler.registry.database.transact(files.add_replicas, "far", [(file_id, path)])
    assert butler.get_uri(ref).startswith("file:///")  # the nearest
    with butler.registry.begin() as connection:
        connection.execute(sa.text("UPDATE endpoint SET state = 'offline' WHERE name = 'root'"))
    assert butler.get_uri(ref) == f"{root}/{path}"


def _files(connection: sa.Connection) -> list[tuple[int, str]]:
    return [(key, path) for key, path in connection.execute(sa.text("SELECT id, path FROM file"))]


def test_files_come_under_their_names_and_are_not_fetched_twice(
    butler: Butler, tmp_path: Path
) -> None:
    refs = [put(butler, n) for n in (1, 2)]
    came = butler.retrieve_artifacts(refs, tmp_path / "out")
    assert [json.loads(p.read_text()) if p.suffix == ".json" else None for p in came.paths]
    paths = {str(path.relative_to(tmp_path / "out")) for path in came.paths}
    assert paths == {path for _, path in butler.registry.database.ask(_files)}
    for path in paths:
        assert (tmp_path / "out" / path).read_bytes() == (butler.root / path).read_bytes()
    assert (came.present, came.without_file) == (0, [])
    came.paths[0].unlink()
    again = butler.retrieve_artifacts(refs, tmp_path / "out")
    assert (again.paths, again.present, again.size) == (came.paths, 1, came.size)
    assert not [p for p in tmp_path.joinpath("out").rglob("*") if p.name.startswith(".")]

    flat = butler.retrieve_artifacts(refs, tmp_path / "flat", preserve_path=False)
    assert {path.parent for path in flat.paths} == {tmp_path / "flat"}
    linked = butler.retrieve_artifacts(refs, tmp_path / "links", transfer="symlink")
    assert {path.readlink() for path in linked.paths} == {butler.root.absolute() / p for p in paths}
    assert butler.retrieve_artifacts(refs, tmp_path / "links", transfer="symlink").present == 2


def test_what_cannot_come_is_told(butler: Butler, tmp_path: Path) -> None:
    ref, gone, changed = (put(butler, n) for n in (1, 2, 3))
    out = tmp_path / "out"
    butler.prune([gone])
    came = butler.retrieve_artifacts([ref, gone], out)
    assert ([r.id for r in came.without_file], len(came.paths)) == ([gone.id], 1)

    came.paths[0].write_text("mine")
    with pytest.raises(TransferError, match="is there already, and is not the file"):
        butler.retrieve_artifacts([ref], out)
    assert came.paths[0].read_text() == "mine"

    broken = Path(url2pathname(butler.get_uri(changed).removeprefix("file://")))
    broken.write_bytes(broken.read_bytes() + b" ")
    with pytest.raises(ChangedFile):
        butler.retrieve_artifacts([changed], tmp_path / "empty")
    assert not [p for p in (tmp_path / "empty").rglob("*") if p.is_file()]
    with pytest.raises(TransferError, match="Did you mean 'copy'"):
        butler.retrieve_artifacts([ref], out, transfer="coppy")


def test_two_files_of_one_name_are_refused(butler: Butler, tmp_path: Path) -> None:
    made = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.json").write_text('{"n": 1}')
        made.append(tmp_path / folder / "same.json")
    taken = butler.ingest(
        [
            FileDataset(path, "summary", {"instrument": "DemoCam", "detector": n})
            for n, path in enumerate(made, 1)
        ],
        run="given",
        transfer="direct",
    )
    refs = list(taken.refs)
    assert {butler.get_uri(ref) for ref in refs} == {path.as_uri() for path in made}
    with pytest.raises(TransferError, match=r"would both be same\.json"):
        butler.retrieve_artifacts(refs, tmp_path / "out")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]


def test_what_lies_in_parts_and_tables_becomes_files(repository: Path, tmp_path: Path) -> None:
    install(repository, SUMMARY)
    with Butler(repository, run="u/parts") as butler:
        butler.registry.insert_dimension_records("instrument", [{"name": "Cam", "detector_max": 9}])
        butler.register_dataset_type("calexp", ("instrument", "healpix"), "Exposure")
        butler.policy.set(storage_class="Exposure", **APART)
        ref = butler.put(frame(0.8), "calexp", instrument="Cam", healpix=0)
        parts = butler.get_uris([ref])[ref.id]
        assert parts["summary"].startswith("table:rows_summary/")
        assert {parts[name].partition(":")[0] for name in ("mask", "stddev")} == {"file"}
        assert butler.get_uri(ref, component="mask") == parts["mask"]
        with pytest.raises(MissingComponent, match="lies in parts .*mask"):
            butler.get_uri(ref)
        came = butler.retrieve_artifacts([ref], tmp_path / "out")
        assert len(came.paths) == len(parts)
        [rows] = [path for path in came.paths if "_summary" in path.name]
        assert "0.8" in rows.read_text(encoding="utf-8")
        with pytest.raises(ExchangeError, match="symbolic link"):
            butler.retrieve_artifacts([ref], tmp_path / "links", transfer="symlink")


def test_files_of_inputs_come_too(butler: Butler, tmp_path: Path) -> None:
    theirs = put(butler, 1)
    with Butler.create(tmp_path / "mine") as made:
        made.collections.register("u/me")
    with Butler(tmp_path / "mine", run="u/me", inputs=[butler.root]) as mine:
        mine.adopt([theirs])
        own = put(mine, 2, run="u/me")
        uris = mine.get_uris([own, theirs])
        assert uris[theirs.id] == {"": butler.get_uri(theirs)}
        assert uris[own.id][""].startswith((tmp_path / "mine").as_uri())
        assert len(mine.retrieve_artifacts([own, theirs], tmp_path / "out").paths) == 2
