"""What is an object of a dataset type in Python, what are its parts, and how is it checked?

A storage class has a name, a Python type that is not imported before it is used, components, and
the formatter that writes it unless another is asked for. How files look is the formatters' affair
(`butler.formatters`), how an object is taken apart by its attributes,
`butler.objects.taking_apart`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from butler.errors import (
    CannotWrite,
    MissingComponent,
    PluginError,
    StorageClassError,
    UnknownComponent,
    UnknownStorageClass,
    WrongType,
)
from butler.formatters import get_formatter
from butler.objects import taking_apart
from butler.plugins import entry_point_references, load_reference
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from butler.formatters import Formatter

__all__ = [
    "Part",
    "StorageClass",
    "get_storage_class",
    "is_instance",
    "storage_class_for",
    "storage_class_names",
]

ENTRY_POINT_GROUP = "skyspine.storage_classes"
ROWS = ("", "mapping", "cards", "table")
"""How parts lie in tables; see `Part`."""

_BUILT_IN = {
    "Exposure": "butler.objects.storage_of_images:EXPOSURE",
    "NDData": "butler.objects.storage_of_images:ND_DATA",
    "HDUList": "butler.objects.storage_of_images:HDU_LIST",
    "Table": "butler.objects.storage_of_values:TABLE",
    "Defects": "butler.objects.storage_of_values:DEFECTS",
    "DataFrame": "butler.objects.storage_of_values:DATA_FRAME",
    "ArrowTable": "butler.objects.storage_of_values:ARROW_TABLE",
    "StructuredDataDict": "butler.objects.storage_of_values:STRUCTURED_DATA_DICT",
    "StructuredDataList": "butler.objects.storage_of_values:STRUCTURED_DATA_LIST",
    "Config": "butler.objects.storage_of_values:CONFIG",
    "Text": "butler.objects.storage_of_values:TEXT",
    "Figure": "butler.objects.storage_of_values:FIGURE",
    "Array": "butler.objects.storage_of_values:ARRAY",
    "Arrays": "butler.objects.storage_of_values:ARRAYS",
    "Tree": "butler.objects.storage_of_values:TREE",
    "Pickle": "butler.objects.storage_of_values:PICKLE",
    "Uncertainty": "butler.objects.storage_of_images:UNCERTAINTY",
    "Wcs": "butler.objects.storage_of_images:WCS",
    "Header": "butler.objects.storage_of_images:HEADER",
}
"""In the order in which they are offered for an object that another one does not hold."""


@dataclass(frozen=True)
class Part:
    """A part of objects that may lie in a file of its own, or in rows of a table.

    Parameters
    ----------
    storage_class : str
        Of what is written into its file.
    rows : str
        How it lies in a table: ``mapping`` (one row, a column for each name), ``cards`` (a row
        for each card of a header) or ``table`` (its rows); empty if it cannot.
    apart : bool
        Whether it never lies in the file of the rest.
    """

    storage_class: str
    rows: str = ""
    apart: bool = False


@dataclass(frozen=True)
class StorageClass:
    """What the datasets of a type are in Python.

    Parameters
    ----------
    name : str
        Recorded with the dataset type.
    python_type : str
        Dotted path, for example ``astropy.table.Table``.
    default_formatter : str or None
        Name of the formatter that writes it by default; None if it exists only as a component,
        or if all of it is in its `parts`, which then lie apart: its type is called with them.
    components : mapping of str to str, optional
        What can be read alone, with their storage classes; each of the parts is one.
    others : tuple of str, optional
        Names of the built-in formatters that hold it too.
    attributes : mapping of str to str, optional
        Attributes of the Python type that give the components which are not called so.
    parts : mapping of str to Part, optional
        Components that may be stored apart from the rest; see `split`.
    body : str, optional
        What the rest is then recorded as.
    remedies : mapping of str to str, optional
        What to do with an object of a near type (dotted path), as a clause in the imperative.
    doc : str, optional
        One line.
    """

    name: str
    python_type: str
    default_formatter: str | None
    components: Mapping[str, str] = field(default_factory=dict)
    remedies: Mapping[str, str] = field(default_factory=dict)
    doc: str = ""
    others: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)
    body: str = "body"

    def __post_init__(self) -> None:
        """Take the parts among the components, and see that they can be."""
        for name, part in self.parts.items():
            if part.rows not in ROWS:
                raise StorageClassError(
                    f"The part '{name}' of storage class {self.name} says rows={part.rows!r}; it "
                    f"is one of {', '.join(one for one in ROWS if one)}, or left out.",
                    name=self.name,
                )
        if self.body in self.parts:
            raise StorageClassError(
                f"Storage class {self.name} has a part '{self.body}', and records under this name "
                "what is left when the parts lie apart; give it another, with body=.",
                name=self.name,
            )
        own = {
            name: "Header" if part.rows == "cards" else part.storage_class
            for name, part in self.parts.items()
        }
        object.__setattr__(self, "components", {**own, **self.components})

    @property
    def is_in_parts(self) -> bool:
        """Whether all of an object is in its parts, so that there is no file of the rest."""
        return self.default_formatter is None and bool(self.parts)

    def accepts(self, obj: object) -> bool:
        """Say whether an object is of the Python type; its module is not imported for that.

        Parameters
        ----------
        obj : object
            Anything.
        """
        return is_instance(obj, self.python_type)

    def check(self, obj: object) -> None:
        """Make sure that an object is of the Python type.

        Parameters
        ----------
        obj : object
            What is to be put.

        Raises
        ------
        WrongType
            Names the type that is expected, the one given, and the nearest remedy.
        """
        if self.accepts(obj):
            return
        given = f"{type(obj).__module__}.{type(obj).__qualname__}".removeprefix("builtins.")
        remedy = next((text for kind, text in self.remedies.items() if is_instance(obj, kind)), "")
        if not remedy:
            other = _first_for(obj)
            remedy = (
                f"a dataset type of storage class {other.name} would hold it"
                if other is not None
                else f"convert it to {self.python_type.removeprefix('builtins.')} first"
            )
        raise WrongType(
            f"Storage class {self.name} holds {self.python_type.removeprefix('builtins.')} and was "
            f"given {given}; {remedy}.",
            name=self.name,
        )

    def formatter(self, name: str | None = None) -> Formatter:
        """Give the formatter that is to write an object.

        Parameters
        ----------
        name : str, optional
            Of a formatter; the default one if none is given.

        Raises
        ------
        UnknownFormatter
            There is none of this name.
        StorageClassError
            It writes objects of other types.
        """
        if name is None and self.is_in_parts:
            raise StorageClassError(
                f"Storage class {self.name} has no format of its own, only its parts have "
                f"({', '.join(self.parts)}): put an object, or name a format that holds all of it.",
                name=self.name,
            )
        found = get_formatter(name or self.default_formatter or "")
        if self.python_type not in found.python_types:
            known = [one for one in (self.default_formatter, *self.others) if one]
            part = next(iter(self.parts), "")
            use = " or ".join(known) or f"formats of its parts, such as {part}.format"
            raise StorageClassError(
                f"The formatter {found.name} writes {', '.join(found.python_types)}, and not "
                f"{self.python_type.removeprefix('builtins.')} of storage class {self.name}; use "
                f"{use}.",
                name=self.name,
            )
        return found

    def format_of(self, name: str) -> str:
        """Name the format of a file that somebody else has made, by the ending of its name.

        Raises
        ------
        StorageClassError
            No format holds all of it.
        """
        known = [one for one in (self.default_formatter, *self.others) if one]
        if not known:
            self.formatter()
        endings = [(get_formatter(one).extension, one) for one in known]
        fitting = [(len(e), one) for e, one in endings if e and name.endswith(e)]
        return max(fitting, key=lambda f: f[0])[1] if fitting else known[0]

    def component_class(self, name: str) -> StorageClass:
        """Give the storage class of a component.

        Parameters
        ----------
        name : str
            One of `components`.

        Raises
        ------
        UnknownComponent
            There is none of this name.
        """
        if name not in self.components:
            has = did_you_mean(name, self.components) or " It has none."
            raise UnknownComponent(
                f"Storage class {self.name} has no component '{name}'.{has}", name=name
            )
        return get_storage_class(self.components[name])

    def component(self, obj: Any, name: str) -> Any:
        """Take a component out of an object in memory.

        Parameters
        ----------
        obj : object
            Of the Python type.
        name : str
            One of `components`; by default, the attribute of that name.

        Raises
        ------
        UnknownComponent, MissingComponent
            The storage class, or this object, has no such component.
        """
        kind = self.component_class(name).python_type
        value = getattr(obj, self.attribute(name), None)
        if value is None:
            raise MissingComponent(f"This {self.name} has no {name}.", name=name)
        return {"builtins.list": list, "builtins.dict": dict}.get(kind, lambda same: same)(value)

    def split(
        self,
        obj: Any,
        wanted: Collection[str],
        provenance: Mapping[str, str],  # noqa: ARG002
    ) -> dict[str, tuple[str, Any]]:
        """Take an object apart, to be stored in several places; by default, by its attributes.

        Parameters
        ----------
        obj : object
            Of the Python type; it is not changed.
        wanted : collection of str
            Names of `parts` that shall lie apart.
        provenance : mapping of str to str
            Identifiers of the dataset, for a part that tells them.

        Returns
        -------
        dict of str to (str, object)
            By component, as it is recorded: name of the part, and what is stored of it; with the
            `body`, whose part is its own name. Empty if the object has none of what is wanted.

        Raises
        ------
        CannotWrite
            A part cannot lie apart; or the object has no part, and nothing beside them is stored.
        """
        pieces: dict[str, tuple[str, Any]] = {}
        for name, part in self.parts.items():
            if name not in wanted or getattr(obj, self.attribute(name), None) is None:
                continue
            value = self._piece(obj, name, part)
            if part.rows != "mapping" or value:
                pieces[name] = name, value
        if self.is_in_parts and set(wanted) >= set(self.parts):
            if not pieces:
                raise CannotWrite(
                    f"This {self.name} has none of its parts ({', '.join(self.parts)}), so that "
                    "nothing of it would be stored.",
                    name=self.name,
                )
            return pieces
        if not pieces:
            return {}
        return {self.body: (self.body, self.without(obj, list(pieces))), **pieces}

    def _piece(self, obj: Any, name: str, part: Part) -> Any:
        """Take a part out of an object, and see that it is what it is declared to be."""
        value = getattr(obj, self.attribute(name))
        if part.rows in {"cards", "mapping"} and isinstance(value, Mapping):
            return taking_apart.of_object(value, cards=part.rows == "cards")
        try:
            self.component_class(name).check(value)
        except WrongType as error:
            raise WrongType(f"The part '{name}' of this {self.name}: {error}", name=name) from error
        return value

    def without(self, obj: Any, names: Collection[str]) -> Any:
        """Give an object that lacks some parts; by default, a copy with None as attributes.

        Parameters
        ----------
        obj : object
            Of the Python type; it is not changed.
        names : collection of str
            Of the parts.

        Raises
        ------
        StorageClassError
            They cannot be taken away so.
        """
        return self._with(obj, dict.fromkeys(names))

    def attribute(self, name: str) -> str:
        """Name the attribute of the Python type that gives a component."""
        return self.attributes.get(name, name)

    def in_file(self, part: str, piece: Any) -> Any:
        """Give a piece as its file holds it: an object of the storage class of its `Part`."""
        own = self.parts.get(part)
        return taking_apart.as_hdus(piece) if own is not None and own.rows == "cards" else piece

    def from_storage(
        self,
        component: str,
        piece: Any,
        parameters: Mapping[str, Any],  # noqa: ARG002
    ) -> Any:
        """Give what was read of a component as `assemble` and `read_component` take it."""
        own = self.parts.get(component)
        return taking_apart.cards(piece) if own is not None and own.rows == "cards" else piece

    def parameters_of(
        self, component: str, parameters: Mapping[str, Any], *, alone: bool
    ) -> Mapping[str, Any]:
        """Choose the parameters of a read that are about what is recorded as a component.

        Parameters
        ----------
        alone : bool
            Whether the component is read alone: by default, it is then told all of them, else
            those that its formats know, and those that no part's formats know, to refuse them.
        """
        if alone or not self.parts:
            return parameters
        known = {name: get_storage_class(p.storage_class) for name, p in self.parts.items()}
        takes = {name: kind.read_parameters for name, kind in {**known, self.body: self}.items()}
        everywhere = frozenset[str]().union(*takes.values())
        mine = takes.get(component, everywhere)
        return {k: v for k, v in parameters.items() if k in mine or k not in everywhere}

    @property
    def read_parameters(self) -> frozenset[str]:
        """What can be told to a read of a file of this storage class."""
        known = [one for one in (self.default_formatter, *self.others) if one]
        return frozenset[str]().union(*(get_formatter(one).parameters for one in known))

    def assemble(self, parts: Mapping[str, Any]) -> Any:
        """Make one object of several that were read from files of their own.

        By default, the parts become attributes of the body; or, where all is in the parts, the
        arguments that the Python type is called with, None for those that are not stored.

        Parameters
        ----------
        parts : mapping of str to object
            Name of the part, as the database records it for the file, to what was read.

        Raises
        ------
        UnknownComponent, MissingComponent
            There is something else among them; the body is not.
        StorageClassError
            The storage class cannot be assembled.
        """
        if not self.parts:
            raise StorageClassError(
                f"Storage class {self.name} cannot be assembled from files of its parts "
                f"({', '.join(sorted(parts))}); ingest it as one file, or use a storage class that "
                "has parts.",
                name=self.name,
            )
        known = (self.body, *self.parts)
        for name in parts:
            if name not in known:
                raise UnknownComponent(
                    f"Storage class {self.name} has no part '{name}'.{did_you_mean(name, known)}",
                    name=name,
                )
        if self.body in parts:
            stored = {name: value for name, value in parts.items() if name != self.body}
            return self._with(parts[self.body], stored)
        if not self.is_in_parts:
            raise MissingComponent(
                f"The dataset has only {', '.join(sorted(parts))}, and nothing of the rest of this "
                f"{self.name}: its '{self.body}'.",
                name=self.body,
            )
        try:
            given = {self.attribute(name): parts.get(name) for name in self.parts}
            return taking_apart.called(self.python_type, given)
        except TypeError as error:
            raise StorageClassError(
                f"{self.python_type} of storage class {self.name} cannot be called with its parts "
                f"as keyword arguments ({', '.join(self.parts)}): {error}. Name these by "
                "attributes=, or define assemble().",
                name=self.name,
            ) from error

    def _with(self, obj: Any, values: Mapping[str, Any]) -> Any:
        """Copy an object, and give the copy other parts."""
        try:
            return taking_apart.with_attributes(
                obj, {self.attribute(name): value for name, value in values.items()}
            )
        except (AttributeError, TypeError) as error:
            raise StorageClassError(
                f"The parts of {self.python_type} ({', '.join(values)}) cannot be set as "
                f"attributes of a copy: {error}. Define without() and assemble() of storage class "
                f"{self.name}.",
                name=self.name,
            ) from error

    def read_component(self, name: str, parts: Mapping[str, Callable[[str | None], Any]]) -> Any:
        """Read one component of an object whose parts lie in files of their own.

        Parameters
        ----------
        name : str
            One of `components`.
        parts : mapping of str to callable
            Name of the part to a function that reads its file: whole if called with None, else
            that component *of the file*. Only those that are needed are called.

        Raises
        ------
        UnknownComponent, MissingComponent
            The storage class, or this dataset, has no such component.
        """
        self.component_class(name)
        if name in parts:
            return parts[name](None)
        if self.body in parts:
            return parts[self.body](name)
        if self.is_in_parts and name not in self.parts:
            return self.component(self.assemble({n: read(None) for n, read in parts.items()}), name)
        raise MissingComponent(
            f"The dataset has nothing stored of its component '{name}'; it has "
            f"{', '.join(sorted(parts))}.",
            name=name,
        )


def storage_class_names() -> tuple[str, ...]:
    """List the storage classes that a dataset type can have: built in, and from other packages.

    Returns
    -------
    tuple of str
        In alphabetical order.
    """
    own = [name for name in _BUILT_IN if get_storage_class(name).default_formatter]
    return tuple(sorted({*own, *entry_point_references(ENTRY_POINT_GROUP)}))


def storage_class_for(obj: object) -> StorageClass:
    """Give the first built-in storage class that holds an object; never Pickle.

    Raises
    ------
    UnknownStorageClass
        None does.
    """
    found = _first_for(obj)
    if found is None:
        raise UnknownStorageClass(
            f"No storage class holds a {type(obj).__module__}.{type(obj).__qualname__}; register "
            "the dataset type with one that does: "
            "butler.register_dataset_type(NAME, DIMENSIONS, STORAGE_CLASS)."
        )
    return found


def _first_for(obj: object) -> StorageClass | None:
    built_in = (get_storage_class(name) for name in _BUILT_IN if name != "Pickle")
    return next((one for one in built_in if one.default_formatter and one.accepts(obj)), None)


@cache
def get_storage_class(name: str) -> StorageClass:
    """Give the storage class of a name.

    Parameters
    ----------
    name : str
        One of `storage_class_names`, or ``module:attribute`` of an installed package, where the
        attribute is a StorageClass or a class without arguments that derives from it.

    Returns
    -------
    StorageClass
        The same instance each time.

    Raises
    ------
    UnknownStorageClass
        There is none of this name.
    PluginError
        It is named, and cannot be imported or is no StorageClass.

    Examples
    --------
    >>> get_storage_class("Exposure").default_formatter
    'fits-image'
    """
    reference = _BUILT_IN.get(name)
    if reference is None:
        known = entry_point_references(ENTRY_POINT_GROUP)
        reference = known.get(name, name if ":" in name else None)
    if reference is None:
        raise UnknownStorageClass(
            f"There is no storage class '{name}'.{did_you_mean(name, storage_class_names())} One "
            "that a package offers is named by its entry point, or as module:attribute.",
            name=name,
        )
    found = load_reference(reference)
    if isinstance(found, type) and issubclass(found, StorageClass):
        found = cast("Callable[[], StorageClass]", found)()
    if not isinstance(found, StorageClass):
        raise PluginError(f"'{reference}' is not a butler.storage_classes.StorageClass.", name=name)
    return found


def is_instance(obj: object, dotted: str) -> bool:
    """Check a type by its path; if its package was never imported, nothing can be of it.

    Parameters
    ----------
    obj : object
        Anything.
    dotted : str
        Module and name of the type.
    """
    module, _, name = dotted.rpartition(".")
    if module.partition(".")[0] not in sys.modules:
        return False
    kind = load_reference(f"{module}:{name}")
    return isinstance(obj, kind) if isinstance(kind, type) else False
