"""Measurements of models and of training."""

from armillary.measure.accuracy import accuracy, cross_entropy
from armillary.measure.attention import PowerLaw, largest_logit, log_z_drift, power_law
from armillary.measure.attention_svm import AttentionSVM, TokenMargin, attention_svm, token_margin
from armillary.measure.bandwidth import approximation_errors, bandwidth_floor
from armillary.measure.barrier import (
    BezierPath,
    bezier_barrier,
    bezier_losses,
    bezier_point,
    line_losses,
    line_point,
    path_barrier,
)
from armillary.measure.binary_perceptron import BinaryPerceptron, binary_perceptron_overlap
from armillary.measure.coherence import (
    example_overlap,
    m_coherence,
    m_coherence_streamed,
    m_coherence_two_batches,
)
from armillary.measure.convolution import conv_matrix, conv_singular_values, orthogonal_conv_exists
from armillary.measure.coordinates import (
    CoordinateCheck,
    coordinate_check,
    relative_change,
    root_mean_square,
)
from armillary.measure.crossing import first_crossing
from armillary.measure.curvature import (
    dense,
    flatten,
    gauss_newton_matrix,
    gauss_newton_operator,
    gauss_newton_vector_product,
    hessian_matrix,
    hessian_operator,
    hessian_vector_product,
)
from armillary.measure.deep_linear import growing_start, mode_curve, mode_strengths
from armillary.measure.early_warning import EarlyWarning, early_warning
from armillary.measure.eigen import nuclear_norm, singular_values, spectral_norm
from armillary.measure.feature_share import feature_variance_share
from armillary.measure.head_tuning import head_tuning_risk, isotropic_double_descent
from armillary.measure.hessian_sizes import HessianSizes, hessian_sizes
from armillary.measure.inductive_bias import inductive_bias_bits, intrinsic_dimension
from armillary.measure.infinite_depth import (
    DeepKernels,
    DepthLimit,
    deep_kernels,
    infinite_depth_rule,
)
from armillary.measure.infinite_width import Prediction, arc_cosine, ensemble_size, ntk_gaussian_process
from armillary.measure.jackknife import Jackknife, jackknife, leave_one_out
from armillary.measure.kernels import empirical_ntk, kernel_alignment
from armillary.measure.krylov import KrylovRuns, krylov_runs
from armillary.measure.lanczos import Lanczos, Ritz, lanczos, largest_eigenvalues, ritz, tridiagonal
from armillary.measure.learners import (
    AlgorithmMatch,
    IterationMatch,
    Learner,
    algorithm_match,
    bayes_optimal,
    gradient_descent,
    gradient_descent_path,
    iterations_at,
    iterative_newton,
    least_squares,
    match_iterations,
    nearest_neighbours,
    newton_schulz_path,
    ridge,
)
from armillary.measure.linear_attention import (
    EffectiveStep,
    effective_step,
    linear_attention_layer_risk,
    linear_attention_optimum,
    linear_attention_risk,
    one_step_optimum,
)
from armillary.measure.multitasking import (
    hierarchical_magnetizations,
    majority_magnetizations,
    multitasking_magnetizations,
)
from armillary.measure.neural_collapse import NeuralCollapse, neural_collapse
from armillary.measure.noise_scale import (
    GradientNoise,
    OpposingGroups,
    gaussian_share,
    gradient_noise,
    opposing_groups,
    overlap_from_sums,
)
from armillary.measure.opposing import alternation, most_swinging
from armillary.measure.path_curvature import (
    DirectionalCurvature,
    directional_curvature,
    green_barrier,
    green_function,
    path_curvature,
)
from armillary.measure.per_example import gradient_matrix, per_example_gradients
from armillary.measure.random_matrix import MarchenkoPastur, linear_generalization_curve, marchenko_pastur
from armillary.measure.recovery import feature_recovery
from armillary.measure.residual_polynomials import (
    MomentSpectrum,
    best_gd_plus_plus,
    best_rates,
    best_residual_risks,
    gauss_quadrature,
    gd_plus_plus_residual,
    moment_spectrum,
    newton_residuals,
    residual_risk,
)
from armillary.measure.ridge_penalty import RidgePenalty, implicit_ridge_penalty
from armillary.measure.scatter import Scatter, class_scatter
from armillary.measure.separability import Separability, separability
from armillary.measure.snapshots import snapshot_rank
from armillary.measure.softmax_shift import SoftmaxShift, softmax_shift
from armillary.measure.spectrum import (
    Outliers,
    Spectrum,
    exact_spectrum,
    hessian_spectrum,
    lanczos_quadrature,
    spectral_density,
    spectral_outliers,
)
from armillary.measure.stability import Stability, batch_noise, mean_square_stability
from armillary.measure.strip import StripMoments, strip_moments
from armillary.measure.timeline import GrokkingDelay, Timeline, grokking_delay, oddness, overfitting_timeline
from armillary.measure.trace import Estimate, frobenius_norm, hutchinson_trace, hutchpp_trace
from armillary.measure.weighted_chi2 import weighted_chi2_log_cdf

