"""How are the many datasets of an export in YAML written and read in a tenth of the time?

They look alike: a few scalars in fixed places, one line each.  Here these lines are made and taken
apart directly; whatever looks otherwise is left to the YAML library, which reads the same.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from registry.plain_yaml import stands_bare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PLACE", "read_datasets", "take_datasets", "write_datasets"]

PLACE = "datasets read before"
"""Type of the part that stands where datasets were taken out of a document."""
_HEAD = "- type: dataset\n  dataset_type: {}\n  run: {}\n  records:\n"
_BLOCK = re.compile(r"^- type: dataset\n(?:  .*\n)+", re.MULTILINE)
_BEGIN = re.compile(r"- type: dataset\n  dataset_type: (.+)\n  run: (.+)\n  records:\n")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_QUOTED = re.compile(r"'([^'\n]*)'")
_UUID = re.compile(r"    - !uuid '([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", re.ASCII)
_FIELDS = ("path", "formatter")


def write_datasets(part: Mapping[str, Any], dump: Callable[[Any], str]) -> str | None:
    """Write the datasets of one type and run; None when they need the YAML library.

    Parameters
    ----------
    part : mapping
        Of the type ``dataset``; each record has one dataset.
    dump : callable
        Writes a scalar as the YAML library does.
    """
    known: dict[Any, str] = {}
    if not part["records"]:
        return None

    def scalar(value: Any) -> str:
        if type(value) is int:
            return str(value)
        text = known.get(value)
        if text is None:
            text = known[value] = value if stands_bare(value) else dump(value)
        return text

    lines = [_HEAD.format(scalar(part["dataset_type"]), scalar(part["run"]))]
    for record in part["records"]:
        (key,), (data_id,) = record["dataset_id"], record["data_id"]
        if not data_id:
            return None
        keys = "\n      ".join([f"{scalar(k)}: {scalar(v)}" for k, v in data_id.items()])
        fields = "".join([f"\n    {k}: {scalar(record[k])}" for k in _FIELDS if k in record])
        lines.append(f"  - dataset_id:\n    - !uuid '{key}'\n    data_id:\n    - {keys}{fields}\n")
    if any("\n" in text for text in known.values()):
        return None
    return "".join(lines)


def take_datasets(text: str, load: Callable[[str], Any]) -> tuple[str, list[dict[str, Any]]]:
    """Take the datasets out of a document.

    Parameters
    ----------
    text : str
        Of the whole document.
    load : callable
        Reads a scalar as the YAML library does.

    Returns
    -------
    tuple
        The document with a part of the type `PLACE` and a number ``n`` for each one that was taken
        out, on as many lines; and these parts.
    """
    taken: list[dict[str, Any]] = []

    def replaced(found: re.Match[str]) -> str:
        part = read_datasets(found[0], load)
        if part is None:
            return found[0]
        taken.append(part)
        lines = found[0].count("\n")
        return f"- {{type: {PLACE}, n: {len(taken) - 1}}}" + "\n" * lines

    return _BLOCK.sub(replaced, text), taken


def read_datasets(block: str, load: Callable[[str], Any]) -> dict[str, Any] | None:
    """Read the datasets of one type and run; None when they need the YAML library."""
    begin = _BEGIN.match(block)
    if begin is None:
        return None
    known: dict[str, Any] = {}

    def scalar(text: str) -> Any:
        if text in known:
            return known[text]
        value: Any
        if _INTEGER.fullmatch(text):
            value = int(text)
        elif stands_bare(text):
            value = text
        elif quoted := _QUOTED.fullmatch(text):
            value = quoted[1]
        else:
            value = load(text)
        known[text] = value
        return value

    records: list[dict[str, Any]] = []
    record: dict[str, Any] = {}
    for line in block[begin.end() : -1].split("\n"):
        if line == "  - dataset_id:":
            record = {"dataset_id": [], "data_id": []}
            records.append(record)
        elif key := _UUID.fullmatch(line):
            record["dataset_id"].append(uuid.UUID(hex=key[1]))
        elif line == "    data_id:":
            continue
        else:
            name, colon, text = line[6:].partition(": ")
            if not colon or not stands_bare(name.lstrip()):
                return None
            if line.startswith("    - "):
                record["data_id"].append({name: scalar(text)})
            elif line.startswith("      ") and record["data_id"]:
                record["data_id"][-1][name] = scalar(text)
            else:
                name, _, text = line[4:].partition(": ")
                if not line.startswith("    ") or name not in _FIELDS:
                    return None
                record[name] = scalar(text)
    if not all(len(r["dataset_id"]) == len(r["data_id"]) for r in records):
        return None
    return {
        "type": "dataset",
        "dataset_type": scalar(begin[1]),
        "run": scalar(begin[2]),
        "records": records,
    }
