"""Merging networks: permutation symmetries, matching of units."""

from armillary.merge.matching import Matching, activation_matching, activations, assign, weight_matching
from armillary.merge.symmetry import (
    Place,
    Symmetry,
    SymmetryError,
    identity_permutations,
    permutation_symmetry,
    permute,
    random_permutations,
)

__all__ = [
    "Matching",
    "Place",
    "Symmetry",
    "SymmetryError",
    "activation_matching",
    "activations",
    "assign",
    "identity_permutations",
    "permutation_symmetry",
    "permute",
    "random_permutations",
    "weight_matching",
]
