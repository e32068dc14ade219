"""Tasks and data sets; each names its source and licence."""

from armillary.data.bits import multi_feature_bits
from armillary.data.boundary import boundary_perceptron
from armillary.data.clusters import XorClusters, xor_clusters
from armillary.data.digits import Split, corrupt_labels, digits, split
from armillary.data.hidden_markov import HiddenMarkov, hidden_markov
from armillary.data.hierarchical import (
    HierarchicalPolynomial,
    hermite,
    hierarchical_polynomial,
    optimal_kernel,
)
from armillary.data.mnist import mnist
from armillary.data.pointers import Pointers, one_hot_tokens, pointer_chasing
from armillary.data.regression import Moments, Prompts, linear_regression_prompts, regression_moments
from armillary.data.sphere import unit_sphere
from armillary.data.tables import table
from armillary.data.text import SYMBOLS, library_text

__all__ = [
    "SYMBOLS",
    "HiddenMarkov",
    "HierarchicalPolynomial",
    "Moments",
    "Pointers",
    "Prompts",
    "Split",
    "XorClusters",
    "boundary_perceptron",
    "corrupt_labels",
    "digits",
    "hermite",
    "hidden_markov",
    "hierarchical_polynomial",
    "library_text",
    "linear_regression_prompts",
    "mnist",
    "multi_feature_bits",
    "one_hot_tokens",
    "optimal_kernel",
    "pointer_chasing",
    "regression_moments",
    "split",
    "table",
    "unit_sphere",
    "xor_clusters",
]
