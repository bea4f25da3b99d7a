"""Which tables bring further dimensions to rows that have some?

A visit meets its exposures, and tracts and patches where their regions touch; an exposure meets
them where its visit does, or at its pointing when it belongs to none; nights, filters and detectors
are those of the camera.  What a name in a condition means: `registry.names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry import sky
from registry.dimensions import ELEMENTS
from registry.errors import InvalidDataId
from registry.identity import DIMENSIONS
from registry.names import RECORD_KEYS, Names, UnknownField
from registry.schema import dimensions as schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["Joining", "NeedsConnection", "names_of_dimensions"]

_ELEMENTS = ("exposure", "visit", "patch", "tract", "detector", "day_obs", "physical_filter")
"""In the order in which they are joined: what a record implies needs no table of its own."""
_LINK = ("instrument", "visit", "exposure")
_SEEN = frozenset({"visit", "exposure"})
_PLACES = frozenset({"tract", "patch"})
_OF_A_SKYMAP = frozenset({"skymap", "tract", "patch"})


class NeedsConnection(ValueError):
    """An expression is about the sky, which only a registry knows."""


class Joining:
    """Joins what brings dimensions to the rows of some names.

    Parameters
    ----------
    names : Names
        What is joined to; without tables yet where they are to be joined in a subquery.
    wanted : set of str
        Dimensions that the names should have.
    around : set of str
        Those that the statement around a subquery has.
    narrowing : callable, optional
        Conditions that all rows fulfil; see `registry.sky.Narrowing`.

    Attributes
    ----------
    listed : bool
        Whether keys that were found in Python are among what was joined.
    """

    def __init__(
        self,
        names: Names,
        wanted: AbstractSet[str],
        around: AbstractSet[str] = frozenset(),
        narrowing: sky.Narrowing | None = None,
    ) -> None:
        self.names = names
        self.wanted = set(wanted)
        self.around = frozenset(around)
        self.narrowing: sky.Narrowing = narrowing or (lambda _: ())
        self.listed = False

    @property
    def everything(self) -> set[str]:
        """Dimensions here, wanted and around."""
        return self.wanted | self.around | set(self.names.dimensions)

    def unrelated(self) -> str | None:
        """Name a wanted dimension that no record relates to those around."""
        has_sky = bool(self.around & _OF_A_SKYMAP)
        has_camera = any(d in self.around for d in ("instrument", "exposure", "visit", "detector"))
        linked = self._meets_sky() is not None
        for name in sorted(self.wanted, key=list(DIMENSIONS).index, reverse=True):
            if name in _OF_A_SKYMAP:
                related = has_sky or linked
            elif name == "healpix":
                related = bool(self.around & (_SEEN | _PLACES)) or linked
            else:
                related = has_camera or linked
            if not related:
                return name
        return None

    def run(self) -> None:
        """Join the tables.

        Raises
        ------
        UnknownName
            If a wanted dimension has no records.
        """
        names = self.names
        had = frozenset(names.dimensions)
        self._join_sky()
        if "healpix" in self.wanted and "healpix" not in names.dimensions:
            self._join_pixels()
        self._join_exposures(had)
        for element in _ELEMENTS:
            if element in self.wanted and not names.reaches(element):
                table = ELEMENTS[element].alias(names.alias(element))
                names.join(table, RECORD_KEYS[element])
                names.adopt(element, table)
        if "band" in self.wanted and not names.reaches("band"):
            self._join_bands()
        for element in ("instrument", "skymap"):
            if element in self.wanted and element not in names.dimensions:
                names.join(ELEMENTS[element].alias(names.alias(element)), {element: "name"})
        self._equate(had)

    def _meets_sky(self) -> tuple[str, str] | None:
        """Tell what is seen of the sky, and which part of it, where the two are to be joined."""
        everything = self.everything
        seen = next((d for d in ("visit", "exposure") if d in everything), "")
        part = next((d for d in ("patch", "tract") if d in everything), "")
        if not seen or not part or {seen, part} <= self.around | set(self.names.dimensions):
            return None
        return seen, part

    def _join_sky(self) -> None:
        met = self._meets_sky()
        if met is None:
            return
        seen, part = met
        parts = sky.keys_of(part) or ()
        observed = "visit_detector_region" if "detector" in self.everything else "visit"
        if seen == "visit":
            keys = (*(sky.keys_of(observed) or ()), *parts)
            self.names.join(self._touching(observed, part), {k: k for k in keys})
            return
        points = sky.pointing_pairs(self._connected(), part, self.narrowing)
        if not points:
            self.wanted.add("visit")
            self._join_sky()
            return
        table = self._exposures_touching(observed, part, points)
        self.names.join(table, {c.name: c.name for c in table.c})

    def _connected(self) -> sa.Connection:
        connection = self.names.connection
        if connection is None:
            raise NeedsConnection("Regions can be compared only with a connection.")
        return connection

    def _touching(self, observed: str, part: str) -> Any:
        """Give the table of which observations touch which parts of the sky."""
        if (observed, part) == ("visit_detector_region", "patch"):
            return schema.overlap.alias(self.names.alias("overlap"))
        keys = (*(sky.keys_of(observed) or ()), *(sky.keys_of(part) or ()))
        pairs = sky.region_pairs(self._connected(), observed, part, self.narrowing)
        self.listed = True
        return sky.table_of_keys(self._connected(), keys, pairs, self.names.alias("touching"))

    def _exposures_touching(
        self, observed: str, part: str, points: Sequence[tuple[Any, ...]]
    ) -> Any:
        """Give the table of exposures with parts of the sky: by visit, or where they point."""
        names, connection = self.names, self._connected()
        parts = sky.keys_of(part) or ()
        link = schema.visit_exposure.alias(names.alias("visit_exposure"))
        touching = self._touching(observed, part)
        detector = (touching.c.detector,) if observed != "visit" else ()
        same = sa.and_(link.c.instrument == touching.c.instrument, link.c.visit == touching.c.visit)
        by_visit = sa.select(
            link.c.instrument, link.c.exposure, *detector, *(touching.c[k] for k in parts)
        ).join_from(link, touching, same)
        keys = ("instrument", "exposure", *parts)
        pointing = sky.table_of_keys(connection, keys, points, names.alias("pointing"))
        own = [pointing.c[k] for k in keys]
        if detector:
            every = schema.detector.alias(names.alias("detector"))
            by_point = sa.select(*own[:2], every.c.id.label("detector"), *own[2:]).join_from(
                pointing, every, every.c.instrument == pointing.c.instrument
            )
        else:
            by_point = sa.select(*own)
        self.listed = True
        # not UNION ALL: visits may share an exposure
        return sa.union(by_visit, by_point).subquery(names.alias("seen"))

    def _join_pixels(self) -> None:
        everything = self.everything
        finest = (
            "visit_detector_region" if {"visit", "detector"} <= everything else "",
            *(d for d in ("visit", "exposure", "patch", "tract") if d in everything),
        )
        element = next((e for e in finest if e), None)
        if element is None:
            raise InvalidDataId(
                "healpix is joined by a place on the sky; name visit, exposure, patch or tract too."
            )
        keys = (*(sky.keys_of(element) or ()), "healpix")
        pairs = sky.pixels_of(self._connected(), element, self.narrowing)
        self.listed = True
        table = sky.table_of_keys(self._connected(), keys, pairs, self.names.alias("pixel"))
        self.names.join(table, {k: k for k in keys})

    def _join_exposures(self, had: AbstractSet[str]) -> None:
        if self.everything >= _SEEN and not (had >= _SEEN or self.around >= _SEEN):
            table = schema.visit_exposure.alias(self.names.alias("visit_exposure"))
            self.names.join(table, {k: k for k in _LINK})

    def _join_bands(self) -> None:
        names = self.names
        filters = schema.physical_filter.alias(names.alias("physical_filter"))
        if "instrument" in self.everything:
            names.join(filters, RECORD_KEYS["physical_filter"] | {"band": "band"})
            names.conditions.append(filters.c.band.is_not(None))
            return
        bands = sa.select(filters.c.band).distinct().where(filters.c.band.is_not(None))
        names.join(bands.subquery(names.alias("bands")), {"band": "band"})

    def _equate(self, had: AbstractSet[str]) -> None:
        """Say that what is new is of the night, filter and band that were here."""
        names = self.names
        new = set(names.dimensions) - had
        seen = next((e for e in ("exposure", "visit") if e in new), None)
        told = [d for d in ("day_obs", "physical_filter") if seen and d in had]
        names.conditions += [names.column(f"{seen}.{d}") == names.dimensions[d] for d in told]
        if "band" in had and (seen or "physical_filter" in new) and "physical_filter" not in had:
            names.conditions.append(
                names.column("physical_filter.band") == names.dimensions["band"]
            )


def names_of_dimensions(
    dimensions: Sequence[str],
    connection: sa.Connection | None = None,
    also: Iterable[str] = (),
    narrowing: sky.Narrowing | None = None,
) -> Names:
    """Names over every combination of records that the given dimensions allow.

    Parameters
    ----------
    also : iterable of str
        Further dimensions that conditions are about.
    narrowing : callable, optional
        Conditions that all rows fulfil; see `registry.sky.Narrowing`.

    Raises
    ------
    UnknownName
        If a dimension has no records of its own.
    """
    if not dimensions:
        raise InvalidDataId("Data IDs of no dimensions were asked for; name at least one.")
    for name in dimensions:
        if name not in DIMENSIONS:
            raise UnknownField(name, DIMENSIONS)
    names = Names(None, {}, connection=connection)
    Joining(names, {*dimensions, *also}, narrowing=narrowing).run()
    return names
