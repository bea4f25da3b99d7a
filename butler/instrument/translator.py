"""What does astro-metadata-translator make of a header?

For cameras that the package of the Rubin Observatory knows (DECam, HSC, MegaPrime, ...), a
definition names its translator, or lets each header tell it, and takes from it the values that no
rule gives.  The package is an extra: it is imported here, when a definition asks for it.
https://github.com/lsst/astro_metadata_translator
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from butler.instrument.errors import MissingTranslator
from butler.instrument.rules import Absent, RuleFault
from butler.instrument.times import Instant
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from butler.instrument.cards import Headers

__all__ = ["AUTO", "TRANSLATED", "HeaderTranslator", "translator_class"]

AUTO = "auto"
"""Stands for the first translator that knows a header."""
_TELLING = ("INSTRUME", "TELESCOP", "DETECTOR", "OBSERVAT")


def _text(value: Any) -> str:
    return str(value)


def _seconds(value: Any) -> float:
    return float(value.to_value("s"))


def _instant(value: Any) -> Instant:
    from registry.timespan import tai_ns

    return Instant(tai_ns(value))


# The end is not taken over: for DECam it is when the file was written, which may be hours later.
TRANSLATED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "exposure": ("exposure_id", int),
    "visit": ("visit_id", int),
    "obs_id": ("observation_id", _text),
    "detector": ("detector_num", int),
    "physical_filter": ("physical_filter", _text),
    "observation_type": ("observation_type", _text),
    "observation_reason": ("observation_reason", _text),
    "target_name": ("object", _text),
    "science_program": ("science_program", _text),
    "seq_num": ("observation_counter", int),
    "exposure_time": ("exposure_time", _seconds),
    "dark_time": ("dark_time", _seconds),
    "begin": ("datetime_begin", _instant),
    "ra": ("tracking_radec", lambda value: float(value.icrs.ra.deg)),
    "dec": ("tracking_radec", lambda value: float(value.icrs.dec.deg)),
    "airmass": ("boresight_airmass", float),
}
"""Value to the translator's property and how it becomes the value."""


def translator_class(name: str) -> Any:
    """Find a translator by its registered name.

    Raises
    ------
    MissingTranslator
        If the package is not installed or has no such translator.
    """
    try:
        from astro_metadata_translator import MetadataTranslator
    except ImportError as error:
        raise MissingTranslator(
            f"The definition names the translator '{name}', and astro-metadata-translator is not "
            "installed. "
            "Install it with: pip install 'skyspine[metadata]'"
        ) from error
    known = MetadataTranslator.translators
    if name == AUTO:
        return MetadataTranslator
    if name not in known:
        raise MissingTranslator(
            f"astro-metadata-translator has no translator '{name}'."
            f"{did_you_mean(name, [*known, AUTO])}"
        )
    return known[name]


class HeaderTranslator:
    """Values of one header, worked out when they are asked for.

    Parameters
    ----------
    name : str
        Registered name of the translator, or `AUTO`.
    headers : Headers
        Cards of the data's unit win over primary ones.
    filename : str
        For translators that look at it.

    Attributes
    ----------
    unknown : str
        With `AUTO`, why no translator knows the header; empty when one does.
    """

    def __init__(self, name: str, headers: Headers, filename: str) -> None:
        from astro_metadata_translator import fix_header

        kind = translator_class(name)
        merged = headers.merged()
        self.unknown = ""
        if name == AUTO:
            try:
                kind = kind.determine_translator(merged, filename=filename)
            except ValueError:
                told = ", ".join(f"{k} = {merged[k]!r}" for k in _TELLING if k in merged)
                told = told or f"it has none of {', '.join(_TELLING)}"
                self.unknown = (
                    f"no translator of astro-metadata-translator knows its header ({told})"
                )
                return
        fix_header(merged, filename=filename, translator_class=kind)
        self._name = kind.name
        self._make = lambda: kind(merged, filename=filename)
        self._translator = self._make()

    @property
    def cards_used(self) -> frozenset[str]:
        """The cards that were looked at until now."""
        return frozenset() if self.unknown else frozenset(self._translator.cards_used())

    def get(self, value: str) -> Any:
        """Give one of `TRANSLATED`, or another property as the translator has it.

        Raises
        ------
        Absent
            If the header does not give it, or no translator knows the header.
        RuleFault
            If the translator cannot use what the header says.
        """
        if self.unknown:
            raise Absent(self.unknown)
        return self._of(self._translator, value)

    def source(self, value: str) -> str:
        """Tell which translator makes a value, by which property, of which cards."""
        prop = TRANSLATED.get(value, (value,))[0]
        if self.unknown:
            return f"translator {prop}"
        alone = self._make()
        with contextlib.suppress(Absent, RuleFault):
            self._of(alone, value)
        cards = ", ".join(sorted(alone.cards_used()))
        return f"translator {self._name} {prop}" + (f" of {cards}" if cards else "")

    def _of(self, translator: Any, value: str) -> Any:
        prop, convert = TRANSLATED.get(value, (value, lambda v: v))
        method = getattr(translator, f"to_{prop}", None)
        if method is None:
            raise RuleFault(f"the translator {self._name} has no property '{prop}'")
        try:
            result = method()
        except (KeyError, NotImplementedError) as error:
            raise Absent(str(error)) from error
        except (ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise RuleFault(f"the translator {self._name} cannot give {prop}: {error}") from error
        if result is None:
            raise Absent(prop)
        return convert(result)
