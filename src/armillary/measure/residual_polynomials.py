"""Linear learners without noise are polynomials of a prompt's second moment S: their risks, and the best of them.

From responses y = Xw a linear learner that starts at zero leaves w - ŵ = r(S) w with r(0) = 1. Gradient descent with
step sizes ηᵢ has r(λ) = Πᵢ (1 - ηᵢλ); GD++ and Newton's iteration have others. For w ~ N(0, I) and queries of
covariance Λ the risk is E tr(Λ r(S)²) = Σₖ ωₖ r(λₖ)², a sum over the eigenvalues of S on many prompts, in which that
of the eigenvector u has weight uᵀΛu. A learner is as good as its polynomial is small on that spectrum.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jaxtyping import Array, Float, Key

from armillary.measure.eigen import eigh, eigvalsh
from armillary.measure.lanczos import Lanczos, lanczos, tridiagonal
from armillary.train.fit import fit


class MomentSpectrum(NamedTuple):
    """A measure on the eigenvalues of prompts' second moments, under which Σₖ ωₖ r(λₖ)² is a learner's risk."""

    nodes: Float[Array, "*shape"]
    """Eigenvalues λ: prompts × dim, ascending in every prompt; or the nodes of a quadrature rule."""
    weights: Float[Array, "*shape"]
    """ω; they sum to the risk of predicting zero."""


def moment_spectrum(
    second_moment: Float[Array, "prompts dim dim"], covariance: Float[Array, "*prompts dim dim"]
) -> MomentSpectrum:
    """The eigenvalues of all prompts' S = XᵀX/n, with the weights that make Σₖ ωₖ r(λₖ)² the risk.

    **Arguments:**

    - `second_moment`: S of every prompt.
    - `covariance`: Λ of the inputs, one for all prompts or one a prompt.
    """
    nodes, vectors = jax.lax.map(eigh, second_moment)
    return MomentSpectrum(nodes, jnp.sum(vectors * (covariance @ vectors), -2) / len(second_moment))


def residual_risk(
    residual: Float[Array, "*batch dim dim"], covariance: Float[Array, "*batch dim dim"]
) -> Float[Array, "*batch"]:
    """E‖Λ^½ R w‖² = tr(Λ R Rᵀ), w ~ N(0, I): the risk of any linear learner that leaves w - ŵ = R w.

    **Arguments:**

    - `residual`: R, for a trained stack from its
      [`residual_maps`][armillary.nn.LinearAttentionStack.residual_maps].
    - `covariance`: Λ of the queries.
    """
    return jnp.sum((covariance @ residual) * residual, (-1, -2))


def gauss_quadrature(spectrum: MomentSpectrum, count: int) -> MomentSpectrum:
    """The rule of `count` nodes that gives every polynomial of degree up to 2·`count` - 1 the same sum.

    "Calculation of Gauss Quadrature Rules" (Golub and Welsch 1969), by Lanczos on the spectrum itself.
    """
    nodes, vectors = eigh(tridiagonal(_krylov(spectrum, jnp.sqrt(spectrum.weights), count)))
    return MomentSpectrum(nodes, spectrum.weights.sum() * vectors[0] ** 2)


def best_residual_risks(spectrum: MomentSpectrum, degree: int) -> Float[Array, " degree+1"]:
    """The least risk Σₖ ωₖ r(λₖ)² of all polynomials r with r(0) = 1, of degrees 0, 1, …, `degree`.

    What so many steps of gradient descent leave when every step has its best size, tuned on these very prompts.
    """
    root = jnp.sqrt(spectrum.weights)
    basis = _krylov(spectrum, root * spectrum.nodes, degree).basis
    start = root.ravel()
    left = start - jnp.cumsum((basis @ start)[:, None] * basis, 0)
    return jnp.sum(jnp.concatenate([start[None], left]) ** 2, -1)


def best_rates(spectrum: MomentSpectrum, steps: int) -> Float[Array, " steps"]:
    """The step sizes of gradient descent that attain [`best_residual_risks`][armillary.measure.best_residual_risks].

    The best r is orthogonal to all polynomials of lower degree under the weights ωλ, so its zeros are the Gauss
    nodes of those weights: real and positive, and the step sizes are their reciprocals, the smallest first.
    """
    return (
        1 / eigvalsh(tridiagonal(_krylov(spectrum, jnp.sqrt(spectrum.weights * spectrum.nodes), steps)))[::-1]
    )


def gd_plus_plus_residual(
    nodes: Float[Array, "*nodes"], rates: Float[Array, " steps"], curvatures: Float[Array, " steps"]
) -> Float[Array, "*nodes"]:
    """r(λ) of GD++: rᵢ₊₁ = (1 - ηᵢλpᵢ²) rᵢ and pᵢ₊₁ = (1 - γᵢλpᵢ²) pᵢ from r₀ = p₀ = 1; p(S) x are the inputs.

    "Transformers learn in-context by gradient descent" (von Oswald et al. 2022, appendix A.10). Its degree is
    (3^steps - 1)/2, where that of gradient descent is the number of steps.
    """
    residual = inputs = jnp.ones_like(nodes)
    for rate, curvature in zip(rates, curvatures):
        squared = nodes * inputs**2
        residual, inputs = (1 - rate * squared) * residual, (1 - curvature * squared) * inputs
    return residual


def best_gd_plus_plus(
    spectrum: MomentSpectrum, steps: int, key: Key[Array, ""], *, starts: int = 32, iterations: int = 1000
) -> tuple[Float[Array, " steps"], Float[Array, " steps"]]:
    """Step sizes and curvatures of GD++ with the least risk.

    The objective has several minima. So Adam descends its logarithm from many random starts, on the Gauss rule that
    integrates it exactly.

    **Arguments:**

    - `spectrum`: of many prompts.
    - `steps`: of GD++; at most 2 in 32-bit floats, where r² has degree 8.
    - `key`: the starts' randomness.
    - `starts`, `iterations`: how many starts, and iterations from each.

    **Returns:** rates and curvatures, the best found. The last curvature has no effect and is 0.
    """
    rule = gauss_quadrature(spectrum, (3**steps + 1) // 2)

    def loss(point: Array, rule: MomentSpectrum) -> Array:
        return jnp.log(jnp.sum(rule.weights * gd_plus_plus_residual(rule.nodes, *point) ** 2))

    def descend(start: Array) -> tuple[Array, Array]:
        optimizer = optax.adam(optax.cosine_decay_schedule(0.1, iterations))
        point = fit(loss, start, rule, optimizer, steps=iterations, every=iterations).params
        return point, loss(point, rule)

    # Gradient descent with one step size is stable below 2/λ; later steps of GD++, in smaller inputs, can be longer.
    widest = jnp.array([[8.0], [2.0]]) / rule.nodes[-1]
    start = (widest * jax.random.uniform(key, (starts, 2, steps))).at[:, 1, -1].set(0)
    points, losses = jax.vmap(descend)(start)
    rates, curvatures = points[jnp.nanargmin(losses)]
    return rates, curvatures


def newton_residuals(nodes: Float[Array, "*prompts dim"], steps: int) -> Float[Array, "steps+1 *prompts dim"]:
    """r(λ) = (1 - aλ²)^(2ᵏ) of Newton's iteration for k = 0, 1, …, `steps`.

    **Arguments:**

    - `nodes`: all eigenvalues of a prompt's S along the last axis; a is 1/‖S²‖, as in
      [`newton_schulz_path`][armillary.measure.newton_schulz_path].
    - `steps`: iterations.
    """
    start = 1 - nodes**2 / jnp.linalg.norm(nodes**2, axis=-1, keepdims=True)
    return jnp.stack([start ** (2**k) for k in range(steps + 1)])


def _krylov(spectrum: MomentSpectrum, start: Array, steps: int) -> Lanczos:
    return lanczos(lx.DiagonalLinearOperator(spectrum.nodes.ravel()), start.ravel(), steps)
