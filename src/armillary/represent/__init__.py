"""Representations: how alike two are, how many dimensions one uses, and whitening."""

from armillary.represent.similarity import effective_rank, linear_cka
from armillary.represent.whiten import whiten

__all__ = ["effective_rank", "linear_cka", "whiten"]