__all__ = [
    "AlgorithmMatch",
    "AttentionSVM",
    "BezierPath",
    "BinaryPerceptron",
    "CoordinateCheck",
    "DeepKernels",
    "DepthLimit",
    "DirectionalCurvature",
    "EarlyWarning",
    "EffectiveStep",
    "Estimate",
    "GradientNoise",
    "GrokkingDelay",
    "HessianSizes",
    "IterationMatch",
    "Jackknife",
    "KrylovRuns",
    "Lanczos",
    "Learner",
    "MarchenkoPastur",
    "MomentSpectrum",
    "NeuralCollapse",
    "OpposingGroups",
    "Outliers",
    "PowerLaw",
    "Prediction",
    "RidgePenalty",
    "Ritz",
    "Scatter",
    "Separability",
    "SoftmaxShift",
    "Spectrum",
    "Stability",
    "StripMoments",
    "Timeline",
    "TokenMargin",
    "accuracy",
    "algorithm_match",
    "alternation",
    "approximation_errors",
    "arc_cosine",
    "attention_svm",
    "bandwidth_floor",
    "batch_noise",
    "bayes_optimal",
    "best_gd_plus_plus",
    "best_rates",
    "best_residual_risks",
    "bezier_barrier",
    "bezier_losses",
    "bezier_point",
    "binary_perceptron_overlap",
    "class_scatter",
    "conv_matrix",
    "conv_singular_values",
    "coordinate_check",
    "cross_entropy",
    "deep_kernels",
    "dense",
    "directional_curvature",
    "early_warning",
    "effective_step",
    "empirical_ntk",
    "ensemble_size",
    "exact_spectrum",
    "example_overlap",
    "feature_recovery",
    "feature_variance_share",
    "first_crossing",
    "flatten",
    "frobenius_norm",
    "gauss_newton_matrix",
    "gauss_newton_operator",
    "gauss_newton_vector_product",
    "gauss_quadrature",
    "gaussian_share",
    "gd_plus_plus_residual",
    "gradient_descent",
    "gradient_descent_path",
    "gradient_matrix",
    "gradient_noise",
    "green_barrier",
    "green_function",
    "grokking_delay",
    "growing_start",
    "head_tuning_risk",
    "hessian_matrix",
    "hessian_operator",
    "hessian_sizes",
    "hessian_spectrum",
    "hessian_vector_product",
    "hierarchical_magnetizations",
    "hutchinson_trace",
    "hutchpp_trace",
    "implicit_ridge_penalty",
    "inductive_bias_bits",
    "infinite_depth_rule",
    "intrinsic_dimension",
    "isotropic_double_descent",
    "iterations_at",
    "iterative_newton",
    "jackknife",
    "kernel_alignment",
    "krylov_runs",
    "lanczos",
    "lanczos_quadrature",
    "largest_eigenvalues",
    "largest_logit",
    "least_squares",
    "leave_one_out",
    "line_losses",
    "line_point",
    "linear_attention_layer_risk",
    "linear_attention_optimum",
    "linear_attention_risk",
    "linear_generalization_curve",
    "log_z_drift",
    "m_coherence",
    "m_coherence_streamed",
    "m_coherence_two_batches",
    "majority_magnetizations",
    "marchenko_pastur",
    "match_iterations",
    "mean_square_stability",
    "mode_curve",
    "mode_strengths",
    "moment_spectrum",
    "most_swinging",
    "multitasking_magnetizations",
    "nearest_neighbours",
    "neural_collapse",
    "newton_residuals",
    "newton_schulz_path",
    "ntk_gaussian_process",
    "nuclear_norm",
    "oddness",
    "one_step_optimum",
    "opposing_groups",
    "orthogonal_conv_exists",
    "overfitting_timeline",
    "overlap_from_sums",
    "path_barrier",
    "path_curvature",
    "per_example_gradients",
    "power_law",
    "relative_change",
    "residual_risk",
    "ridge",
    "ritz",
    "root_mean_square",
    "separability",
    "singular_values",
    "snapshot_rank",
    "softmax_shift",
    "spectral_density",
    "spectral_norm",
    "spectral_outliers",
    "strip_moments",
    "token_margin",
    "tridiagonal",
    "weighted_chi2_log_cdf",
]
