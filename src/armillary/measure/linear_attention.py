"""What one layer of linear self-attention should learn on regression prompts: closed forms.

A rule A predicts x_qᵀ A (1/n Σᵢ yᵢxᵢ). With c = E[y x | w], C = E ccᵀ, Q = E y²xxᵀ and Λ the inputs'
covariance, the examples' mean has second moment B = (1 - 1/n) C + Q/n, its mean product with c is C, and so
risk(A) = E y² - 2 tr(AC) + tr(AᵀΛAB), least at A* = Λ⁻¹ C B⁻¹.

For x ~ N(0, Λ), w ~ N(0, T), noise variance s and the response f(w·x), f(u) = u for u ≥ 0 and βu for u < 0
(β = 1: linear, β = 0: ReLU): c = (1 + β)/2 Λw, and by symmetry Q = (1 + β²)/2 (2ΛTΛ + tr(ΛT) Λ) + sΛ.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Covariance = Float[Array, "dim dim"] | Float[Array, " dim"]
"""A positive definite matrix, or the diagonal of a diagonal one."""
Scalar = float | Float[Array, ""]


def linear_attention_risk(
    matrix: Float[Array, "dim dim"],
    covariance: Covariance,
    length: Scalar,
    task_covariance: Covariance | None = None,
    *,
    noise: Scalar = 0.0,
    slope: Scalar = 1.0,
) -> Float[Array, ""]:
    """The exact risk E(x_qᵀ A (1/n Σᵢ yᵢxᵢ) - y_q)² of a rule on Gaussian prompts.

    "Trained Transformers Learn Linear Models In-Context" (Zhang, Frei and Bartlett 2023), theorem 4.2 and
    section 4.3, extended to any weights' covariance, noise, and responses with a bend.

    **Arguments:**

    - `matrix`: A, any; for a trained layer its [`step`][armillary.nn.LinearAttention].
    - `covariance`: of the inputs, examples' and queries': a matrix, or the diagonal of a diagonal one.
    - `length`: examples in a prompt, n; need not be the length of the prompts that A was trained on.
    - `task_covariance`: of the weights w, likewise; the identity by default.
    - `noise`: variance of the responses' noise. The query's response has it too, so the risk is at least it.
    - `slope`: β, the response's slope for w·x < 0: 1 linear, 0 ReLU.

    **Returns:** the risk, in units of y². Differentiable in every argument.
    """
    inputs, signal, second, power = _moments(covariance, task_covariance, noise, slope)
    mean_square = signal + (second - signal) / length
    return power - 2 * jnp.sum(matrix * signal.T) + jnp.sum((inputs @ matrix) * (matrix @ mean_square))


def linear_attention_optimum(
    covariance: Covariance,
    length: Scalar,
    task_covariance: Covariance | None = None,
    *,
    noise: Scalar = 0.0,
    slope: Scalar = 1.0,
) -> tuple[Float[Array, "dim dim"], Float[Array, ""]]:
    """The rule of least risk on Gaussian prompts, and its risk.

    With weights of unit covariance and linear responses without noise it is
    ((1 + 1/n) Λ + tr(Λ)/n I)⁻¹: "Trained Transformers Learn Linear Models In-Context" (Zhang, Frei and
    Bartlett 2023), theorem 4.1.

    **Arguments:** as for [`linear_attention_risk`][armillary.measure.linear_attention_risk].

    **Returns:** A* = Λ⁻¹ C B⁻¹ and risk(A*) = E y² - tr(A*C).

    **Example:**

    ```python
    import jax.numpy as jnp
    from armillary.measure import linear_attention_optimum

    matrix, risk = linear_attention_optimum(jnp.array([1.0, 0.5]), length=20)
    matrix  # ((1 + 1/n) Λ + tr(Λ)/n I)⁻¹
    ```
    """
    inputs, signal, second, power = _moments(covariance, task_covariance, noise, slope)
    mean_square = signal + (second - signal) / length
    matrix = jnp.linalg.solve(inputs, jnp.linalg.solve(mean_square, signal).T)
    return matrix, power - jnp.sum(matrix * signal.T)


def one_step_optimum(
    covariance: Covariance,
    length: Scalar,
    *,
    noise: Scalar = 0.0,
    slope: Scalar = 1.0,
    link: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Float[Array, "dim dim"]:
    """The best rule x_qᵀ M Σᵢ yᵢxᵢ for x ~ N(0, Λ), w ~ N(0, Λ⁻¹): M = ηΛ⁻¹, preconditioned gradient descent.

    "One Step of Gradient Descent is Provably the Optimal In-Context Learner with One Layer of Linear
    Self-Attention" (Mahankali, Hashimoto and Ma 2023), theorems 1 to 3. Note the sum over the examples, where
    [`linear_attention_optimum`][armillary.measure.linear_attention_optimum] has their mean.

    **Arguments:**

    - `covariance`: Λ, a matrix, or the diagonal of a diagonal one.
    - `length`: examples in a prompt.
    - `noise`: variance of the responses' noise.
    - `slope`: the response's slope for w·x < 0: 1 linear, 0 ReLU. η = 1/(n + d + 1 + noise) for 1.
    - `link`: any other response f(w·x), instead of `slope`; by quadrature, so nothing may be traced then.

    **Returns:** M, zero where the response is even in w·x.

    **Example:**

    ```python
    import jax.numpy as jnp
    from armillary.measure import one_step_optimum

    one_step_optimum(jnp.ones(5), 20, noise=0.25)  # η I, η = 1/(20 + 5 + 1 + 0.25)
    one_step_optimum(jnp.ones(5), 20, slope=0.0)  # through a ReLU: a shorter step, 1/(20 + 2·5 + 3)
    ```
    """
    inputs = _matrix(covariance)
    dim = len(inputs)
    if link is None:
        first, second = ((1 + slope) / 2) ** 2, (1 + slope**2) / 2 * (dim + 2)
    else:
        first, second = _link_moments(link, dim)
    # E‖c‖²/d, and E y²‖x‖²/d with its noise, in the coordinates in which Λ = I.
    size = first / (second + noise + (length - 1) * first)
    return size * jnp.linalg.inv(inputs)


class EffectiveStep(NamedTuple):
    """What [`effective_step`][armillary.measure.effective_step] returns."""

    matrix: Float[Array, "dim dim"]
    """The best A in x_qᵀ A (1/n Σᵢ yᵢxᵢ)."""
    residual: Float[Array, ""]
    """The share of the predictions' mean square that it leaves unexplained, 0 to 1."""


