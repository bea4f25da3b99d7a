"""How is a dataset stored: in which format, where, under which name, and what of it apart?

The answers of the policy; which of its layers gives them is `butler.policy.deciding`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbone.staging import safe_name
from butler.errors import PolicyError
from butler.instrument.templates import PathTemplate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.endpoints import Endpoint
    from butler.formatters import Formatter
    from butler.instrument import InstrumentDefinition
    from registry.identity import DatasetRef
    from registry.row_tables import RowTable

__all__ = ["Decision", "Format", "OfPart", "plain_stem"]

Format = str | dict[str, Any]
"""A name, or a mapping of ``name`` and options."""


@dataclass(frozen=True, slots=True)
class OfPart:
    """How a part of a dataset is to be stored, apart from the rest.

    Parameters
    ----------
    writer : Formatter
        What writes it, with its options.
    endpoint : Endpoint or None
        Where; None: where the rest is.
    table : RowTable or None
        The table in which it lies as rows, in place of all that.
    """

    writer: Formatter
    endpoint: Endpoint | None
    table: RowTable | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """How a dataset is to be stored.

    Parameters
    ----------
    whole : Formatter or None
        What writes it, with its options; None: all of it is in its parts.
    endpoint : Endpoint
        Where.
    path : PathTemplate, InstrumentDefinition or None
        What names its file; see `stem`.
    fsync : bool
        Whether its file is flushed to the disk.
    table : RowTable or None
        The table in which it lies as rows, in place of all that.
    parts : mapping of str to OfPart
        What lies apart, if the dataset has it.
    """

    whole: Formatter | None
    endpoint: Endpoint
    path: PathTemplate | InstrumentDefinition | None
    fsync: bool
    table: RowTable | None = None
    parts: Mapping[str, OfPart] = field(default_factory=dict)

    @property
    def writer(self) -> Formatter:
        """What writes the file of all of it, or of the rest."""
        if self.whole is None:
            raise PolicyError(
                "What has no format of its own lies in its parts, all of which are to be stored "
                f"apart: {', '.join(self.parts)}."
            )
        return self.whole

    def stem(self, ref: DatasetRef) -> str:
        """Give the path of a dataset's file below the endpoint's root, without its ending.

        A template of a camera's definition is taken where the data ID has its fields.
        """
        if self.path is None:
            return plain_stem(ref)
        fields = {"run": ref.run, **ref.data_id}
        name = ref.dataset_type.name
        if isinstance(self.path, PathTemplate):
            return self.path.format({**fields, "dataset_type": name})
        required = set(self.path.templates[name].required)
        if required - set(fields) - {"dataset_type", "instrument", "detector_name"}:
            return plain_stem(ref)
        return self.path.path(name, fields)


def plain_stem(ref: DatasetRef) -> str:
    """Name the file of a dataset where nothing else is said, without its ending."""
    folders = [safe_name(p) for p in ref.run.split("/")]
    values = [safe_name(str(v)) for v in ref.data_id.values()]
    kind = safe_name(ref.dataset_type.name)
    night = ref.data_id.get("day_obs")
    name = safe_name("_".join([kind, *values]), 160)
    return "/".join([*folders, kind, *([str(night)] if night else []), name])
