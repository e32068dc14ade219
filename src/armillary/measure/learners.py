"""Reference learners for in-context regression, and which of them a model is.

A learner is a function `(x, y, query) -> prediction` of one prompt: x is length × dim, y has the examples'
responses, query is queries × dim. It may return several rows of predictions, (rows, queries): its iterations, or a
model's layers. `jax.vmap` it for a batch of prompts. With S = XᵀX/n and b = Xᵀy/n, iterative learners minimize
½ wᵀSw - bᵀw, half the mean squared residual, from w = 0.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from armillary.measure.eigen import eigh
from armillary.measure.linear_attention import Covariance, Scalar

Learner = Callable[
    [Float[Array, "length dim"], Float[Array, " length"], Float[Array, "queries dim"]],
    Float[Array, "*rows queries"],
]
"""`(x, y, query) -> prediction`, of one prompt."""
AT_ONCE = 10
"""Prompts: the gradients in the query of a large transformer fill the memory otherwise."""


def least_squares(
    x: Float[Array, "length dim"], y: Float[Array, " length"], query: Float[Array, "queries dim"]
) -> Float[Array, " queries"]:
    """Least squares of minimum norm: a learner by itself, also for prompts shorter than their dimension."""
    return query @ (_pseudo_inverse(x) @ y)


def ridge(penalty: Scalar) -> Learner:
    """Ridge regression: w minimizes ‖y - Xw‖² + `penalty` ‖w‖².

    The Bayes-optimal predictor for w ~ N(0, t I) and noise of variance s is ridge(s/t). A sum over the examples,
    as in scikit-learn's `Ridge(alpha)`, not a mean.
    """
    return lambda x, y, query: query @ _posterior_mean(x, y, penalty)


def bayes_optimal(task_covariance: Covariance, noise: Scalar) -> Learner:
    """The posterior mean of w·x_q for w ~ N(0, `task_covariance`) and noise of variance `noise`.

    The predictor of least risk on such prompts, whatever the inputs' law.

    **Arguments:**

    - `task_covariance`: of the weights: a matrix, or the diagonal of a diagonal one; may be singular.
    - `noise`: variance of the responses' noise. Zero is allowed if the examples are linearly independent, or
      there are enough of them to fix w.
    """
    prior = jnp.asarray(task_covariance)
    if prior.ndim == 1:
        root = jnp.diag(jnp.sqrt(prior))
    else:
        values, vectors = eigh(prior)
        root = vectors * jnp.sqrt(jnp.maximum(values, 0))
    # In the inputs x·root the prior is the identity.
    return lambda x, y, query: query @ root @ _posterior_mean(x @ root, y, noise)


def gradient_descent(
    steps: int,
    rate: Scalar | Float[Array, " steps"],
    *,
    preconditioner: Covariance | None = None,
    curvature: Scalar | Float[Array, " steps"] | None = None,
    path: bool = False,
) -> Learner:
    """Gradient descent on half the mean squared residual, from zero; preconditioned; or GD++.

    See [`gradient_descent_path`][armillary.measure.gradient_descent_path].

    **Arguments:**

    - `steps`: how many.
    - `rate`: the step size η, or one a step.
    - `preconditioner`: P in w ← w - ηP(Sw - b), a matrix, or the diagonal of a diagonal one.
    - `curvature`: GD++'s γ, or one a step.
    - `path`: return the predictions after 0, 1, …, `steps` steps, a row each, instead of the last ones.
    """

    def learn(x: Array, y: Array, query: Array) -> Array:
        weights = gradient_descent_path(
            *_normal_equations(x, y), steps, rate, preconditioner=preconditioner, curvature=curvature
        )
        return (weights if path else weights[-1]) @ query.T

    return learn


def iterative_newton(steps: int, *, scale: Scalar | None = None, path: bool = False) -> Learner:
    """Least squares by Newton's iteration for S⁻¹ (Newton-Schulz).

    See [`newton_schulz_path`][armillary.measure.newton_schulz_path].

    **Arguments:**

    - `steps`: iterations.
    - `scale`: a of the start M₀ = aS.
    - `path`: return the predictions after 0, 1, …, `steps` iterations, a row each, instead of the last ones.
    """

    def learn(x: Array, y: Array, query: Array) -> Array:
        weights = newton_schulz_path(*_normal_equations(x, y), steps, scale=scale)
        return (weights if path else weights[-1]) @ query.T

    return learn


def nearest_neighbours(count: int) -> Learner:
    """The mean response of the `count` examples that are nearest to the query in Euclidean distance.

    **Raises:** `ValueError`, when called, if the prompt has fewer examples than `count`.
    """

    def learn(x: Array, y: Array, query: Array) -> Array:
        if not 1 <= count <= len(x):
            raise ValueError(f"nearest_neighbours({count}): count must be 1 to {len(x)}, the prompt's length")
        distance = jnp.sum((query[:, None] - x) ** 2, -1)
        return jnp.mean(y[jax.lax.top_k(-distance, count)[1]], -1)

    return learn


def gradient_descent_path(
    second_moment: Float[Array, "dim dim"],
    correlation: Float[Array, " dim"],
    steps: int,
    rate: Scalar | Float[Array, " steps"],
    *,
    preconditioner: Covariance | None = None,
    curvature: Scalar | Float[Array, " steps"] | None = None,
) -> Float[Array, "steps+1 dim"]:
    """The iterates of gradient descent on ½ wᵀSw - bᵀw from w₀ = 0: wₖ₊₁ = wₖ - ηₖ P (Swₖ - b).

    With `curvature` γ it is GD++ of "Transformers learn in-context by gradient descent" (von Oswald et al. 2022,
    eq. 10): every step also maps all inputs, the query among them, by x ← (I - γ XᵀX/n) x, and the next step
    descends in the inputs as they are then. In the old inputs that is a step with P = TₖᵀTₖ, where T₀ = I and
    Tₖ₊₁ = (I - γₖ TₖSTₖᵀ) Tₖ.

    **Arguments:**

    - `second_moment`, `correlation`: S = XᵀX/n and b = Xᵀy/n.
    - `steps`: how many.
    - `rate`: the step size η, or one a step.
    - `preconditioner`: P, a matrix, or the diagonal of a diagonal one. Under `curvature` it acts in the inputs as
      they are then.
    - `curvature`: GD++'s γ, or one a step.

    **Returns:** w after 0, 1, …, `steps` steps.
    """
    dim = len(correlation)
    identity = jnp.eye(dim, dtype=second_moment.dtype)
    given = identity if preconditioner is None else jnp.asarray(preconditioner)
    given = jnp.diag(given) if given.ndim == 1 else given
    rates = jnp.broadcast_to(jnp.asarray(rate, second_moment.dtype), (steps,))

    def step(
        carry: tuple[Array, Array], now: tuple[Array, Array | None]
    ) -> tuple[tuple[Array, Array], Array]:
        weights, inputs = carry
        eta, gamma = now
        slope = given @ (inputs @ (second_moment @ weights - correlation))
        weights = weights - eta * inputs.T @ slope
        if gamma is not None:
            inputs = inputs - gamma * inputs @ second_moment @ inputs.T @ inputs
        return (weights, inputs), weights

    curvatures = None
    if curvature is not None:
        curvatures = jnp.broadcast_to(jnp.asarray(curvature, second_moment.dtype), (steps,))
    start = jnp.zeros_like(correlation)
    _, weights = jax.lax.scan(step, (start, identity), (rates, curvatures), length=steps)
    return jnp.concatenate([start[None], weights])


def newton_schulz_path(
    second_moment: Float[Array, "dim dim"],
    correlation: Float[Array, " dim"],
    steps: int,
    *,
    scale: Scalar | None = None,
) -> Float[Array, "steps+1 dim"]:
    """The iterates wₖ = Mₖb of Newton's iteration for the inverse, M₀ = aS and Mₖ₊₁ = 2Mₖ - MₖSMₖ.

    I - SMₖ = (I - aS²)^(2ᵏ), so that the number of correct digits doubles with every iteration. "Transformers
    Learn Higher-Order Optimization Methods for In-Context Learning" (Fu et al. 2023, section 3); the iteration is
    Schulz's (1933).

    **Arguments:**

    - `second_moment`, `correlation`: S = XᵀX/n and b = Xᵀy/n.
    - `steps`: iterations.
    - `scale`: a, between 0 and 2/λ², λ the largest eigenvalue of S. By default 1/‖S²‖ in the Frobenius norm, which
      converges for every S; the paper's is twice that. Where S is singular the limit is the pseudo-inverse, but
      rounding errors in its null space double with every iteration too.

    **Returns:** w after 0, 1, …, `steps` iterations.
    """
    a = 1 / jnp.linalg.norm(second_moment @ second_moment) if scale is None else scale

    def step(inverse: Array, _: None) -> tuple[Array, Array]:
        inverse = 2 * inverse - inverse @ second_moment @ inverse
        return inverse, inverse @ correlation

    start = a * second_moment
    _, weights = jax.lax.scan(step, start, None, length=steps)
    return jnp.concatenate([(start @ correlation)[None], weights])


class AlgorithmMatch(NamedTuple):
    """How alike models and reference learners are: matrices with a row a model and a column a reference."""

    prediction_difference: Float[Array, "models references"]
    """Mean squared difference of the predictions (SPD), in units of y²."""
    weight_difference: Float[Array, "models references"]
    """Mean ‖w - w'‖² of the implied weights: of the linear fits to either's predictions at the prompt's queries (ILWD)."""
    sensitivity_cosine: Float[Array, "models references"]
    """Mean cosine of the predictions' gradients in the query, dŷ/dx_q; 0 where one of them is zero."""
    error_cosine: Float[Array, "models references"]
    """Cosine of the errors ŷ - target, all prompts' together; 0 where one of them is zero."""
    model_loss: Float[Array, " models"]
    """Mean (ŷ - target)²."""
    reference_loss: Float[Array, " references"]
    """Mean (ŷ - target)²."""

    @property
    def loss_ratio(self) -> Float[Array, "models references"]:
        """The model's loss over the reference's."""
        return self.model_loss[:, None] / self.reference_loss


