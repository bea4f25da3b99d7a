from __future__ import annotations

import math
import pickle
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.pex.config import (
    Config,
    ConfigChoiceField,
    ConfigField,
    DictField,
    Field,
    FieldValidationError,
    ListField,
    RangeField,
)

from tests.workflow import example_tasks
from tests.workflow.example_tasks import ClipConfig, CombineConfig, MedianConfig, MedianTask
from workflow.config_values import class_name, import_dotted, parse_value, value_text
from workflow.configuration import (
    Configured,
    Override,
    Script,
    configure,
    digest,
    from_leaf_values,
    leaf_values,
    load_text,
    parse_override,
    read_overrides,
    save_text,
)
from workflow.errors import ConfigurationError, PipelineError, UnknownField

HERE = Path(example_tasks.__file__).relative_to(Path(__file__).parents[2]).as_posix()


def line_of(text: str) -> int:
    """Find the line of the example tasks on which a text stands first."""
    lines = Path(example_tasks.__file__).read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


def set_all(*arguments: str, config_class: Any = CombineConfig) -> Configured:
    """Configure from the command line."""
    return configure(
        config_class, [parse_override(f"x:{argument}")[1] for argument in arguments], label="x"
    )


def steps(configured: Configured, path: str) -> list[tuple[Any, str, str]]:
    """List value, kind and origin of each step."""
    return [(e.value, e.kind, e.origin) for e in configured.history[path]]


class Restless(Config):
    """A class of the tests that changes an attribute of a nested configuration."""

    inner: Any = ConfigField(doc="Nested.", dtype=ClipConfig)
    old = Field[int](doc="Not used any more.", default=1, deprecated="Use new.")
    number = Field[int](doc="A number.", default=4)


