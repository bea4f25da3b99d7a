"""What must every formatter do, whoever wrote it?

A formatter's test derives from `FormatterContract` and says what it writes; an observatory that
adds a formatter runs the same tests.
"""

from __future__ import annotations

import contextlib
import pickle
import random
import resource
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import fsspec
import pytest

from backbone.staging import checksum
from butler.errors import (
    ButlerError,
    CannotWrite,
    DamagedFile,
    InvalidParameter,
    MissingFile,
    ReadFailed,
    UnknownComponent,
    WriteFailed,
    WrongType,
)
from butler.formatters import Formatter, get_formatter
from butler.storage_classes import get_storage_class

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROVENANCE = {
    "SKYS_ID": "01926f3e-6e6b-7c8e-9a5e-0f5e5d1c2b3a",
    "SKYS_RUN": "u/jürgen/50% of 'all' nights",
    "SKYS_QID": "01926f3e-6e6b-7c8e-9a5e-000000000001",
}


@contextlib.contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Let the system refuse to make a file longer than this, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def memory_file(content: bytes, extension: str) -> Iterator[str]:
    """Keep a file in the memory of this process, and give its URL."""
    system = fsspec.filesystem("memory")
    path = f"/formats/{uuid.uuid4()}{extension}"
    system.pipe_file(path, content)
    yield f"memory:/{path}"
    system.rm_file(path)


