"""What do the named questions answer on the demo repository?

``tests/sql/answers`` has a CSV file for each; the cookbook page shows them.  After a new question,
or a changed one: ``python -m tests.sql.known_answers``, then read what has changed.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import cookbook

if TYPE_CHECKING:
    import pandas as pd

    from registry import Registry

FOLDER = Path(__file__).parent / "answers"


def examples(question: cookbook.Question) -> dict[str, str]:
    """Give the values of the parameters that fit the demo repository."""
    return {p.name: p.example for p in question.parameters}


def answer(registry: Registry, name: str) -> str:
    """Ask a question with its examples, and give the answer as CSV."""
    with registry.read() as connection:
        frame = cookbook.run(connection, name, **examples(cookbook.read(name)))
    return as_csv(frame)


def as_csv(frame: pd.DataFrame) -> str:
    """Write a table with nine digits of its fractions; whole numbers look alike everywhere."""
    text = io.StringIO()
    frame.map(_cell).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.9g}"
    return "" if value is None else str(value)


def main() -> None:
    """Write all answers from a new repository on SQLite."""
    from registry import Registry
    from tests.sql import demo_rows

    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Registry.create(f"sqlite:///{folder}/registry.sqlite3") as registry,
    ):
        demo_rows.fill(registry)
        for name in cookbook.questions():
            (FOLDER / f"{name}.csv").write_text(answer(registry, name), encoding="utf-8")


if __name__ == "__main__":
    main()
