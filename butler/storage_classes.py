"""What is an object of a dataset type in Python, what are its parts, and how is it checked?

A storage class has a name, a Python type that is not imported before it is used, components, and
the formatter that writes it unless another is asked for. How files look is the formatters' affair
(`butler.formatters`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from butler.errors import (
    MissingComponent,
    PluginError,
    StorageClassError,
    UnknownComponent,
    UnknownStorageClass,
    WrongType,
)
from butler.plugins import entry_point_references, load_reference
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from butler.exposure import Exposure

__all__ = [
    "ExposureStorageClass",
    "StorageClass",
    "get_storage_class",
    "storage_class_names",
]

ENTRY_POINT_GROUP = "skyspine.storage_classes"


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
        Name of the formatter that writes it by default; None if it exists only as a component.
    components : mapping of str to str, optional
        Parts that can be read alone, with their storage classes.
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

    def accepts(self, obj: object) -> bool:
        """Say whether an object is of the Python type; its module is not imported for that.

        Parameters
        ----------
        obj : object
            Anything.
        """
        return _is_instance(obj, self.python_type)

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
        remedy = next((text for kind, text in self.remedies.items() if _is_instance(obj, kind)), "")
        if not remedy:
            others = [s.name for s in _BUILT_IN.values() if s.default_formatter and s.accepts(obj)]
            remedy = (
                f"a dataset type of storage class {others[0]} would hold it"
                if others and others != ["Pickle"]
                else f"convert it to {self.python_type.removeprefix('builtins.')} first"
            )
        raise WrongType(
            f"Storage class {self.name} holds {self.python_type.removeprefix('builtins.')} and was "
            f"given {given}; {remedy}.",
            name=self.name,
        )

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
        value = getattr(obj, name, None)
        if value is None:
            raise MissingComponent(f"This {self.name} has no {name}.", name=name)
        return {"builtins.list": list, "builtins.dict": dict}.get(kind, lambda same: same)(value)

    def assemble(self, parts: Mapping[str, Any]) -> Any:
        """Make one object of several that were read from files of their own.

        Parameters
        ----------
        parts : mapping of str to object
            Name of the part, as the database records it for the file, to what was read.

        Raises
        ------
        StorageClassError
            The storage class cannot be assembled.
        """
        raise StorageClassError(
            f"Storage class {self.name} cannot be assembled from files of its parts "
            f"({', '.join(sorted(parts))}); ingest it as one file, or use a storage class that "
            "defines assemble().",
            name=self.name,
        )

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
        if name not in parts:
            raise MissingComponent(
                f"The dataset has no file for its component '{name}'; it has "
                f"{', '.join(sorted(parts))}.",
                name=name,
            )
        return parts[name](None)


class ExposureStorageClass(StorageClass):
    """An image with mask, uncertainty, WCS and header, in one file or one file for each part.

    Parts in files of their own: ``image`` (its header and WCS are those of the whole), ``mask``,
    and one of ``weight`` (inverse variance), ``variance`` and ``stddev``.
    """

    def assemble(self, parts: Mapping[str, Any]) -> Exposure:
        """Join an image with its mask and its weights.

        Parameters
        ----------
        parts : mapping of str to CCDData or array
            ``image`` must be there and be a CCDData.

        Returns
        -------
        `butler.exposure.Exposure`
            With unit, header and WCS of the image. An integer mask keeps its values.

        Raises
        ------
        MissingComponent
            There is no image.
        StorageClassError
            The shapes differ, or a part is not known.
        """
        from butler.exposure import Exposure

        known = ("image", "mask", *_UNCERTAINTY_OF_PART)
        for part, value in parts.items():
            if part not in known:
                raise UnknownComponent(
                    f"An Exposure has no part '{part}'.{did_you_mean(part, known)}", name=part
                )
            shape = getattr(value, "shape", None)
            if "image" in parts and shape != parts["image"].shape:
                raise StorageClassError(
                    f"The {part} is {shape} and the image {parts['image'].shape}; they are not of "
                    "one exposure.",
                    name=part,
                )
        if "image" not in parts:
            raise MissingComponent(
                f"The exposure has no image, only {', '.join(sorted(parts))}; ingest the image "
                "with the same data ID and the component 'image'.",
                name="image",
            )
        image = parts["image"]
        uncertainty = next(
            (_uncertainty(part, parts[part]) for part in _UNCERTAINTY_OF_PART if part in parts),
            image.uncertainty,
        )
        return Exposure(
            image.data,
            unit=image.unit,
            mask=_array(parts["mask"]) if "mask" in parts else image.mask,
            uncertainty=uncertainty,
            wcs=image.wcs,
            meta=image.meta,
        )

    def component(self, obj: Any, name: str) -> Any:
        """Take a component out of an exposure; see `StorageClass.component`."""
        attribute = {"image": "data", "metadata": "header", "variance": "uncertainty"}
        value = super().component(obj, attribute.get(name, name))
        return _as_asked(name, value)

    def read_component(self, name: str, parts: Mapping[str, Callable[[str | None], Any]]) -> Any:
        """Read one component from the file that has it; see `StorageClass.read_component`."""
        self.component_class(name)
        if name == "mask" and "mask" in parts:
            return parts["mask"]("image")
        if name in {"uncertainty", "variance"}:
            for part in _UNCERTAINTY_OF_PART:
                if part in parts:
                    return _as_asked(name, _uncertainty(part, parts[part]("image")))
        if "image" not in parts:
            raise MissingComponent(
                f"The exposure has no file with its {name}, only {', '.join(sorted(parts))}.",
                name=name,
            )
        return parts["image"](name)


_UNCERTAINTY_OF_PART = {
    "weight": "InverseVariance",
    "variance": "VarianceUncertainty",
    "stddev": "StdDevUncertainty",
}


def _array(value: Any) -> Any:
    return getattr(value, "data", value) if _is_instance(value, "astropy.nddata.NDData") else value


def _uncertainty(part: str, value: Any) -> Any:
    from astropy import nddata

    return getattr(nddata, _UNCERTAINTY_OF_PART[part])(_array(value), copy=False)


def _as_asked(name: str, uncertainty: Any) -> Any:
    from astropy.nddata import VarianceUncertainty

    return uncertainty.represent_as(VarianceUncertainty) if name == "variance" else uncertainty


_TABLE_REMEDIES = {
    "pandas.DataFrame": "use storage class DataFrame, or put Table.from_pandas(df)",
    "numpy.ndarray": "put Table(array)",
    "builtins.dict": "put Table(columns)",
    "builtins.list": "put Table(rows=rows)",
}

_BUILT_IN: dict[str, StorageClass] = {
    storage_class.name: storage_class
    for storage_class in (
        ExposureStorageClass(
            "Exposure",
            "astropy.nddata.CCDData",
            "fits-image",
            {
                "image": "Array",
                "data": "Array",
                "mask": "Array",
                "uncertainty": "Uncertainty",
                "variance": "Uncertainty",
                "wcs": "Wcs",
                "header": "Header",
                "metadata": "Header",
            },
            {
                "numpy.ndarray": "put CCDData(array, unit='adu')",
                "astropy.nddata.NDData": "put CCDData(nddata, unit='adu')",
                "astropy.io.fits.HDUList": "put CCDData(hdu.data, unit='adu', meta=hdu.header)",
                "astropy.io.fits.ImageHDU": "put CCDData(hdu.data, unit='adu', meta=hdu.header)",
                "builtins.str": "ingest the file if this is its name: butler.ingest(...)",
            },
            "An image with mask, uncertainty, WCS and header.",
        ),
        StorageClass(
            "Table",
            "astropy.table.Table",
            "fits-table",
            {"columns": "StructuredDataList", "meta": "StructuredDataDict"},
            _TABLE_REMEDIES,
            "An astropy table.",
        ),
        StorageClass(
            "Defects",
            "astropy.table.Table",
            "fits-table",
            {"columns": "StructuredDataList", "meta": "StructuredDataDict"},
            _TABLE_REMEDIES,
            "Defects of a detector: a table of boxes.",
        ),
        StorageClass(
            "DataFrame",
            "pandas.DataFrame",
            "parquet",
            {"columns": "StructuredDataList"},
            {
                "astropy.table.Table": "use storage class Table, or put table.to_pandas()",
                "pandas.Series": "put series.to_frame()",
                "numpy.ndarray": "put DataFrame(array)",
                "builtins.dict": "put DataFrame(columns)",
            },
            "A pandas table.",
        ),
        StorageClass(
            "StructuredDataDict",
            "builtins.dict",
            "yaml",
            remedies={
                "lsst.pex.config.Config": "use storage class Config, or put config.toDict()",
                "collections.abc.Mapping": "put dict(mapping)",
                "builtins.list": "use storage class StructuredDataList",
            },
            doc="Names with values: numbers, text, dates, lists and dicts of them.",
        ),
        StorageClass(
            "StructuredDataList",
            "builtins.list",
            "yaml",
            remedies={
                "builtins.tuple": "put list(values)",
                "numpy.ndarray": "put array.tolist()",
                "builtins.dict": "use storage class StructuredDataDict",
            },
            doc="A list of numbers, text, dates, lists and dicts.",
        ),
        StorageClass(
            "Config",
            "lsst.pex.config.Config",
            "config",
            remedies={"builtins.type": "put an instance: the class and ()"},
            doc="A configuration of a task.",
        ),
        StorageClass(
            "Text",
            "builtins.str",
            "text",
            remedies={
                "builtins.bytes": "put content.decode()",
                "os.PathLike": "put path.read_text()",
            },
            doc="A text.",
        ),
        StorageClass(
            "Figure",
            "matplotlib.figure.Figure",
            "png",
            remedies={"matplotlib.axes.Axes": "put axes.figure"},
            doc="A picture; it can be put, and not be got back as a Figure.",
        ),
        StorageClass(
            "Pickle",
            "builtins.object",
            "pickle",
            doc="Any object; it can be got only where the caller trusts what lies there.",
        ),
        StorageClass("Array", "numpy.ndarray", None, doc="Pixels or a mask of an Exposure."),
        StorageClass("Uncertainty", "astropy.nddata.NDUncertainty", None, doc="Of an Exposure."),
        StorageClass("Wcs", "astropy.wcs.WCS", None, doc="World coordinates of an Exposure."),
        StorageClass("Header", "astropy.io.fits.Header", None, doc="Header of an Exposure."),
    )
}


def storage_class_names() -> tuple[str, ...]:
    """List the storage classes that a dataset type can have: built in, and from other packages.

    Returns
    -------
    tuple of str
        In alphabetical order.
    """
    own = [name for name, found in _BUILT_IN.items() if found.default_formatter]
    return tuple(sorted({*own, *entry_point_references(ENTRY_POINT_GROUP)}))


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
    if name in _BUILT_IN:
        return _BUILT_IN[name]
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


def _is_instance(obj: object, dotted: str) -> bool:
    """Check a type by its path; if its package was never imported, nothing can be of it."""
    module, _, name = dotted.rpartition(".")
    if module.partition(".")[0] not in sys.modules:
        return False
    kind = load_reference(f"{module}:{name}")
    return isinstance(obj, kind) if isinstance(kind, type) else False
