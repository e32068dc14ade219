"""Representations: how alike two are, and how many dimensions one uses."""

from armillary.represent.similarity import effective_rank, linear_cka

__all__ = ["effective_rank", "linear_cka"]