class FormatterContract:
    """Derive, set the class attributes, and define `example` and `assert_same`."""

    name: ClassVar[str]
    storage_class: ClassVar[str]
    trusted: ClassVar[bool] = False
    readable: ClassVar[bool] = True
    """Parts of a file, from its beginning, that must be found to be damaged."""
    truncations: ClassVar[tuple[float, ...]] = (0.0, 0.3, 0.7)
    garbage: ClassVar[tuple[bytes, ...]] = (
        b"",
        b"Dear diary,\nno data today.\n",
        b"\x00\xff\xfe" * 999,
    )

    def example(self) -> Any:
        """Make an object that fills every corner of the format."""
        raise NotImplementedError

    def assert_same(self, got: Any, put: Any) -> None:
        """Compare what was read with what was written."""
        raise NotImplementedError

    def components(self, obj: Any) -> dict[str, Any]:
        """Say what each component of an object is."""
        assert not self.formatter.components, f"what are the components of {obj}?"
        return {}

    def assert_same_component(self, got: Any, expected: Any) -> None:
        """Compare a component with what it should be."""
        assert got == expected

    def inexpressible(self) -> list[tuple[Any, str]]:
        """List objects that the format cannot hold, each with a word that the message must have."""
        return []

    def wrong_types(self) -> list[tuple[Any, str]]:
        """List objects of near types, each with the remedy that the message must name."""
        return [(object(), "")]

    @property
    def formatter(self) -> Formatter:
        return get_formatter(self.name)

    def read(
        self, path: Path | str | BinaryIO, component: str | None = None, **parameters: Any
    ) -> Any:
        return self.formatter.read(path, component, parameters, trusted=self.trusted)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        folder = tmp_path / "with blanks, 'quotes' and Umläute"
        folder.mkdir()
        return folder / f"file{self.formatter.extension}"

    def test_what_is_written_comes_back(self, path: Path) -> None:
        put = self.example()
        before = self.example()
        self.formatter.write(put, path)
        assert [p.name for p in path.parent.iterdir()] == [path.name]
        if self.readable:
            self.assert_same(put, before)
            self.assert_same(self.read(path), put)

    def test_size_and_checksum_are_those_of_the_file(self, path: Path) -> None:
        written = self.formatter.write(self.example(), path, PROVENANCE)
        assert written.size == path.stat().st_size
        assert written.checksum == checksum(path)

    def test_it_is_read_from_an_open_file_and_a_url(self, path: Path) -> None:
        if not self.readable:
            return
        put = self.example()
        self.formatter.write(put, path, PROVENANCE)
        content = path.read_bytes()
        with path.open("rb") as stream:
            self.assert_same(self.read(stream), put)
            assert not stream.closed
            self.assert_same(self.read(stream), put)
        with memory_file(content, self.formatter.extension) as url:
            self.assert_same(self.read(url), put)
            with fsspec.open(url) as stream:
                self.assert_same(self.read(stream), put)
            kept = PROVENANCE if self.formatter.keeps_provenance else {}
            assert self.formatter.read_provenance(url) == kept
            for component, value in self.components(put).items():
                self.assert_same_component(self.read(url, component), value)
            with pytest.raises(MissingFile, match="skyspine check"):
                self.read(url + ".absent")
        self.assert_same(self.read(path.as_uri()), put)

    def test_damage_is_found_behind_a_url(self, path: Path) -> None:
        if not self.readable:
            return
        self.formatter.write(self.example(), path)
        whole = path.read_bytes()
        parts = [whole[: int(len(whole) * part)] for part in self.truncations]
        for content in (*parts, *self.garbage):
            with memory_file(content, self.formatter.extension) as url:
                with pytest.raises(DamagedFile) as raised:
                    self.read(url)
                assert url in str(raised.value)

    @pytest.mark.parametrize("seed", range(6))
    def test_a_file_with_wrong_bytes_is_read_or_refused(self, path: Path, seed: int) -> None:
        """Nothing but a sentence comes of it: no crash, no traceback of a library."""
        self.formatter.write(self.example(), path, PROVENANCE)
        whole, dice = path.read_bytes(), random.Random(seed)
        for _ in range(10):
            content = bytearray(whole)
            for _ in range(dice.choice((1, 1, 3))):
                at = dice.randrange(len(content) or 1)
                content[at : at + 1] = bytes([dice.choice((dice.randrange(256), 0x39, 0x2D, 0))])
                if dice.random() < 0.2:
                    del content[at : at + dice.randrange(1, 99)]
            path.write_bytes(content)
            part = dice.choice((None, *sorted(self.formatter.components)))
            for read in (self.formatter.read_provenance, partial(self.read, component=part)):
                with contextlib.suppress(ButlerError):
                    read(path)

    def test_its_storage_class_knows_what_it_holds(self) -> None:
        storage_class = get_storage_class(self.storage_class)
        storage_class.check(self.example())
        for obj, remedy in self.wrong_types():
            with pytest.raises(WrongType, match=f"{self.storage_class} holds") as raised:
                storage_class.check(obj)
            assert type(obj).__qualname__ in str(raised.value)
            assert remedy in str(raised.value)

    def test_components_are_read_alone(self, path: Path) -> None:
        put = self.example()
        self.formatter.write(put, path)
        expected = self.components(put)
        assert set(expected) == set(self.formatter.components)
        for component, value in expected.items():
            self.assert_same_component(self.read(path, component), value)
            taken = get_storage_class(self.storage_class).component(put, component)
            self.assert_same_component(taken, value)

    def test_unknown_components_and_parameters_are_named(self, path: Path) -> None:
        self.formatter.write(self.example(), path)
        with pytest.raises(UnknownComponent, match=r"no component 'imago'"):
            self.read(path, "imago")
        with pytest.raises(InvalidParameter, match=r"parameter 'bbax'"):
            self.read(path, bbax=3)

    def test_an_existing_file_is_left_alone(self, path: Path) -> None:
        path.write_bytes(b"precious")
        with pytest.raises(WriteFailed, match="exists"):
            self.formatter.write(self.example(), path)
        assert path.read_bytes() == b"precious"

    def test_nothing_is_left_when_the_disk_refuses(
        self, path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with file_size_limit(16), pytest.raises(WriteFailed) as raised:
            self.formatter.write(self.example(), path)
        assert raised.value.errno is not None
        assert str(path) in str(raised.value)
        assert list(path.parent.iterdir()) == []
        del raised
        assert capfd.readouterr().err == ""  # nor do libraries tell of it once more

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(WriteFailed, match="make its folder"):
            self.formatter.write(self.example(), tmp_path / "absent" / "file")

    def test_what_the_format_cannot_hold_is_refused_and_leaves_nothing(self, path: Path) -> None:
        for obj, word in self.inexpressible():
            with pytest.raises(CannotWrite) as raised:
                self.formatter.write(obj, path)
            assert word in str(raised.value)
            assert list(path.parent.iterdir()) == []

    def test_damage_is_found(self, path: Path) -> None:
        if not self.readable:
            return
        self.formatter.write(self.example(), path)
        whole = path.read_bytes()
        for content in (
            *(whole[: int(len(whole) * part)] for part in self.truncations),
            *self.garbage,
        ):
            path.write_bytes(content)
            with pytest.raises(DamagedFile) as raised:
                self.read(path)
            assert str(path) in str(raised.value)
            assert "\n" not in str(raised.value)
            again = pickle.loads(pickle.dumps(raised.value))
            assert (str(again), again.path) == (str(raised.value), raised.value.path)

    def test_a_missing_file_and_a_folder_are_told_apart_from_damage(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFile, match="skyspine check"):
            self.read(tmp_path / "absent")
        if self.readable:
            with pytest.raises(ReadFailed, match="cannot be read"):
                self.read(tmp_path)

    def test_provenance_is_found_again_and_not_inherited(self, path: Path) -> None:
        self.formatter.write(self.example(), path, PROVENANCE)
        kept = PROVENANCE if self.formatter.keeps_provenance else {}
        assert self.formatter.read_provenance(path) == kept
        if self.readable:
            second = path.with_name(f"second{path.suffix}")
            self.formatter.write(self.read(path), second, {"SKYS_ID": "another"})
            kept = {"SKYS_ID": "another"} if kept else {}
            assert self.formatter.read_provenance(second) == kept
            self.assert_same(self.read(second), self.example())

    def test_provenance_keys_are_fits_keywords(self, path: Path) -> None:
        with pytest.raises(CannotWrite, match="SKYS_"):
            self.formatter.write(self.example(), path, {"id": "x"})
        assert list(path.parent.iterdir()) == []
