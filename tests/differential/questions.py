"""What is asked of both registries, and what does this one answer?

The lists are `expressions.yaml` (by hand) and `generated.yaml` (by `tests.differential.generate`).
A group names a repository and a subject, and then the expressions; an expression may bind values,
give the other registry's spelling (`peer`), order and limit, or name an expected difference, which
`DIFFERENCES` explains and docs/reference/expressions.md tells users.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from butler.exchange.document import TaiTime
from registry import Timespan
from registry.errors import SkyspineError
from registry.timespan import to_time

if TYPE_CHECKING:
    from registry import Registry

__all__ = ["DIFFERENCES", "REPOSITORIES", "Question", "answer", "read_questions"]

HERE = Path(__file__).parent
REPOSITORIES: dict[str, tuple[str, ...]] = {
    "base": (
        "peer/base.yaml",
        "peer/datasets.yaml",
        "peer/spatial.yaml",
        "here/collections.yaml",
    ),
    "ci_hsc": ("data/ci_hsc-subset.yaml", "peer/ci_hsc-subset-skymap.yaml"),
    "rc2": ("data/hsc-rc2-subset.yaml",),
    "rc2_v0": ("peer/hsc-rc2-subset-v0.yaml",),
    "decam": ("data/testdata_decam-exports.yaml",),
    "lsstcam": ("peer/lsstcam-subset.yaml",),
}
"""Export files by repository: of the other registry's wheel, of the test data, or here."""

DIFFERENCES = {
    "box": "a box is compared exactly here, there with the bounding box of the region",
    "glob-class": "GLOB knows [...] here",
    "mixed-numbers": "integers and floating point numbers meet in arithmetic here",
    "nested-region": "a comparison of regions may stand inside OR and NOT here",
    "night": "a night without times lasts from noon to noon here, there it has none",
    "no-governor": "a term may stand here without its instrument",
    "not-null": "IS NULL is understood here",
    "point-of-exposure": "the pointing of an exposure may be compared with a region here",
    "ranges": "a dataset that is certified twice is found once here, there once for each range",
    "same-family": "the timespan of an exposure may be compared with that of its night here",
    "unrelated": "a dimension that nothing relates to what is asked for is refused here",
}
"""Where the answers differ on purpose."""

RECORD_KEYS = {
    "instrument": ("name",),
    "physical_filter": ("instrument", "name"),
    "detector": ("instrument", "id"),
    "day_obs": ("instrument", "id"),
    "exposure": ("instrument", "id"),
    "visit": ("instrument", "id"),
    "visit_detector_region": ("instrument", "detector", "visit"),
    "skymap": ("name",),
    "tract": ("skymap", "id"),
    "patch": ("skymap", "tract", "id"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """One expression over datasets, data IDs or dimension records.

    Parameters
    ----------
    repository : str
        One of `REPOSITORIES`.
    kind : {"datasets", "data_ids", "records"}
        What is asked for.
    subject : str or tuple of str
        Dataset type, dimensions, or element.
    where, peer : str
        The expression, here and there.
    difference : str
        Key of `DIFFERENCES`, or empty.
    here, there : int or "refused"
        With a difference, how many rows either answer has.
    """

    repository: str
    kind: str
    subject: Any
    where: str
    peer: str
    difference: str = ""
    here: int | str = 0
    there: int | str = 0
    bind: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    collections: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    find_first: bool = True
    order_by: tuple[str, ...] = ()
    limit: int | None = None

    def for_peer(self) -> dict[str, Any]:
        """Put it as `tests/differential/peer.py` reads it."""
        subject = list(self.subject) if isinstance(self.subject, tuple) else self.subject
        return {
            "repository": self.repository,
            "kind": self.kind,
            "subject": subject,
            "where": self.peer,
            "bind": self.bind,
            "given": self.given,
            "collections": list(self.collections),
            "datasets": list(self.datasets),
            "find_first": self.find_first,
            "order_by": list(self.order_by),
            "limit": self.limit,
        }

    def __str__(self) -> str:
        return f"{self.repository}: {self.kind} {self.subject} where {self.where or '(all)'}"


def read_questions(*names: str) -> list[Question]:
    """Read lists beside this module.

    Parameters
    ----------
    *names : str
        Files; both lists by default.
    """
    found = []
    for name in names or ("expressions.yaml", "generated.yaml"):
        for group in yaml.safe_load((HERE / name).read_text(encoding="utf-8")):
            common = {k: v for k, v in group.items() if k != "ask"}
            found += [_question(common, asked) for asked in group["ask"]]
    return found


def _question(group: dict[str, Any], asked: str | dict[str, Any]) -> Question:
    terms = {**group, **({"where": asked} if isinstance(asked, str) else asked)}
    for kind in ("records", "data_ids", "datasets"):
        if kind in terms:
            subject = terms.pop(kind)
            terms |= {"kind": kind, "subject": tuple(subject) if kind == "data_ids" else subject}
            break
    if "of" in terms:
        terms["datasets"] = terms.pop("of")
    if isinstance(terms.get("datasets"), str):
        terms["datasets"] = [terms["datasets"]]
    for name in ("collections", "order_by", "datasets"):
        terms[name] = tuple(terms.get(name, ()))
    terms.setdefault("peer", terms["where"])
    return Question(**terms)


def _bound(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    ((kind, content),) = given.items()
    if kind == "uuid":
        return uuid.UUID(content)
    if kind == "time":
        return to_time(TaiTime.parse(content[0]))
    return Timespan(*(int(TaiTime.parse(text)) for text in content))


def answer(registry: Registry, question: Question) -> Any:
    """Ask this registry; an error is an answer too."""
    options: dict[str, Any] = {
        "where": question.where,
        "bind": {k: _bound(v) for k, v in question.bind.items()},
        "data_id": question.given,
        "order_by": question.order_by,
        "limit": question.limit,
    }
    try:
        if question.kind == "datasets":
            refs = registry.query_datasets(
                question.subject,
                list(question.collections),
                find_first=question.find_first,
                **options,
            )
            return [str(ref.id) for ref in refs]
        if question.kind == "records":
            rows = registry.query_dimension_records(question.subject, **options)
            return [[row[k] for k in RECORD_KEYS[question.subject]] for row in rows]
        ids = registry.query_data_ids(
            list(question.subject),
            datasets=question.datasets,
            collections=list(question.collections),
            **options,
        )
        return [[i[d] for d in question.subject] for i in ids]
    except SkyspineError as error:
        return {"error": f"{type(error).__name__}: {error}"}
