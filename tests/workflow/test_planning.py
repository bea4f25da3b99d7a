"""Do statements find the quanta that a search dataset by dataset finds, for every kind of join?"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from registry import Registry, Timespan, calibrations
from registry.identity import DatasetType
from registry.keys import declare_keys
from registry.schema.dimensions import overlap, patch, tract, visit_detector_region
from tests.workflow.brute_force import build_all
from tests.workflow.choosing import HOOKS, LOOKUPS, RULES
from tests.workflow.planned import quanta_of
from workflow.connections import Connections, Input, Output, Prerequisite
from workflow.pipeline import PipelineTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.databases import Databases

INPUTS = ["both", "calib"]
KIND = "StructuredDataDict"
HOUR = 3600 * 10**9
CAM = {"instrument": "Cam"}
PIXEL = ("instrument", "detector", "exposure")
VISITED = ("instrument", "detector", "visit")
PATCH = ("skymap", "tract", "patch")
OUTSIDE = {
    "raw": PIXEL,
    "again": PIXEL,
    "guide": ("instrument", "exposure"),
    "seen": VISITED,
    "template": PATCH,
    "lines": ("instrument", "detector"),
    "sky": ("skymap", "tract"),
    "named": ("instrument", "exposure", "target"),
}
TASKS = (
    PIXEL,
    VISITED,
    ("instrument", "visit"),
    ("instrument", "exposure"),
    ("instrument", "detector"),
    ("instrument", "detector", "day_obs"),
    ("instrument", "physical_filter"),
    ("instrument", "detector", "target"),
    ("band",),
    (*PATCH, "band"),
    PATCH,
    ("skymap", "tract"),
    (),
)
CALIBRATIONS = {
    "level": ("instrument", "detector", "day_obs"),
    "flat": ("instrument", "detector", "physical_filter", "day_obs"),
    "colour": ("band", "day_obs", "instrument"),
    "lamp": ("instrument", "target"),
}
EXPRESSIONS = ("", "", "", "exposure.exposure_time > 15", "detector = 1", "exposure IN (1..4)")


@st.composite
def skies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw exposures, visits, patches, and which datasets there are."""
    exposures = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "night": st.integers(1, 2),
                    "filter": st.sampled_from(["r", "g", "dark", None]),
                    "target": st.sampled_from(["M76", "Vega/é", "", None]),
                    "time": st.sampled_from([10.0, 20.0]),
                    "temperature": st.sampled_from([-100, -99.5, "warm", None]),
                    "visits": st.sets(st.integers(1, 3), max_size=2),
                }
            ),
            min_size=4,
            max_size=6,
        )
    )
    places = st.tuples(st.integers(1, 3), st.integers(1, 2))
    touching = st.sets(
        st.tuples(places, st.integers(0, 1), st.integers(0, 1)), min_size=3, max_size=8
    )
    kept = st.sampled_from([1.0, 0.8, 0.6])
    return {
        "exposures": exposures,
        "touching": draw(touching),
        "kept": {name: draw(kept) for name in OUTSIDE},
        "seed": draw(st.integers(0, 2**20)),
        "policy": draw(
            st.sampled_from(
                [
                    None,
                    calibrations.Policy("nearest"),
                    calibrations.Policy("nearest-earlier", 2 * HOUR),
                    calibrations.Policy("nearest", None, {"temperature": 1.0}),
                    calibrations.Policy("valid", None, {"temperature": None, "exposure_time": 5.0}),
                ]
            )
        ),
        "spans": draw(
            st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=4)
        ),
    }


def pipeline_for(seed: int, sky: dict[str, Any]) -> list[PipelineTask]:
    """Choose tasks, each with inputs from outside or from those before it.

    By chance, since what Hypothesis draws next is mostly a small change of what it drew before.
    """
    chance = random.Random(repr((seed, sky)))
    made: dict[str, tuple[str, ...]] = {}
    tasks = []
    for n in range(chance.randint(1, 4)):
        dimensions = chance.choice(TASKS)
        connections: dict[str, Any] = {}
        known = {**OUTSIDE, **made}
        drawn = chance.choices(sorted(known) + sorted(made) * 3, k=chance.choice([1, 1, 2, 3]))
        select = {}
        for name in dict.fromkeys(drawn):
            several = not set(known[name]) <= set(dimensions)
            multiple = chance.random() < (0.8 if several else 0.5)
            minimum = chance.choice([0, 1, 1, 2] if multiple else [0, 1])
            connections[f"in_{name}"] = Input(
                name, KIND, known[name], multiple=multiple, minimum=minimum
            )
            if "exposure" in known[name] and "detector" in known[name]:
                select[f"in_{name}"] = chance.choice(EXPRESSIONS)
        for name in chance.sample([*CALIBRATIONS, "mask", "stars"], chance.choice([0, 1])):
            connections[name] = prerequisite(name, chance)
        for name in chance.sample(sorted(LOOKUPS), chance.choice([0, 0, 1, 2])):
            connections[f"by_{name}"] = looked_up(name, chance)
        connections["out"] = Output(f"out{n}", KIND, dimensions)
        made[f"out{n}"] = dimensions
        more = chance.choice([PIXEL, VISITED, ("instrument", "exposure"), ()])
        if not set(more) <= set(dimensions):
            beyond = tuple(dict.fromkeys([*dimensions, *more]))
            connections["parts"] = Output(f"part{n}", KIND, beyond, multiple=True)
            made[f"part{n}"] = connections["parts"].definition().dimensions
        tasks.append(
            PipelineTask(
                f"t{n}",
                chance.choice(HOOKS),
                None,
                Connections(connections, dimensions),
                select=select,
            )
        )
    return tasks


