"""Mistakes in a definition are all reported: line, key, what was expected, a near name."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from butler.instrument import InstrumentDefinition, load_shipped, shipped, shipped_file
from butler.instrument.errors import DefinitionError, UnknownInstrument
from butler.instrument.schema import DEFINITION, SOURCES, VALUES, reference

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = """\
name: Mini
doc: a small camera
site: {longitude: 10.0}
detectors:
  - {number: 0, name: A, aliases: [CCD0, 17]}
  - {number: 1, name: B}
filters:
  - {physical_filter: V, band: V, aliases: [V Johnson]}
translate:
  begin: {card: DATE-OBS}
  exposure: {card: EXPNUM}
  exposure_time: {card: EXPTIME}
  detector: {card: CHIP}
  observation_type: science
files:
  - name: raw
    pattern: '(?P<night>\\d{8})_(?P<number>\\d+)\\.fits'
    dataset_type: raw
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        InstrumentDefinition.from_yaml(text)
    return [str(problem) for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new)


def test_the_minimal_definition_is_whole() -> None:
    definition = InstrumentDefinition.from_yaml(MINIMAL)
    assert definition.dataset_types["raw"].dimensions == ("instrument", "detector", "exposure")
    assert definition.detector_number("CCD0") == definition.detector_number(17) == 0
    assert definition.detector_number("b") == definition.detector_number("1") == 1
    assert definition.filter_name("V  Johnson ") == "V"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "doc:",
            "dco:",
            ["line 2, dco: is no key here. Did you mean 'doc'?", "needs the key 'doc'"],
        ),
        ("a small camera", "[a]", ["line 2, doc: expected a text, found a list"]),
        (
            "longitude: 10.0",
            "longitude: 700",
            ["line 3, site.longitude: 700 lies outside -180 to 360"],
        ),
        ("longitude: 10.0", "latitude: 10", ["line 3, site: needs `longitude` or `noon_utc`"]),
        ("longitude: 10.0", "noon_utc: 12h", ["site.noon_utc: '12h' is not of the form"]),
        (
            "number: 1",
            "number: one",
            ["line 6, detectors[1].number: expected an integer, found 'one'"],
        ),
        ("number: 1", "number: -1", ["detectors[1].number: -1 is too small"]),
        ("number: 1", "number: 0", ["line 6, detectors[1]: two detectors have the number 0"]),
        ("name: B", "name: CCD0", ["detectors[1]: 'CCD0' is a name or alias of detectors[0] too"]),
        (
            "{card: CHIP}",
            "{crad: CHIP}",
            ["translate.detector.crad: is no key here. Did you mean 'card'"],
        ),
        ("{card: CHIP}", "{card: A, value: 1}", ["needs exactly one of", "has value and card"]),
        ("{card: CHIP}", "{scale: utc}", ["line 13, translate.detector: needs exactly one of"]),
        (
            "{card: CHIP}",
            "{group: nigth}",
            ["the pattern has no group 'nigth'. Did you mean 'night'"],
        ),
        (
            "{card: CHIP}",
            "{field: exposre}",
            ["there is no value 'exposre'. Did you mean 'exposure'"],
        ),
        ("{card: CHIP}", "{template: 'x{numbr}'}", ["'numbr' is no value or group", "'number'"]),
        ("{card: CHIP}", "{template: 'x{'}", ["translate.detector.template: is no template"]),
        ("{card: CHIP}", "{template: 'x{}'}", ["a field has no name"]),
        (
            "{card: CHIP}",
            "{expression: '1 +'}",
            ["translate.detector.expression: is no expression"],
        ),
        ("{card: CHIP}", "{expression: 'numbr+1'}", ["'numbr' is no value or group"]),
        ("{card: CHIP}", "{column: ccd}", ["translate.detector.table: name one of the tables"]),
        ("{card: CHIP}", "{translator: detector_num}", ["the definition names no `translator`"]),
        ("{card: CHIP}", "{card: CHIP, pattern: '('}", ["is no regular expression", "character 1"]),
        (
            "{card: CHIP}",
            "{card: CHIP, convert: itn}",
            ["'itn' is not one of", "Did you mean 'int'"],
        ),
        ("{card: CHIP}", "[]", ["line 13, translate.detector: needs at least 1 item"]),
        (
            "{card: DATE-OBS}",
            "{card: D, scale: UT}",
            ["translate.begin.scale: 'UT' is not one of utc"],
        ),
        (
            "{card: DATE-OBS}",
            "{card: D, format: iso}",
            ["translate.begin.format: 'iso' gives no date"],
        ),
        ("  begin: {card: DATE-OBS}\n", "", ["line 15, files[0]: no rule gives the time"]),
        (
            "  exposure: {card: EXPNUM}\n",
            "",
            ["files[0]: no rule gives exposure", "translate.exposure"],
        ),
        (
            "  observation_type",
            "  observation_typ",
            ["is no value. Did you mean 'observation_type'"],
        ),
        ("dataset_type: raw", "dataset_type: rwa", ["'rwa' is not under `dataset_types`", "'raw'"]),
        ("'(?P<night>", "'((?P<night>", ["files[0].pattern: is no regular expression"]),
        (
            "exposure: {card: EXPNUM}",
            "exposure: {field: seq_num}\n  seq_num: {field: exposure}",
            ["values need each other: exposure -> seq_num -> exposure"],
        ),
        ("filters:", "ignore: ['[']\nfilters:", ["ignore[0]: is no regular expression"]),
        (
            "filters:",
            "checks: [{expression: exposur > 1, message: m}]\nfilters:",
            ["checks[0].expression: 'exposur' is no value or group. Did you mean 'exposure'"],
        ),
        (
            "filters:",
            "templates: {raw: '../{run}'}\nfilters:",
            ["templates.raw: The template '../{run}' leads out"],
        ),
        (
            "filters:",
            "templates: {raw: '{run}/{exposure}'}\nfilters:",
            ["templates.raw: two datasets of raw could get one path: add {detector}"],
        ),
        (
            "filters:",
            "templates: {raw: '{run}/{exposre}'}\nfilters:",
            ["{exposre}. Did you mean 'exposure'"],
        ),
        (
            "filters:",
            "keys: {exposure: int}\nfilters:",
            ["keys.exposure: has the name of a dimension"],
        ),
        ("filters:", "keys: {Target: str}\nfilters:", ["keys.Target: must be a lower-case name"]),
        (
            "filters:",
            "expand: {exposre: 1}\nfilters:",
            ["expand.exposre: is no key of a data ID", "'exposure'"],
        ),
        (
            "filters:",
            "expand: {exposure: {card: X}}\nfilters:",
            ["uses card, but only value, group"],
        ),
        (
            "filters:",
            "expand: {exposure: {group: nmber}}\nfilters:",
            ["no pattern has a group 'nmber'"],
        ),
        (
            "filters:",
            "dataset_types: {x: {dimensions: [exposre], storage_class: Y}}\nfilters:",
            ["dataset_types.x.dimensions[0]: 'exposre' is no dimension"],
        ),
        ("name: Mini", "name: Mini|x", ["name: must not hold '|'"]),
        ("doc: a", "doc: b\ndoc: a", ["line 3, doc: stands twice; keep one"]),
        ("doc: a small camera", "doc: [", ["line", "is not YAML"]),
        ("doc: a small camera", "doc: ' '", ["line 2, doc: is empty"]),
        ("doc: a small camera", "doc:", ["line 2, doc: expected a text, found nothing"]),
        ("doc: a small camera", "doc: x\n[a]: b", ["a key must be a text or a number"]),
        (
            "filters:",
            "filters: {V: g}\nkeys:",
            ["filters: expected list: mapping, found a mapping"],
        ),
        ("filters:", "tables: [x]\nfilters:", ["tables: expected mapping of name", "found a list"]),
        ("filters:", "ignore: {a: b}\nfilters:", ["ignore: expected list"]),
        (
            "    dataset_type: raw",
            "    dataset_type: raw\n    hdu: 1.5",
            ["files[0].hdu: must be a number"],
        ),
        (
            "    dataset_type: raw",
            "    dataset_type: raw\n    hdu: [1]",
            ["files[0].hdu: expected"],
        ),
        ("doc: a small camera", "doc: !!python/name:os.system x", ["the tag", "is not allowed"]),
    ],
)
def test_mistakes_are_told_where_they_are(old: str, new: str, says: list[str]) -> None:
    found = "\n".join(mistakes(changed(old, new)))
    for text in says:
        assert text in found