class TestHistory:
    def test_a_default_names_its_declaration(self) -> None:
        assert steps(set_all(), "skip_first") == [
            (0, "default", f"{HERE}:{line_of('skip_first = Field')}")
        ]

    def test_set_defaults_are_steps_of_their_own(self) -> None:
        assert steps(set_all(), "clip.iterations") == [
            (3, "default", f"{HERE}:{line_of('iterations = Field')}"),
            (4, "default", f"{HERE}:{line_of('self.iterations = 4')}"),
        ]
        assert steps(set_all(), "clip.sigma") == [
            (5.0, "default", f"{HERE}:{line_of('sigma = Field')}"),
            (7.0, "default", f"{HERE}:{line_of('self.clip.sigma = 7.0')}"),
        ]

    def test_every_step_is_kept_with_who_and_when(self) -> None:
        at = datetime(2022, 9, 20, 12, tzinfo=UTC)
        configured = configure(
            CombineConfig,
            [
                Override("skip_first", 1, "instrument", "t152.yaml:4"),
                Override("skip_first", 2, "pipeline", "ohp.yaml:17", by="lead"),
                Override("skip_first", 2, "parameter", "ohp.yaml:18", at=at),
                Override("skip_first", 3, "command-line", "-c x:skip_first=3"),
            ],
            by="operator",
            at=datetime(2022, 9, 21, tzinfo=UTC),
        )
        history = configured.history["skip_first"]
        assert [(e.value, e.kind, e.origin) for e in history[1:]] == [
            (1, "instrument", "t152.yaml:4"),
            (2, "pipeline", "ohp.yaml:17"),
            (2, "parameter", "ohp.yaml:18"),
            (3, "command-line", "-c x:skip_first=3"),
        ]
        assert [e.by for e in history] == [None, "operator", "lead", "operator", "operator"]
        assert history[0].at is None
        assert history[3].at == at
        assert history[4].at == datetime(2022, 9, 21, tzinfo=UTC)
        assert configured.config.skip_first == 3

    def test_every_value_has_a_history_that_ends_with_it(self) -> None:
        configured = set_all("statistic.sigma=2", "per_detector={3: {'sigma': 1}}", "model=median")
        values = leaf_values(configured.config)
        assert list(configured.history) == [v.path for v in values]
        assert [configured.history[v.path][-1].text for v in values] == [v.text for v in values]
        assert len(values) == 37

    def test_lines_of_python_files_and_of_files_that_they_load(self, tmp_path: Path) -> None:
        (tmp_path / "more.py").write_text("\n\nconfig.weights.append(2)\n")
        main = tmp_path / "main.py"
        main.write_text(
            "import math\n"
            "config.skip_first = 1\n"
            "for level in (1, 2):\n"
            "    config.saturation = level * math.pi\n"
            "config.load('more.py')\n"
        )
        configured = configure(CombineConfig, read_overrides(main))
        assert steps(configured, "skip_first")[1:] == [(1, "file", f"{main}:2")]
        assert steps(configured, "saturation")[1:] == [
            (math.pi, "file", f"{main}:4"),
            (2 * math.pi, "file", f"{main}:4"),
        ]
        assert steps(configured, "weights")[-1][1:] == ("file", f"{tmp_path}/more.py:3")
        assert configured.config.weights[-1] == 2.0

    def test_lines_of_yaml_data_also_of_nested_levels(self, tmp_path: Path) -> None:
        file = tmp_path / "o.yaml"
        file.write_text(
            "clip:\n  sigma: 3\n  iterations: 9\nmodel['median'].axis: 1\noffsets: {r: 1e-3}\n"
        )
        configured = configure(CombineConfig, read_overrides(file))
        assert steps(configured, "clip.sigma")[-1] == (3.0, "file", f"{file}:2")
        assert steps(configured, "clip.iterations")[-1] == (9, "file", f"{file}:3")
        assert steps(configured, "model['median'].axis")[-1] == (1, "file", f"{file}:4")
        assert steps(configured, "offsets")[-1] == ({"r": 1e-3}, "file", f"{file}:5")

    def test_retargeting_is_a_step_and_brings_new_defaults(self) -> None:
        configured = set_all(
            "statistic.sigma=2",
            "statistic=tests.workflow.example_tasks.MedianTask",
            "statistic.axis=1",
        )
        assert configured.config.statistic.target is MedianTask
        mean, median = (f"tests.workflow.example_tasks.{c}Task" for c in ("Mean", "Median"))
        assert [s[:2] for s in steps(configured, "statistic")] == [
            (mean, "default"),
            (median, "command-line"),
        ]
        assert [s[:2] for s in steps(configured, "statistic.axis")] == [
            (0, "default"),
            (1, "command-line"),
        ]
        assert "statistic.sigma" not in configured.history

    def test_an_assigned_nested_configuration_keeps_the_history_before(self) -> None:
        code = "import tests.workflow.example_tasks as t\nc = t.ClipConfig(sigma=5.5)\n"
        configured = configure(
            CombineConfig, [Script(code + "config.clip.sigma = 6\nconfig.clip = c\n", "o.py")]
        )
        assert [s[0] for s in steps(configured, "clip.sigma")] == [5.0, 7.0, 6.0, 5.5]
        assert steps(configured, "clip.sigma")[-1][1:] == ("file", "o.py:4")
        back = configure(CombineConfig, [Script(code + "config.clip = t.ClipConfig\n", "o.py")])
        assert back.config.clip.sigma == 5.0

    def test_new_entries_have_their_own_history(self) -> None:
        configured = set_all("per_detector={2: {'sigma': 1.5}}")
        assert [s[:2] for s in steps(configured, "per_detector")] == [
            ([], "default"),
            ([2], "command-line"),
        ]
        assert [s[:2] for s in steps(configured, "per_detector[2].sigma")] == [
            (5.0, "default"),
            (1.5, "command-line"),
        ]


