"""The machinery of a study: declarations, runs, store, verdicts. Knows no paper and no method."""

from armillary.lab.errors import InputError, RunError
from armillary.lab.study import (
    Arms,
    Bound,
    Check,
    Report,
    Study,
    at_least,
    at_most,
    between,
    close_to,
)

NUMERICS = 1
"""Part of every run's fingerprint: bumped by hand when the lab's own arithmetic changes."""

__all__ = [
    "NUMERICS",
    "Arms",
    "Bound",
    "Check",
    "InputError",
    "Report",
    "RunError",
    "Study",
    "at_least",
    "at_most",
    "between",
    "close_to",
]
