"""What was decided on how datasets are stored, by whom and when?

Every setting that a policy had is a row, and none is changed: of those with one scope and key the
last holds.  Verbs and questions: `butler.policy.policies`.
"""

from __future__ import annotations

import sqlalchemy as sa

from registry.schema.types import BigId, Json, UtcDateTime, table

_SCOPE = sa.String(255)

policy_setting = table(
    "policy_setting",
    sa.Column("id", BigId, primary_key=True, comment="Key; of one scope and key the last holds"),
    sa.Column("site", _SCOPE, nullable=False, comment="Where it holds; empty: at every site"),
    sa.Column("instrument", _SCOPE, nullable=False, comment="Of which camera; empty: of all"),
    sa.Column(
        "storage_class", _SCOPE, nullable=False, comment="For which storage class; empty: for all"
    ),
    sa.Column(
        "dataset_type", _SCOPE, nullable=False, comment="For which dataset type; empty: for all"
    ),
    sa.Column(
        "setting", sa.String(32), nullable=False, comment="What is decided: format, endpoint, ..."
    ),
    sa.Column("value", Json, comment="What was decided, as JSON; none: taken back"),
    sa.Column("set_at", UtcDateTime, nullable=False, comment="When it was decided, UTC"),
    sa.Column("set_by", sa.String(255), nullable=False, comment="Account that decided it"),
    sa.CheckConstraint("dataset_type = '' OR storage_class = ''", name="scope"),
    comment="How datasets are to be stored, with every earlier decision.",
)
