"""Do configurations of lsst-pex-config behave as documented, all the way to the database and back?

Each test configures a class, records it for a task of a run, reads the rows, and makes the
configuration again; the classes use lsst-pex-config alone, as those of its users do.
"""

from __future__ import annotations

import math
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import yaml
from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigChoiceField,
    ConfigDictField,
    ConfigField,
    ConfigurableField,
    DictField,
    Field,
    FieldValidationError,
    ListField,
    RangeField,
    UnexpectedProxyUsageError,
    compareConfigs,
    makeRegistry,
)

from registry import Registry
from registry.identity import uuid7
from registry.schema import provenance as schema
from tests.workflow.recorded import Chain
from workflow import recorded_configs
from workflow.configuration import (
    Override,
    Script,
    configure,
    digest,
    leaf_values,
    parse_override,
    read_overrides,
    save_text,
)
from workflow.errors import ConfigurationError, UnknownField, UnknownLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.databases import Databases


class Leaf(Config):
    """A few plain fields."""

    size = Field[int](doc="A size.", default=4)
    factor = Field[float](doc="A factor.", default=3.0)
    maybe = Field[int](doc="A number or none.", default=None, optional=True)


class Other(Config):
    """Another choice."""

    scale = Field[float](doc="A scale.", default=1.0)

    def validate(self) -> None:
        super().validate()
        if self.scale < 0:
            raise ValueError("scale is negative")


class Mean:
    """What a configuration can make."""

    ConfigClass: Any = Leaf

    def __init__(self, config: Any) -> None:
        self.config = config


class Median(Mean):
    """Another one, with the same configuration."""


class Mode(Mean):
    """One with other fields."""

    ConfigClass = Other


algorithms = makeRegistry("Algorithms.")
algorithms.register("mean", Mean)
algorithms.register("mode", Mode)
KINDS = {"leaf": Leaf, "other": Other}


def positive(value: Any) -> bool:
    """Check an item."""
    return bool(value is not None and value > 0)


class Top(Config):
    """Every kind of field."""

    size = Field[int](doc="A size.", default=4)
    factor = Field[float](doc="A factor.", default=3.0)
    maybe = Field[int](doc="A number or none.", default=None, optional=True)
    sizes = ListField[int](doc="Sizes.", default=[1, 2, 3], maxLength=5, itemCheck=positive)
    depths = DictField[str, float](doc="Depths.", default={"g": 1.5}, itemCheck=positive)
    labels = DictField[int, str](doc="Labels.", default={})
    words = ListField[str](doc="Words.", default=None, optional=True)
    part = RangeField(doc="A part.", dtype=float, min=0.0, max=1.0, default=0.5)
    mode = ChoiceField[str](doc="A mode.", allowed={"a": "one", "b": "other"}, default="a")
    inner: Any = ConfigField(doc="Nested.", dtype=Leaf)
    one: Any = ConfigChoiceField(doc="One of.", typemap=KINDS, default="leaf")
    same: Any = ConfigChoiceField(doc="One of the same.", typemap=KINDS, default="leaf")
    several: Any = ConfigChoiceField(doc="Some of.", typemap=KINDS, default=["leaf"], multi=True)
    algorithm: Any = algorithms.makeField(doc="By name.", default="mean")
    each: Any = ConfigDictField(doc="By number.", keytype=int, itemtype=Leaf, default={})
    target: Any = ConfigurableField(doc="By class.", target=Mean)


class Fewer(Top):
    """Defaults of a subclass."""

    def setDefaults(self) -> None:
        super().setDefaults()
        self.size = 5
        self.inner.size = 6


class Old(Config):
    """A field that is not used any more."""

    size = Field[int](doc="A size.", default=4)
    old = Field[int](doc="Not used.", default=1, deprecated="Use size.")


@pytest.fixture(scope="module")
def registry(databases: Databases) -> Iterator[Registry]:
    with databases.migrated() as url, Registry.connect(url) as opened:
        yield opened


