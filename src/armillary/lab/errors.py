"""Errors a person can act on, and the nearest valid choice to a misspelt one."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """What was asked for cannot be: names the setting, the value, and what was expected (exit code 2)."""


class TooLarge(InputError):
    """Not one run fits into the memory that there is or may be used; nothing was run."""


class RunError(RuntimeError):
    """A run of a valid request failed (exit code 1)."""


def nearest(name: str, valid: Iterable[str], *, what: str = "valid") -> str:
    """Words for the end of an error: the names nearest to `name`, else all of them."""
    names = list(valid)
    close = get_close_matches(name, names, n=3, cutoff=0.5) or [n for n in names if name and name in n][:3]
    if close:
        return "did you mean " + " or ".join(repr(n) for n in close) + "?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"{what}: {shown}" if names else f"{what}: none"
