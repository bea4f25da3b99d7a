"""Over which time do the calibrations of a run hold?

By the rule of the pipeline: their night, until the next one of the same run, or for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry import calibrations, collections, datasets, finding, records
from registry.timespan import Timespan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from registry.identity import DataId, DatasetRef

__all__ = ["certify_run"]


def certify_run(connection: sa.Connection, run: str, name: str, kind_name: str, rule: str) -> int:
    """Certify the calibrations of a type that a run made.

    What held before in their ranges gives way, and what sticks out of them stays.

    Parameters
    ----------
    name : str
        CALIBRATION collection; made where it does not exist.
    rule : {"night", "until-next", "forever"}
        See the module.

    Returns
    -------
    int
        How many.
    """
    kind = datasets.get_dataset_type(connection, kind_name)
    refs = finding.query_datasets(connection, kind, run)
    if not refs:
        return 0
    nights = {
        (r["instrument"], r["id"]): (r["begin_tai_ns"], r["end_tai_ns"])
        for r in records.query_dimension_records(connection, "day_obs")
    }
    ranges = _validity(refs, rule, nights)
    collections.register(connection, name, "CALIBRATION")
    by_span: dict[Timespan, list[DataId]] = {}
    for ref, span in ranges:
        by_span.setdefault(span, []).append(ref.data_id.subset(kind.lookup_dimensions))
    for span, keys in by_span.items():
        calibrations.decertify(connection, name, kind, span, keys)
    calibrations.certify_each(connection, name, ranges)
    return len(refs)


def _validity(
    refs: Sequence[DatasetRef], rule: str, nights: Mapping[tuple[Any, Any], tuple[int, int]]
) -> list[tuple[DatasetRef, Timespan]]:
    """Decide how long calibrations hold: their night, until the next one, or for ever."""
    if rule == "forever":
        return [(ref, Timespan()) for ref in refs]
    grouped: dict[DataId, list[DatasetRef]] = {}
    for ref in refs:
        grouped.setdefault(ref.data_id.subset(ref.dataset_type.lookup_dimensions), []).append(ref)
    ranges = []
    for members in grouped.values():
        spans = sorted(
            ((nights[r.data_id["instrument"], r.data_id["day_obs"]], r) for r in members),
            key=lambda item: item[0],
        )
        for n, ((begin, end), ref) in enumerate(spans):
            until: int | None = end
            if rule == "until-next":
                until = spans[n + 1][0][0] if n + 1 < len(spans) else None
            ranges.append((ref, Timespan(begin, until)))
    return ranges
