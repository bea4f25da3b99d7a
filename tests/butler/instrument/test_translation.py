"""Bad input is refused with the remedy; odd input is understood as the definition says."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from astropy.table import Table

from butler.errors import ButlerError
from butler.instrument import (
    FileGroup,
    InstrumentDefinition,
    Observation,
    exposure_records,
    load_shipped,
)
from butler.instrument.errors import (
    BadValue,
    ConflictingExposure,
    FailedCheck,
    IncompleteComposite,
    MissingCard,
    NotFits,
    TranslationError,
    TruncatedFits,
    UnknownDetector,
    UnknownFilter,
    UnmatchedFile,
    WrongInstrument,
)

if TYPE_CHECKING:
    from tests.butler.instrument.conftest import EditedFrame

M76 = "ohp-t152-longslit-2022/2022-09-20/raw/M76_M2_ML_Wed_Sep_21_2022_02.25.44_00000.fits.gz"
IC310 = "dot-tircam2-ic310-2022/IC310_1.fits.gz"
CALEXP = "legacysurvey-mosaic3-90prime-calexp/mzlsbass3/images/90prime/CP20160202"
TRIPLET = "ksb_160203_115029_oo{}_r_v1-ccd2.fits.gz"


@pytest.mark.parametrize(
    ("cards", "error", "says"),
    [
        (
            {"FRAME": None},
            MissingCard,
            "gets no begin, of which exposure is made: translate.begin looks for card FRAME",
        ),
        (
            {"FRAME": "yesterday"},
            BadValue,
            "card FRAME = 'yesterday' cannot be used for translate.begin",
        ),
        ({"FRAME": "2022-13-41T00:00:00"}, BadValue, "month must be in 1..12"),
        (
            {"EXPOSURE": None},
            MissingCard,
            "gets no exposure_time: translate.exposure_time looks for card EXPOSURE",
        ),
        ({"EXPOSURE": "long"}, BadValue, "'long' is no number. Correct the rule"),
        ({"EXPOSURE": -3.0}, BadValue, "exposure_time = -3, outside 0"),
        (
            {"EXPOSURE": 600.0},
            FailedCheck,
            "is not that of the read-out .* end = 2022-09-21T02:15:39 UTC",
        ),
        (
            {"SERNO": 22713},
            UnknownDetector,
            "no detector 22713. Did you mean '22712'.* add it under `detectors`",
        ),
        (
            {"SERNO": None},
            MissingCard,
            "gets no detector, which is part of what identifies raw: translate.detector looks for",
        ),
        (
            {"HEAD": "DU888"},
            WrongInstrument,
            "has HEAD = 'DU888'; files of OHP-T152 have DU940P_BV",
        ),
        ({"HEAD": None}, WrongInstrument, "has no card HEAD, by which files of OHP-T152 are known"),
    ],
)
def test_cards_that_are_missing_or_wrong(
    ohp: InstrumentDefinition, edited: EditedFrame, cards: dict[str, Any], error: type, says: str
) -> None:
    path = edited(M76, **cards)
    with pytest.raises(error, match=says) as caught:
        ohp.observe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert isinstance(caught.value, TranslationError)
    assert isinstance(caught.value, ButlerError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.path, again.code) == (str(caught.value), path, caught.value.code)


def test_near_cards_are_named(edited: EditedFrame) -> None:
    definition = load_shipped("tircam2")
    path = edited(IC310, **{"DATE-OBS": None, "DATEOBS": "2022-10-23T08:31:24"})
    with pytest.raises(MissingCard, match=r"Cards with near names: .*DATEOBS") as caught:
        definition.observe(path)
    assert caught.value.rule == "translate.begin"
    assert "TIME-OBS" in caught.value.cards
    with pytest.raises(
        UnknownFilter, match=r"no filter 'Jx'\. Did you mean 'J'.* `filters` with its band"
    ):
        definition.observe(edited(IC310, FILTER1="Jx"))


def test_files_that_are_not_whole_or_not_fits(
    ohp: InstrumentDefinition, test_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / Path(M76).name
    path.write_bytes((test_data / M76).read_bytes()[:50_000])
    with pytest.raises(TruncatedFits, match=r"inside the data of HDU 0 \(819200 bytes\)"):
        ohp.observe(path)
    path.write_text("no frame today\n")
    with pytest.raises(NotFits, match="it is text that begins with 'no frame today"):
        ohp.observe(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        ohp.observe(path)


def test_names_that_fit_no_pattern(
    ohp: InstrumentDefinition, test_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "M76.fits.gz"
    shutil.copy(test_data / M76, path)
    with pytest.raises(UnmatchedFile, match=r"fits no file-name pattern .*`files`, .*`ignore`"):
        ohp.observe(path)
    assert not ohp.accepts(path)
    assert ohp.group([path]) == [FileGroup(path)]
    assert ohp.ignores(tmp_path / "reference/master_bias.fits.gz")
    assert ohp.group([tmp_path / "reduced/x.fits", tmp_path / "README.md"]) == []


def test_incomplete_triplets_name_what_is_missing(test_data: Path, tmp_path: Path) -> None:
    definition = load_shipped("90prime")
    for part in "iw":
        shutil.copy(test_data / CALEXP / TRIPLET.format(part), tmp_path)
    groups = definition.group(sorted(tmp_path.iterdir()))
    assert [sorted(g.components) for g in groups] == [["image", "weight"]]
    for target in (groups[0], tmp_path / TRIPLET.format("w")):
        with pytest.raises(
            IncompleteComposite, match=r"mask \(ksb_.*_ood_.*\) is not there"
        ) as caught:
            definition.observe(target)
        assert caught.value.missing == ("mask",)
    spec = definition.to_mapping()
    spec["files"][0]["components"]["optional"] = ["mask"]
    relaxed = InstrumentDefinition.from_mapping(spec)
    assert list(relaxed.observe(groups[0]).components) == ["image", "weight"]


def test_triplets_in_two_folders_are_two_datasets(test_data: Path, tmp_path: Path) -> None:
    definition = load_shipped("90prime")
    paths: list[Path] = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        triplet = [test_data / CALEXP / TRIPLET.format(part) for part in "dwi"]
        paths += [Path(shutil.copy(path, tmp_path / folder)) for path in triplet]
    groups = definition.group(paths)
    assert [g.path.parent.name for g in groups] == ["a", "b"]
    assert all(list(g.components) == ["image", "weight", "mask"] for g in groups)


def small(**changes: Any) -> InstrumentDefinition:
    spec = load_shipped("tircam2").to_mapping()
    spec.pop("keys")
    spec["translate"].pop("target")
    for key, value in changes.items():
        spec[key] = {**spec[key], **value} if isinstance(spec.get(key), dict) else value
    return InstrumentDefinition.from_mapping(spec)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"card": "EXPTIME", "unit": "ms"}, 0.04),
        ({"card": ["NOPE", "EXPTIME"]}, 40.0),
        ([{"card": "NOPE"}, {"value": 3}], 3.0),
        ({"card": "NOPE", "default": 1.5}, 1.5),
        ({"card": "EXPTIME", "missing": [40], "default": 2}, 2.0),
        ({"card": "EXPTIME", "lookup": {40: 41}}, 41.0),
        ({"card": "EXPTIME", "lookup": {41: 42}, "default": 7}, 7.0),
        ({"card": "EXPTIME", "replace": {"40": 30}}, 30.0),
        ({"card": "IRAFNAME", "pattern": r"_(\d+)s_"}, 10.0),
        ([{"card": "IRAFNAME", "pattern": "nothing"}, 8], 8.0),
        ({"expression": "EXPTIME_S + seq_num * 2"}, None),
        ({"card": "IRAFNAME", "pattern": "(x)?IC", "default": 4}, 4.0),
        ({"template": "{instrument}", "lookup": {"TIRCAM2": 6}}, 6.0),
        ({"expression": "float(EXPTIME) + float(number) * 2"}, 42.0),
        ({"template": "{number:05d}.{number}"}, 1.1),
        ({"card": "EXPTIME", "hdu": 0}, 40.0),
    ],
)
def test_rules(test_data: Path, rule: Any, wanted: float | None) -> None:
    definition = small(translate={"exposure_time": rule})
    if wanted is None:
        with pytest.raises(MissingCard, match="gets no exposure_time"):
            definition.observe(test_data / IC310)
    else:
        assert definition.observe(test_data / IC310).exposure_time == wanted


@pytest.mark.parametrize(
    ("translate", "says"),
    [
        (
            {"exposure_time": {"card": "EXPTIME", "lookup": {"41": 1}}},
            "lookup does not list. Known: '41'",
        ),
        ({"exposure_time": {"expression": "EXPTIME + 1"}}, "cannot be computed"),
        ({"quality": "so-so"}, "quality 'so-so'; it must be good or rejected"),
        ({"dec": 91}, "dec = 91, outside -90 to 90"),
        ({"seq_num": {"card": "INSTRUME"}}, "'TIRCAM2' is no integer"),
        ({"seq_num": 1.5}, "1.5 is no integer"),
        ({"ra": {"card": "TELRA", "convert": "hours"}}, "is not written like 12:34:56.7"),
        ({"end": {"value": "2022-10-23T00:00:00"}}, "ends .* before it begins"),
        ({"airmass": {"template": "{object_name:03d}"}}, None),
        ({"exposure_time": True}, "True is no number"),
        ({"exposure_time": "inf"}, "not a finite number"),
        ({"ra": {"value": "10:70:00", "convert": "hours"}}, "minutes or seconds outside 0 to 60"),
        ({"seq_num": {"template": "{IRAFNAME:03d}"}}, "cannot be written as"),
    ],
)
def test_rules_that_cannot_be_followed(
    test_data: Path, translate: dict[str, Any], says: str | None
) -> None:
    if says is None:
        with pytest.raises(ValueError, match="object_name"):
            small(translate=translate)
        return
    with pytest.raises(BadValue, match=says):
        small(translate=translate).observe(test_data / IC310)


def test_the_twelve_hour_clock_needs_a_longitude(test_data: Path) -> None:
    clock = {"begin": {"card": "DATE-OBS", "clock": "12-hour"}}
    definition = small(translate=clock)
    site = {"name": "somewhere", "noon_utc": "12:00"}
    without = InstrumentDefinition.from_mapping({**definition.to_mapping(), "site": site})
    with pytest.raises(BadValue, match=r"needs `site\.longitude`"):
        without.observe(test_data / IC310)


def test_checks_that_cannot_be_made_are_errors(test_data: Path) -> None:
    check = {"expression": "seq_num < target_name", "message": "never"}
    with pytest.raises(BadValue, match="cannot be checked"):
        small(checks=[check]).observe(test_data / IC310)


def test_a_key_that_a_dataset_type_needs_must_have_a_value(test_data: Path) -> None:
    spec = load_shipped("tircam2").to_mapping()
    spec["dataset_types"]["raw"]["dimensions"].append("target")
    spec["templates"]["raw"] += "_{target}"
    definition = InstrumentDefinition.from_mapping(spec)
    observation = definition.observe(test_data / IC310)
    assert observation.data_id["target"] == "IC310"
    with pytest.raises(MissingCard, match="gets no target_name, of which target is made"):
        definition.observe(test_data / "dot-tircam2-ic310-2022/bias_1.fits.gz")


def test_begin_middle_and_end_give_each_other(test_data: Path) -> None:
    begin = load_shipped("tircam2").observe(test_data / IC310).begin_tai_ns
    assert begin is not None
    for name, shift in (("begin", 0), ("middle", 20_000_000_000), ("end", 40_000_000_000)):
        spec = load_shipped("tircam2").to_mapping()
        spec["translate"][name] = spec["translate"].pop("begin")
        spec["translate"]["exposure"] = {"group": "number"}
        spec["translate"]["obs_id"] = {"card": "IRAFNAME"}
        observation = InstrumentDefinition.from_mapping(spec).observe(test_data / IC310)
        assert observation.begin_tai_ns == begin - shift
        assert observation.end_tai_ns == begin - shift + 40_000_000_000


def test_sexagesimal_coordinates(edited: EditedFrame) -> None:
    rules = {
        "ra": {"card": "TELRA", "convert": "hours"},
        "dec": {"card": "TELDEC", "convert": "sexagesimal"},
    }
    observation = small(translate=rules).observe(
        edited(IC310, TELRA="03:16:43.2", TELDEC="-00 30 36")
    )
    assert observation.ra == pytest.approx(49.18)
    assert observation.dec == pytest.approx(-0.51)


def test_an_auxiliary_table_gives_facts_or_says_why_not(test_data: Path, tmp_path: Path) -> None:
    shutil.copy(test_data / IC310, tmp_path)
    path = tmp_path / "IC310_1.fits.gz"
    table = {"file": "log.csv", "match": {"name": {"field": "stem"}}}
    definition = small(tables={"log": table}, extra={"seeing": {"column": "seeing"}})
    assert "seeing" not in definition.observe(path).extra
    Table({"name": ["IC310_1", "x"], "seeing": [0.7, 0.8]}).write(tmp_path / "log.csv")
    assert definition.observe(path).extra["seeing"] == 0.7
    Table({"name": ["y"], "seeing": [0.7]}).write(tmp_path / "log.csv", overwrite=True)
    assert "seeing" not in definition.observe(path).extra
    needed = small(
        tables={"log": {**table, "required": True}}, extra={"seeing": {"column": "seeing"}}
    )
    with pytest.raises(MissingCard, match="none has name = 'IC310_1'"):
        needed.observe(path)
    twice = Table({"name": ["IC310_1", "IC310_1"], "seeing": [0.7, 0.9]})
    twice.write(tmp_path / "log.csv", overwrite=True)
    with pytest.raises(BadValue, match="has 2 rows with name = 'IC310_1'"):
        definition.observe(path)
    Table({"nmae": ["IC310_1"], "seeing": [0.7]}).write(tmp_path / "log.csv", overwrite=True)
    with pytest.raises(BadValue, match=r"no column 'name'\. Did you mean 'nmae'"):
        definition.observe(path)
    Table({"name": ["IC310_1"], "seing": [0.7]}).write(tmp_path / "log.csv", overwrite=True)
    with pytest.raises(BadValue, match=r"no column 'seeing'\. Did you mean 'seing'"):
        definition.observe(path)
    (tmp_path / "log.csv").write_bytes(b"\x00\xff\xfe" * 100)
    with pytest.raises(BadValue, match="cannot be read as a table"):
        definition.observe(path)
    masked = Table({"name": ["IC310_1"], "seeing": [0.7]}, masked=True)
    masked["seeing"].mask = True
    masked.write(tmp_path / "log.csv", overwrite=True)
    assert "seeing" not in definition.observe(path).extra
    (tmp_path / "log.csv").unlink()
    with pytest.raises(MissingCard, match=r"needs the table log\.csv"):
        needed.observe(path)


def test_a_wcs_that_cannot_be_used_may_be_left_out(edited: EditedFrame) -> None:
    broken = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--SIN"}
    path = edited(IC310, **broken)
    with pytest.raises(BadValue, match=r"WCS that cannot be used.*`region: none`"):
        load_shipped("tircam2").observe(path)
    assert small(region="none").observe(path).region is None


def test_observations_travel_between_processes(ohp: InstrumentDefinition, test_data: Path) -> None:
    observation = ohp.observe(test_data / M76)
    again: Observation = pickle.loads(pickle.dumps(observation))
    assert again.data_id == observation.data_id
    assert again.origins == observation.origins
    assert again.paths == (test_data / M76,)


def test_two_files_of_one_exposure_must_agree(
    ohp: InstrumentDefinition, test_data: Path, edited: EditedFrame
) -> None:
    spec = ohp.to_mapping()
    spec["checks"] = []
    spec["translate"]["exposure"] = {"value": 1}
    definition = InstrumentDefinition.from_mapping(spec)
    first = definition.observe(test_data / M76)
    second = definition.observe(edited(M76, FRAME="2022-09-21T03:00:00"))
    with pytest.raises(
        ConflictingExposure, match=r"Exposure 1 of OHP-T152 has obs_id .*M76.* and .*M76"
    ):
        exposure_records([first, second])


def test_facts_missing_in_one_file_come_from_another(
    ohp: InstrumentDefinition, test_data: Path, tmp_path: Path
) -> None:
    rejected = tmp_path / f"Rejected_{Path(M76).name}"
    shutil.copy(test_data / M76, rejected)
    spec = ohp.to_mapping()
    spec["files"][0]["translate"] = {"science_program": {"group": "flag"}}
    definition = InstrumentDefinition.from_mapping(spec)
    rows = exposure_records([definition.observe(rejected), definition.observe(test_data / M76)])
    assert len(rows) == 1
    assert rows[0]["quality"] == "rejected"
    assert rows[0]["science_program"] == "Rejected_"