class TestCommandLine:
    @pytest.mark.parametrize(
        ("argument", "path", "value"),
        [
            ("skip_first=3", "skip_first", 3),
            ("saturation=6e4", "saturation", 6e4),
            ("saturation=-5", "saturation", -5.0),
            ("saturation=-inf", "saturation", -math.inf),
            ("weights=[1, 2.5]", "weights", [1.0, 2.5]),
            ("weights=(1,)", "weights", [1.0]),
            ("weights=1, 2", "weights", [1.0, 2.0]),
            ("weights[0]=9", "weights", [9.0, math.nan, -math.inf]),
            ("bands=['z']", "bands", ["z"]),
            ("offsets={'r': 1}", "offsets", {"r": 1.0}),
            ("offsets['z']=2", "offsets", {"g": math.inf, "z": 2.0}),
            ("offsets.z=2", "offsets", {"g": math.inf, "z": 2.0}),
            ("title=5", "title", "5"),
            ("title=a=b:c", "title", "a=b:c"),
            ("title='quoted'", "title", "quoted"),
            ("title=None", "title", None),
            ("do_clip=False", "do_clip", False),
            ("do_clip=no", "do_clip", False),
            ("mode=sum", "mode", "sum"),
            ("model=median", "model.name", "median"),
            ("model.name=median", "model.name", "median"),
            ("model.active.sigma=3", "model['clip'].sigma", 3.0),
            ("model.median.axis=2", "model['median'].axis", 2),
            ("model['median'].axis=2", "model['median'].axis", 2),
            ("steps=['clip','again']", "steps.names", ["again", "clip"]),
            ("named.name=median", "named.name", "median"),
            ("statistic.sigma=1", "statistic.sigma", 1.0),
            ("clip={'sigma': 1}", "clip.sigma", 1.0),
        ],
    )
    def test_values(self, argument: str, path: str, value: Any) -> None:
        configured = set_all(argument)
        found = {v.path: v for v in leaf_values(configured.config)}[path]
        assert found.text == value_text(value)
        assert configured.history[path][-1].origin == f"-c x:{argument}"

    @pytest.mark.parametrize("argument", ["skip_first=3", "x:skip_first", "=3", "x:=3", ""])
    def test_another_shape_is_refused(self, argument: str) -> None:
        with pytest.raises(ConfigurationError, match="label:path=value"):
            parse_override(argument)

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("skip_frist=3", "CombineConfig has no field 'skip_frist'. Did you mean 's"),
            ("clip.sigmas=3", "x:clip.sigmas: ClipConfig has no field 'sigmas'. Did"),
            ("iterations=3", "Did you mean 'clip.iterations' or"),
            ("model['clipp'].sigma=3", "no field 'clipp'. Did you mean 'clip'"),
            ("per_detector[4].sigma=3", "no field '4'"),
        ],
    )  # fmt: skip
    def test_an_unknown_field_comes_with_a_suggestion(self, argument: str, message: str) -> None:
        with pytest.raises(UnknownField, match=re.escape(message)) as caught:
            set_all(argument)
        assert caught.value.label == "x"
        assert caught.value.path == argument.partition("=")[0]
        assert caught.value.origin == f"-c x:{argument}"

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("skip_first=three", "x:skip_first: 'three' is of type str, but int is needed"),
            ("skip_first=2.5", "2.5 is of type float, but int is needed"),
            ("scale=1.0", r"outside of valid range [0.0,1.0)"),
            ("mode=median", "'median' does not fit"),
            ("weights=1", "does not fit"),
            ("bands=gr", "a list is needed, as in ['gr']"),
            ("bands['x']=g", "'x' is no position in a list"),
            ("bands[7]=g", "does not fit"),
            ("offsets['g']=x", "'x' is of type str, but float is needed"),
            ("model=spline", "Unknown key 'spline'"),
            ("clip=5", "5 does not fit"),
            ("statistic=tests.workflow.example_tasks.MedianTsk", "Did you mean 'MedianTask'"),
            ("statistic=no.such.module", "there is no module 'no'"),
            ("clip.sigma.x=5", "nothing below"),
            ("clip..sigma=5", "no path"),
            ("skip_first=-1", "not valid: skip_first counts from 0"),
            ("do_clip=None", "Required value cannot be None"),
        ],
    )
    def test_a_wrong_value_names_field_value_and_place(self, argument: str, message: str) -> None:
        with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
            set_all(argument)
        assert str(caught.value).startswith("x")
        assert not isinstance(caught.value, UnknownField)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda children: st.lists(children) | st.dictionaries(st.text(), children),
            max_leaves=5,
        )
    )
    def test_any_literal_is_read_back(self, value: Any) -> None:
        argument = f"x:path={value!r}"
        assert parse_override(argument)[1].path == "path"
        text = value_text(value)
        kind = "str" if isinstance(value, str) else "any"
        assert repr(parse_value(text, kind)) == repr(value)


