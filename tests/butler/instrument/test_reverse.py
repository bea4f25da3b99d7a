"""The templates that make names read them, and refuse what could be read in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from butler.instrument.errors import UnmatchedFile, UnsafePath
from butler.instrument.reverse import NameReader
from butler.instrument.templates import PathTemplate


def read(template: str, path: str, **known: object) -> dict[str, str | int]:
    return NameReader(PathTemplate(template), known, ["cycle"]).read(Path(path))


@pytest.mark.parametrize(
    ("template", "path", "wanted"),
    [
        (
            "raw/{visit:07d}/c{detector:03d}",
            "/archive/a/raw/0012345/c042.fits.gz",
            {"visit": 12345, "detector": 42},
        ),
        ("v{visit:04d}", "v123456.fits", {"visit": 123456}),
        ("{run}/x/{exposure}_d{detector:02d}", "x/7_d03", {"exposure": 7, "detector": 3}),
        ("c{cycle}[_{band}]", "c0012_g.fits", {"cycle": 12, "band": "g"}),
        ("c{cycle}[_{band}]", "c0012.fits", {"cycle": 12}),
        ("{visit}/{visit:05d}-{band}", "7/00007-r", None),
        ("{target_name}_{band}", "ksi%5FCas%20%CE%B2_g", {"target_name": "ksi_Cas β", "band": "g"}),
        ("h{healpix:05x}", "h000ff.dat", {"healpix": 255}),
        ("{dataset_type}/{band}", "flat/g.fits", {"band": "g"}),
    ],
)
def test_names(template: str, path: str, wanted: dict[str, str | int] | None) -> None:
    if wanted is None:  # one value in two forms: the second is not that of the first
        with pytest.raises(UnmatchedFile):
            read(template, path)
    else:
        assert read(template, path, dataset_type="flat") == wanted


@pytest.mark.parametrize(
    ("template", "path", "says"),
    [
        ("raw/{visit:07d}", "raw/12345.fits", "is no name that the template .*raw/"),
        ("{target_name}_{band}", "a_b_c.fits", "in two ways.*target_name is 'a' or 'a_b'"),
        ("{dataset_type}/{band}", "bias/g.fits", "is no name"),
        ("{target_name}/[{band}/]{visit}", "/x/M31/g/7", "in two ways.* begin it with the name"),
    ],
)
def test_names_that_are_refused(template: str, path: str, says: str) -> None:
    with pytest.raises(UnmatchedFile, match=says):
        read(template, path, dataset_type="flat")


def test_a_form_that_loses_digits_is_refused() -> None:
    with pytest.raises(UnsafePath, match="cannot be read back"):
        NameReader(PathTemplate("t{airmass:.2f}"), {})


@given(
    st.integers(0, 10**9),
    st.integers(0, 200),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
    st.none() | st.sampled_from(["g", "N964", "i2"]),
)
def test_what_is_made_is_read(visit: int, detector: int, target: str, band: str | None) -> None:
    template = PathTemplate("{target_name}/[{band}/]{visit:07d}_d{detector:02d}")
    fields = {"target_name": target, "band": band, "visit": visit, "detector": detector}
    path = template.format({**fields, "extension": ".fits"})
    wanted = {k: v for k, v in fields.items() if v is not None}
    assert NameReader(template, {}).read(Path(path)) == wanted
    anchored = NameReader(PathTemplate(f"a/{template.text}"), {})
    assert anchored.read(Path("/some/where/a") / path) == wanted
