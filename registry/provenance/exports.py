"""In which formats does a graph leave the registry, and who writes each?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import RegistryError, UnknownDataset, did_you_mean
from registry.provenance import pictures
from registry.provenance.across import locations_across, settings_across, walk_across

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from registry.provenance.graphs import Graph

__all__ = ["FORMATS", "export", "written"]

FORMATS = {
    "prov": "W3C PROV, as PROV-JSON (needs the extra `prov`)",
    "ivoa": "tables of the IVOA Provenance Data Model, as one VOTable",
    "openlineage": "OpenLineage run events, one JSON document per line",
    "mermaid": "a picture as a Mermaid flowchart",
    "dot": "a picture for Graphviz",
    "svg": "a picture as SVG",
}
"""The formats of `export`, with what each is."""

_PICTURES: dict[str, Callable[[pictures.Picture], str]] = {
    "mermaid": pictures.mermaid,
    "dot": pictures.dot,
    "svg": pictures.svg,
}


def export(
    places: Sequence[sa.Connection],
    ids: Sequence[uuid.UUID],
    format: str = "prov",  # noqa: A002 (the word that users know)
    *,
    up: bool = True,
    depth: int | None = None,
    merged: bool = False,
) -> str:
    """Tell the history of datasets, or what was made of them, in a format that others read.

    Parameters
    ----------
    places : sequence of sqlalchemy.Connection
        To the repository, then to those that it takes datasets from.
    ids : sequence of UUID
        The datasets.
    format : str
        One of `FORMATS`.
    up : bool
        What they were made from, or what was made of them.
    depth : int, optional
        At most so many steps.
    merged : bool
        In a picture, one box for each dataset type and run.

    Returns
    -------
    str
        The document.

    Raises
    ------
    UnknownDataset
        If there is no such dataset.
    RegistryError
        If there is no such format, or what it needs is not installed.
    """
    graph = walk_across(places, ids, up=up, depth=depth)
    missing = [i for i in ids if i not in graph.datasets]
    if missing:
        raise UnknownDataset(str(missing[0]))
    return written(places, graph, format, merged=merged)


def written(
    places: Sequence[sa.Connection],
    graph: Graph,
    format: str,  # noqa: A002
    *,
    merged: bool = False,
) -> str:
    """Write a graph in one of `FORMATS`; see `export`."""
    if format in _PICTURES:
        return _PICTURES[format](pictures.picture(graph, merged=merged))
    if format == "prov":
        from registry.provenance import prov

        told = prov.document(graph, settings_across(places, graph)).serialize(
            format="json", indent=1
        )
        return f"{told}\n"
    if format == "openlineage":
        from registry.provenance import openlineage

        return openlineage.lines(graph, settings_across(places, graph))
    if format == "ivoa":
        from registry.provenance import ivoa

        found = locations_across(places, list(graph.datasets))
        return ivoa.votable(ivoa.tables(graph, settings_across(places, graph), found))
    raise RegistryError(
        f"There is no format '{format}' of provenance.{did_you_mean(format, FORMATS)}"
    )
