"""Which part of a table or an array does a read ask for, and does the file have it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler.errors import InvalidParameter
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["selected_box", "selected_names", "selected_rows"]


def selected_names(
    wanted: str | Iterable[str], known: Iterable[str], path: str, kind: str = "column"
) -> list[str]:
    """Check the names of columns, arrays or HDUs that a read should give.

    Parameters
    ----------
    wanted : str or iterable of str
        What the caller asks for.
    known : iterable of str
        What the file has.
    path : str
        The file, for the message.
    kind : str, optional
        What they are names of.

    Raises
    ------
    InvalidParameter
        One is not there; names the nearest.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    have = list(known)
    for name in names:
        if name not in have:
            raise InvalidParameter(
                f"{path} has no {kind} '{name}'.{did_you_mean(str(name), have)}",
                path=path,
                name=str(name),
            )
    return names


def selected_rows(wanted: Any, n_rows: int, path: str) -> slice:
    """Check a range of rows, counted from 0, the end not included.

    Parameters
    ----------
    wanted : (int, int)
        What the caller asks for.
    n_rows : int
        What the file has.
    path : str
        The file, for the message.

    Raises
    ------
    InvalidParameter
        It is no range, or does not lie in the file.
    """
    try:
        start, stop = (int(value) for value in wanted)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(
            f"rows is {wanted!r}; give two integers (start, stop), the last not included.",
            path=path,
            name="rows",
        ) from error
    if not 0 <= start <= stop <= n_rows:
        raise InvalidParameter(
            f"rows ({start}, {stop}) do not lie in {path}, whose rows are (0, {n_rows}), the last "
            "not included.",
            path=path,
            name="rows",
        )
    return slice(start, stop)


def selected_box(wanted: Any, shape: tuple[int, ...], path: str) -> tuple[slice, slice]:
    """Check a box of pixels, counted from 0, the maxima not included.

    Parameters
    ----------
    wanted : (int, int, int, int)
        ``(x_min, y_min, x_max, y_max)``.
    shape : tuple of int
        Of the array, in the order of its axes; x is the last one.
    path : str
        The file, for the message.

    Returns
    -------
    tuple of slice
        Of the last two axes.

    Raises
    ------
    InvalidParameter
        It is no box, or does not lie in the array.
    """
    ny, nx = (1, *shape)[-2:]
    try:
        x_min, y_min, x_max, y_max = (int(value) for value in wanted)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(
            f"bbox is {wanted!r}; give four integers (x_min, y_min, x_max, y_max).",
            path=path,
            name="bbox",
        ) from error
    if len(shape) < 2 or not (0 <= x_min < x_max <= nx and 0 <= y_min < y_max <= ny):
        raise InvalidParameter(
            f"bbox ({x_min}, {y_min}, {x_max}, {y_max}) does not lie in the image {path}, whose "
            f"pixels are (0, 0, {nx}, {ny}), the last two not included.",
            path=path,
            name="bbox",
        )
    return slice(y_min, y_max), slice(x_min, x_max)
