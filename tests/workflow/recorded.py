"""Configurations that have been in the database, with the rows that tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from registry.schema import provenance as schema
from workflow import recorded_configs
from workflow.configuration import (
    Configured,
    Override,
    Script,
    configure,
    digest,
    load_text,
    parse_override,
)

if TYPE_CHECKING:
    from lsst.pex.config import Config

    from registry import Registry


class Chain:
    """Configure, record, read back."""

    def __init__(self, registry: Registry, run: str) -> None:
        self.registry = registry
        self.run = run
        self.configured: Configured | None = None
        registry.register_collection(run)

    def __call__(self, config_class: type[Config], *steps: Override | Script | str) -> Any:
        """Give the configuration that the database holds after it was set in these steps."""
        overrides = [parse_override(f"t:{s}")[1] if isinstance(s, str) else s for s in steps]
        self.configured = configure(config_class, overrides, label="t")
        label = f"t{len(self.labels())}"
        with self.registry.begin() as connection:
            recorded_configs.record(
                connection, self.run, label, "tests.T", self.configured.config,
                self.configured.history,
            )  # fmt: skip
        with self.registry.read() as connection:
            again = recorded_configs.load(connection, self.run, label)
            text = connection.execute(
                sa.select(schema.config.c.text)
                .join(schema.task, schema.task.c.config_id == schema.config.c.id)
                .where(schema.task.c.label == label)
                .order_by(schema.task.c.id.desc())
            ).scalars().first()  # fmt: skip
        assert digest(again) == digest(self.configured.config)
        assert digest(load_text(str(text))) == digest(self.configured.config)
        return again

    def labels(self) -> list[str]:
        return sorted({r["task_label"] for r in self.registry.provenance.config_history(self.run)})

    def history(self, path: str) -> list[tuple[str | None, str, str]]:
        """List value, kind and origin of the steps of a field of the last configuration."""
        label = f"t{len(self.labels()) - 1}"
        rows = self.registry.provenance.config_history(self.run, label, path)
        return [(r["value"], r["origin_kind"], r["origin"]) for r in rows if r["path"] == path]

    def values(self) -> dict[str, str | None]:
        """Read the rows of the last configuration."""
        c, v, t = schema.config, schema.config_value, schema.task
        assert self.configured is not None
        with self.registry.read() as connection:
            label = f"t{len(self.labels()) - 1}"
            key = connection.execute(
                sa.select(t.c.config_id).where(t.c.label == label).order_by(t.c.id.desc())
            ).scalars().first()  # fmt: skip
            rows = connection.execute(
                sa.select(v.c.path, v.c.value).join(c, c.c.id == v.c.config_id).where(c.c.id == key)
            )
            return dict(rows.all())
