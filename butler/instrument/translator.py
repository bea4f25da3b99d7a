"""What does astro-metadata-translator make of a header?

For cameras that the package of the Rubin Observatory knows (DECam, HSC, MegaPrime, ...), a
definition names its translator and takes the values that no rule gives from it.  The package is an
extra: it is imported here, when a definition asks for it.
https://github.com/lsst/astro_metadata_translator
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from butler.instrument.errors import MissingTranslator
from butler.instrument.rules import Absent, RuleFault
from butler.instrument.times import Instant
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from butler.instrument.cards import Headers

__all__ = ["TRANSLATED", "HeaderTranslator", "translator_class"]


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
    if name not in known:
        raise MissingTranslator(
            f"astro-metadata-translator has no translator '{name}'.{did_you_mean(name, known)}"
        )
    return known[name]


class HeaderTranslator:
    """Values of one header, worked out when they are asked for.

    Parameters
    ----------
    name : str
        Registered name of the translator.
    headers : Headers
        Cards of the data's unit win over primary ones.
    filename : str
        For translators that look at it.
    """

    def __init__(self, name: str, headers: Headers, filename: str) -> None:
        from astro_metadata_translator import fix_header

        kind = translator_class(name)
        merged = headers.merged()
        fix_header(merged, filename=filename, translator_class=kind)
        self._name = name
        self._translator = kind(merged, filename=filename)

    def get(self, value: str) -> Any:
        """Give one of `TRANSLATED`, or another property as the translator has it.

        Raises
        ------
        Absent
            If the header does not give it.
        RuleFault
            If the translator cannot use what the header says.
        """
        prop, convert = TRANSLATED.get(value, (value, lambda v: v))
        method = getattr(self._translator, f"to_{prop}", None)
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
