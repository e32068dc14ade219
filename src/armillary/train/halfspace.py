"""Learning a halfspace under label noise, and testing whether to believe the result."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from armillary.measure.strip import StripMoments, strip_moments
from armillary.train.fit import fit


class CertifiedHalfspace(NamedTuple):
    """What `halfspace_tester_learner` returns."""

    direction: Float[Array, " inputs"]
    """w of length 1: the label is said to be the sign of w · x."""
    accepted: Bool[Array, ""]
    """Whether the sample passed every test; if not, nothing is promised."""
    moments: StripMoments
    """What was tested."""


def ramp_halfspace(
    key: Key[Array, ""],
    x: Float[Array, "examples inputs"],
    y: Float[Array, " examples"],
    *,
    width: float = 0.2,
    starts: int = 3,
    steps: int = 500,
    batch: int = 100,
    rate: float = 0.5,
) -> Float[Array, " inputs"]:
    """Stochastic gradient descent on the sphere, on a ramp in the place of the error; the best of random starts.

    The ramp of t = −y w·x/‖w‖ is 0 below −width, 1 above width and straight between: its gradient is that of the examples
    near the boundary alone. Among the starts the one with the least training error wins. "An Efficient Tester-Learner for
    Halfspaces" (2023), section 4, for Massart noise.

    **Arguments:**

    - `x`, `y`: inputs, and labels ±1.
    - `width`: half of the ramp's; inputs are taken to have variance 1 in every direction.
    """

    def loss(w: Array, rows: Array) -> Array:
        margin = y[rows] * (x[rows] @ w) / jnp.linalg.norm(w)
        return jnp.mean(jnp.clip((1 - margin / width) / 2, 0.0, 1.0))

    def one(key: Array) -> tuple[Array, Array]:
        k_start, k_rows = jax.random.split(key)
        start = jax.random.normal(k_start, (x.shape[1],))
        back = optax.stateless(lambda u, w: (w + u) / jnp.linalg.norm(w + u) - w)
        optimizer = optax.chain(optax.sgd(optax.linear_schedule(rate, 0.0, steps)), back)
        draw = lambda key: jax.random.randint(key, (batch,), 0, len(y))
        w = fit(loss, start / jnp.linalg.norm(start), draw, optimizer, steps=steps, key=k_rows, every=steps)
        return w.params, jnp.mean(y * (x @ w.params) <= 0)

    found, errors = jax.vmap(one)(jax.random.split(key, starts))
    return found[jnp.argmin(errors)]


def halfspace_tester_learner(
    key: Key[Array, ""],
    x: Float[Array, "examples inputs"],
    y: Float[Array, " examples"],
    held_out: Float[Array, "tests inputs"],
    *,
    width: float = 0.2,
    mass: float = 0.2,
    second: float = 0.3,
    fourth: float = 0.3,
) -> CertifiedHalfspace:
    """A halfspace, and whether the inputs look enough like a standard Gaussian for it to be believed.

    A Gaussian sample is accepted; one on which the ramp misleads, because few inputs lie near the boundary or all in one
    direction, is not. "An Efficient Tester-Learner for Halfspaces" (2023), theorem 4.1, with fewer tests: moments of a
    strip around the boundary, and fourth moments.

    **Arguments:**

    - `held_out`: inputs to test, of which labels are not needed.
    - `width`: half of the strip's, and of the ramp's.
    - `mass`, `second`, `fourth`: how far off the strip's mass (relative), its second moments (operator norm) and the
      fourth moments (relative) may be.

    **Example:**

    ```python
    import jax
    from armillary.train import halfspace_tester_learner

    x = jax.random.normal(jax.random.key(0), (8000, 3))
    y = jax.numpy.sign(x[:, 0])
    found = halfspace_tester_learner(jax.random.key(1), x[:4000], y[:4000], x[4000:])
    assert found.accepted and found.direction[0] > 0.95
    ```
    """
    w = ramp_halfspace(key, x, y, width=width)
    moments = strip_moments(held_out, w, width)
    accepted = (moments.mass < mass) & (moments.second < second) & (moments.fourth < fourth)
    return CertifiedHalfspace(w, accepted, moments)
