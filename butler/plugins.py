"""How is a class found that a string names: `module:attribute`, or an entry point of a package?

Instrument definitions and database rows name formatters and storage classes by such strings.
Importing is all that happens here; what the attribute must be is checked by who asked for it.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points

from butler.errors import PluginError

__all__ = ["entry_point_references", "load_reference"]


def load_reference(reference: str) -> object:
    """Import what ``module:attribute`` names.

    Parameters
    ----------
    reference : str
        An importable module, a colon, and a (dotted) attribute in it.

    Returns
    -------
    object
        The attribute.

    Raises
    ------
    PluginError
        The module cannot be imported, or has no such attribute.

    Examples
    --------
    >>> load_reference("fractions:Fraction.from_float").__name__
    'from_float'
    """
    module_name, _, attribute = reference.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise PluginError(
            f"'{reference}' cannot be loaded: {error}. "
            "Install the package that it is in, into the environment that runs skyspine.",
            name=reference,
        ) from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise PluginError(
                f"'{reference}' cannot be loaded: the module '{module_name}' has no '{attribute}'; "
                "correct the name, or install the version of the package that has it.",
                name=reference,
            ) from error
    return found


@cache
def entry_point_references(group: str) -> dict[str, str]:
    """List what the installed packages offer under an entry point group.

    Parameters
    ----------
    group : str
        ``skyspine.formatters`` or ``skyspine.storage_classes``.

    Returns
    -------
    dict of str to str
        Name to ``module:attribute``; read once per process.
    """
    return {point.name: point.value for point in entry_points(group=group)}
