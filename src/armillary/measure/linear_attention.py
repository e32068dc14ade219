"""What one layer of linear self-attention should learn on regression prompts: closed forms.

A rule A predicts x_qᵀ A (1/n Σᵢ yᵢxᵢ). With c = E[y x | w], C = E ccᵀ, Q = E y²xxᵀ and Λ the inputs'
covariance, the examples' mean has second moment B = (1 - 1/n) C + Q/n, its mean product with c is C, and so
risk(A) = E y² - 2 tr(AC) + tr(AᵀΛAB), least at A* = Λ⁻¹ C B⁻¹.

For x ~ N(0, Λ), w ~ N(0, T), noise variance s and the response f(w·x), f(u) = u for u ≥ 0 and βu for u < 0
(β = 1: linear, β = 0: ReLU): c = (1 + β)/2 Λw, and by symmetry Q = (1 + β²)/2 (2ΛTΛ + tr(ΛT) Λ) + sΛ.

A layer has more weights than A: with a value row u = (p, c) and a key-query matrix W = (U; bᵀ) it predicts x_q·r,
r = Wᵀ (1/n Σᵢ zᵢzᵢᵀ) u, zᵢ = (xᵢ, yᵢ), and its risk needs fourth moments of zᵢ. For linear responses zᵢ is
Gaussian given w, with some covariance Σ, and by Isserlis' theorem, with V = WΛWᵀ,

    E (x_q·r)² = E_w [uᵀΣVΣu + (uᵀΣVΣu + uᵀΣu tr(ΣV))/n],

where the mean of a polynomial of degree 4 in w is left. A bend needs no new integral: as x and -x are equally
likely, a moment of even degree of (x, y) is the mean of those under the slopes 1 and β.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from armillary.measure.eigen import solve_positive

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


def linear_attention_layer_risk(
    value: Float[Array, " dim+1"],
    key_query: Float[Array, "dim+1 dim"],
    covariance: Covariance,
    length: Scalar,
    task_covariance: Covariance | None = None,
    *,
    noise: Scalar = 0.0,
    slope: Scalar = 1.0,
    attend_query: Scalar = 0.0,
) -> Float[Array, ""]:
    """The exact risk of a layer of linear self-attention on Gaussian prompts, in all of its weights.

    The objective that is trained in "Trained Transformers Learn Linear Models In-Context" (Zhang, Frei and Bartlett
    2023, eq. 3.5) and in "One Step of Gradient Descent is Provably the Optimal In-Context Learner with One
    Layer of Linear Self-Attention" (Mahankali, Hashimoto and Ma 2023), as a polynomial in the weights: training on
    it needs no prompts and has no sampling noise.
    [`linear_attention_risk`][armillary.measure.linear_attention_risk] of the merged matrix is its value where
    the rest of the layer is zero, as at the papers' optima, and not elsewhere.

    **Arguments:**

    - `value`, `key_query`: the weights, as of a [`LinearAttention`][armillary.nn.LinearAttention] layer.
    - `covariance`, `length`, `task_covariance`, `noise`, `slope`: as for `linear_attention_risk`.
    - `attend_query`: 1/n if the query token attends to itself too, else 0.

    **Returns:** the risk, in units of y². Differentiable in every argument; O(dim³) work.
    """
    dim = key_query.shape[1]
    inputs = _matrix(covariance)
    product = inputs if task_covariance is None else inputs @ _matrix(task_covariance)
    # Of wᵀΛw, the signal's power given w: the mean, and the mean square.
    power = jnp.trace(product)
    power_squared = power**2 + 2 * jnp.sum(product * product.T)
    p, c, U, b = value[:dim], value[dim], key_query[:dim], key_query[dim]
    p_in, U_in, b_in = inputs @ p, U.T @ inputs, inputs @ b

    def coefficients(first: Scalar, second: Scalar) -> tuple[Array, Array, Array]:
        """r = r₀ + RΛw + ρ wᵀΛw b, where E[yx | w] = first · Λw and E[y² | w] = second · wᵀΛw + noise."""
        return U_in @ p + noise * c * b, first * (c * U.T + jnp.outer(b, p)), second * c

    def mean_square(first: Scalar, second: Scalar) -> Array:
        """E rᵀΛr."""
        r0, R, rho = coefficients(first, second)
        steady = r0 @ inputs @ r0 + 2 * rho * power * (r0 @ b_in) + rho**2 * power_squared * (b @ b_in)
        return steady + jnp.sum((inputs @ R @ product @ inputs) * R)

    def mean_product(s: Scalar) -> Array:
        """E uᵀΣu tr(ΣV) under the slope s, both of the form constant + vector · Λw + number · wᵀΛw."""
        u0, u1, u2 = p @ p_in + noise * c**2, 2 * s * c * p, (s * c) ** 2
        v0, v1, v2 = jnp.sum((U_in @ U) * inputs) + noise * (b @ b_in), 2 * s * (U @ b_in), s**2 * (b @ b_in)
        return u0 * v0 + (u0 * v2 + u2 * v0) * power + u2 * v2 * power_squared + u1 @ product @ inputs @ v1

    mean, square = (1 + slope) / 2, (1 + slope**2) / 2
    fourth = sum(2 * mean_square(s, s**2) + mean_product(s) for s in (1.0, slope)) / 2
    r0, R, rho = coefficients(mean, square)
    cross = mean * jnp.sum(R * (product @ inputs))
    risk = (1 - 1 / length) * mean_square(mean, square) + fourth / length - 2 * cross
    if not isinstance(attend_query, int | float) or attend_query:
        # The query adds attend_query · h, h = (p·x_q)(x_qᵀUx_q), which has no mean product with y_q.
        S, trace = inputs @ (U + U.T) / 2, jnp.sum(inputs * U)
        Sp = S @ p_in
        with_r = (r0 + rho * power * b) @ (trace * p_in + 2 * Sp)
        h_squared = (p @ p_in) * (trace**2 + 2 * jnp.sum(S * S.T)) + 4 * trace * (p @ Sp) + 8 * (p @ (S @ Sp))
        risk += 2 * attend_query * with_r + attend_query**2 * h_squared
    return risk + square * power + noise


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
    matrix = solve_positive(inputs, solve_positive(mean_square, signal).T)
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
    return size * solve_positive(inputs, jnp.eye(dim))


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
    entries = solve_positive(features.T @ features, (features.T @ target)[:, None])[:, 0]
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
