"""How do trees of values, arrays, quantities, times and tables lie in ASDF?

A tree is a dict whose values may be dicts and lists, arrays, and objects of astropy. Arrays lie
beside the tree in blocks, and only those that are asked for are read.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.formatters.base import PROVENANCE_KEY, Formatter
from butler.formatters.selections import selected_names
from registry import plain_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from butler.formatters.source import Source

__all__ = ["AsdfFormatter"]

_BLOCK = 1 << 16
_OWN = {"asdf_library", "history"}
_PROVENANCE = "skyspine_provenance"


class AsdfFormatter(Formatter):
    """A dict as an ASDF tree, with all that asdf and asdf-astropy know.

    Component: ``names`` (the keys). Parameter of a read: ``names``, keys of those that are wanted;
    the arrays of the others are not read. Needs: ``pip install 'skyspine[asdf]'``.
    """

    name = "asdf"
    extension: ClassVar[str] = ".asdf"
    python_types: ClassVar[tuple[str, ...]] = ("builtins.dict",)
    components: ClassVar[frozenset[str]] = frozenset({"names"})
    parameters: ClassVar[frozenset[str]] = frozenset({"names"})
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: Any, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the tree; see `Formatter.dump`."""
        import asdf
        import yaml

        odd = [key for key in obj if not isinstance(key, str) or key in {*_OWN, _PROVENANCE}]
        if odd:
            raise self.refuse(f"{odd[0]!r} cannot be a key of the tree", "use another text")
        tree = {**obj, **({_PROVENANCE: dict(provenance)} if provenance else {})}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", asdf.exceptions.AsdfWarning)
                asdf.AsdfFile(tree).write_to(stream)
        except (
            yaml.YAMLError,
            asdf.exceptions.ValidationError,
            asdf.exceptions.AsdfWarning,
            ValueError,
            TypeError,
        ) as error:
            raise self.refuse(
                " ".join(str(error).split()).rstrip("."), "store it as numbers, text or arrays"
            ) from error

    def load(
        self,
        source: Source,
        component: str | None,
        parameters: Mapping[str, Any],
        *,
        trusted: bool,  # noqa: ARG002
    ) -> Any:
        """Read the tree or some of its keys; see `Formatter.load`."""
        with source.open() as stream:
            tree = self._open(stream)
            with tree:
                names = [key for key in tree.tree if key not in {*_OWN, _PROVENANCE}]
                if component == "names":
                    return names
                if "names" in parameters:
                    names = selected_names(parameters["names"], names, source.name, "key")
                return {name: _held(tree[name]) for name in names}

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read it from the tree."""
        with source.open() as stream, self._open(stream) as tree:
            told = tree.tree.get(_PROVENANCE, {})
            return {
                str(key): str(value) for key, value in told.items() if PROVENANCE_KEY.fullmatch(key)
            }

    def _open(self, stream: BinaryIO) -> Any:
        import asdf
        import yaml

        try:
            _require_harmless(_tree_of(stream))
            with warnings.catch_warnings():
                warnings.simplefilter("error", asdf.exceptions.AsdfWarning)
                return asdf.open(stream, lazy_load=True, memmap=False)
        except (
            yaml.YAMLError,
            asdf.exceptions.ValidationError,
            asdf.exceptions.AsdfWarning,
        ) as error:
            raise ValueError(str(error)) from error


def _tree_of(stream: BinaryIO) -> bytes:
    """Read the text of the tree, which comes before the blocks, and go back to where it began."""
    began = stream.tell()
    head = b""
    while (end := head.find(b"\n...")) < 0 and (part := stream.read(_BLOCK)):
        head += part
    stream.seek(began)
    start = head.find(b"%YAML")
    return head[start : end + 1 if end >= 0 else len(head)] if start >= 0 else b""


def _require_harmless(tree: bytes) -> None:
    """Refuse a tree that unfolds without end, or that has arrays of other files.

    Raises
    ------
    ValueError
        It does, or names one.
    yaml.YAMLError
        It is beyond the limits of `registry.plain_yaml`.
    """
    waiting = [plain_yaml.compose(tree, plain_yaml.Plain)]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        inner = plain_yaml.inside(node)
        waiting += inner
        if "core/ndarray-" in getattr(node, "tag", ""):
            for key, value in zip(inner[::2], inner[1::2], strict=False):
                if key.value == "source" and not re.fullmatch(r"-?\d+", str(value.value)):
                    raise ValueError(
                        f"an array of it lies in another file, '{value.value!s:.80}', which is "
                        "not read"
                    )


def _held(value: Any) -> Any:
    """Read what is not read yet: the file will be closed."""
    import numpy as np
    from asdf.tags.core.ndarray import NDArrayType

    if isinstance(value, NDArrayType):
        return np.array(value)
    if isinstance(value, dict):
        return {key: _held(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_held(one) for one in value]
    return value
