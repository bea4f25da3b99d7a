"""Which calibration is taken for these data, and why?

`certifying` holds the verbs that declare validity ranges, `conflicts` how overlapping ones are
resolved; `lookup` finds what is taken for many observations, by the `policies` of each type and the
`facts` that they compare; `explaining` says why; `auxiliary` and `importing` bring the registries
of older stacks in.  Tables and invariant: `registry.schema.calibrations`.
"""

from __future__ import annotations

from registry.calibrations.auxiliary import OldRange, read_registry
from registry.calibrations.certifying import (
    Overlap,
    certify,
    certify_each,
    decertify,
    validity_of,
)
from registry.calibrations.conflicts import RESOLUTIONS
from registry.calibrations.explaining import (
    Candidate,
    Explanation,
    explain_calibration,
    nearest,
)
from registry.calibrations.facts import agreed, facts_of, record_facts
from registry.calibrations.importing import Imported, import_ranges
from registry.calibrations.lookup import find_calibrations
from registry.calibrations.policies import (
    BadPolicy,
    Policy,
    all_policies,
    get_policy,
    remove_policy,
    set_policy,
)

__all__ = [
    "RESOLUTIONS",
    "BadPolicy",
    "Candidate",
    "Explanation",
    "Imported",
    "OldRange",
    "Overlap",
    "Policy",
    "agreed",
    "all_policies",
    "certify",
    "certify_each",
    "decertify",
    "explain_calibration",
    "facts_of",
    "find_calibrations",
    "get_policy",
    "import_ranges",
    "nearest",
    "read_registry",
    "record_facts",
    "remove_policy",
    "set_policy",
    "validity_of",
]