class TestScripts:
    @pytest.mark.parametrize(
        ("code", "line", "message", "cause"),
        [
            ("\nconfig.skip_first = (", 2, "not Python", SyntaxError),
            ("\n\nconfig.skip_first = three", 3, "NameError: name 'three'", NameError),
            ("config.skip_frist = 3", 1, "no attribute skip_frist", AttributeError),
            ("config.clip.sigma = 'x'", 1, "Expected type float", FieldValidationError),
            ("\nimport no_such_module", 2, "No module named", ModuleNotFoundError),
        ],
    )
    def test_a_mistake_names_its_line_and_keeps_its_cause(
        self, tmp_path: Path, code: str, line: int, message: str, cause: type
    ) -> None:
        file = tmp_path / "bad file.py"
        file.write_text(code)
        with pytest.raises(ConfigurationError, match=message) as caught:
            configure(CombineConfig, read_overrides(file), label="isr")
        assert caught.value.origin == f"{file}:{line}"
        assert str(caught.value).startswith("isr")
        assert isinstance(caught.value.__cause__, cause)

    def test_parameters_and_the_file_are_known_inside(self, tmp_path: Path) -> None:
        file = tmp_path / "o.py"
        file.write_text("config.title = __file__\nconfig.skip_first = parameters.skip\n")
        config = configure(CombineConfig, read_overrides(file, parameters={"skip": 2})).config
        assert config.title == str(file)
        assert config.skip_first == 2

    def test_files_of_another_kind_and_missing_ones(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"ends in \.py"):
            read_overrides(_written(tmp_path / "a.txt", ""))
        with pytest.raises(ConfigurationError, match="No such file"):
            read_overrides(tmp_path / "none.py")
        with pytest.raises(PipelineError, match="pairs"):
            read_overrides(_written(tmp_path / "a.yaml", "- 1\n"))
        with pytest.raises(PipelineError, match=r"a\.yaml:3: 'x' is given twice, on lines 1 and 3"):
            read_overrides(_written(tmp_path / "a.yaml", "x: 1\ny: 2\nx: 3\n"))
        assert read_overrides(_written(tmp_path / "a.yaml", "# nothing\n")) == []

    def test_an_unknown_kind_of_origin_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not 'cli'"):
            Override("x", 1, "cli")


class TestValues:
    def test_every_kind_of_field_is_listed_sorted_and_exact(self) -> None:
        values = leaf_values(CombineConfig())
        assert [v.path for v in values] == sorted(v.path for v in values)
        table = {v.path: (v.text, v.type) for v in values}
        assert table["saturation"] == ("nan", "float")
        assert table["ceiling"] == ("inf", "float")
        assert table["quadrature"] == ("(1+nanj)", "complex")
        assert table["weights"] == ("[1.0, nan, -inf]", "list[float]")
        assert table["bands"] == ("['g', 'r']", "list[str]")
        assert table["offsets"] == ("{'g': inf}", "dict[str,float]")
        assert table["title"] == ("été\n'q' #1", "str")
        assert table["note"] == (None, "str")
        assert table["do_clip"] == ("True", "bool")
        assert table["statistic"] == ("tests.workflow.example_tasks.MeanTask", "target")
        assert table["statistic.sigma"] == ("5.0", "float")
        assert table["named.name"] == ("mean", "name")
        assert table["named['median'].axis"] == ("0", "int")
        assert table["model['clip'].sigma"] == ("5.0", "float")
        assert table["steps.names"] == ("['clip', 'median']", "names")
        assert table["extra_steps.names"] == (None, "names")
        assert table["per_detector"] == ("[]", "keys")

    def changed(self) -> Any:
        """Change something in every kind of field."""
        return set_all(
            "statistic=tests.workflow.example_tasks.MedianTask",
            "statistic.axis=1",
            "named.name=median",
            "named['mean'].sigma=nan",
            "model=median",
            "model['clip'].sigma=1.25",
            "steps=['clip', 'again', 'median']",
            "per_detector={4: {'sigma': inf}, 2: {}}".replace("inf", "9e999"),
            "weights=[]",
            "offsets={'ä ö': 0.1}",
            "title=None",
            "note=None ",
        ).config

    @pytest.mark.parametrize("which", ["default", "changed"])
    def test_saved_and_reloaded_configurations_are_equal(self, which: str) -> None:
        config = CombineConfig() if which == "default" else self.changed()
        again = load_text(save_text(config))
        assert leaf_texts(again) == leaf_texts(config)
        assert digest(again) == digest(config)
        assert save_text(again) == save_text(config)
        again.skip_first = 7

    @pytest.mark.parametrize("which", ["default", "changed"])
    def test_values_alone_bring_a_configuration_back(self, which: str) -> None:
        config = CombineConfig() if which == "default" else self.changed()
        rows = [(v.path, v.text, v.type) for v in leaf_values(config)]
        again = from_leaf_values(
            class_name(config), [(path, parse_value(text, kind), kind) for path, text, kind in rows]
        )
        assert digest(again) == digest(config)
        assert isinstance(again, CombineConfig)

    def test_the_digest_tells_values_types_and_classes_apart(self) -> None:
        class Twin(ClipConfig):
            pass

        digests = [
            digest(c)
            for c in (
                CombineConfig(),
                CombineConfig(skip_first=1),
                CombineConfig(note="None"),
                CombineConfig(weights=[1.0, math.nan, math.inf]),
                ClipConfig(),
                Twin(),
            )
        ]
        assert len(set(digests)) == len(digests)
        assert {len(d) for d in digests} == {64}
        assert digest(CombineConfig()) == digests[0]

    def test_a_file_saved_by_pex_config_itself_is_read(self) -> None:
        config = ClipConfig(sigma=2.0)
        assert load_text(config.saveToString()).sigma == 2.0
        with pytest.raises(ConfigurationError, match="begin with"):
            load_text("config.sigma = 2\n")

    def test_values_that_the_class_does_not_have_are_refused(self) -> None:
        with pytest.raises(UnknownField, match="Did you mean 'sigma'"):
            from_leaf_values(ClipConfig, [("sigmaa", 1.0, "float")])

    def test_values_hold_no_code(self) -> None:
        for text in ("__import__('os')", "[x for x in ()]", "open('f')", "1 if nan else 2"):
            with pytest.raises(ValueError, match="no literal"):
                parse_value(text, "list[float]")

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.floats()), st.dictionaries(st.text(max_size=5), st.floats()), st.text())
    def test_any_values_survive_both_ways(
        self, weights: list[float], offsets: dict[str, float], title: str
    ) -> None:
        config = CombineConfig(weights=weights, offsets=offsets, title=title)
        assert digest(load_text(save_text(config))) == digest(config)
        rows = [(v.path, parse_value(v.text, v.type), v.type) for v in leaf_values(config)]
        assert digest(from_leaf_values(CombineConfig, rows)) == digest(config)


