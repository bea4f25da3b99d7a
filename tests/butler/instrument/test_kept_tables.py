"""Tables that lie beside a definition are kept with it, and tell more about files and data IDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from butler.instrument import InstrumentDefinition, load_shipped
from butler.instrument.errors import DefinitionError
from registry.errors import InvalidDataId

if TYPE_CHECKING:
    from pathlib import Path

CSV = "chip,number,side\nalpha,1,left\nbeta,2,left\ngamma,3,right\ngamma,4,left\n"
ECSV = """# %ECSV 1.0
# ---
# datatype:
# - {name: chip, datatype: string}
# - {name: number, datatype: int64}
# - {name: side, datatype: string}
chip number side
alpha 1 left
beta 2 left
gamma 3 right
gamma 4 left
"""
YAML = """
- {chip: alpha, number: 1, side: left}
- {chip: beta, number: 2, side: left}
- {chip: gamma, number: 3, side: right}
- {chip: gamma, number: 4, side: left}
"""
MATCH = {"chip": {"field": "chip"}, "side": {"field": "side"}}


def camera(**changes: Any) -> dict[str, Any]:
    """Give the demo's definition as plain values, with some keys changed."""
    spec = load_shipped("demo").to_mapping()
    spec["tables"] = {"chips": {"file": "chips.csv", "kept": True, "match": MATCH}}
    spec["expand"]["detector"] = {"column": "number"}
    return spec | changes


def written(folder: Path, name: str, text: str) -> InstrumentDefinition:
    spec = camera()
    spec["tables"]["chips"]["file"] = name
    (folder / name).write_text(text)
    (folder / "camera.yaml").write_text(
        InstrumentDefinition.from_mapping(camera(tables={}, expand={})).to_yaml()
    )
    lines = (folder / "camera.yaml").read_text()
    assert "tables: {}" in lines
    lines = lines.replace(
        "tables: {}",
        f"tables:\n  chips: {{file: {name}, kept: true, "
        "match: {chip: {field: chip}, side: {field: side}}}",
    )
    lines = lines.replace("expand: {}", "expand:\n  detector: {column: number}")
    (folder / "camera.yaml").write_text(lines)
    return InstrumentDefinition.from_yaml(folder / "camera.yaml")


@pytest.mark.parametrize(
    ("name", "text"), [("chips.csv", CSV), ("chips.ecsv", ECSV), ("chips.yaml", YAML)]
)
def test_a_row_gives_the_detector(tmp_path: Path, name: str, text: str) -> None:
    definition = written(tmp_path, name, text)
    assert definition.expand({"chip": "beta"})["detector"] == 2
    assert definition.expand({"chip": "gamma", "side": "left"})["detector"] == 4
    with pytest.raises(InvalidDataId, match=r"for detector, chip 'gamma' could be 3, 4\."):
        definition.expand({"chip": "gamma"})
    assert "detector" not in definition.expand({"chip": "delta"})
    # the rows go with it, wherever it is read
    (tmp_path / name).unlink()
    again = InstrumentDefinition.from_yaml(definition.to_yaml())
    assert again == definition
    assert again.expand({"chip": "alpha"})["detector"] == 1


def test_another_table_is_another_definition(tmp_path: Path) -> None:
    first = written(tmp_path, "chips.csv", CSV)
    second = written(tmp_path, "chips.csv", CSV.replace("beta,2", "beta,3"))
    assert first != second


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("chip,number\n", "chips.csv has no row"),
        ("a,b\n1,2\n1,2,3,4\n", "cannot be read as a table"),
        ("chip\n" + "x\n" * 10_001, "10001 rows, and 10000 can be kept .* use a `query`"),
        ("chip,numbr\na,1\n", r"match.side: is no column of it"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        written(tmp_path, "chips.csv", text)


def test_a_table_lies_beside_the_definition(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="must lie beside the definition"):
        written(tmp_path, "../chips.csv", CSV)
    with pytest.raises(DefinitionError, match="give its `rows`"):
        InstrumentDefinition.from_mapping(camera())


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("DELETE FROM exposure", "begins with 'delete'"),
        ("SELECT id FROM exposure; DROP TABLE exposure", "has '; DROP TABLE'"),
        ("SELECT id FROM exposure -- all", "has '-- all' at character 25"),
        ("SELECT 1) AS a, (SELECT 2", r"has a '\)' without"),
        ("SELECT pg_sleep(10)", r"calls pg_sleep\(...\)"),
        ("SELECT id FROM exposure FOR UPDATE", "has 'UPDATE', which changes"),
        ("SELECT id INTO OUTFILE 'x' FROM exposure", "has 'INTO', which writes"),
        ("WITH x AS (DELETE FROM exposure RETURNING id) SELECT id FROM x", "has 'DELETE'"),
        ('SELECT "id" FROM exposure', "quoted names"),
        ("SELECT id / 2 FROM exposure", "'/ 2 FROM"),
        ("SELECT id FROM exposure WHERE obs_id LIKE 'a'", "has 'LIKE', which tells upper"),
    ],
)
def test_what_is_not_one_question_is_refused(query: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=rf"expand.exposure.query: The query .*{says}"):
        InstrumentDefinition.from_mapping(camera(tables={}, expand={"exposure": {"query": query}}))


def test_the_database_is_asked_for_data_ids_only() -> None:
    spec = camera(tables={}, expand={})
    spec["translate"]["visit"] = {"query": "SELECT 1"}
    with pytest.raises(DefinitionError, match="by rules of `expand` only"):
        InstrumentDefinition.from_mapping(spec)
    with pytest.raises(DefinitionError, match=r"aliases.ccd: 'detecter' is no key.* 'detector'"):
        InstrumentDefinition.from_mapping(camera(tables={}, expand={}, aliases={"ccd": "detecter"}))
