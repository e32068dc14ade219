import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from armillary.nn import Iterated, LookupBlock


def test_block_by_equinox_attention():
    """Against Equinox's multi-head attention with one head, its projections set to the block's."""
    block = LookupBlock(jax.random.key(0), token=5, width=8)
    state, tokens = jax.random.normal(jax.random.key(1), (8,)), jax.random.normal(jax.random.key(2), (6, 5))
    head = eqx.nn.MultiheadAttention(1, 8, 5, 5, 8, 8, 8, key=jax.random.key(3))
    head = eqx.tree_at(
        lambda h: [h.query_proj.weight, h.key_proj.weight, h.value_proj.weight, h.output_proj.weight],
        head,
        [block.query.T, block.key.T, block.value.T, jnp.eye(8)],
    )
    norm = eqx.nn.LayerNorm(8, eps=1e-6, use_weight=False, use_bias=False)
    middle = norm(state + head(state[None], tokens, tokens)[0])
    expected = norm(middle + jax.nn.relu(middle @ block.up) @ block.down)
    np.testing.assert_allclose(block(state, tokens), expected, atol=1e-5)


def test_iterations_are_calls():
    block = LookupBlock(jax.random.key(0), token=5, width=8)
    state = jax.random.normal(jax.random.key(1), (3, 8))
    tokens = jax.random.normal(jax.random.key(2), (3, 6, 5))
    states = Iterated(block)(state, tokens, 3)
    assert states.shape == (4, 3, 8)
    for i in range(4):
        np.testing.assert_allclose(states[i], state, atol=1e-5)
        state = block(state, tokens)