def test_all_mistakes_are_told_at_once_and_files_are_named(tmp_path: Path) -> None:
    text = changed("doc:", "dco:").replace("number: 1", "number: x").replace("{card: CHIP}", "{}")
    path = tmp_path / "mini.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        InstrumentDefinition.from_yaml(path)
    assert len(caught.value.problems) == 4
    assert str(caught.value).startswith(
        f"The instrument definition {path} has 4 mistakes:\n  line 2"
    )
    assert pickle.loads(pickle.dumps(caught.value)).source == str(path)


def test_components_must_refer_to_the_pattern() -> None:
    parts = "    components: {group: prt, names: {i: image}, header: imge}\n"
    found = "\n".join(mistakes(MINIMAL + parts))
    assert "files[0].components.group: the pattern has no group 'prt'" in found
    assert "'imge' is not among `names`. Did you mean 'image'" in found


def test_what_is_no_definition_at_all(tmp_path: Path) -> None:
    assert mistakes("just text\nmore\n") == [
        "line 1, the document: expected mapping, found 'just text more'"
    ]
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DefinitionError, match="not UTF-8"):
        InstrumentDefinition.from_yaml(tmp_path / "x.yaml")
    with pytest.raises(FileNotFoundError):
        InstrumentDefinition.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(DefinitionError, match="needs the key 'detectors'"):
        InstrumentDefinition.from_mapping({"name": "x"})