def algorithm_match(
    models: Learner | Sequence[Learner],
    references: Learner | Sequence[Learner],
    x: Float[Array, "prompts length dim"],
    y: Float[Array, "prompts length"],
    query: Float[Array, "prompts queries dim"],
    target: Float[Array, "prompts queries"],
) -> AlgorithmMatch:
    """Which algorithm is this model? Models against reference learners, by what they predict and by its slope.

    The squared prediction difference and the implicit linear weight difference of "What learning algorithm is
    in-context learning? Investigations with linear models" (Akyürek et al. 2022, section 4.1), the sensitivity
    cosine of "Transformers learn in-context by gradient descent" (von Oswald et al. 2022, section 3), and the
    similarity of errors of "Transformers Learn Higher-Order Optimization Methods for In-Context Learning" (Fu et
    al. 2023, section 4).

    **Arguments:**

    - `models`: what is to be named; any function of one prompt with a learner's signature. One that returns several
      rows (its layers) has a row for each in the matrices.
    - `references`: the learners to compare with. One that returns several rows (its iterations) has a column for
      each.
    - `x`, `y`: the prompts' examples.
    - `query`, `target`: where the predictions are compared, and the true responses; at least dim queries a prompt.
      A prediction must depend on its own query alone.

    **Returns:** [`AlgorithmMatch`][armillary.measure.AlgorithmMatch].

    **Raises:** `ValueError` with fewer queries a prompt than dim: implied weights are fitted to them.
    """
    if query.shape[-2] < x.shape[-1]:
        raise ValueError(
            f"{query.shape[-2]} queries a prompt do not fix the {x.shape[-1]} implied weights: draw at least as many"
        )
    rows = [models] if callable(models) else list(models)
    columns = [references] if callable(references) else list(references)

    def read(learners: list[Learner], x: Array, y: Array, query: Array) -> tuple[Array, Array]:
        """Predictions (learners, queries) and their gradients in the query (learners, queries, dim)."""
        predict = lambda q: jnp.concatenate([learn(x, y, q).reshape(-1, len(q)) for learn in learners])
        predictions, pull = jax.vjp(predict, query)
        one = jnp.eye(len(predictions), dtype=predictions.dtype)[:, :, None]
        return predictions, jax.vmap(lambda row: pull(row * jnp.ones_like(predictions))[0])(one)

    def compare(x: Array, y: Array, query: Array, target: Array) -> tuple[Array, ...]:
        (a, slope_a), (b, slope_b) = read(rows, x, y, query), read(columns, x, y, query)
        fit = _pseudo_inverse(query)
        weights_a, weights_b = a @ fit.T, b @ fit.T
        error_a, error_b = a - target, b - target
        return (
            jnp.mean((a[:, None] - b) ** 2, -1),
            jnp.sum((weights_a[:, None] - weights_b) ** 2, -1),
            jnp.mean(jnp.sum(_unit(slope_a)[:, None] * _unit(slope_b), -1), -1),
            error_a @ error_b.T / len(target),
            jnp.mean(error_a**2, -1),
            jnp.mean(error_b**2, -1),
        )

    difference, weights, sensitivity, product, loss_a, loss_b = (
        value.mean(0)
        for value in jax.lax.map(lambda prompt: compare(*prompt), (x, y, query, target), batch_size=AT_ONCE)
    )
    size = jnp.sqrt(loss_a[:, None] * loss_b)
    cosine = jnp.where(size > 0, product / jnp.where(size > 0, size, 1), 0)
    return AlgorithmMatch(difference, weights, sensitivity, cosine, loss_a, loss_b)


