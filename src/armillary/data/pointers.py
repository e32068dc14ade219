"""Following a map from node to node: inputs of one size whose answer takes a chosen number of steps."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


class Pointers(NamedTuple):
    """Maps f on a few nodes with names of their own, a start, and where the steps lead."""

    names: Int[Array, "n nodes"]
    """A name for each node, drawn without replacement for each map."""
    images: Int[Array, "n nodes"]
    """The name of each node's image."""
    trace: Int[Array, "n hops+1"]
    """Names of the start, f(start), f(f(start)), …"""
    hops: Int[Array, " n"]
    """How many steps are asked for: the answer is `trace` there."""


def pointer_chasing(
    key: Key[Array, ""],
    n: int,
    hops: int | Int[Array, " n"],
    *,
    nodes: int = 8,
    names: int = 16,
    longest: int = 12,
) -> Pointers:
    """Maps drawn at random among those that lead to hops + 1 different nodes, or to all nodes if those are fewer.

    So the answer needs all the steps, as far as the map has nodes for it: a shorter chain ends elsewhere. "Bridging
    Reasoning to Learning" (2025) asks for such inputs: of one size, their solutions of different lengths.

    **Arguments:**

    - `hops`: the steps asked for, 1 to `longest`, one number or one for each map; may be traced.
    - `nodes`, `names`: of a map, and how many names there are to give.
    - `longest`: the trace's length.

    **Raises:** `ValueError` if there are fewer names than nodes.
    """
    if names < nodes:
        raise ValueError(f"names={names} must be at least nodes={nodes}")
    k_order, k_image, k_name = jax.random.split(key, 3)
    hops = jnp.broadcast_to(jnp.asarray(hops), (n,))
    # Nodes in the order in which they are met; the map of those beyond the path is free.
    order = jnp.argsort(jax.random.uniform(k_order, (n, nodes)), -1)
    named = jnp.argsort(jax.random.uniform(k_name, (n, names)), -1)[:, :nodes]
    place = jnp.argsort(order, -1)
    path = jnp.minimum(hops, nodes - 1)[:, None]
    after = jnp.take_along_axis(order, jnp.minimum(place + 1, nodes - 1), -1)
    image = jnp.where(place < path, after, jax.random.randint(k_image, (n, nodes), 0, nodes))

    def step(at: Array, _: None) -> tuple[Array, Array]:
        return jnp.take_along_axis(image, at[:, None], -1)[:, 0], at

    _, visited = jax.lax.scan(step, order[:, 0], length=longest + 1)
    name = lambda node: jnp.take_along_axis(named, node, -1)
    return Pointers(named, name(image), name(visited.T), hops)


def one_hot_tokens(pointers: Pointers, names: int = 16) -> Float[Array, "n nodes 2*names"]:
    """A map as a set of tokens: for each node its name and its image's, each as a vector with a single 1."""
    return jnp.concatenate(
        [jax.nn.one_hot(pointers.names, names), jax.nn.one_hot(pointers.images, names)], -1
    )
