"""Whether a study can be judged at settings other than its own, found out before anything runs."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from armillary.lab import settings, sweep, verdict
from armillary.lab.catalogue import Entry
from armillary.lab.errors import InputError, RunError


def rehearse(entry: Entry, scale: str, given: Mapping[str, Any]) -> None:
    """Compute every check on made-up numbers of the shapes that the experiment will give.

    A check may pick one value of an axis, or follow a line along it: then it can not do without the axis.

    **Raises:** `InputError` naming the check, if it can be computed at the study's own settings and not at these.
    """
    if not given or entry.study.host:
        return
    error = _failure(entry, scale, given)
    if error is None or _failure(entry, scale, {}) is not None:
        return
    words = {name: ",".join(map(str, v)) if _many(v) else str(v) for name, v in given.items()}
    usual = settings.resolve(entry.study, scale)
    lost = [n for n in given if settings.is_axis(usual[n]) and not settings.is_axis(given[n])]
    check, reason = str(error).split("'")[1], str(error).split(" cannot be computed: ")[-1].split(". ")[0]
    if lost:
        usually = ", ".join(map(str, settings.as_list(usual[lost[0]])))
        reason = f"it is computed along {lost[0]} = {usually}"
    over = f" {entry.slug} --over {lost[0]}={words[lost[0]]}" if lost else ""
    raise InputError(
        f"{', '.join(f'{n}={v}' for n, v in words.items())}: check {check!r} cannot be computed"
        f" ({reason.replace(chr(34), '')}); `armillary sweep{over}` measures without judging"
    )


def _many(value: Any) -> bool:
    return isinstance(value, tuple) or settings.is_axis(value)


def _failure(entry: Entry, scale: str, given: Mapping[str, Any]) -> RunError | None:
    data = sweep.imagined(entry, settings.arms(entry.study, scale, given))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            verdict.judge(entry.study, data)
    except RunError as error:
        return error
    return None
