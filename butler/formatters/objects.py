"""How are texts, figures and arbitrary Python objects stored?

Pickle runs whatever code the file asks for, so it is read only where the caller trusts the file.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.errors import WriteOnly
from butler.formatters.base import PROVENANCE_KEY, Formatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from butler.formatters.source import Source

__all__ = ["PickleFormatter", "PngFormatter", "TextFormatter"]


class TextFormatter(Formatter):
    """A str as UTF-8, character by character as it is: line ends are not touched."""

    name = "text"
    extension: ClassVar[str] = ".txt"
    python_types: ClassVar[tuple[str, ...]] = ("builtins.str",)

    def dump(self, obj: str, stream: BinaryIO, provenance: Mapping[str, str]) -> None:  # noqa: ARG002
        """Write the text; see `Formatter.dump`."""
        try:
            stream.write(obj.encode())
        except UnicodeEncodeError as error:
            raise self.refuse(
                f"the text holds {obj[error.start : error.end]!r}, half a character",
                "decode it with the encoding that it has",
            ) from error

    def load(
        self,
        source: Source,
        component: str | None,  # noqa: ARG002
        parameters: Mapping[str, Any],  # noqa: ARG002
        *,
        trusted: bool,  # noqa: ARG002
    ) -> str:
        """Read the text; see `Formatter.load`."""
        return source.read_bytes().decode()


class PngFormatter(Formatter):
    """A matplotlib Figure as a PNG picture, which cannot be read back as a Figure."""

    name = "png"
    extension: ClassVar[str] = ".png"
    python_types: ClassVar[tuple[str, ...]] = ("matplotlib.figure.Figure",)
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: Figure, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Draw the figure; see `Formatter.dump`."""
        obj.savefig(stream, format="png", metadata=dict(provenance))

    def load(
        self,
        source: Source,
        component: str | None,  # noqa: ARG002
        parameters: Mapping[str, Any],  # noqa: ARG002
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Refuse: a picture is no figure any more."""
        with source.open():
            raise WriteOnly(
                f"{source} is a picture, which cannot be read back as a Figure; open the file "
                "itself.",
                path=source.name,
            )

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the text chunks of the picture."""
        from PIL import Image

        with source.open() as stream, Image.open(stream) as picture:
            return {
                str(key): str(value)
                for key, value in picture.info.items()
                if PROVENANCE_KEY.fullmatch(str(key))
            }


class PickleFormatter(Formatter):
    """Any object that pickle can take; reading needs ``trusted=True``."""

    name = "pickle"
    extension: ClassVar[str] = ".pickle"
    python_types: ClassVar[tuple[str, ...]] = ("builtins.object",)
    runs_code: ClassVar[bool] = True

    def dump(self, obj: Any, stream: BinaryIO, provenance: Mapping[str, str]) -> None:  # noqa: ARG002
        """Pickle the object; see `Formatter.dump`."""
        try:
            pickle.dump(obj, stream, protocol=5)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise self.refuse(
                str(error).rstrip("."),
                "leave that part out (open files, locks, lambdas and local classes cannot be "
                "pickled), or give its class a __reduce__",
            ) from error

    def load(
        self,
        source: Source,
        component: str | None,  # noqa: ARG002
        parameters: Mapping[str, Any],  # noqa: ARG002
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Unpickle the object; see `Formatter.load`."""
        with source.open() as stream:
            try:
                return pickle.load(stream)
            except Exception as error:  # a damaged pickle raises anything
                raise ValueError(f"{type(error).__name__}: {error}") from error
