"""Rules by which tasks choose among their inputs, and look them up, for all quanta and for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflow.errors import NoWorkFound
from workflow.task import SuperTask

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from registry.identity import DataId, DatasetRef
    from registry.plans import Asked, LookupFunction
    from workflow.quanta import Quantum


def is_refused(data_id: Mapping[str, Any]) -> bool:
    """Tell whether the numbers of a data ID add up to three, seven, eleven and so on."""
    return sum(v for v in data_id.values() if isinstance(v, int)) % 4 == 3


class OneByOneTask(SuperTask):
    """Leave out the first of several inputs, and those of short exposures."""

    dimensions = ()

    def adjust_quantum(self, quantum: Quantum) -> dict[str, list[DatasetRef]]:
        """Refuse some."""
        if is_refused(quantum.data_id):
            raise NoWorkFound("refused")
        kept = {}
        for name, refs in quantum.inputs.items():
            if all("exposure" in r.data_id for r in refs) and name.startswith("in_"):
                told = zip(refs, quantum.records[name], strict=True)
                kept[name] = [r for r, record in told if record["exposure_time"] > 15]
            elif len(refs) > 1:
                kept[name] = list(refs[1:])
        return kept


class TogetherTask(SuperTask):
    """Leave out what an earlier one of all quanta reads already; refuse each third."""

    dimensions = ()

    def adjust_all_quanta(
        self, quanta: Sequence[Quantum]
    ) -> dict[uuid.UUID, dict[str, list[DatasetRef]] | NoWorkFound]:
        """Go through them in the order of their data IDs."""
        answer: dict[uuid.UUID, dict[str, list[DatasetRef]] | NoWorkFound] = {}
        taken: set[tuple[str, str]] = set()
        for n, quantum in enumerate(sorted(quanta, key=lambda q: q.data_id.key)):
            if n % 3 == 2:
                answer[quantum.id] = NoWorkFound("one too many")
                continue
            free = {
                name: [r for r in refs if (name, r.data_id.key) not in taken]
                for name, refs in quantum.inputs.items()
            }
            taken |= {(name, r.data_id.key) for name, refs in free.items() for r in refs}
            if n % 2:
                answer[quantum.id] = free
        return answer


class BothTask(OneByOneTask, TogetherTask):
    """Do both."""

    dimensions = ()


HOOKS = (SuperTask, SuperTask, OneByOneTask, TogetherTask, BothTask)


def beside(data_id: Mapping[str, Any], there: Sequence[DatasetRef]) -> list[DatasetRef]:
    """Find those of the same detector in the exposures before and after."""
    at = data_id.get("exposure", data_id.get("visit", 2))
    own = data_id.get("detector", 1)
    return [
        r
        for r in there
        if abs(r.data_id["exposure"] - at) == 1 and r.data_id.get("detector", own) == own
    ]


def last(data_id: Mapping[str, Any], there: Sequence[DatasetRef]) -> list[DatasetRef]:
    """Find the last that is no later."""
    at = data_id.get("exposure", 3)
    found = [r for r in there if r.data_id.get("exposure", 0) <= at]
    return sorted(found, key=lambda r: r.data_id.key)[-1:]


def odd(data_id: Mapping[str, Any], there: Sequence[DatasetRef]) -> list[DatasetRef]:
    """Give all to half of the quanta."""
    return list(there) if is_refused({**data_id, "more": 1}) else []


def all_beside(asked: Asked) -> dict[DataId, list[DatasetRef]]:
    """Find them for all, twice each."""
    there = asked.datasets()
    return {d: [*beside(d, there), *beside(d, there)] for d in asked.data_ids}


def all_last(asked: Asked) -> dict[DataId, list[DatasetRef]]:
    """Find it for all, by the records of their exposures where they name one."""
    there = asked.datasets()
    exposures = {(r["instrument"], r["id"]) for r in asked.records("exposure")}
    for d in asked.data_ids:
        assert "exposure" not in d or (d["instrument"], d["exposure"]) in exposures
    return {d: last(d, there) for d in asked.data_ids}


def all_odd(asked: Asked) -> dict[DataId, list[DatasetRef]]:
    """Leave those out that have none."""
    there = asked.datasets()
    return {d: refs for d in asked.data_ids if (refs := odd(d, there))}


RULES: dict[LookupFunction, tuple[Any, bool]] = {
    all_beside: (beside, True),
    all_last: (last, False),
    all_odd: (odd, True),
}
"""By lookup function: the rule for one quantum, and whether it may give several."""

LOOKUPS = {
    "raw": (all_beside, all_last, all_odd),
    "guide": (all_beside, all_last),
    "template": (all_odd,),
    "level": (all_odd, all_last),
    "nowhere": (all_last,),
}
"""By dataset type: functions that can look it up."""
