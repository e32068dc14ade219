"""Measurements of models and of training."""

from armillary.measure.accuracy import accuracy, cross_entropy
from armillary.measure.barrier import (
    BezierPath,
    bezier_barrier,
    bezier_losses,
    bezier_point,
    line_losses,
    line_point,
    path_barrier,
)
from armillary.measure.coherence import example_overlap, m_coherence, m_coherence_two_batches
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
from armillary.measure.lanczos import Lanczos, Ritz, lanczos, largest_eigenvalues, ritz, tridiagonal
from armillary.measure.linear_attention import (
    EffectiveStep,
    effective_step,
    linear_attention_optimum,
    linear_attention_risk,
    one_step_optimum,
)
from armillary.measure.per_example import gradient_matrix, per_example_gradients
from armillary.measure.separability import Separability, separability
from armillary.measure.spectrum import (
    Outliers,
    Spectrum,
    exact_spectrum,
    hessian_spectrum,
    lanczos_quadrature,
    spectral_density,
    spectral_outliers,
)
from armillary.measure.trace import Estimate, frobenius_norm, hutchinson_trace, hutchpp_trace

__all__ = [
    "BezierPath",
    "EffectiveStep",
    "Estimate",
    "Lanczos",
    "Outliers",
    "Ritz",
    "Separability",
    "Spectrum",
    "accuracy",
    "bezier_barrier",
    "bezier_losses",
    "bezier_point",
    "cross_entropy",
    "dense",
    "effective_step",
    "exact_spectrum",
    "example_overlap",
    "flatten",
    "frobenius_norm",
    "gauss_newton_matrix",
    "gauss_newton_operator",
    "gauss_newton_vector_product",
    "gradient_matrix",
    "hessian_matrix",
    "hessian_operator",
    "hessian_spectrum",
    "hessian_vector_product",
    "hutchinson_trace",
    "hutchpp_trace",
    "lanczos",
    "lanczos_quadrature",
    "largest_eigenvalues",
    "line_losses",
    "line_point",
    "linear_attention_optimum",
    "linear_attention_risk",
    "m_coherence",
    "m_coherence_two_batches",
    "one_step_optimum",
    "path_barrier",
    "per_example_gradients",
    "ritz",
    "separability",
    "spectral_density",
    "spectral_outliers",
    "tridiagonal",
]