class TestBehavioursOfTheField:
    """What anchors/workflow.md B2 lists, through `configure`."""

    def test_later_wins_over_set_defaults_over_declared(self) -> None:
        assert ClipConfig().iterations == 4
        assert ClipConfig(iterations=5).iterations == 5
        assert set_all("iterations=6", config_class=ClipConfig).config.iterations == 6

    def test_a_wrong_value_leaves_the_old_one(self) -> None:
        class Limited(Config):
            few = ListField[int](
                doc="Few.", default=[1], maxLength=3, itemCheck=lambda x: x is not None and x > 0
            )

        for value in ("[0]", "[-1]", "[None]", "[1.5]"):
            with pytest.raises(ConfigurationError, match=r"does not fit|is of type"):
                set_all(f"few={value}", config_class=Limited)
        with pytest.raises(ConfigurationError):
            set_all("few=[1,2,3,4]", config_class=Limited)
        assert list(set_all("few=[3,2]", config_class=Limited).config.few) == [3, 2]

    def test_a_number_becomes_a_float_and_nothing_else(self) -> None:
        value = set_all("saturation=3").config.saturation
        assert isinstance(value, float)
        for bad in ("saturation=high", "skip_first=1.0"):
            with pytest.raises(ConfigurationError):
                set_all(bad)

    def test_range_limits_are_those_of_the_declaration(self) -> None:
        class Ranged(Config):
            x = RangeField(doc="x", dtype=int, min=0, max=4, inclusiveMax=True, default=1)

        assert set_all("x=4", config_class=Ranged).config.x == 4
        with pytest.raises(ConfigurationError, match=r"\[0,4\]"):
            set_all("x=5", config_class=Ranged)

    def test_edits_of_a_list_are_single_steps(self) -> None:
        code = "config.bands.append('i')\nconfig.bands[0:2] = ['u']\ndel config.bands[0]\n"
        configured = configure(CombineConfig, [Script(code, "o.py")])
        assert [(s[0], s[2]) for s in steps(configured, "bands")[1:]] == [
            (["g", "r", "i"], "o.py:1"),
            (["u", "i"], "o.py:2"),
            (["i"], "o.py:3"),
        ]

    def test_a_nested_validation_surfaces(self) -> None:
        class Outer(Config):
            inner: Any = ConfigField(doc="Inner.", dtype=CombineConfig)

        with pytest.raises(ConfigurationError, match="counts from 0"):
            set_all("inner.skip_first=-1", config_class=Outer)

    def test_required_choices_are_checked(self) -> None:
        with pytest.raises(ConfigurationError, match="x:model: Required"):
            set_all("model=None")

    def test_unselected_entries_are_kept_and_restored(self) -> None:
        config = set_all("model['median'].axis=5").config
        assert config.model.name == "clip"
        assert load_text(save_text(config)).model["median"].axis == 5

    def test_entries_of_two_choices_with_one_map_are_independent(self) -> None:
        kinds = {"clip": ClipConfig}

        class Two(Config):
            first = ConfigChoiceField(doc="1", typemap=kinds, default="clip")
            second = ConfigChoiceField(doc="2", typemap=kinds, default="clip")

        config = set_all("first['clip'].sigma=1", config_class=Two).config
        assert (config.first["clip"].sigma, config.second["clip"].sigma) == (1.0, 5.0)

    def test_a_frozen_configuration_refuses_every_kind_of_change(self) -> None:
        config = set_all("per_detector={1: {}}").config
        for code in (
            "config.skip_first = 1",
            "config.clip.sigma = 1",
            "config.statistic.sigma = 1",
            "config.model = 'median'",
            "config.model['median'].axis = 1",
            "config.weights.append(1.0)",
            "config.offsets['g'] = 1.0",
            "config.per_detector[1].sigma = 1",
        ):
            with pytest.raises(FieldValidationError, match="frozen"):
                exec(code, {"config": config})  # noqa: S102
        copy = config.copy()
        copy.clip.sigma = 1.0
        assert config.clip.sigma == 7.0
        CombineConfig().clip.sigma = 1.0

    def test_extra_names_may_not_hide_the_configuration(self) -> None:
        with pytest.raises(ValueError, match="reserved"):
            CombineConfig().loadFromString("", extraLocals={"config": 1})

    def test_imports_of_a_script_are_written_and_failed_ones_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "colorsys", raising=False)  # another test may need it
        code = "import colorsys\ntry:\n    import no_such_module\nexcept ImportError:\n    pass\n"
        text = save_text(configure(CombineConfig, [Script(code, "o.py")]).config)
        assert "\nimport colorsys\n" in text
        assert "no_such_module" not in text

    def test_pickling_keeps_type_and_values(self) -> None:
        config = set_all("clip.sigma=1", config_class=Restless2).config
        again = pickle.loads(pickle.dumps(config))
        assert type(again) is Restless2
        assert digest(again) == digest(config)

    def test_a_deprecated_field_warns_when_set_and_is_saved_only_then(self) -> None:
        config = set_all(config_class=Restless).config
        assert "config.old" not in save_text(config)
        with pytest.warns(FutureWarning, match="Use new"):
            config = set_all("old=2", config_class=Restless).config
        assert "config.old=2" in save_text(config)

    def test_a_field_needs_a_doc_and_one_type(self) -> None:
        with pytest.raises(ValueError, match="Docstring"):
            Field[int](doc="", default=1)
        with pytest.raises(ValueError, match=r"[Cc]onflicting|both"):
            Field[int](doc="x", dtype=float)

    def test_a_changed_default_stays_in_its_class(self) -> None:
        class Sub(ClipConfig):
            pass

        Sub.sigma.default = 1.0
        assert (Sub().sigma, ClipConfig().sigma) == (1.0, 5.0)
        assert configure(Sub).history["sigma"][0].value == 1.0

    def test_dictionaries_check_keys_and_values(self) -> None:
        class Dicts(Config):
            d = DictField[int, str](doc="d", default={1: "a"}, keyCheck=lambda k: k > 0)

        assert dict(set_all("d={2: 'b'}", config_class=Dicts).config.d) == {2: "b"}
        for bad in ("d={0: 'b'}", "d={2: 3}", "d[-1]=x", "d={'k': 'b'}"):
            with pytest.raises(ConfigurationError):
                set_all(bad, config_class=Dicts)


class Restless2(Restless):
    """Importable for pickling."""

    clip: Any = ConfigField(doc="Nested.", dtype=ClipConfig)


def leaf_texts(config: Config) -> list[tuple[str, str | None, str]]:
    """List values so that nan equals nan."""
    return [(v.path, v.text, v.type) for v in leaf_values(config)]


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_dotted_names_are_imported_or_explained() -> None:
    assert import_dotted("lsst.pex.config.Config") is Config
    assert import_dotted("math") is math
    assert import_dotted("tests.workflow.example_tasks.MedianTask.ConfigClass") is MedianConfig
    with pytest.raises(ImportError, match="Did you mean 'MedianTask'"):
        import_dotted("tests.workflow.example_tasks.MedianTaks")
    with pytest.raises(ImportError, match="no module 'nowhere'"):
        import_dotted("nowhere.at.all")