@pytest.fixture
def chain(registry: Registry) -> Chain:
    return Chain(registry, f"run/{uuid7()}")


def refused(*steps: Override | Script | str, config_class: type[Config] = Top) -> str:
    """Tell why a step does not fit."""
    overrides = [parse_override(f"t:{s}")[1] if isinstance(s, str) else s for s in steps]
    with pytest.raises(ConfigurationError) as caught:
        configure(config_class, overrides, label="t")
    return str(caught.value)


def script(*lines: str) -> Script:
    return Script("\n".join(lines) + "\n", "o.py")


def test_1_a_field_needs_a_doc() -> None:
    declarations: list[Callable[[], Any]] = [
        lambda: Field[int](doc=""),
        lambda: ListField[int](doc=""),
        lambda: DictField[int, int](doc=""),
        lambda: RangeField(doc="", dtype=int, min=0),
        lambda: ConfigField(doc="", dtype=Leaf),
        lambda: ConfigDictField(doc="", keytype=int, itemtype=Leaf),
        lambda: ChoiceField[str](doc="", allowed={"a": "It."}),
        lambda: ConfigChoiceField(doc="", typemap=KINDS),
        lambda: ConfigurableField(doc="", target=Mean),
        lambda: algorithms.makeField(""),
    ]
    for declare in declarations:
        with pytest.raises(ValueError, match=r"[Dd]oc"):
            declare()


def test_2_types_of_a_declaration_agree(chain: Chain) -> None:
    with pytest.raises(ValueError, match=r"[Cc]onflict"):
        Field[int](doc="x", dtype=float)
    with pytest.raises(ValueError, match="single type"):
        Field[int, float](doc="x")  # type: ignore[misc]

    class Agreeing(Config):
        a = Field[int](doc="a", dtype=int, default=1)
        b = Field["float"](doc="b", default=2.0)

    agreeing = configure(Agreeing).config
    assert [(v.path, v.type) for v in leaf_values(agreeing)] == [("a", "int"), ("b", "float")]
    assert isinstance(chain(Top, "factor=2").factor, float)


def test_3_defaults_are_read_as_declared(chain: Chain) -> None:
    config = chain(Top)
    assert (config.maybe, config.factor) == (None, 3.0)
    assert config.sizes == [1, 2, 3]
    assert dict(config.depths) == {"g": 1.5}
    values = chain.values()
    assert (values["maybe"], values["factor"], values["sizes"]) == (None, "3.0", "[1, 2, 3]")


def test_4_declared_then_set_defaults_then_keyword_then_override(chain: Chain) -> None:
    assert (Top().size, Fewer().size, Fewer(size=7).size) == (4, 5, 7)
    assert chain(Fewer).size == 5
    assert chain(Fewer, "size=8").size == 8
    assert [s[:2] for s in chain.history("size")] == [
        ("4", "default"),
        ("5", "default"),
        ("8", "command-line"),
    ]
    assert [s[0] for s in chain.history("inner.size")] == ["4", "6"]


class Plain:
    """A base that is no configuration."""

    size = Field[float](doc="A size.", default=2.5)


class FromPlain(Plain, Leaf):  # type: ignore[misc]
    """Its field comes from the first base."""


class FromLeaf(Leaf, Plain):  # type: ignore[misc]
    """Its field comes from the first base."""


def test_5_the_first_base_wins(chain: Chain) -> None:
    assert chain(FromPlain).size == 2.5
    assert chain(FromLeaf).size == 4


class Changed(Leaf):
    """A subclass whose default is changed."""


def test_6_a_default_changed_in_a_subclass_stays_there(chain: Chain) -> None:
    Changed.size.default = 9
    assert chain(Changed).size == 9
    assert chain(Leaf).size == 4