class IterationMatch(NamedTuple):
    """How many iterations of a solver every model is worth; see [`match_iterations`][armillary.measure.match_iterations]."""

    by_loss: Float[Array, " models"]
    """Iterations at which the solver has the model's loss, a real number."""
    by_error: Int[Array, " models"]
    """The iteration whose errors are most like the model's."""


def match_iterations(match: AlgorithmMatch) -> IterationMatch:
    """How many iterations of a solver every model is worth, from their match with all its iterations.

    "Transformers Learn Higher-Order Optimization Methods for In-Context Learning" (Fu et al. 2023, section 4) matches
    layers to iterations by the similarity of their errors; by the loss the count is a real number.

    **Arguments:**

    - `match`: from [`algorithm_match`][armillary.measure.algorithm_match], the reference being a solver's path, as
      `iterative_newton(12, path=True)`.
    """
    return IterationMatch(
        iterations_at(match.model_loss, match.reference_loss), jnp.argmax(match.error_cosine, -1)
    )


def iterations_at(
    loss: Float[Array, "*models"], path_loss: Float[Array, " steps+1"]
) -> Float[Array, "*models"]:
    """At how many iterations a solver has a loss, between two of them by the loss's logarithm.

    **Arguments:**

    - `loss`: what to reach.
    - `path_loss`: the solver's loss after 0, 1, … iterations; decreasing.

    **Returns:** a real number from 0 to the last iteration; infinite where the path does not get there, 0 where it
    starts below.
    """
    counts = jnp.interp(
        -jnp.log(loss), -jnp.log(path_loss), jnp.arange(len(path_loss), dtype=path_loss.dtype)
    )
    return jnp.where(loss < path_loss[-1], jnp.inf, counts)


