"""Which prompts to try next, and how often each, when a try is right or wrong."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree


def posterior_spread(
    successes: Float[Array, " prompts"], failures: Float[Array, " prompts"]
) -> Float[Array, " prompts"]:
    """√(p(1−p)) at the posterior mean p of each prompt's chance of success, from a uniform prior.

    The standard deviation of a prompt's reward of 0 or 1; up to a factor it bounds the prompt's policy gradient.
    "CurES: From Gradient Analysis to Efficient Curriculum Learning for Reasoning LLMs" (2025), section 3.
    """
    mean = (successes + 1) / (successes + failures + 2)
    return jnp.sqrt(mean * (1 - mean))


def curriculum(
    spread: Float[Array, " prompts"], floor: float | Float[Array, ""] = 0.05
) -> Float[Array, " prompts"]:
    """The chance of each prompt to be tried next: proportional to its spread, but for a share `floor`, uniform."""
    return (1 - floor) * spread / jnp.sum(spread) + floor / spread.shape[0]


def neyman_allocation(
    spread: Float[Array, " prompts"], total: int, *, least: int = 1
) -> Int[Array, " prompts"]:
    """How many of `total` tries each prompt gets, as good as in proportion to its spread, but `least` each.

    In proportion they make the variance of the mean reward the smallest, (Σ spread)² / (prompts² · total) (Neyman
    1934, "On the Two Different Aspects of the Representative Method"). Parts are rounded by largest remainder.

    **Raises:** `ValueError` if there are fewer tries than `least` for each prompt.
    """
    prompts = spread.shape[0]
    if total < least * prompts:
        raise ValueError(f"total={total} is less than least={least} for each of {prompts} prompts")
    above = jnp.maximum(total * spread / jnp.sum(spread) - least, 0.0)
    above = above * (total - least * prompts) / jnp.maximum(jnp.sum(above), 1e-12)
    whole = jnp.floor(above)
    left = total - least * prompts - jnp.sum(whole)
    rank = jnp.argsort(jnp.argsort(whole - above))  # the largest remainder has rank 0
    return (least + whole + (rank < left)).astype(int)


def group_relative_gradient(
    logits: Callable[[PyTree, PyTree], Float[Array, "prompts answers"]], *, rollouts: int
) -> Callable[[PyTree, tuple[PyTree, Int[Array, " prompts"], Key[Array, ""]]], tuple[Array, PyTree]]:
    """The policy gradient whose baseline is the mean reward of a prompt's own rollouts.

    Descends −mean((r − mean of the group) · log π(answer | prompt)), r being 1 for the right answer and 0 else: the
    group-relative policy optimization of "DeepSeekMath" (Shao et al. 2024), without its scale, clipping and KL term.

    **Arguments:**

    - `logits`: `(params, prompts) -> ` of each answer.
    - `rollouts`: answers drawn for each prompt.

    **Returns:** `(params, (prompts, right answers, key)) -> (successes of each prompt, gradient)`, to be handed to
    `fit(gradient=...)`.
    """

    def gradient(params: PyTree, batch: tuple[PyTree, Array, Array]) -> tuple[Array, PyTree]:
        prompts, right, key = batch
        said = jax.random.categorical(key, logits(params, prompts)[:, None], shape=(len(right), rollouts))
        reward = (said == right[:, None]).astype(float)
        advantage = reward - reward.mean(1, keepdims=True)

        def loss(params: PyTree) -> Array:
            log = jax.nn.log_softmax(logits(params, prompts))
            return -jnp.mean(advantage * jnp.take_along_axis(log, said, 1))

        return reward.sum(1), jax.grad(loss)(params)

    return gradient