def test_7_an_integer_becomes_a_float_and_nothing_else_changes(chain: Chain) -> None:
    assert repr(chain(Top, script("config.factor = 2")).factor) == "2.0"
    assert "t:inner.factor: 'high' is of type str" in refused("inner.factor=high")
    with pytest.raises(FieldValidationError, match=r"inner\.factor"):
        Top().inner.factor = "high"
    with pytest.raises(FieldValidationError):
        Top().depths["x"] = "y"  # type: ignore[assignment]
    assert "t:labels" in refused("labels={1: True}")
    assert "t:depths" in refused("depths={'g': 'deep'}")


def test_8_ranges_are_checked_when_declared_and_when_set(chain: Chain) -> None:
    with pytest.raises(ValueError, match=r"min|max"):
        RangeField(doc="x", dtype=int, min=3, max=2)
    with pytest.raises(ValueError, match=r"min|max|inclusive"):
        RangeField(doc="x", dtype=int, min=3, max=3)
    assert RangeField(doc="x", dtype=int, min=3, max=3, inclusiveMax=True).min == 3

    class Excluded(Config):
        x = RangeField(doc="x", dtype=float, min=0.0, max=1.0, default=1.0)

    with pytest.raises(FieldValidationError):
        Excluded()
    assert chain(Top, "part=0.0").part == 0.0
    assert "[0.0,1.0)" in refused("part=1.0")


@pytest.mark.parametrize("bad", ["[0]", "[-1]", "[None]", "[1.5]", "[1, 2, 3, 4, 5, 6]"])
def test_9_a_bad_list_leaves_the_old_one(chain: Chain, bad: str) -> None:
    assert "t:sizes" in refused(f"sizes={bad}")
    config = Top()
    if len(bad) > len("[1, 2]"):  # the length is checked with the whole
        config.sizes = eval(bad)  # noqa: S307
        with pytest.raises(FieldValidationError):
            config.validate()
        return
    with pytest.raises(FieldValidationError):
        config.sizes = eval(bad)  # noqa: S307
    assert config.sizes == [1, 2, 3]
    code = f"try:\n    config.sizes = {bad}\nexcept ValueError:\n    config.size = 1"
    assert chain(Top, script(code)).sizes == [1, 2, 3]


def test_10_edits_of_a_list_are_those_of_a_plain_one_and_each_is_a_step(chain: Chain) -> None:
    edits = ["x[0:2] = [7, 8]", "x.insert(1, 9)", "x.append(4)", "del x[0]"]
    plain = [1, 2, 3]
    steps = [("[1, 2, 3]", "default")]
    for edit in edits:
        exec(edit, {"x": plain})  # noqa: S102
        steps.append((repr(plain), "file"))
    config = chain(Top, script(*(e.replace("x", "config.sizes") for e in edits)))
    assert config.sizes == plain
    assert config.sizes == tuple(plain)
    assert [s[:2] for s in chain.history("sizes")] == steps
    assert [s[2] for s in chain.history("sizes")][1:] == [f"o.py:{n}" for n in (1, 2, 3, 4)]
    assert "t:sizes" in refused(script("config.sizes.append(-1)"))


def test_11_unknown_attributes_are_refused() -> None:
    config = Top()
    for holder in (config, config.inner, config.sizes, config.depths, config.one, config.target):
        with pytest.raises((AttributeError, FieldValidationError)):
            holder.sise = 1
    with pytest.raises(UnknownField, match="Did you mean 'size'"):
        configure(Top, [parse_override("t:sise=1")[1]], label="t")


def test_12_a_bad_item_leaves_a_dictionary_valid(chain: Chain) -> None:
    config = Top()
    bad: list[Any] = [("g", -1.0), (3, 1.0), ("g", None)]
    for key, value in bad:
        with pytest.raises(FieldValidationError):
            config.depths[key] = value
    config.validate()
    assert "t:depths" in refused("depths['r']=-2.0")
    assert dict(chain(Top, "depths['r']=2").depths) == {"g": 1.5, "r": 2.0}


