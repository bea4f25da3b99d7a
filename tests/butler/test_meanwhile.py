"""What becomes of copies when two processes change them at the same time?

One is held at the worst moment, while the other does what it does.
"""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from backbone import endpoints, trash
from backbone.audit import check
from backbone.endpoints import Endpoint
from backbone.errors import InTransaction
from butler import Butler
from butler.moving import removal, replicas
from butler.objects.comparing import difference
from registry.database import utc_now
from registry.schema import files as schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry import DatasetRef

VALUE = {"text": "x" * 500}


@pytest.fixture
def far(butler: Butler, tmp_path: Path) -> Path:
    made = tmp_path / "far"
    made.mkdir()
    butler.registry.database.transact(endpoints.register, "far", str(made))
    return made


@pytest.fixture
def ref(butler: Butler, far: Path) -> DatasetRef:  # noqa: ARG001 (it is there then)
    return butler.put(VALUE, "summary", instrument="DemoCam", detector=1)


def assert_sound(butler: Butler, ref: DatasetRef) -> None:
    """Every recorded copy is there, and nothing else."""
    report = check(butler.registry.database, butler.root, grace=0, checksums=True)
    assert report.findings == []
    assert butler.get(ref) == VALUE


def once(
    verb: Callable[..., Any], *, before: Callable[[], Any] | None = None, after: Any = None
) -> Callable[..., Any]:
    """Do something before, or after, the first call of a function."""
    pending = [None]

    def held(*args: Any, **kwargs: Any) -> Any:
        first = bool(pending) and pending.pop() is None
        if first and before is not None:
            before()
        answer = verb(*args, **kwargs)
        if first and after is not None:
            after()
        return answer

    return held


def files_below(folder: Path) -> list[str]:
    return sorted(p.suffix for p in folder.rglob("summary_*"))


def test_a_copy_of_what_was_converted_meanwhile_is_not_recorded(
    butler: Butler, far: Path, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert() -> None:
        with Butler(butler.root, writeable=True) as other:
            assert other.convert([ref], format="json").n_files == 1

    monkeypatch.setattr(replicas, "copied", once(replicas.copied, after=convert))
    done = butler.replicate([ref], "far")
    assert (done.sent, done.meanwhile) == (0, 1)
    assert files_below(far) == []
    butler.empty_trash()
    assert_sound(butler, ref)
    assert butler.replicate([ref], "far").sent == 1
    assert files_below(far) == [".json"]
    assert_sound(butler, ref)


def test_a_copy_that_came_meanwhile_is_not_converted_away(
    butler: Butler, far: Path, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replicate() -> None:
        with Butler(butler.root, writeable=True) as other:
            assert other.replicate([ref], "far").sent == 1

    held = once(difference, after=replicate)
    monkeypatch.setattr("butler.moving.converting.difference", held)
    done = butler.convert([ref], format="json")
    assert (done.n_files, done.meanwhile) == (0, 1)
    assert files_below(far) == [".yaml"]
    assert_sound(butler, ref)


def test_a_copy_that_comes_again_stays_when_the_one_before_is_removed(
    butler: Butler, far: Path, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed, and copied anew before the file is gone: under the same name."""
    butler.replicate([ref], "far")
    with Butler(butler.root, writeable=True) as other:
        monkeypatch.setattr(
            trash, "empty", once(trash.empty, before=lambda: other.replicate([ref], "far"))
        )
        assert butler.withdraw([ref], "far") == (1, 0)
    assert files_below(far) == [".yaml"]
    assert_sound(butler, ref)


def test_a_copy_that_comes_while_the_one_before_is_removed_waits(
    butler: Butler, far: Path, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is being removed when the other comes with the same name."""
    butler.replicate([ref], "far")
    remove, begun = Endpoint.remove, threading.Event()

    def replicate() -> None:
        with Butler(butler.root, writeable=True) as other:
            begun.set()
            other.replicate([ref], "far")

    comes = threading.Thread(target=replicate)

    def slowly(self: Endpoint, path: str, repository: Path) -> None:
        comes.start()
        begun.wait(30)
        comes.join(0.3)  # it cannot end before this one has
        assert comes.is_alive()
        remove(self, path, repository)

    monkeypatch.setattr(Endpoint, "remove", slowly)
    assert butler.withdraw([ref], "far") == (1, 0)
    comes.join(30)
    assert files_below(far) == [".yaml"]
    assert_sound(butler, ref)


def test_the_key_of_a_line_that_is_gone_removes_no_other(
    butler: Butler, far: Path, ref: DatasetRef
) -> None:
    """SQLite gives the highest key again; who has read the list before must not be misled."""
    other = butler.put(VALUE, "summary", instrument="DemoCam", detector=2)
    butler.replicate([ref, other], "far")
    database = butler.registry.database

    def thrown(one: DatasetRef) -> list[trash.Trashed]:
        with butler.registry.begin():
            butler.withdraw([one], "far")
        return database.ask(trash.listed)

    seen = thrown(ref)
    assert trash.empty(database, butler.root, seen).n_files == 1
    assert len(thrown(other)) == 1
    assert trash.empty(database, butler.root, seen).n_files == 0
    assert files_below(far) == [".yaml"]
    assert butler.empty_trash() == 1
    assert files_below(far) == []
    assert_sound(butler, ref)


def test_no_file_goes_before_it_is_sure_that_its_row_does(
    butler: Butler, ref: DatasetRef, caplog: pytest.LogCaptureFixture
) -> None:
    def all_undone(verb: Callable[[], object]) -> None:
        with butler.registry.begin():
            butler.prune([ref])
            verb()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        all_undone(lambda: None)
    assert "begin it by Butler.transaction" in caplog.text
    with pytest.raises(InTransaction, match="empty the trash after it"):
        all_undone(butler.empty_trash)
    assert_sound(butler, ref)


def test_a_clock_that_was_put_back_delays_no_removal(
    butler: Butler, far: Path, ref: DatasetRef
) -> None:
    butler.replicate([ref], "far")
    database = butler.registry.database
    with database.begin() as connection:
        butler.withdraw([ref], "far")
        ahead = utc_now() + dt.timedelta(days=1)
        connection.execute(sa.update(schema.trash).values(since=ahead))
    assert removal.empty_trash(butler, older_than=600) == 0
    assert butler.empty_trash() == 1
    assert files_below(far) == []
    assert_sound(butler, ref)