def effective_step(
    predictions: Float[Array, "prompts queries"],
    x: Float[Array, "prompts length dim"],
    y: Float[Array, "prompts length"],
    query: Float[Array, "prompts queries dim"],
) -> EffectiveStep:
    """The one-step rule that is nearest to any in-context regressor, by least squares on its predictions.

    After "One Step of Gradient Descent is Provably the Optimal In-Context Learner with One Layer of Linear
    Self-Attention" (Mahankali, Hashimoto and Ma 2023), where the regressor is one layer and the residual 0.

    **Arguments:**

    - `predictions`: the model's, at the queries.
    - `x`, `y`: the prompts' examples.
    - `query`: the inputs at which it predicted. Needs more predictions than dim².

    **Returns:** the rule and the share that it does not explain.
    """
    dim = x.shape[-1]
    mean = jnp.sum(y[..., None] * x, -2) / x.shape[-2]
    features = (query[..., :, None] * mean[:, None, None, :]).reshape(-1, dim * dim)
    target = predictions.reshape(-1)
    entries = jnp.linalg.solve(features.T @ features, features.T @ target)
    rest = target - features @ entries
    return EffectiveStep(entries.reshape(dim, dim), rest @ rest / (target @ target))


def _matrix(covariance: Covariance) -> Float[Array, "dim dim"]:
    covariance = jnp.asarray(covariance)
    return jnp.diag(covariance) if covariance.ndim == 1 else covariance


def _moments(
    covariance: Covariance, task_covariance: Covariance | None, noise: Scalar, slope: Scalar
) -> tuple[Array, Array, Array, Array]:
    """Λ, C, Q and E y²."""
    inputs = _matrix(covariance)
    product = inputs if task_covariance is None else inputs @ _matrix(task_covariance)
    linear = product @ inputs
    mean, square = (1 + slope) / 2, (1 + slope**2) / 2
    second = square * (2 * linear + jnp.trace(product) * inputs) + noise * inputs
    return inputs, mean**2 * linear, second, square * jnp.trace(product) + noise


def _link_moments(
    link: Callable[[np.ndarray], np.ndarray], dim: int, points: int = 400
) -> tuple[float, float]:
    """E‖c‖²/d and E y²‖x‖²/d for x, w ~ N(0, I), by quadrature.

    Given r = ‖w‖, which is chi distributed, w·x = rz with z ~ N(0, 1): c = E[f(rz)z] w/r, and
    E[y²‖x‖²] = E[f(rz)² (z² + d - 1)].
    """
    from scipy import stats

    # Half-lines apart, so that a kink at zero costs no accuracy.
    nodes, weights = np.polynomial.legendre.leggauss(points)
    half = 6 * (1 + nodes)
    z = np.r_[-half, half]
    density = 6 * np.r_[weights, weights] * stats.norm.pdf(z)
    law = stats.chi(dim)
    r = law.ppf(1 - 1e-14) / 2 * (1 + nodes)
    r_density = law.ppf(1 - 1e-14) / 2 * weights * law.pdf(r)
    f = link(r[:, None] * z)
    first = r_density @ (f @ (density * z)) ** 2
    second = r_density @ (f**2 @ (density * (z**2 + dim - 1)))
    return float(first / dim), float(second / dim)
