"""Which cameras does skyspine know out of the box?

The YAML files of `butler/instruments`; a user's own definition is read with
`InstrumentDefinition.from_yaml`.
"""

from __future__ import annotations

from pathlib import Path

from butler.instrument.definition import InstrumentDefinition
from butler.instrument.errors import UnknownInstrument
from registry.errors import did_you_mean

__all__ = ["load_shipped", "shipped", "shipped_file"]

_FOLDER = Path(__file__).resolve().parent.parent / "instruments"


def shipped() -> list[str]:
    """List the names of the definitions that ship with skyspine, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def shipped_file(name: str) -> Path:
    """Find the YAML file of a shipped definition.

    Parameters
    ----------
    name : str
        As `shipped` lists it, or the instrument's name in any case.

    Raises
    ------
    UnknownInstrument
        With near names.
    """
    wanted = _squeezed(name)
    for known in shipped():
        if _squeezed(known) == wanted:
            return _FOLDER / f"{known}.yaml"
    raise UnknownInstrument(
        f"No definition of an instrument '{name}' ships with "
        f"skyspine.{did_you_mean(name, shipped())} Give the path of "
        "a YAML file for a camera of your own."
    )


def load_shipped(name: str) -> InstrumentDefinition:
    """Read a shipped definition.

    Raises
    ------
    UnknownInstrument
        With near names.
    """
    return InstrumentDefinition.from_yaml(shipped_file(name))


def _squeezed(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
