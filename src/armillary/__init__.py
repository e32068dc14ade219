"""Papers about machine learning that you can run.

`armillary.run(target)` runs a paper's study and gives its verdict; `armillary.sweep(target, over)` turns its
knobs. The methods are in the packages by subject: `armillary.measure`, `armillary.nn`, `armillary.train`, …

Importing this package imports none of its dependencies; they come with the first use.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from armillary.api import catalogue, load, record, run, sweep, verify
    from armillary.lab import Check, InputError, Report, RunError, Study, at_least, at_most, between, close_to

_API = ("catalogue", "load", "record", "run", "sweep", "verify")
_LAB = ("Check", "InputError", "Report", "RunError", "Study", "at_least", "at_most", "between", "close_to")

__all__ = [
    "Check",
    "InputError",
    "Report",
    "RunError",
    "Study",
    "at_least",
    "at_most",
    "between",
    "catalogue",
    "close_to",
    "load",
    "record",
    "run",
    "sweep",
    "verify",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _API:
        return getattr(import_module("armillary.api"), name)
    if name in _LAB:
        return getattr(import_module("armillary.lab"), name)
    raise AttributeError(f"module 'armillary' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