def test_13_a_class_resets_and_an_instance_is_copied(chain: Chain) -> None:
    code = [
        "from tests.workflow.test_pex_config import Leaf",
        "config.inner.size = 8",
        "mine = Leaf(size=9)",
        "config.inner = mine",
        "mine.size = 10",
    ]
    assert chain(Top, script(*code)).inner.size == 9
    assert chain(Top, script(*code, "config.inner = Leaf")).inner.size == 4


def test_14_a_nested_validation_is_that_of_the_whole(chain: Chain) -> None:
    assert "scale is negative" in refused("one=other", "one['other'].scale=-1")
    assert chain(Top, "one['other'].scale=-1").one["other"].scale == -1.0


class Required(Config):
    """A choice that has to be made."""

    one: Any = ConfigChoiceField(doc="One of.", typemap=KINDS, default=None)


def test_15_choices(chain: Chain) -> None:
    assert "Unknown key 'leef'" in refused("one=leef")
    assert "Required" in refused(config_class=Required)
    config = chain(Top, "one['other'].scale=2.5", "same['leaf'].size=1")
    assert (config.one.name, config.one["other"].scale) == ("leaf", 2.5)
    assert (config.one["leaf"].size, config.same["leaf"].size) == (4, 1)
    assert chain(Top, "one=other").one.active.scale == 1.0


def test_16_several_choices_are_a_set(chain: Chain) -> None:
    config = Top()
    config.several.names.add("other")
    config.several.names.discard("leaf")
    config.several.names.discard("leaf")
    with pytest.raises(KeyError):
        config.several.names.remove("leaf")
    with pytest.raises(FieldValidationError):
        config.several = "leaf"
    code = ("config.several.names.add('other')", "config.several.names.discard('leaf')")
    assert set(chain(Top, script(*code)).several.names) == {"other"}
    assert chain.values()["several.names"] == "['other']"


@pytest.mark.parametrize(
    "change",
    ["size = 1", "inner.size = 1", "one = 'other'", "one['other'].scale = 2.0", "sizes.append(3)"],
)
def test_17_frozen_is_frozen_and_a_copy_is_not(chain: Chain, change: str) -> None:
    config = configure(Top).config
    with pytest.raises(FieldValidationError):
        exec(f"config.{change}", {"config": config})  # noqa: S102
    for free in (Top(), config.copy(), chain(Top)):
        exec(f"config.{change}", {"config": free})  # noqa: S102
        assert digest(free) != digest(config)


def test_18_frozen_choices_take_no_new_names() -> None:
    kinds: dict[str, type[Config]] = {"leaf": Leaf}

    class Growing(Config):
        one: Any = ConfigChoiceField(doc="One of.", typemap=kinds, default="leaf")

    frozen, free = Growing(), Growing()
    frozen.freeze()
    kinds["other"] = Other
    free.one["other"].scale = 2.0
    free.one.name = "other"
    assert free.one.active.scale == 2.0
    assert "other" not in frozen.one.types
    with pytest.raises(FieldValidationError, match="Unknown key"):
        frozen.one["other"]


EVERYTHING = (
    "factor=nan",
    "depths={'g': 9e999}",
    "one['other'].scale=1",
    "one=other",
    "several=['other', 'leaf']",
    "words=None",
    "each={3: {'size': 1}, 1: {}}",
    "target.factor=9e999",
    "algorithm=mode",
    "algorithm['mean'].size=2",
)


def test_19_nan_inf_none_and_unselected_entries_survive(chain: Chain) -> None:
    config = chain(Top, *EVERYTHING)
    assert math.isnan(config.factor)
    assert dict(config.depths) == {"g": math.inf}
    assert config.target.factor == math.inf
    assert (config.one.name, set(config.several.names)) == ("other", {"leaf", "other"})
    assert config.words is None
    assert (sorted(config.each), config.each[3].size) == ([1, 3], 1)
    assert (config.algorithm.name, config.algorithm["mean"].size) == ("mode", 2)
    assert (chain.values()["factor"], chain.values()["depths"]) == ("nan", "{'g': inf}")
    with pytest.raises(NameError):
        Top().loadFromString("root.size = 3")
    config = Top()
    config.loadFromString("config.size = n", extraLocals={"n": 3})
    assert config.size == 3
    with pytest.raises(ValueError, match="reserved"):
        Top().loadFromString("", extraLocals={"config": 1})


