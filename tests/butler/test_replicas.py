from __future__ import annotations

import datetime as dt
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from backbone import endpoints
from backbone.audit import check
from backbone.errors import (
    ChangedFile,
    EndpointAway,
    EndpointConflict,
    EndpointRefuses,
    UnknownEndpoint,
)
from backbone.probing import probe
from butler import Butler
from butler.errors import DamagedFile, NoGoodCopy
from registry.database import utc_now
from registry.errors import MissingDataset
from registry.schema.files import file, replica, trash
from tests.backbone import storage_servers
from workflow.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from registry.identity import DatasetRef
    from tests.backbone.storage_servers import Storage

KEYS = {"instrument": "DemoCam", "detector": 1}
VALUE = {"target": "M76", "text": "x" * 2000}


@pytest.fixture
def butler(butler_of_targets: Butler) -> Butler:
    return butler_of_targets


@pytest.fixture
def s3(far_bucket: Storage) -> Storage:
    return far_bucket


def far(butler: Butler) -> endpoints.Endpoint:
    with butler.registry.read() as connection:
        return endpoints.named(connection, "far")


def states(butler: Butler) -> dict[str, int]:
    with butler.registry.read() as connection:
        counted = sa.select(replica.c.state, sa.func.count()).group_by(replica.c.state)
        return {row[0]: row[1] for row in connection.execute(counted)}


def local_file(butler: Butler) -> Path:
    (found,) = butler.root.glob("u/test/**/*.yaml")
    return found


def put(butler: Butler, **where: str) -> DatasetRef:
    return butler.put(VALUE, "summary", KEYS, target="M76", **where)


@pytest.mark.usefixtures("s3")
def test_what_is_put_at_an_endpoint_lies_there_alone(butler: Butler) -> None:
    ref = put(butler, endpoint="far")
    assert butler.get(ref) == VALUE
    (path,) = far(butler).remote().list()
    assert path.startswith("u/test/summary/")
    assert list(butler.root.glob("u/test/**/*.*")) == []
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert (report.n_copies, report.findings) == (1, [])


