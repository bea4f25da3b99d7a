"""Is each dataset stored as the layers of the policy say, and is a wrong policy refused at once?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from astropy.io import fits
from astropy.nddata import CCDData

from backbone import endpoints, files
from butler import Butler
from butler.errors import (
    InvalidOption,
    PolicyError,
    StorageClassError,
    UnknownFormatter,
    WrongType,
)
from butler.instrument.errors import UnsafePath
from butler.policy import deciding
from registry.errors import SkyspineError, UnknownDatasetType, UnknownDimensionValue
from registry.schema.files import file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry import DatasetRef

TABLE = pd.DataFrame({"flux": [1.0, 2.5], "id": [1, 2]})


@pytest.fixture
def stored(butler: Butler, tmp_path: Path) -> Any:
    """Put a table of a detector and give how it was stored; `archive` is a further endpoint."""
    (tmp_path / "archive").mkdir()
    butler.registry.database.transact(endpoints.register, "archive", str(tmp_path / "archive"))
    butler.register_dataset_type("objects", ("instrument", "detector"), "DataFrame")
    numbers = iter(range(1, 5))

    def put(**options: Any) -> files.Stored:
        detector = next(numbers)
        ref = butler.put(TABLE, "objects", instrument="DemoCam", detector=detector, **options)
        assert butler.get(ref).equals(TABLE)
        return how(butler, ref)

    return put


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Butler]:
    """A repository of which no policy is ever set."""
    with Butler.create(tmp_path_factory.mktemp("untouched") / "repo") as butler:
        butler.register_instrument("demo")
        butler.register_dataset_type("summary", ("instrument", "detector"), "StructuredDataDict")
        yield butler


def how(butler: Butler, ref: DatasetRef) -> files.Stored:
    (one,) = butler.registry.database.ask(files.locate, [ref.id])[ref.id]
    return one


LAYERS: list[tuple[dict[str, str], str]] = [
    ({"site": "local", "storage_class": "DataFrame"}, "site local, storage class DataFrame"),
    ({"storage_class": "DataFrame"}, "storage class DataFrame"),
    (
        {"instrument": "DemoCam", "storage_class": "DataFrame"},
        "camera DemoCam, storage class DataFrame",
    ),
    ({"dataset_type": "objects"}, "dataset type objects"),
    ({"dataset_type": "objects", "instrument": "DemoCam"}, "camera DemoCam, dataset type objects"),
]


def test_each_layer_gives_way_to_the_next_and_explains_itself(stored: Any, butler: Butler) -> None:
    def format_of_objects() -> tuple[str, str]:
        told = butler.policy.explain("objects", "DemoCam")
        return next((r.value, r.layer) for r in told if r.setting == "format")

    assert format_of_objects() == ("parquet", "storage class DataFrame")
    # from the last to the first: what is set later, and lower, changes nothing
    for n, (scope, layer) in reversed(list(enumerate(LAYERS))):
        butler.policy.set(**scope, format={"name": "parquet", "row_group": n + 1})
        first = f"parquet row_group={len(LAYERS)}"
        assert format_of_objects() == (first, LAYERS[-1][1]), layer
    for n, (scope, layer) in reversed(list(enumerate(LAYERS))):
        assert format_of_objects() == (f"parquet row_group={n + 1}", layer)
        butler.policy.set(**scope, format=None)
    assert format_of_objects() == ("parquet", "storage class DataFrame")
    assert len(butler.policy.history()) == 2 * len(LAYERS)
    assert butler.policy.rules() == []

    butler.policy.set(dataset_type="objects", format="csv")
    assert stored().formatter == "csv"
    assert stored(format="parquet").formatter == "parquet"


def test_format_options_endpoint_and_path_are_followed_and_recorded(
    stored: Any, butler: Butler, tmp_path: Path
) -> None:
    plain = stored()
    assert (plain.endpoint.name, plain.formatter, plain.options) == ("root", "parquet", None)
    butler.policy.set(
        storage_class="DataFrame",
        format={"name": "parquet", "compression": "zstd", "level": 3, "row_group": 1 << 16},
        endpoint="archive",
        path="{dataset_type}/d{detector:02d}/{run}",
    )
    new = stored()
    assert (new.endpoint.name, new.formatter) == ("archive", "parquet")
    assert new.options == {"compression": "zstd", "level": 3}
    assert new.path.startswith("objects/d02/u/test_")
    place = tmp_path / "archive" / new.path
    assert pq.read_metadata(place).row_group(0).column(0).compression == "ZSTD"
    called = stored(endpoint="root", format={"name": "parquet", "compression": "none"})
    assert (called.endpoint.name, called.options) == ("root", {"compression": "none"})
    with butler.registry.read() as connection:
        kept = connection.execute(sa.select(file.c.format_options).order_by(file.c.id)).scalars()
        assert list(kept) == [None, {"compression": "zstd", "level": 3}, {"compression": "none"}]


def test_a_policy_holds_for_one_camera_and_one_site(
    butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    butler.register_dataset_type("objects", ("instrument",), "DataFrame")
    butler.policy.set(instrument="DemoCam", storage_class="DataFrame", format="csv")
    butler.policy.set(site="local", fsync=True)

    def values(camera: str) -> dict[str, str]:
        return {r.setting: r.value for r in butler.policy.explain("objects", camera)}

    assert values("DemoCam")["format"] == "csv"
    assert values("")["format"] == "parquet"
    assert values("")["fsync"] == "yes"
    monkeypatch.setenv("SKYSPINE_SITE", "chile")
    butler.policy.forget()
    assert values("")["fsync"] == "no"
    butler.policy.set(site="chile", fsync=True)
    assert values("")["fsync"] == "yes"


def test_the_definition_of_a_camera_is_a_layer(butler: Butler) -> None:
    told = {r.setting: (r.value, r.layer) for r in butler.policy.explain("raw", "DemoCam")}
    layer = "definition of the camera DemoCam"
    assert told["format"] == ("fits-image", layer)
    assert told["path"] == ("{run}/raw/{day_obs}/{exposure}_{detector_name}", layer)
    butler.policy.set(storage_class="Exposure", format="fits-image-gzip")
    butler.policy.set(instrument="DemoCam", path="{run}/{exposure}")
    told = {r.setting: (r.value, r.layer) for r in butler.policy.explain("raw", "DemoCam")}
    assert told["format"] == ("fits-image", layer)
    assert told["path"] == ("{run}/{exposure}", "camera DemoCam")
    butler.policy.set(dataset_type="raw", format="fits-image-gzip")
    told = {r.setting: (r.value, r.layer) for r in butler.policy.explain("raw", "DemoCam")}
    assert told["format"] == ("fits-image-gzip", "dataset type raw")


@pytest.mark.parametrize(
    ("scope", "settings", "error", "said"),
    [
        ({}, {"format": "parquet"}, PolicyError, "say of which storage class"),
        ({"dataset_type": "summary"}, {"format": "jsom"}, UnknownFormatter, "Did you mean 'json'"),
        ({"dataset_type": "summary"}, {"format": "parquet"}, StorageClassError, "use yaml or json"),
        ({"dataset_type": "t"}, {"format": {"name": "csv", "x": 1}}, InvalidOption, "It has none"),
        (
            {"storage_class": "DataFrame"},
            {"format": {"name": "parquet", "level": 30}},
            InvalidOption,
            "takes a whole number from 1 to 22, not 30",
        ),
        (
            {"storage_class": "DataFrame"},
            {"format": {"name": "parquet", "level": 3}},
            InvalidOption,
            "The compression snappy of the format parquet has no levels",
        ),
        (
            {"storage_class": "Exposure"},
            {"format": {"name": "fits-image-tiles", "tile": [64]}},
            InvalidOption,
            "or two of them: rows and columns",
        ),
        ({}, {"endpoint": "roof"}, SkyspineError, "Did you mean 'root'"),
        ({}, {"endpoint": "direct"}, PolicyError, "is only read"),
        ({}, {"path": "{run}/../x"}, UnsafePath, "outside|\\.\\."),
        ({}, {"path": "{run}/{vist}"}, UnsafePath, "Did you mean 'visit'"),
        (
            {"dataset_type": "summary"},
            {"path": "{visit}"},
            UnsafePath,
            "needs visit, which summary",
        ),
        ({}, {"fsync": "perhaps"}, PolicyError, "yes or no"),
        ({}, {"fsnyc": True}, PolicyError, "Did you mean 'fsync'"),
        ({"instrument": "DemoCan"}, {"fsync": True}, PolicyError, "Did you mean 'DemoCam'"),
        ({"site": "moon"}, {"fsync": True}, PolicyError, "There is no site 'moon'"),
        ({"storage_class": "Dataframe"}, {"fsync": True}, SkyspineError, "'DataFrame'"),
        ({"instrument": "DemoCam"}, {"create": True}, PolicyError, "before there is one"),
        ({}, {"fsync": None}, PolicyError, "Nothing is set as 'fsync' for the repository"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_set(
    untouched: Butler,
    scope: dict[str, str],
    settings: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        untouched.policy.set(**scope, **settings)
    assert untouched.policy.history() == []


def test_a_policy_is_loaded_whole_or_not_at_all(butler: Butler) -> None:
    butler.policy.set(fsync=True)
    rules = [
        {"create": True},
        {"storage_class": "DataFrame", "format": {"name": "parquet", "compression": "zstd"}},
        {"dataset_type": "summary", "instrument": "DemoCam", "format": "json", "endpoint": "root"},
    ]
    with pytest.raises(PolicyError, match=r"Rule 2 \(storage class DataFrame\).*zst"):
        butler.policy.load([rules[0], {"storage_class": "DataFrame", "format": "zst"}])
    with pytest.raises(PolicyError, match="list of rules"):
        butler.policy.load({"create": True})
    assert butler.policy.as_rules() == [{"fsync": True}]
    assert len(butler.policy.load(rules, dry_run=True)) == 5
    assert butler.policy.as_rules() == [{"fsync": True}]
    assert len(butler.policy.load(rules)) == 5
    assert butler.policy.as_rules() == rules
    assert butler.policy.load(rules) == []
    assert butler.policy.problems() == []
    history = [(str(r.scope), r.setting, r.value) for r in butler.policy.history()]
    assert history[0] == ("repository", "fsync", True)
    assert ("repository", "fsync", None) in history
    assert len(history) == 6
    assert all(rule.set_by and rule.set_at.tzinfo for rule in butler.policy.history())


def test_a_change_by_another_process_is_seen(
    butler: Butler, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(detector: int) -> str:
        return how(butler, butler.put({}, "summary", instrument="DemoCam", detector=detector)).path

    with Butler(repository, writeable=True) as other:
        assert put(1).endswith(".yaml")
        other.policy.set(dataset_type="summary", format="json")
        assert other.policy.explain("summary")[0].value == "json"
        monkeypatch.setattr(deciding, "FRESH_SECONDS", 0.0)
        butler.policy.forget()
        assert put(2).endswith(".json")
        other.policy.set(dataset_type="summary", format="yaml")
        assert put(3).endswith(".yaml")


def test_a_policy_of_a_transaction_that_fails_is_none(butler: Butler) -> None:
    with pytest.raises(ZeroDivisionError), butler.transaction():
        butler.policy.set(dataset_type="summary", format="json")
        butler.put({}, "summary", instrument="DemoCam", detector=1)
        raise ZeroDivisionError
    butler.policy.forget()
    ref = butler.put({}, "summary", instrument="DemoCam", detector=1)
    assert how(butler, ref).formatter == "yaml"


def test_a_dataset_type_is_created_by_its_first_put_where_that_is_allowed(butler: Butler) -> None:
    keys: dict[str, Any] = {"instrument": "DemoCam", "detector": 1}
    with pytest.raises(UnknownDatasetType, match="objects"):
        butler.put(TABLE, "objects", keys)
    butler.policy.set(dataset_type="objects", create=True, format="csv")
    with pytest.raises(UnknownDimensionValue):
        butler.put(TABLE, "objects", instrument="Nowhere", detector=1)
    with pytest.raises(UnknownDatasetType, match="other"):
        butler.put(TABLE, "other", keys)
    assert "objects" not in [kind.name for kind in butler.registry.dataset_types()]
    ref = butler.put(TABLE, "objects", keys)
    assert ref.dataset_type.dimensions == ("instrument", "detector")
    assert ref.dataset_type.storage_class == "DataFrame"
    assert how(butler, ref).formatter == "csv"
    assert butler.get(ref).equals(TABLE)
    butler.put(TABLE, "objects", instrument="DemoCam", detector=2)
    with pytest.raises(WrongType):
        butler.put({"a": 1}, "objects", instrument="DemoCam", detector=3)
    butler.policy.set(create=True)
    with pytest.raises(SkyspineError, match="No storage class holds a builtins.object"):
        butler.put(object(), "things")
    assert butler.get(butler.put({"a": 1}, "things")) == {"a": 1}


def test_pixels_are_quantized_where_that_is_asked_for(butler: Butler) -> None:
    butler.register_dataset_type("picture", ("instrument",), "Exposure")
    noise = np.random.default_rng(5).normal(100, 8, (200, 300)).astype("f4")
    noise[:3] = 0
    picture = CCDData(noise, unit=u.adu, mask=noise > 110)
    butler.policy.set(
        dataset_type="picture", format={"name": "fits-image-tiles", "quantize": 16, "tile": 100}
    )
    ref = butler.put(picture, "picture", instrument="DemoCam")
    one = how(butler, ref)
    assert one.options == {"quantize": 16, "tile": [100, 100]}
    back = butler.get(ref)
    # a step is a 16th of the noise, and dithering errs by half a step at most
    assert 0 < np.abs(back.data - noise).max() < 8 / 16
    assert (back.data[:3] == 0).all()
    assert (back.mask == picture.mask).all()
    assert one.size < noise.nbytes / 2
    with fits.open(one.place(butler.root), disable_image_compression=True) as opened:
        header = opened["IMAGE"].header
        assert (header["ZQUANTIZ"], header["ZTILE1"]) == ("SUBTRACTIVE_DITHER_2", 100)


def test_files_and_folders_are_flushed_where_that_is_asked_for(
    butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noted(opened: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{opened}").readlink()))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noted)
    butler.put({}, "summary", instrument="DemoCam", detector=1)
    assert flushed == []
    butler.policy.set(fsync="yes")
    with butler.transaction():
        for detector in (2, 3):
            butler.put({}, "summary", instrument="DemoCam", detector=detector)
    files_flushed = [name for name in flushed if name.endswith(".part")]
    assert len(files_flushed) == 2
    assert flushed.index(files_flushed[0]) == 0
    folder = butler.root / "u" / "test" / "summary"
    assert str(folder) in flushed
    assert str(butler.root) in flushed
