"""Random bits with several labels, each a function of its own few bits."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

Rule = Literal["majority", "parity"]


def multi_feature_bits(
    key: Key[Array, ""], n: int, rules: Sequence[Rule], *, bits: int = 32, arity: int = 3
) -> tuple[Float[Array, "n bits"], Int[Array, "n features"]]:
    """Uniform inputs in {−1, 1}^bits with one binary label for each rule; the labels are independent and balanced.

    Rule j reads the bits `arity`·j, …, `arity`·(j+1) − 1. A majority is linear in the input; the parity (1 if an odd number
    of bits is 1) has no correlation with any function of fewer bits. "Learned feature representations are biased by
    complexity, learning order, position, and more" (2024), section 3.

    **Raises:** `ValueError` if a rule is unknown, the bits do not suffice, or a majority could be a tie.
    """
    if unknown := set(rules) - {"majority", "parity"}:
        raise ValueError(f"rules={tuple(rules)}: {sorted(unknown)[0]!r} is neither 'majority' nor 'parity'")
    if arity * len(rules) > bits:
        raise ValueError(f"bits={bits} is too few for {len(rules)} rules of {arity} bits")
    if arity % 2 == 0:
        raise ValueError(f"arity={arity} must be odd: a majority of an even number of bits can be a tie")
    x = jax.random.rademacher(key, (n, bits), float)
    own = x[:, : arity * len(rules)].reshape(n, len(rules), arity)
    positive = {"majority": jnp.sum(own, -1) > 0, "parity": jnp.prod(own, -1) > 0}
    return x, jnp.stack([positive[rule][:, j] for j, rule in enumerate(rules)], 1).astype(int)
