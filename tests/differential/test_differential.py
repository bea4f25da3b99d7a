"""The same exports in lsst-daf-butler and here: are the answers to the same questions the same?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from butler import Butler
from butler.exchange.document import read_document
from tests.differential import generate, questions
from tests.differential.conftest import export_all

if TYPE_CHECKING:
    from tests.differential.conftest import Peer

HERE = Path(__file__).parent
ASKED = questions.read_questions()


def comparable(found: Any, question: questions.Question) -> Any:
    """Give an answer as a set, or in its order where that is asked for."""
    if isinstance(found, dict):
        return "refused"
    rows = [tuple(row) if isinstance(row, list) else row for row in found]
    return rows if question.order_by else Counter(rows)


def as_expected(here: Any, there: Any, question: questions.Question) -> bool:
    """Tell whether two answers are the same, or differ as the list says."""
    if question.difference:
        return (size(here), size(there)) == (question.here, question.there)
    alike = comparable(here, question) == comparable(there, question)
    return alike and not isinstance(here, dict)


def size(found: Any) -> int | str:
    return "refused" if isinstance(found, dict) else len(found)


def test_list_is_long_and_each_difference_is_explained() -> None:
    alike = {str(q) for q in ASKED if not q.difference}
    assert len(alike) >= 150
    assert {q.difference for q in ASKED} - {""} == set(questions.DIFFERENCES)
    page = (HERE.parents[1] / "docs/reference/expressions.md").read_text(encoding="utf-8")
    assert [mark for mark in questions.DIFFERENCES if f"`{mark}`" not in page] == []
    assert {q.repository for q in ASKED} == set(questions.REPOSITORIES)
    assert {q.kind for q in ASKED} == {"datasets", "data_ids", "records"}


def test_drawn_expressions_are_those_of_the_seed() -> None:
    assert generate.TARGET.read_text(encoding="utf-8") == generate.text()


def test_answers_are_those_of_lsst_daf_butler(repository: tuple[str, Butler], peer: Peer) -> None:
    name, butler = repository
    wrong = []
    some = 0
    for question, there in zip(ASKED, peer.answers, strict=True):
        if question.repository != name:
            continue
        here = questions.answer(butler.registry, question)
        some += bool(here) and not isinstance(here, dict)
        if not as_expected(here, there, question):
            wrong.append(f"{question}\n  here  {shown(here)}\n  there {shown(there)}")
    assert not wrong, f"{len(wrong)} answers\n" + "\n".join(wrong)
    assert some


def shown(found: Any) -> str:
    return f"{found['error']}" if isinstance(found, dict) else f"{len(found)}: {found}"[:300]


def test_what_came_through_here_is_whole_there(peer: Peer) -> None:
    for name in questions.REPOSITORIES:
        straight, through = peer.contents[name], peer.contents[f"{name} here"]
        for part, expected in straight.items():
            assert through[part] == expected, (name, part)
    assert sum(len(c["datasets"]) for c in peer.contents.values()) > 1000


def test_what_this_registry_leaves_open_is_named_there(peer: Peer) -> None:
    held = peer.contents["native"]
    filters = {r["id"]: (r["physical_filter"], r["group"]) for r in held["records"]["exposure"]}
    assert filters == {1: ("SDSS g", "obs1"), 2: ("SDSS g", "obs2"), 3: ("unknown", "obs3")}
    bands = {r["name"]: r["band"] for r in held["records"]["physical_filter"]}
    assert bands == {"SDSS g": "g", "Ha": "unknown", "unknown": "unknown"}
    assert {name: told[0] for name, told in held["collections"].items()} == {
        "all": "CHAINED",
        "calib": "CALIBRATION",
        "chosen": "TAGGED",
        "day": "RUN",
        "flats": "RUN",
        "night": "RUN",
    }
    assert len(held["datasets"]) == 6


def test_what_came_through_there_is_whole_here(peer: Peer, tmp_path: Path) -> None:
    for name, rewritten in peer.rewritten.items():
        with Butler.create(tmp_path / name) as again:
            notes = again.import_(rewritten, transfer=None).notes
            assert not [note for note in notes if "left out" in note]
            export_all(again, tmp_path / f"{name}.yaml")
        assert as_a_set(tmp_path / f"{name}.yaml") == as_a_set(peer.exported[name]), name


def test_exports_are_the_same_whatever_the_database(
    repository: tuple[str, Butler], peer: Peer, tmp_path: Path
) -> None:
    name, butler = repository
    export_all(butler, tmp_path / "export.yaml")
    written = (tmp_path / "export.yaml").read_text(encoding="utf-8")
    assert written == peer.exported[name].read_text(encoding="utf-8")


def test_files_are_read_there_and_come_back(peer: Peer, tmp_path: Path) -> None:
    with Butler.create(tmp_path / "here") as butler:
        taken = butler.import_(peer.files_there)
        assert taken.files == len(taken.refs) == len(peer.read["read"]) + 1
        back = {str(ref.id): butler.get(ref) for ref in taken.refs}
    assert back.pop(peer.read["made"]) == {"made": "there"}
    assert back == peer.read["read"]
    assert sorted(value["seeing"] for value in back.values()) == [0.7, 0.8, 0.9]


def as_a_set(path: Path) -> dict[Any, Any]:
    """Read an export, and forget the order of what has none."""
    told: dict[Any, Any] = {}
    for part in read_document(path).parts:
        whose = tuple(part.get(k) for k in ("type", "element", "name", "dataset_type", "run"))
        rows = part.get("records") or part.get("dataset_ids") or part.get("validity_ranges") or []
        rest = {k: v for k, v in part.items() if k not in ("records", "dataset_ids")}
        rest.pop("validity_ranges", None)
        told[(*whose, part.get("collection"))] = (rest, sorted(map(repr, rows)))
    return told
