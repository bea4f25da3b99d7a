"""Formatters and storage classes are found by name, built in or from an installed package."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from butler import errors, plugins
from butler.errors import MissingComponent, PluginError, UnknownFormatter, UnknownStorageClass
from butler.formatters import Formatter, formatter_names, get_formatter
from butler.storage_classes import StorageClass, get_storage_class, storage_class_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = """
from butler.formatters import Formatter
from butler.storage_classes import StorageClass


class Spectrum:
    def __init__(self, text):
        self.text = text
        self.wavelength = None


class SpectrumFormatter(Formatter):
    name = "whatever"
    extension = ".spec"
    python_types = ("observatory_here.Spectrum",)

    def dump(self, obj, stream, provenance):
        stream.write(obj.text.encode())

    def load(self, source, component, parameters, *, trusted):
        with source.text() as stream:
            return Spectrum(stream.read())


SPECTRUM = StorageClass(
    "Spectrum", "observatory_here.Spectrum", "spectrum", {"wavelength": "Array", "text": "Text"}
)


class SpectrumStorageClass(StorageClass):
    def __init__(self):
        super().__init__("Spectrum", "observatory_here.Spectrum", "spectrum")
"""


@pytest.fixture
def observatory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package that offers a formatter and a storage class."""
    (tmp_path / "observatory_here.py").write_text(PACKAGE)
    info = tmp_path / "observatory_here-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: observatory-here\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[skyspine.formatters]\nspectrum = observatory_here:SpectrumFormatter\n"
        "yaml = observatory_here:SpectrumFormatter\n"
        "[skyspine.storage_classes]\nSpectrum = observatory_here:SPECTRUM\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    caches: list[Any] = [plugins.entry_point_references, get_formatter, get_storage_class]
    for cache in caches:
        cache.cache_clear()
    yield
    sys.modules.pop("observatory_here", None)
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("name", formatter_names())
def test_every_formatter_knows_its_name(name: str) -> None:
    formatter = get_formatter(name)
    assert formatter.name == name
    assert get_formatter(name) is formatter
    assert formatter.extension.startswith(".")


@pytest.mark.parametrize("name", storage_class_names())
def test_every_storage_class_has_a_formatter_for_its_type_and_known_components(name: str) -> None:
    storage_class = get_storage_class(name)
    assert storage_class.default_formatter is not None
    formatter = get_formatter(storage_class.default_formatter)
    assert storage_class.python_type in formatter.python_types
    apart = {part for part, told in storage_class.parts.items() if told.apart}
    assert set(storage_class.components) - apart == formatter.components
    for component in storage_class.components:
        storage_class.component_class(component)


def test_wrong_names_get_the_nearest() -> None:
    with pytest.raises(UnknownFormatter, match="Did you mean 'fits-image'"):
        get_formatter("fits_image")
    with pytest.raises(UnknownStorageClass, match="Did you mean 'DataFrame'"):
        get_storage_class("Dataframe")
    with pytest.raises(errors.UnknownComponent, match="Did you mean 'mask'"):
        get_storage_class("Exposure").component_class("masc")
    with pytest.raises(errors.UnknownComponent, match="has none"):
        get_storage_class("Text").component_class("word")


@pytest.mark.usefixtures("observatory")
def test_a_package_adds_its_own(tmp_path: Path) -> None:
    assert "spectrum" in formatter_names()
    assert "Spectrum" in storage_class_names()
    storage_class = get_storage_class("Spectrum")
    formatter = get_formatter("spectrum")
    assert formatter.name == "spectrum"
    spectrum = sys.modules["observatory_here"].Spectrum("Balmer")
    storage_class.check(spectrum)
    formatter.write(spectrum, tmp_path / "file.spec")
    assert formatter.read(tmp_path / "file.spec").text == "Balmer"
    assert storage_class.component(spectrum, "text") == "Balmer"
    with pytest.raises(MissingComponent, match="has no wavelength"):
        storage_class.component(spectrum, "wavelength")


@pytest.mark.usefixtures("observatory")
def test_built_in_names_cannot_be_taken() -> None:
    assert type(get_formatter("yaml")).__module__ == "butler.formatters.structured"


@pytest.mark.usefixtures("observatory")
def test_a_class_is_named_by_its_module() -> None:
    formatter = get_formatter("observatory_here:SpectrumFormatter")
    assert isinstance(formatter, Formatter)
    assert get_formatter(formatter.name) is formatter
    for name in ("observatory_here:SPECTRUM", "observatory_here:SpectrumStorageClass"):
        assert isinstance(get_storage_class(name), StorageClass)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("observatory_of_nowhere:X", "Install the package"),
        ("json:Absent", "has no 'Absent'"),
        ("os:system", "not a"),
        ("subprocess:Popen", "not a"),
        (":x", "cannot be loaded"),
    ],
)
def test_other_things_are_refused(name: str, word: str) -> None:
    with pytest.raises(PluginError, match=word):
        get_formatter(name)
    with pytest.raises(PluginError, match=word):
        get_storage_class(name)


def test_nothing_heavy_is_imported_before_use() -> None:
    program = """
        import sys
        from butler.formatters import get_formatter, formatter_names
        from butler.storage_classes import get_storage_class, storage_class_names
        for name in storage_class_names():
            get_storage_class(name).accepts({})
        for name in formatter_names():
            get_formatter(name)
        heavy = {"astropy", "pandas", "numpy", "matplotlib", "pyarrow", "lsst", "PIL", "sqlalchemy"}
        print(sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_have_a_sentence_a_code_and_cross_processes(name: str) -> None:
    import pickle

    kind = getattr(errors, name)
    assert str(kind())
    assert kind.code
    error = kind("sentence", path="/a b", name="x")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.path, again.name) == (kind, "sentence", "/a b", "x")
