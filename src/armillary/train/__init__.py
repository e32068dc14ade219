"""Training: one scan-based loop, optimizers as Optax transformations, training rules."""

from armillary.train.fit import Fit, fit
from armillary.train.perceptron import (
    Separator,
    batch_perceptron,
    iterates,
    logistic_gd,
    logistic_weights,
    normalized_logistic_gd,
    perceptron_weights,
    separate,
)
from armillary.train.robust_mean import median_of_means, reduced_gradient, winsorized_mean
from armillary.train.sensitivity import lr_sensitivity

__all__ = [
    "Fit",
    "Separator",
    "batch_perceptron",
    "fit",
    "iterates",
    "logistic_gd",
    "logistic_weights",
    "lr_sensitivity",
    "median_of_means",
    "normalized_logistic_gd",
    "perceptron_weights",
    "reduced_gradient",
    "separate",
    "winsorized_mean",
]
