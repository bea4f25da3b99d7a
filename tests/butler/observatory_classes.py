"""Classes of an observatory that lie in parts, declared as a user would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np

from butler.formatters import Formatter
from butler.storage_classes import Part, StorageClass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from butler.formatters import Source

__all__ = ["CUBE", "SPECTRUM", "Cube", "CubeFormatter", "Spectrum"]

_HERE = "tests.butler.observatory_classes"


class Spectrum:
    """A spectrum: flux, the lines found in it, its header, and how good it is."""

    def __init__(self, flux: Any, lines: Any = None, cards: Any = None, quality: Any = None):
        self.flux = flux
        self.lines = lines
        self.cards = cards
        self.quality = quality

    @property
    def length(self) -> dict[str, int]:
        """How many pixels it has; no part, and yet a component."""
        return {"pixels": len(self.flux)}


@dataclass(frozen=True, eq=False)
class Cube:
    """Slices of the sky with a mask and a verdict, which the file has not all room for."""

    slices: Any
    bad: Any = None
    quality: dict[str, Any] | None = None


class CubeFormatter(Formatter):
    """A cube without its mask, as bytes below its shape."""

    extension: ClassVar[str] = ".cube"
    python_types: ClassVar[tuple[str, ...]] = (f"{_HERE}.Cube",)
    components: ClassVar[frozenset[str]] = frozenset({"slices"})
    parameters: ClassVar[frozenset[str]] = frozenset({"rows"})

    def dump(self, obj: Cube, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the slices."""
        del provenance
        if obj.bad is not None or obj.quality is not None:
            raise self.refuse("it has a mask or a verdict", "let these lie apart")
        stream.write(" ".join(map(str, obj.slices.shape)).encode() + b"\n" + obj.slices.tobytes())

    def load(
        self, source: Source, component: str | None, parameters: Mapping[str, Any], *, trusted: bool
    ) -> Any:
        """Read the slices, or some."""
        del trusted
        with source.open() as stream:
            shape = tuple(map(int, stream.readline().split()))
            slices = np.frombuffer(stream.read(), float).reshape(shape)
        slices = slices[slice(*parameters.get("rows", (None,)))]
        return slices if component else Cube(slices)


SPECTRUM = StorageClass(
    "Spectrum",
    f"{_HERE}.Spectrum",
    None,
    {"length": "StructuredDataDict"},
    attributes={"header": "cards"},
    parts={
        "flux": Part("Array"),
        "lines": Part("DataFrame", rows="table"),
        "header": Part("HDUList", rows="cards"),
        "quality": Part("StructuredDataDict", rows="mapping"),
    },
)
CUBE = StorageClass(
    "Cube",
    f"{_HERE}.Cube",
    f"{_HERE}:CubeFormatter",
    {"slices": "Array"},
    parts={
        "bad": Part("Array", apart=True),
        "quality": Part("StructuredDataDict", rows="mapping", apart=True),
    },
    body="slices_only",
)
