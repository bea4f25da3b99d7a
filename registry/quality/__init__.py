"""Is what was measured good enough, and who looks after what is not?

Metrics are the numbers that tasks record (`quantum_metric`).  `thresholds` says what is good,
`judging` compares, `incidents` keeps what somebody must look after, and `watches` who watches.
Tables: `registry.schema.quality`.
"""

from registry.quality.door import Quality
from registry.quality.incidents import Incident
from registry.quality.judging import Judgement
from registry.quality.thresholds import BadThreshold, Bounds, Scope, Threshold

__all__ = ["BadThreshold", "Bounds", "Incident", "Judgement", "Quality", "Scope", "Threshold"]
