"""The record still tells the truth: what is out of date is run again, within a budget of time."""

import warnings

import pytest

from armillary import api
from armillary.lab import catalogue, record

BUDGET_SECONDS = 240.0


def stale() -> tuple[list[str], list[str]]:
    """The stale slugs that fit into the budget, by the time that they took when recorded, and the others."""
    within, beyond, left = [], [], BUDGET_SECONDS
    for slug in catalogue.runnable():
        found = record.latest(catalogue.row(slug))
        if not record.stale(catalogue.row(slug), found):
            continue
        left -= found["seconds"]
        (within if left >= 0 else beyond).append(slug)
    return within, beyond


WITHIN, BEYOND = stale()


def test_stale_records_beyond_the_budget_are_listed():
    if BEYOND:
        warnings.warn(f"stale, not run again: {', '.join(BEYOND)}", stacklevel=1)


@pytest.mark.parametrize("slug", WITHIN)
def test_a_stale_record_has_the_verdict_it_had(slug):
    _, differences = api.verify(slug)
    assert not differences, f"armillary record {slug} if this is right"