def test_the_next_copy_is_read_when_one_is_wrong(
    butler: Butler, s3: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    ref = put(butler)
    assert butler.replicate([ref], "far").sent == 1
    assert butler.replicate([ref], "far").present == 1
    assert butler.get(ref) == VALUE
    assert caplog.messages == []  # the near one was read
    local_file(butler).write_text("{}")
    with caplog.at_level(logging.WARNING, "skyspine.butler"):
        assert butler.get(ref) == VALUE
    assert "at 'root' cannot be read, that at 'far' was taken" in caplog.text
    assert "has 2 bytes" in caplog.text
    local_file(butler).unlink()
    assert butler.get(ref) == VALUE
    s3.stop()
    with pytest.raises(NoGoodCopy, match="None of the 2 copies.*At 'root'.*At 'far'"):
        butler.get(ref)


def test_one_copy_of_another_size_is_no_dataset(butler: Butler, s3: Storage) -> None:
    ref = put(butler, endpoint="far")
    (path,) = far(butler).remote().list()
    s3.seed(path, b"target: M31\n")
    with pytest.raises(DamagedFile, match="has 12 bytes, and .* were recorded"):
        butler.get(ref)


@pytest.mark.usefixtures("s3")
def test_a_lost_copy_is_found_marked_and_made_again(butler: Butler) -> None:
    ref = put(butler)
    butler.replicate([ref], "far")
    there = far(butler).remote()
    (path,) = there.list()
    there.remove(path)
    report = check(butler.registry.database, butler.root, grace=0, repair=True)
    assert [(f.problem, f.repaired) for f in report.findings] == [("missing", True)]
    assert states(butler) == {"available": 1, "lost": 1}  # the other copy is still good
    assert butler.replicate([ref], "far").sent == 1
    assert states(butler) == {"available": 2}
    assert check(butler.registry.database, butler.root, checksums=True).findings == []


def test_an_endpoint_that_is_away_loses_nothing(
    butler: Butler, s3: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    ref = put(butler, endpoint="far")
    s3.stop()
    report = check(butler.registry.database, butler.root, grace=0, repair=True)
    assert [(f.problem, f.repaired) for f in report.findings] == [("unreachable", False)]
    assert states(butler) == {"available": 1}
    with pytest.raises(EndpointAway, match="'far'"):
        butler.put(VALUE, "summary", KEYS, target="M31", endpoint="far")
    assert not butler.exists("summary", KEYS, target="M31")
    butler.prune([ref], purge=True)
    assert "Files stay in the trash" in caplog.text
    with butler.registry.read() as connection:
        assert connection.execute(sa.select(sa.func.count(trash.c.id))).scalar() == 1


@pytest.mark.usefixtures("s3")
def test_what_goes_goes_at_every_endpoint(butler: Butler) -> None:
    ref = put(butler)
    butler.replicate([ref], "far")
    butler.prune([ref], purge=True)
    assert far(butler).remote().list() == {}
    assert not list(butler.root.glob("u/test/**/*.yaml"))


@pytest.mark.usefixtures("s3")
def test_a_put_that_is_undone_leaves_nothing_there(butler: Butler) -> None:
    with pytest.raises(RuntimeError, match="changed my mind"), butler.transaction():
        put(butler, endpoint="far")
        raise RuntimeError("changed my mind")
    assert far(butler).remote().list() == {}
    assert not butler.exists("summary", KEYS, target="M76")


def test_copies_at_what_is_only_read_are_taken_note_of(butler: Butler, tmp_path: Path) -> None:
    ref = put(butler)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with storage_servers.http(mirror) as served:
        butler.registry.database.transact(endpoints.register, "far", served.root)
        with pytest.raises(ChangedFile, match="not there or not what was recorded"):
            butler.replicate([ref], "far")
        place = local_file(butler)
        served.seed(str(place.relative_to(butler.root)), place.read_bytes())
        assert butler.replicate([ref], "far").found == 1
        place.unlink()
        assert butler.get(ref) == VALUE
        with butler.registry.read() as connection:
            assert "is there with its recorded size" in probe(connection, far(butler), butler.root)


def test_a_folder_is_an_endpoint_too(butler: Butler, tmp_path: Path) -> None:
    other = tmp_path / "other disk"
    other.mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(other))
    with butler.registry.read() as connection:
        assert "written, read" in probe(connection, far(butler), butler.root)
    ref = put(butler, endpoint="far")
    assert butler.get(ref) == VALUE
    assert [p.suffix for p in other.glob("u/test/summary/*")] == [".yaml"]
    butler.prune([ref], purge=True)
    assert list(other.glob("u/test/summary/*")) == []


def test_a_prefix_below_another_is_looked_at_by_itself(butler: Butler, s3: Storage) -> None:
    place, mark, options = s3.root.partition("?")
    register = butler.registry.database.transact
    with pytest.raises(EndpointConflict, match="is the endpoint 'far' already"):
        register(endpoints.register, "again", f"{place}/{mark}{options}", owned=False)
    register(endpoints.register, "inner", f"{place}/inner{mark}{options}")
    ref = put(butler, endpoint="inner")
    for online in (True, False):
        register(endpoints.switch, "inner", online=online)
        assert check(butler.registry.database, butler.root, grace=0, repair=True).findings == []
    register(endpoints.switch, "inner", online=True)
    assert butler.get(ref) == VALUE


def test_a_prefix_belongs_to_one_repository(
    butler: Butler, s3: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place, mark, options = s3.root.partition("?")
    with Butler.create(tmp_path / "other") as other:
        other.register_dataset_type("summary", (), "StructuredDataDict")
        theirs = other.registry.database.transact
        with pytest.raises(EndpointConflict, match=r"holds files of another .*\.skyspine-owner"):
            theirs(endpoints.register, "far", s3.root)
        theirs(endpoints.register, "read", s3.root, owned=False)
        theirs(endpoints.register, "inner", f"{place}/inner{mark}{options}")
        mine = put(butler, endpoint="far")
        ref = other.put(VALUE, "summary", run="r", endpoint="inner")
        for one in (butler, other):
            found = check(one.registry.database, one.root, grace=0, repair=True)
            assert found.findings == []
        # as one that was registered while the server was away
        theirs(endpoints.add, "far", s3.root, owned=True)
        found = check(other.registry.database, other.root, grace=0, repair=True)
        assert [f.problem for f in found.findings] == ["unreachable"]
        assert "is the repository's with the identity" in found.findings[0].what
        assert (butler.get(mine), other.get(ref)) == (VALUE, VALUE)
        s3.stop()
        theirs(endpoints.register, "later", f"{place}/later{mark}{options}")
        assert "Whether another repository's files lie there is not known" in caplog.text


def test_what_cannot_be_an_endpoint(butler: Butler, tmp_path: Path) -> None:
    register = butler.registry.database.transact
    for root, told in {
        "s4://survey/x": "'s4' is no storage that can be opened.*'s3'",
        "sftp://me:secret@host/x": "password may not stand in the URL",
        "s3://survey?colour=red": "knows no option 'colour'",
        "dav://host/x?timeout=soon": "timeout is a number of seconds",
        "s3:///x": "names no server or bucket",
        str(tmp_path / "none"): "is no folder here",
    }.items():
        with pytest.raises(EndpointConflict, match=f"(?i){told}"):
            register(endpoints.register, "far", root)
    one = f"memory://{tmp_path.name}"
    register(endpoints.register, "far", one)
    register(endpoints.register, "far", one)
    with pytest.raises(EndpointConflict, match=f"already: {one}"):
        register(endpoints.register, "far", f"{one}-other")
    with pytest.raises(UnknownEndpoint, match="(?i)did you mean 'far'"):
        put(butler, endpoint="fra")


def test_an_endpoint_is_taken_out_of_use_and_into_it_again(
    butler: Butler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk").mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(tmp_path / "disk"))
    alone, both = (
        butler.put(VALUE, "summary", KEYS, target=name, endpoint=where)
        for name, where in (("alone", "far"), ("both", "root"))
    )
    butler.replicate([both], "far")

    def command(verb: str, name: str = "far") -> tuple[Any, str]:
        with pytest.raises(SystemExit) as ended:
            main(["endpoint", verb, str(butler.root), name])
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    for _ in range(2):
        assert command("offline") == (
            0,
            "The endpoint 'far' is offline; 1 files have no other copy in use.\n",
        )
    assert butler.get(both) == VALUE
    assert (butler.exists(alone), butler.exists(both)) == (False, True)
    with pytest.raises(MissingDataset, match=r"copy at 'far', which is offline.*endpoint online"):
        butler.get(alone)
    with pytest.raises(EndpointRefuses, match="'far' is offline"):
        butler.put(VALUE, "summary", KEYS, target="new", endpoint="far")
    with pytest.raises(EndpointRefuses, match="'far' is offline"):
        butler.replicate([butler.put(VALUE, "summary", KEYS, target="here")], "far")
    butler.prune([alone], purge=True)
    assert len(list((tmp_path / "disk").rglob("*.yaml"))) == 2  # nothing is removed there now
    assert command("online")[0] == 0
    butler.empty_trash()
    assert len(list((tmp_path / "disk").rglob("*.yaml"))) == 1
    status, said = command("offline", "root")
    assert (status, "belongs to the repository itself" in said) == (1, True)
    assert "Did you mean 'far'" in command("offline", "fra")[1]


def test_the_last_good_copy_is_never_given_up(
    butler: Butler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("far", "tape"):
        (tmp_path / name).mkdir()
        butler.registry.database.transact(endpoints.register, name, str(tmp_path / name))
    refs = [butler.put(VALUE, "summary", KEYS, target=f"{n}") for n in range(4)]
    butler.replicate(refs[:3], "far")
    butler.replicate(refs[:1], "tape")
    database = butler.registry.database
    with database.begin() as connection:
        pinned = utc_now() + dt.timedelta(hours=1)
        of_third = sa.select(file.c.id).where(file.c.dataset_id == refs[2].id).scalar_subquery()
        connection.execute(
            sa.update(replica).where(replica.c.file_id == of_third).values(pinned_until=pinned)
        )
    assert butler.withdraw(refs, "root") == (2, 2)  # one is pinned, one the only copy
    assert len(list(butler.root.glob("u/test/**/*.yaml"))) == 2
    with database.begin() as connection:
        connection.execute(sa.update(replica).values(pinned_until=None))
    database.transact(partial(endpoints.switch, online=False), "tape")
    assert butler.withdraw(refs, "far") == (1, 2)  # what is only on tape besides cannot be read now
    assert all(butler.get(ref) == VALUE for ref in refs)
    database.transact(partial(endpoints.switch, online=True), "tape")
    with pytest.raises(SystemExit):
        main(["endpoint", "withdraw", str(butler.root), "far", "summary"])
    assert "4 datasets: 1 copies removed at 'far', 1 stay" in capsys.readouterr().out
    assert all(butler.get(ref) == VALUE for ref in refs)
    assert check(database, butler.root, grace=0, checksums=True).findings == []


def test_of_two_who_give_up_each_others_copy_one_keeps_it(butler: Butler, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(tmp_path / "far"))
    refs = [butler.put(VALUE, "summary", KEYS, target=f"{n}") for n in range(20)]
    butler.replicate(refs, "far")

    def give_up(name: str) -> int:
        gone = 0
        with Butler(butler.root, writeable=True) as own:
            together.wait()
            for ref in refs:
                gone += own.withdraw([ref], name)[0]
        return gone

    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        gone = list(pool.map(give_up, ("root", "far")))
    assert sum(gone) == len(refs)
    assert all(butler.get(ref) == VALUE for ref in refs)
    report = check(butler.registry.database, butler.root, grace=0, repair=True, checksums=True)
    assert {f.problem for f in report.findings} <= {"orphan", "trash"}  # too much, never too little
    assert check(butler.registry.database, butler.root, grace=0, checksums=True).findings == []