def test_20_imports_are_saved_and_failed_ones_are_not(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("colorsys", "xml.dom", "xml.dom.minidom"):  # only what is not known yet is noted
        monkeypatch.delitem(sys.modules, name, raising=False)
    chain(
        Top,
        script(
            "import colorsys",
            "from xml.dom import minidom",
            "try:",
            "    import no_such_module",
            "except ImportError:",
            "    config.size = 1",
        ),
    )
    assert chain.configured is not None
    text = save_text(chain.configured.config)
    assert "\nimport colorsys\n" in text
    assert "\nimport xml.dom" in text
    assert "no_such_module" not in text


@pytest.mark.parametrize(
    ("code", "cause"), [("config.size = (", SyntaxError), ("config.size = four", NameError)]
)
def test_21_mistakes_of_an_override_file_are_its_cause(code: str, cause: type) -> None:
    with pytest.raises(cause):
        Top().loadFromString(code)
    with pytest.raises(ConfigurationError, match=r"o\.py:1") as caught:
        configure(Top, [script(code)], label="t")
    assert isinstance(caught.value.__cause__, cause)


def test_22_history_of_a_configuration_that_is_copied_in(chain: Chain) -> None:
    code = (
        "from tests.workflow.test_pex_config import Leaf",
        "mine = Leaf()",
        "mine.size = 3",
        "mine.size = 5",
        "config.inner = mine",
        "config.one['leaf'] = mine",
    )
    chain(Top, script(*code))
    for path, line in (("inner.size", 5), ("one['leaf'].size", 6)):
        first, *_, last = chain.history(path)
        assert first[:2] == ("4", "default")
        assert last == ("5", "file", f"o.py:{line}")
    config = Top()
    config.size = 5  # noted here
    told = config.formatHistory("size")
    assert told.startswith("size\n4")
    assert "noted here" in told


def test_23_comparison_names_what_differs(chain: Chain) -> None:
    chain(Top)
    chain(Top, "sizes=[1]", "depths={'r': 1.5}", "inner.size=1")
    with chain.registry.read() as connection:
        one, other = (recorded_configs.load(connection, chain.run, t) for t in ("t0", "t1"))
    told: list[str] = []
    assert one.compare(one.copy(), shortcut=False, output=told.append)
    assert told == []
    assert not one.compare(other, shortcut=False, output=told.append)
    for path in ("sizes", "depths", "inner.size"):
        assert any(path in t for t in told)
    listed = len(told)
    told.clear()
    assert not one.compare(other, shortcut=True, output=told.append)
    assert len(told) < listed
    for wrong in (Leaf(), None):
        told.clear()
        assert not compareConfigs("config", one, wrong, output=told.append)
        assert told


def test_24_pickle_and_yaml_keep_type_and_values(chain: Chain) -> None:
    config = chain(Top, "factor=nan", "inner.size=2")
    for again in (pickle.loads(pickle.dumps(config)), yaml.load(yaml.dump(config), yaml.Loader)):  # noqa: S506
        assert type(again) is Top
        assert digest(again) == digest(config)
    code = (
        "import pickle, sys, yaml\n"
        "given = pickle.loads(sys.stdin.buffer.read())\n"
        f"assert {__name__!r} not in sys.modules\n"
        "found = [pickle.loads(given[0]), yaml.load(given[1], yaml.Loader)]\n"
        "print([(type(c).__name__, c.inner.size, c.factor != c.factor) for c in found])\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"import lsst.pex.config\n{code}"],
        cwd=Path(__file__).parents[2],
        input=pickle.dumps((pickle.dumps(config), yaml.dump(config))),
        capture_output=True,
        check=True,
    )
    assert told.stdout.decode().strip() == str([("Top", 2, True)] * 2)
    for proxy in (config.sizes, config.depths, config.one, config.target):
        with pytest.raises(UnexpectedProxyUsageError, match="cannot be pickled"):
            pickle.dumps(proxy)


def test_25_deprecated_registered_retargeted_loaded(chain: Chain, tmp_path: Path) -> None:
    chain(Old)
    assert chain.configured is not None
    assert "config.old" not in save_text(chain.configured.config)
    with pytest.warns(FutureWarning, match="Use size"):
        configured = configure(Old, [parse_override("t:old=2")[1]])
    assert "config.old=2" in save_text(configured.config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        assert chain(Old, "old=2").old == 2
    with pytest.raises(RuntimeError, match="mean"):
        algorithms.register("mean", Mean)
    median = f"{__name__}.Median"
    config = chain(Top, "target.size=9", f"target={median}")
    assert config.target.size == 9
    made = config.target.apply()
    assert (type(made), made.config.size) == (Median, 9)
    assert [s[0] for s in chain.history("target")] == [f"{__name__}.Mean", median]
    (tmp_path / "more.py").write_text("config.mode = 'b'\nassert __file__.endswith('more.py')\n")
    main = tmp_path / "main.py"
    main.write_text("import os\nconfig.load('more.py')\nconfig.words = [__file__]\n")
    config = chain(Top, *read_overrides(main))
    assert (config.mode, list(config.words)) == ("b", [str(main)])
    config = Top()
    config.load(main.as_uri())
    assert config.mode == "b"
    with pytest.raises((NotImplementedError, ValueError), match="gopher"):
        Top().load("gopher://host/config.py")


def test_equal_configurations_are_one_row_and_yaml_data_say_the_same(
    chain: Chain, tmp_path: Path
) -> None:
    data = tmp_path / "o.yaml"
    data.write_text(
        "factor: .nan\ndepths: {g: .inf}\none: {other: {scale: 2}}\n"
        "each:\n  3:\n    size: 1\ntarget.size: 7\nalgorithm.name: mode\n"
    )
    code = script(
        "config.factor = float('nan')",
        "config.depths = {'g': float('inf')}",
        "config.one['other'].scale = 2",
        "from tests.workflow.test_pex_config import Leaf",
        "config.each[3] = Leaf(size=1)",
        "config.target.size = 7",
        "config.algorithm.name = 'mode'",
    )
    from_data, from_code = chain(Top, *read_overrides(data)), None
    assert chain.history("each[3].size")[-1] == ("1", "file", f"{data}:6")
    from_code = chain(Top, code)
    assert digest(from_data) == digest(from_code)
    t = schema.task
    with chain.registry.read() as connection:
        keys = connection.execute(
            sa.select(t.c.config_id).where(t.c.label.in_(chain.labels())).order_by(t.c.id.desc())
        ).scalars()
        first, second = list(keys)[:2]
    assert first == second


def test_a_task_that_a_run_does_not_have(chain: Chain) -> None:
    chain(Leaf)
    with (
        chain.registry.read() as connection,
        pytest.raises(UnknownLabel, match=r"no task 't00'\. Did you mean 't0'"),
    ):
        recorded_configs.load(connection, chain.run, "t00")


def test_each_line_of_the_page_has_its_test() -> None:
    page = Path(__file__).parents[2] / "docs/reference/pex-config.md"
    lines = re.findall(r"^\| (\d+) \|", page.read_text("utf-8"), re.MULTILINE)
    tests = [m[1] for name in globals() if (m := re.match(r"test_(\d+)_", name))]
    assert lines == tests == [str(n) for n in range(1, 26)]
