"""Prompts for in-context linear regression: a fresh task and fresh examples in every prompt."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from armillary.nn.batch_last import batch_last_product

Covariance = Float[Array, "dim dim"] | Float[Array, " dim"]
"""A positive definite matrix, or the diagonal of a diagonal one."""


class Prompts(NamedTuple):
    """Regression prompts: solved examples, and queries that go with them."""

    x: Float[Array, "prompts length dim"]
    y: Float[Array, "prompts length"]
    query: Float[Array, "prompts queries dim"]
    target: Float[Array, "prompts queries"]
    """The queries' responses, noise included."""
    task: Float[Array, "prompts dim"]
    """The weights w that produced a prompt's responses."""


def linear_regression_prompts(
    key: Key[Array, ""],
    prompts: int,
    length: int,
    covariance: Covariance,
    *,
    task_covariance: Covariance | None = None,
    noise: float | Float[Array, ""] = 0.0,
    link: Callable[[Array], Array] = lambda u: u,
    queries: int = 1,
) -> Prompts:
    """Draw x ~ N(0, `covariance`), w ~ N(0, `task_covariance`) once a prompt, and y = link(w·x) + e.

    The data of Garg et al., "What Can Transformers Learn In-Context? A Case Study of Simple Function Classes"
    (2022), and of the theory of linear self-attention (Zhang, Frei and Bartlett 2023; Mahankali, Hashimoto
    and Ma 2023).

    **Arguments:**

    - `key`: the randomness.
    - `prompts`: how many.
    - `length`: examples in a prompt.
    - `covariance`: of the inputs: a matrix, or the diagonal of a diagonal one.
    - `task_covariance`: of the weights, likewise; the identity by default.
    - `noise`: the variance of e ~ N(0, `noise`), in the examples' responses and in the queries'.
    - `link`: elementwise, applied to w·x.
    - `queries`: how many queries share a prompt's task and examples. Averaging a loss over them estimates the
      same expectation with less variance than one query.

    **Returns:** [`Prompts`][armillary.data.Prompts].
    """
    dim, tokens = covariance.shape[-1], length + queries
    # One draw, cut in three: a generator is most of what there is to compile here.
    normal = jax.random.normal(key, (prompts, tokens * (dim + 1) + dim))
    x, e, w = jnp.split(normal, [tokens * dim, tokens * (dim + 1)], axis=-1)
    x = _color(x.reshape(prompts, tokens, dim), covariance)
    w = w if task_covariance is None else _color(w, task_covariance)
    y = link(jnp.sum(x * w[:, None], -1)) + jnp.sqrt(noise) * e
    return Prompts(x[:, :length], y[:, :length], x[:, length:], y[:, length:], w)


class Moments(NamedTuple):
    """What a linear learner reads of noise-free prompts, and what its risk needs."""

    second_moment: Float[Array, "prompts dim dim"]
    """S = XᵀX/n of a prompt's examples; Xᵀy/n is S w."""
    covariance: Float[Array, "#prompts dim dim"]
    """Of the inputs: each prompt's own, or one for all prompts."""


def regression_moments(
    key: Key[Array, ""],
    prompts: int,
    length: int,
    covariance: Covariance,
    *,
    rotate: bool = False,
    normalize: bool = False,
) -> Moments:
    """The second moments of prompts' inputs, x ~ N(0, `covariance`), without keeping the examples.

    **Arguments:**

    - `key`: the randomness.
    - `prompts`: how many.
    - `length`: examples in a prompt, n.
    - `covariance`: of the inputs: a matrix, or the diagonal of a diagonal one.
    - `rotate`: turn every prompt's inputs by a rotation of its own, uniform on the orthogonal group, so that no
      one linear map of the inputs suits all prompts.
    - `normalize`: scale every prompt's inputs, its queries' too, to mean square 1 over examples and coordinates.
      S then has trace dim, and no eigenvalue above it.

    **Returns:** [`Moments`][armillary.data.Moments].
    """
    dim = covariance.shape[-1]
    k_inputs, k_rotation = jax.random.split(key)
    root = jnp.diag(jnp.sqrt(covariance)) if covariance.ndim == 1 else jnp.linalg.cholesky(covariance)
    root = root[..., None]
    if rotate:
        root = batch_last_product(_orthogonal(k_rotation, dim, prompts), root)
    white = jax.random.normal(k_inputs, (length, dim, prompts))
    second_moment = batch_last_product(jnp.swapaxes(white, 0, 1), white) / length
    transposed = jnp.swapaxes(root, 0, 1)
    second_moment = batch_last_product(batch_last_product(root, second_moment), transposed)
    matrix = batch_last_product(root, transposed)
    if normalize:
        square = jnp.trace(second_moment) / dim
        second_moment, matrix = second_moment / square, matrix / square
    first = lambda a: jnp.moveaxis(a, -1, 0)
    return Moments(first(second_moment), first(matrix))


def _orthogonal(key: Key[Array, ""], dim: int, count: int) -> Float[Array, "dim dim count"]:
    """Uniform on the orthogonal group: Gaussian rows made orthonormal one after another (Stewart 1980)."""
    rows: list[Array] = []
    for row in jax.random.normal(key, (dim, dim, count)):
        for _ in range(2 if rows else 0):  # twice is enough, in any precision
            others = jnp.stack(rows)
            row = row - jnp.sum(jnp.sum(row * others, 1, keepdims=True) * others, 0)
        rows.append(row / jnp.linalg.norm(row, axis=0))
    return jnp.stack(rows)


def _color(white: Float[Array, "*batch dim"], covariance: Covariance) -> Float[Array, "*batch dim"]:
    if covariance.ndim == 1:
        return white * jnp.sqrt(covariance)
    return white @ jnp.linalg.cholesky(covariance).T