def test_aliases_of_yaml_cannot_grow_without_bound() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for i in range(6):
        bomb += f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n"
    with pytest.raises(DefinitionError, match="more than"):
        InstrumentDefinition.from_yaml(bomb)


@pytest.mark.parametrize("name", shipped())
def test_shipped_definitions_survive_the_round_trip(name: str) -> None:
    definition = load_shipped(name)
    again = InstrumentDefinition.from_yaml(definition.to_yaml())
    assert again == definition
    assert again.digest == definition.digest
    assert hash(again) == hash(definition)
    assert InstrumentDefinition.from_mapping(definition.to_mapping()).digest == definition.digest
    assert pickle.loads(pickle.dumps(definition)) == definition


def test_the_digest_is_of_the_content_not_of_the_layout() -> None:
    text = shipped_file("ohp-t152").read_text()
    stripped = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    definition = load_shipped("ohp-t152")
    assert InstrumentDefinition.from_yaml(stripped).digest == definition.digest
    assert InstrumentDefinition.from_yaml(text.replace("650", "651")).digest != definition.digest


def test_keys_of_any_type_have_one_form() -> None:
    text = changed("{card: CHIP}", "{card: CHIP, lookup: {7: 0, true: 1, x: 1, 2.5: 0}}")
    definition = InstrumentDefinition.from_yaml(text)
    assert InstrumentDefinition.from_yaml(definition.to_yaml()).digest == definition.digest
    assert InstrumentDefinition.from_mapping(yaml.safe_load(text)).digest == definition.digest
    dated = {**definition.to_mapping(), "doc": dt.date(2022, 9, 20)}
    assert InstrumentDefinition.from_mapping(dated).doc == "2022-09-20"


def test_yaml_is_read_without_its_surprises() -> None:
    text = changed("aliases: [V Johnson]", "aliases: [no, on, 1e3, 12:30, 0x1F]")
    definition = InstrumentDefinition.from_yaml(text)
    assert all(definition.filter_name(n) == "V" for n in ("no", "on", 1000, "12:30", 31))


def test_every_key_and_value_is_in_the_reference() -> None:
    page = reference()

    def keys_of(node: Any) -> set[str]:
        if isinstance(node, dict):
            return {k for k in node if k in DEFINITION.keys}.union(*map(keys_of, node.values()))
        return set().union(*map(keys_of, node)) if isinstance(node, list) else set()

    used = set().union(*(keys_of(yaml.safe_load(shipped_file(n).read_text())) for n in shipped()))
    assert used <= set(DEFINITION.keys)
    assert all(f"| `{name}` |" in page for name in (*used, *SOURCES, *VALUES))
    assert all(line.startswith(("|", "A rule")) or not line for line in page.splitlines())


def test_an_unknown_shipped_name_is_helped() -> None:
    assert load_shipped("OHP_T152").name == load_shipped("ohp t152").name == "OHP-T152"
    with pytest.raises(UnknownInstrument, match="Did you mean 'tircam2'"):
        load_shipped("tircam")
