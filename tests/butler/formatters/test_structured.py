"""YAML and JSON: what is put comes back, to the last bit of every number."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import pathlib
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from butler.errors import DamagedFile
from butler.formatters import get_formatter
from butler.formatters.structured import YamlFormatter
from tests.butler.formatters.contract import FormatterContract

if TYPE_CHECKING:
    from pathlib import Path

TZ = dt.timezone(dt.timedelta(hours=5, minutes=30))
NAIVE = dt.datetime.fromisoformat("2022-09-19T19:47:40.123456")
NUMBER = itertools.count()


def same(a: Any, b: Any) -> bool:
    """Compare, with NaN equal to itself, -0.0 unequal to 0.0, and True unequal to 1."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a, math.copysign(1, a)) == (
            b,
            math.copysign(1, b),
        )
    return bool(a == b)


class StructuredContract(FormatterContract):
    storage_class = "StructuredDataDict"

    def assert_same(self, got: Any, put: Any) -> None:
        assert same(got, put), (got, put)

    def wrong_types(self) -> list[tuple[Any, str]]:
        return [([1], "StructuredDataList"), ("a: 1", "Text"), (np.zeros(2), "dict")]

    def inexpressible(self) -> list[tuple[Any, str]]:
        loop: list[Any] = []
        loop.append(loop)
        return [
            (
                {"a": {"b": [1, np.zeros(3)]}},
                "['a']['b'][1] is of type numpy.ndarray; store its .tolist()",
            ),
            ({"a": {1, 2}}, "['a'] is of type set; store sorted() of it"),
            ({"a": 1 + 2j}, "complex"),
            ({"a": len}, "builtin_function_or_method"),
            ({"\ud800": 1}, "half a character"),
            ({"a": loop}, "holds itself"),
            ({"a": 10**5000}, "4300"),
        ]


class TestYaml(StructuredContract):
    name = "yaml"
    truncations = (0.0,)
    garbage = (
        b"",
        b"a: [1, 2",
        b"a: b: c",
        b"plain text",
        b"\xff\xfe\xfd",
        b"a: !!python/name:os.system",
    )

    def example(self) -> dict[Any, Any]:
        return {
            "seeing": 1.25,
            "flags": {"ok": True, "reason": None},
            7: [1, -0.0, math.inf, -math.inf, math.nan, 2**70, 5e-324, 1e22],
            "observer": 'Jürgen O\'Neill: "天文" \u2028 🔭\n\ttab',
            "begin": NAIVE,
            "zoned": dt.datetime(2022, 9, 19, 19, 47, 40, tzinfo=TZ),
            "night": dt.date(2022, 9, 19),
            "digest": b"\x00\xff",
            "words": [
                "yes",
                "null",
                "1.5",
                "1e5",
                "<<",
                "=",
                "~",
                "",
                " ",
                "# no comment",
                "2022-09-19",
            ],
            "empty": [{}, []],
        }

    def test_a_mistake_is_shown_with_its_place(self, path: Path) -> None:
        path.write_text("a: 1\nb: [1, 2\nc: 3\n")
        with pytest.raises(DamagedFile, match="line 3"):
            self.read(path)

    def test_code_in_a_file_does_not_run(self, path: Path, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        path.write_text(f"a: !!python/object/apply:os.mkdir ['{mark}']\n")
        with pytest.raises(DamagedFile):
            self.read(path)
        assert not mark.exists()


class TestJson(StructuredContract):
    name = "json"
    truncations = (0.0, 0.3, 0.999)
    garbage = (b"", b"plain text", b"\xff\xfe\xfd", b"3")

    def example(self) -> dict[str, Any]:
        return {
            "seeing": 1.25,
            "flags": {"ok": True, "reason": None},
            "numbers": [1, -0.0, math.inf, -math.inf, math.nan, 2**70, 5e-324, 1e22],
            "observer": 'Jürgen O\'Neill: "天文" \u2028 🔭\n\ttab',
            "empty": [{}, []],
        }

    def inexpressible(self) -> list[tuple[Any, str]]:
        return [
            *super().inexpressible(),
            ({"a": {5: 1}}, "['a'][5] is a key of type int"),
            ({"a": b"x"}, "use the formatter yaml"),
            ({"a": 1, pathlib.PurePath("a"): 2}, "keys that become equal"),
        ]

    def test_dates_become_text(self, path: Path) -> None:
        self.formatter.write({"t": NAIVE, "d": dt.date(2022, 9, 19)}, path)
        assert self.read(path) == {"t": "2022-09-19T19:47:40.123456", "d": "2022-09-19"}


@pytest.mark.parametrize("name", ["yaml", "json"])
def test_numbers_of_numpy_paths_and_tuples_become_plain(name: str, tmp_path: Path) -> None:
    ident = uuid.uuid4()
    put = {
        "f4": np.float32(0.1),
        "i8": np.int64(-(2**63)),
        "u8": np.uint64(2**64 - 1),
        "yes": np.bool_(True),
        "text": np.str_("Vega"),
        "path": pathlib.Path("/a/b c"),
        "id": ident,
        "shape": (100, (2048, 1)),
        np.str_("key"): None,
        "zero-dim": np.array(2.5),
    }
    formatter = get_formatter(name)
    formatter.write(put, tmp_path / "file")
    got = formatter.read(tmp_path / "file")
    assert same(
        got,
        {
            "f4": float(np.float32(0.1)),
            "i8": -(2**63),
            "u8": 2**64 - 1,
            "yes": True,
            "text": "Vega",
            "path": "/a/b c",
            "id": str(ident),
            "shape": [100, [2048, 1]],
            "key": None,
            "zero-dim": 2.5,
        },
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
YAML_KEYS = st.text() | st.integers() | st.none() | st.dates()
YAML_VALUES = st.recursive(
    SCALARS
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC) | st.just(TZ)),
    lambda inner: st.lists(inner) | st.dictionaries(YAML_KEYS, inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(put=st.lists(YAML_VALUES) | st.dictionaries(YAML_KEYS, YAML_VALUES))
def test_any_structure_comes_back_from_yaml(
    put: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{next(NUMBER)}.yaml"
    get_formatter("yaml").write(put, path, {"SKYS_ID": "x"})
    assert same(get_formatter("yaml").read(path), put)


@settings(max_examples=60, deadline=None)
@given(put=st.lists(JSON_VALUES) | st.dictionaries(st.text(), JSON_VALUES))
def test_any_structure_comes_back_from_json(
    put: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"{next(NUMBER)}.json"
    get_formatter("json").write(put, path)
    assert same(get_formatter("json").read(path), put)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "yes", "NULL", "On", "1e5", "1_000", "=", "<<", "a: b", "~", "-a", "a-"]),
    st.text(st.sampled_from("abyeEnNoO.+-_/@:#'019 \n\tü"), max_size=6),
    st.floats(allow_nan=False).map(repr),
)


KEYS = SCALARS.filter(lambda key: key == key)  # noqa: PLR0124
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, NESTED, max_size=4) | st.lists(NESTED, max_size=4))
def test_a_few_values_are_written_as_the_library_writes_them(held: Any) -> None:
    written = YamlFormatter().text(held, {})
    assert written == yaml.dump(
        held, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False, width=1_000_000
    )
    assert same(yaml.safe_load(written), held)
