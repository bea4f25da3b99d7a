"""Writes `generated.yaml`: expressions drawn at random, always the same ones.

Run as `python -m tests.differential.generate`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

SEED = 20240917
EACH = 13
TARGET = Path(__file__).with_name("generated.yaml")

HSC_VISIT: dict[str, list[Any]] = {
    "visit": [318, 404, 900, 1270, 11690, 23704, 29324, 30504],
    "visit.exposure_time": [30.0, 60.5, 150.0, 200.0, 240.0, 270.0],
    "physical_filter": ["HSC-G", "HSC-R", "HSC-I", "HSC-Z", "HSC-Y"],
    "band": ["g", "r", "i", "y"],
    "day_obs": [20130617, 20140324, 20141117, 20150317, 20150516],
    "visit.name": ["HSCA00031800", "HSCA0003*", "HSCA*02", "HSCA00?2*"],
    "visit.timespan": ["2014-03-25T09:40:00", "2014-11-18T08:00:00", "2015-03-18T12:00:00"],
    "+visit.region": [(216.7, -0.4), (150.1, 2.2), (320.3, 0.2), (217.2, -1.1)],
}
CAM1_DETECTOR: dict[str, list[Any]] = {
    "detector": [1, 2, 3, 4, 7],
    "detector.raft": ["A", "B", "C"],
    "detector.full_name": ["Aa", "Ab", "Bb", "A*", "?a"],
    "detector.purpose": ["SCIENCE", "WAVEFRONT"],
}
CAM1_EXPOSURE: dict[str, list[Any]] = {
    "exposure": [1, 2, 5, 8, 12],
    "exposure.exposure_time": [0.0, 2.0, 5.5, 30.0, 60.25],
    "exposure.dark_time": [1.5, 7.0, 31.5],
    "exposure.seq_num": [1, 2, 4],
    "exposure.observation_type": ["bias", "flat", "science", "s*"],
    "exposure.target_name": ["M31", "NGC 7023", "*7*"],
    "exposure.science_program": ["P0", "P1", "P?"],
    "exposure.azimuth": [30.0, 150.0, 300.0],
    "exposure.zenith_angle": [20.0, 40.0, 61.5],
    "exposure.tracking_dec": [-20.0, -40.0, 0.0],
    "physical_filter": ["Cam1-G", "Cam1-R1", "*R*"],
    "band": ["g", "r"],
    "day_obs": [20240101, 20240102],
    "exposure.timespan": ["2024-01-01T14:00:30", "2024-01-02T13:30:00", "2024-01-03T15:00:10"],
}
GROUPS: list[tuple[dict[str, Any], dict[str, list[Any]]]] = [
    ({"repository": "base", "records": "detector", "given": {"instrument": "Cam1"}}, CAM1_DETECTOR),
    ({"repository": "base", "records": "exposure", "given": {"instrument": "Cam1"}}, CAM1_EXPOSURE),
    (
        {
            "repository": "base",
            "datasets": "bias",
            "collections": ["chain"],
            "given": {"instrument": "Cam1"},
        },
        CAM1_DETECTOR,
    ),
    (
        {
            "repository": "base",
            "datasets": "flat",
            "collections": ["imported_r", "tagged", "imported_g"],
            "given": {"instrument": "Cam1"},
        },
        CAM1_DETECTOR | {"physical_filter": ["Cam1-G", "Cam1-R1", "*R*"], "band": ["g", "r"]},
    ),
    (
        {
            "repository": "base",
            "datasets": "raw",
            "collections": ["raws"],
            "given": {"instrument": "Cam1"},
        },
        CAM1_DETECTOR | CAM1_EXPOSURE,
    ),
    (
        {
            "repository": "base",
            "data_ids": ["instrument", "detector", "exposure"],
            "given": {"instrument": "Cam1"},
        },
        CAM1_DETECTOR | CAM1_EXPOSURE,
    ),
    ({"repository": "rc2", "records": "visit", "given": {"instrument": "HSC"}}, HSC_VISIT),
    (
        {
            "repository": "rc2",
            "records": "visit_detector_region",
            "given": {"instrument": "HSC"},
        },
        {
            **{k: v for k, v in HSC_VISIT.items() if not k.startswith("+")},
            "detector": [0, 5, 23, 60, 103],
            "detector.raft": ["0", "1"],
            "+visit_detector_region.region": [(216.7, -0.4), (150.1, 2.2), (217.2, -0.2)],
        },
    ),
    (
        {
            "repository": "rc2",
            "data_ids": ["instrument", "visit", "skymap", "tract"],
            "given": {"instrument": "HSC", "skymap": "hsc_rings_v1"},
        },
        {k: v for k, v in HSC_VISIT.items() if not k.startswith("+")} | {"tract": [9615, 9813]},
    ),
    (
        {
            "repository": "ci_hsc",
            "datasets": "calexp",
            "collections": ["HSC/runs/ci_hsc/20240806T180642Z"],
            "given": {"instrument": "HSC"},
        },
        {
            "detector": [0, 1, 16, 22, 23],
            "detector.raft": ["0", "1"],
            "visit": [903334, 903338, 903986, 904010],
            "band": ["r", "i"],
            "visit.exposure_time": [30.0, 60.0],
            "+visit_detector_region.region": [(320.85, -0.3), (320.6, -0.1)],
        },
    ),
]


def literal(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)


def term(rng: random.Random, name: str, values: list[Any]) -> str:
    """Draw a condition on one field, by the type of its values."""
    one, other = rng.choice(values), rng.choice(values)
    if name.endswith("timespan"):
        begin, end = sorted((one, other))
        if begin == end:
            return f"{name} OVERLAPS T'{one}/tai'"
        side = rng.choice((".begin", ".end"))
        return rng.choice(
            (
                f"{name} OVERLAPS (T'{begin}/tai', T'{end}/tai')",
                f"{name} OVERLAPS (NULL, T'{end}/tai')",
                f"{name}{side} {rng.choice(('<', '>', '<=', '>='))} T'{one}/tai'",
            )
        )
    if isinstance(one, str):
        if "*" in one or "?" in one:
            return f"GLOB({name}, '{one}')"
        plain = [v for v in values if "*" not in v and "?" not in v]
        return rng.choice(
            (
                f"{name} {rng.choice(('=', '!=', '<', '>='))} {literal(one)}",
                f"{name} IN ({', '.join(map(literal, rng.sample(plain, min(2, len(plain)))))})",
            )
        )
    drawn = [
        f"{name} {rng.choice(('=', '!=', '<', '<=', '>', '>='))} {one!r}",
        f"{name} IN ({one!r}, {other!r})",
    ]
    if isinstance(one, int):
        low, high = min(one, other), max(one, other)
        drawn += [
            f"{name} NOT IN ({low}..{high})",
            f"{name} IN ({low}..{high}:{rng.randint(2, 5)})",
            f"{name} % {rng.randint(2, 4)} = {rng.randint(0, 1)}",
            f"({name} + {rng.randint(1, 9)}) * 2 > {2 * one}",
        ]
    else:
        drawn += [f"{name} * 2.0 - 1.5 < {one!r}", f"-{name} > -{one!r}"]
    return rng.choice(drawn)


def draw(rng: random.Random, fields: dict[str, list[Any]], depth: int = 0) -> str:
    """Draw a condition of up to four terms."""
    names = [name for name in fields if not name.startswith("+")]
    kind = rng.random()
    if depth == 2 or kind < 0.35:
        name = rng.choice(names)
        return term(rng, name, fields[name])
    if kind < 0.47:
        return f"NOT ({draw(rng, fields, depth + 1)})"
    word = rng.choice(("AND", "OR"))
    return f"({draw(rng, fields, depth + 1)} {word} {draw(rng, fields, depth + 1)})"


def drawn_question(rng: random.Random, fields: dict[str, list[Any]]) -> dict[str, Any]:
    """Draw an expression, sometimes in a part of the sky; circles are half as large there."""
    where = draw(rng, fields)
    regions = [name for name in fields if name.startswith("+")]
    if not regions or rng.random() < 0.5:
        return {"where": where}
    name = rng.choice(regions)
    ra, dec = rng.choice(fields[name])
    radius = rng.choice((0.05, 0.2, 0.5))
    shape = f"{name[1:]} OVERLAPS CIRCLE({ra}, {dec}, "
    return {
        "where": f"{shape}{radius}) AND {where}",
        "peer": f"{shape}{radius / 2}) AND {where}",
    }


def text() -> str:
    """Draw the list."""
    rng = random.Random(SEED)
    groups = []
    for group, fields in GROUPS:
        asked = {q["where"]: q for q in (drawn_question(rng, fields) for _ in range(EACH))}
        groups.append({**group, "ask": [*asked.values()]})
    head = "# Written by tests.differential.generate; change that, not this.\n"
    return head + yaml.safe_dump(groups, sort_keys=False, width=1000, allow_unicode=True)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
