"""Time series: dynamical systems, their invariants, and training models of them."""

from armillary.series.divergence import occupation, state_space_divergence
from armillary.series.lyapunov import Lyapunov, lyapunov_exponents
from armillary.series.plrnn import ShallowPLRNN
from armillary.series.systems import LORENZ63_EXPONENTS, lorenz63, lorenz96, orbit, rk4, rossler
from armillary.series.teacher_forcing import (
    ForcedGradient,
    adaptive_forcing,
    critical_forcing,
    force,
    forced_gradient,
    forced_rollout,
    generalized_teacher_forcing,
)

__all__ = [
    "LORENZ63_EXPONENTS",
    "ForcedGradient",
    "Lyapunov",
    "ShallowPLRNN",
    "adaptive_forcing",
    "critical_forcing",
    "force",
    "forced_gradient",
    "forced_rollout",
    "generalized_teacher_forcing",
    "lorenz63",
    "lorenz96",
    "lyapunov_exponents",
    "occupation",
    "orbit",
    "rk4",
    "rossler",
    "state_space_divergence",
]
