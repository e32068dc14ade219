"""Training: one scan-based loop, optimizers as Optax transformations, training rules."""

from armillary.train.boosting import Boosted, boosted_part, line_search_newton, sgd_boost
from armillary.train.edge import EdgeTrace, edge_of_stability_trace
from armillary.train.evolution import (
    Evolved,
    SeedGenome,
    centred_ranks,
    decode,
    deep_ga,
    es_gradient,
    first_weights,
    mutate,
    seeded_noise,
)
from armillary.train.fit import Fit, fit
from armillary.train.halfspace import CertifiedHalfspace, halfspace_tester_learner, ramp_halfspace
from armillary.train.hinge import HingeSGD, hinge_sgd
from armillary.train.kernel_ridge import kernel_ridge, ridge_learning_curve
from armillary.train.layerwise import layerwise_three_layer
from armillary.train.lazy import lazy_scale, linearized
from armillary.train.linear import linear_descent
from armillary.train.linear_attention import fit_linear_attention_stack
from armillary.train.low_rank import low_rank, low_rank_projected_gradient, supervised_dictionary_loss
from armillary.train.parametrization import (
    ABC,
    MUP,
    MUP_ADAM,
    NTK,
    STANDARD,
    LayerScale,
    Limit,
    Parametrized,
    classify_abc,
    layer_scales,
    parametrize,
    rescale_layers,
    scale_layer_rates,
)
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
from armillary.train.span import span_gradient
from armillary.train.unconstrained import FeaturesNear, central_path, features_near, ridge_classifier

__all__ = [
    "ABC",
    "MUP",
    "MUP_ADAM",
    "NTK",
    "STANDARD",
    "Boosted",
    "CertifiedHalfspace",
    "EdgeTrace",
    "Evolved",
    "FeaturesNear",
    "Fit",
    "HingeSGD",
    "LayerScale",
    "Limit",
    "Parametrized",
    "SeedGenome",
    "Separator",
    "batch_perceptron",
    "boosted_part",
    "central_path",
    "centred_ranks",
    "classify_abc",
    "decode",
    "deep_ga",
    "edge_of_stability_trace",
    "es_gradient",
    "features_near",
    "first_weights",
    "fit",
    "fit_linear_attention_stack",
    "halfspace_tester_learner",
    "hinge_sgd",
    "iterates",
    "kernel_ridge",
    "layer_scales",
    "layerwise_three_layer",
    "lazy_scale",
    "line_search_newton",
    "linear_descent",
    "linearized",
    "logistic_gd",
    "logistic_weights",
    "low_rank",
    "low_rank_projected_gradient",
    "lr_sensitivity",
    "median_of_means",
    "mutate",
    "normalized_logistic_gd",
    "parametrize",
    "perceptron_weights",
    "ramp_halfspace",
    "reduced_gradient",
    "rescale_layers",
    "ridge_classifier",
    "ridge_learning_curve",
    "scale_layer_rates",
    "seeded_noise",
    "separate",
    "sgd_boost",
    "span_gradient",
    "supervised_dictionary_loss",
    "winsorized_mean",
]
