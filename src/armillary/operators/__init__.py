"""Solving and learning partial differential equations."""

from armillary.operators.pinn import (
    Characteristics,
    PeriodicField,
    Residuals,
    fit_pinn,
    lagrangian_residual,
)
from armillary.operators.transport import along_characteristics, logistic_growth, spectral_solution

__all__ = [
    "Characteristics",
    "PeriodicField",
    "Residuals",
    "along_characteristics",
    "fit_pinn",
    "lagrangian_residual",
    "logistic_growth",
    "spectral_solution",
]
