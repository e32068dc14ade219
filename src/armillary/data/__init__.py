"""Tasks and data sets; each names its source and licence."""

from armillary.data.digits import Split, corrupt_labels, digits, split
from armillary.data.mnist import mnist
from armillary.data.regression import Moments, Prompts, linear_regression_prompts, regression_moments
from armillary.data.tables import table
from armillary.data.text import SYMBOLS, library_text

__all__ = [
    "SYMBOLS",
    "Moments",
    "Prompts",
    "Split",
    "corrupt_labels",
    "digits",
    "library_text",
    "linear_regression_prompts",
    "mnist",
    "regression_moments",
    "split",
    "table",
]