def prerequisite(name: str, chance: random.Random) -> Prerequisite:
    minimum = chance.choice([0, 0, 1])
    if name in CALIBRATIONS:
        return Prerequisite(name, KIND, CALIBRATIONS[name], is_calibration=True, minimum=minimum)
    keys = ("instrument", "detector") if name == "mask" else PATCH
    return Prerequisite(name, KIND, keys, minimum=minimum, multiple=name == "stars")


def looked_up(name: str, chance: random.Random) -> Prerequisite:
    function = chance.choice(LOOKUPS[name])
    return Prerequisite(
        name,
        KIND,
        {**OUTSIDE, **CALIBRATIONS, "nowhere": ("instrument",)}[name],
        is_calibration=name in CALIBRATIONS,
        minimum=chance.choice([0, 0, 1]),
        multiple=RULES[function][1],
        lookup=function,
    )


def fill(registry: Registry, sky: dict[str, Any]) -> None:
    """Insert what was drawn."""
    chance = random.Random(sky["seed"])
    insert = registry.insert_dimension_records
    insert("instrument", [{"name": "Cam", "detector_max": 3}])
    insert("detector", [{**CAM, "id": d, "full_name": f"D{d}"} for d in (1, 2)])
    bands = {"r": "r", "g": "g", "dark": None}
    insert("physical_filter", [{**CAM, "name": k, "band": b} for k, b in bands.items()])
    insert(
        "day_obs",
        [
            {**CAM, "id": n, "begin_tai_ns": 5 * n * HOUR, "end_tai_ns": 5 * (n + 1) * HOUR}
            for n in (1, 2)
        ],
    )
    rows = []
    for n, e in enumerate(sky["exposures"], 1):
        extra = {"target": e["target"], "temperature": e["temperature"]}
        rows.append(
            {
                **CAM,
                "id": n,
                "obs_id": str(n),
                "day_obs": e["night"],
                "physical_filter": e["filter"],
                "observation_type": "science",
                "exposure_time": e["time"],
                "begin_tai_ns": (5 * e["night"] + n % 5) * HOUR,
                "end_tai_ns": (5 * e["night"] + n % 5) * HOUR + 1,
                "extra": {k: v for k, v in extra.items() if v is not None},
            }
        )
    insert("exposure", rows)
    visits = [
        {**CAM, "id": v, "name": str(v), "day_obs": 1, "physical_filter": "r" if v < 3 else None}
        | {"begin_tai_ns": (5 + v) * HOUR, "end_tai_ns": (5 + v) * HOUR + 1}
        for v in (1, 2, 3)
    ]
    insert("visit", visits)
    insert(
        "visit_exposure",
        [
            {**CAM, "visit": v, "exposure": n}
            for n, e in enumerate(sky["exposures"], 1)
            for v in sorted(e["visits"])
        ],
    )
    insert("skymap", [{"name": "map", "definition": {}}])
    insert_touching(registry, sky["touching"])
    registry.register_collection("in")
    registry.register_collection("other")
    registry.chain("both", ["other", "in"])
    registry.register_collection("calib", "CALIBRATION")
    with registry.begin() as connection:
        declare_keys(connection, {"target": str})
    exposures = [row["id"] for row in rows]
    for name, dimensions in OUTSIDE.items():
        insert_some(registry, name, dimensions, exposures, sky["kept"][name], chance)
    certify_some(registry, sky)


