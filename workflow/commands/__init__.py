"""The commands of ``skyspine``, one module per subject; see `workflow.cli`."""

from __future__ import annotations