def _normal_equations(x: Array, y: Array) -> tuple[Array, Array]:
    """S = XᵀX/n and b = Xᵀy/n."""
    return x.T @ x / len(x), x.T @ y / len(x)


def _posterior_mean(x: Array, y: Array, noise: Scalar) -> Array:
    """(XᵀX + noise·I)⁻¹ Xᵀy, in the smaller of its two forms."""
    length, dim = x.shape
    if length <= dim:
        return x.T @ _solve_positive(x @ x.T + noise * jnp.eye(length, dtype=x.dtype), y)
    return _solve_positive(x.T @ x + noise * jnp.eye(dim, dtype=x.dtype), x.T @ y)


def _solve_positive(matrix: Array, right: Array) -> Array:
    """A⁻¹b for a positive definite A, by elimination: plain arithmetic, so that a batch of prompts is one loop."""

    def eliminate(i: Array, both: Array) -> Array:
        row = both[i] / both[i, i]
        return (both - jnp.outer(both[:, i], row)).at[i].set(row)

    both = jnp.concatenate([matrix, right[:, None]], -1)
    return jax.lax.fori_loop(0, len(matrix), eliminate, both)[:, -1]


# Matrix by matrix under `vmap`, for the reason that `armillary.measure.eigen` gives.
@jax.custom_batching.sequential_vmap
def _pseudo_inverse(matrix: Array) -> Array:
    return jnp.linalg.pinv(matrix)


def _unit(vectors: Array) -> Array:
    """Scaled to length 1; zero stays zero."""
    size = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return jnp.where(size > 0, vectors / jnp.where(size > 0, size, 1), 0)