def insert_touching(registry: Registry, touching: set[Any]) -> None:
    with registry.begin() as connection:
        connection.execute(
            sa.insert(tract), [{"skymap": "map", "id": t, "region": b"x"} for t in (0, 1)]
        )
        connection.execute(
            sa.insert(patch),
            [
                {"skymap": "map", "tract": t, "id": p, "region": b"x", "wcs": {}}
                for t in (0, 1)
                for p in (0, 1)
            ],
        )
        seen = [
            {**CAM, "visit": v, "detector": d} for v, d in sorted({at for at, _, _ in touching})
        ]
        if seen:
            connection.execute(
                sa.insert(visit_detector_region), [{**s, "region": b"x"} for s in seen]
            )
            connection.execute(
                sa.insert(overlap),
                [
                    {**CAM, "visit": v, "detector": d, "skymap": "map", "tract": t, "patch": p}
                    for (v, d), t, p in sorted(touching)
                ],
            )


def insert_some(
    registry: Registry,
    name: str,
    dimensions: Sequence[str],
    exposures: Sequence[int],
    share: float,
    chance: Any,
) -> None:
    values: dict[str, list[Any]] = {
        "instrument": ["Cam"],
        "detector": [1, 2],
        "exposure": list(exposures),
        "visit": [1, 2, 3],
        "skymap": ["map"],
        "tract": [0, 1],
        "patch": [0, 1],
        "target": ["M76", "Vega/é"],
    }
    every: list[dict[str, Any]] = [{}]
    for d in dimensions:
        every = [{**key, d: v} for key in every for v in values[d]]
    kind = DatasetType(name, tuple(dimensions), KIND)
    registry.register_dataset_type(kind)
    for run in ("in", "other"):
        some = [key for key in every if chance.random() < (share if run == "in" else share / 3)]
        registry.insert_datasets(kind, some, run)


def certify_some(registry: Registry, sky: dict[str, Any]) -> None:
    for name, keys in {"mask": ("instrument", "detector"), "stars": PATCH}.items():
        registry.register_dataset_type(DatasetType(name, keys, KIND))
    registry.insert_datasets(
        DatasetType("mask", ("instrument", "detector"), KIND), [{**CAM, "detector": 1}], "in"
    )
    registry.insert_datasets(
        DatasetType("stars", PATCH, KIND),
        [{"skymap": "map", "tract": 0, "patch": p} for p in (0, 1)],
        "in",
    )
    kinds = [DatasetType(name, d, KIND, is_calibration=True) for name, d in CALIBRATIONS.items()]
    for kind in kinds:
        registry.register_dataset_type(kind)
        if sky["policy"] is not None:
            with registry.begin() as connection:
                calibrations.set_policy(connection, kind, sky["policy"])
    key: dict[str, Any] = {**CAM, "detector": 1, "day_obs": 1, "target": "M76"}
    key |= {"physical_filter": "r", "band": "r"}
    last = 0
    for n, (gap, length) in enumerate(sky["spans"]):
        registry.register_collection(f"calib/{n}")
        refs = [
            ref
            for kind in kinds
            for ref in registry.insert_datasets(
                kind, [{d: key[d] for d in kind.dimensions}], f"calib/{n}"
            )
        ]
        begin = last + gap
        last = begin + length
        facts = {"temperature": -100.0 + n, "exposure_time": 12.0}
        with registry.begin() as connection:
            calibrations.record_facts(connection, {ref.id: facts for ref in refs})
        registry.certify("calib", refs, Timespan(begin * HOUR, last * HOUR))


Told = tuple[str, str, tuple[Any, ...], tuple[Any, ...]]


def told(quantum: Any, gone: set[Any] = frozenset()) -> Told:  # type: ignore[assignment]
    """Say what a quantum is, without identities of what is not made yet."""

    def listed(refs: Any) -> tuple[Any, ...]:
        return tuple(
            sorted(
                (name, r.dataset_type.name, r.data_id.key, "" if r.run == "run" else str(r.id))
                for name, of_name in refs.items()
                for r in of_name
                if r.id not in gone
            )
        )

    return quantum.label, quantum.data_id.key, listed(quantum.inputs), listed(quantum.outputs)


@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sky=skies(), seed=st.integers(0, 2**32), where=st.sampled_from(["", "", "run = 'in'"]))
def test_statements_find_what_a_search_one_by_one_finds(
    databases: Databases, sky: dict[str, Any], seed: int, where: str
) -> None:
    tasks = pipeline_for(seed, sky)
    with databases.migrated() as url, Registry.connect(url) as registry:
        fill(registry, sky)
        with registry.read() as connection:
            expected = build_all(connection, tasks, run="run", inputs=INPUTS, where=where)
        ready, blocked = quanta_of(registry, tasks, INPUTS, where)
        gone = {r.id for q in blocked for refs in q.outputs.values() for r in refs}
        assert sorted(told(q, gone) for q in ready) == sorted(
            told(q) for q in expected if not q.problem
        )
        unable = {(q.label, q.data_id.key) for q in expected if q.problem}
        assert unable <= {(q.label, q.data_id.key) for q in blocked}
