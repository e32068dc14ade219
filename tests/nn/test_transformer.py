"""The decoder against a NumPy forward pass written token by token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.nn import Transformer, layer_norm

TOKENS = jnp.array([[3, 1, 4, 1, 5], [2, 6, 5, 3, 5]])


def make(**options):
    return Transformer(jax.random.key(0), vocabulary=7, context=6, layers=3, width=8, heads=2, **options)


def norm(x, gain=1.0):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * gain


def forward(model, tokens, qk_norm, v_norm=0.0):
    """One sequence, position by position and head by head."""
    get = lambda a: np.asarray(a, np.float64)
    gains = [(1.0, 1.0)] * 3 if model.blocks.gains is None else list(zip(*map(get, model.blocks.gains)))
    # a symbol is a row of the embedding, a vector its product with it
    embed = lambda t: get(model.embedding)[t] if np.ndim(t) == 0 else t @ get(model.embedding)
    x = [embed(t) + get(model.positions)[i] for i, t in enumerate(tokens)]
    width = model.blocks.query.shape[-1]
    largest = []
    for layer in range(3):
        w = {n: get(getattr(model.blocks, n))[layer] for n in ("query", "key", "value", "out", "up", "down")}
        h = [norm(v, gains[layer][0]) for v in x]
        added = [np.zeros(8) for _ in x]
        biggest = 0.0
        for head in range(2):
            q, k, v = ([u @ w[n][:, head] for u in h] for n in ("query", "key", "value"))
            if qk_norm:
                q, k = [norm(u) for u in q], [norm(u) for u in k]
            if v_norm:
                v = [norm(u) for u in v]
            for i in range(len(x)):
                logits = np.array([q[i] @ k[j] for j in range(i + 1)]) / np.sqrt(width)
                biggest = max(biggest, abs(logits).max())
                weights = np.exp(logits - logits.max())
                added[i] = added[i] + (weights / weights.sum()) @ np.array(v[: i + 1]) @ w["out"][head]
        largest.append(biggest)
        x = [a + b for a, b in zip(x, added)]
        for i in range(len(x)):
            u = norm(x[i], gains[layer][1]) @ w["up"]
            gelu = 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
            x[i] = x[i] + gelu @ w["down"]
    gain = 1.0 if model.gain is None else get(model.gain)
    return np.array([norm(v, gain) @ get(model.unembedding) for v in x]), largest


@pytest.mark.parametrize("qk_norm", [0.0, 1.0])
@pytest.mark.parametrize("learned", [False, True])
def test_logits_are_those_of_the_formula(qk_norm, learned):
    model = make(learned_norm=learned)
    if learned:
        gains = jax.tree.map(
            lambda g: 1 + 0.3 * jax.random.normal(jax.random.key(1), g.shape), model.blocks.gains
        )
        model = jax.tree.map(lambda x: x, model)
        object.__setattr__(model.blocks, "gains", gains)
        object.__setattr__(model, "gain", jnp.linspace(0.5, 2.0, 8))
    logits = model(TOKENS, qk_norm=qk_norm)
    for row, tokens in enumerate(np.asarray(TOKENS)):
        np.testing.assert_allclose(logits[row], forward(model, tokens, qk_norm)[0], atol=2e-4)


def test_values_may_be_normalized_instead():
    model = make()
    for row, tokens in enumerate(np.asarray(TOKENS)):
        wanted = forward(model, tokens, 0.0, 1.0)[0]
        np.testing.assert_allclose(model(TOKENS, v_norm=1.0)[row], wanted, atol=2e-4)
    assert abs(model(TOKENS, v_norm=1.0) - model(TOKENS)).max() > 0.1


def make_continuous():
    return Transformer(jax.random.key(0), features=(3, 2), context=6, layers=3, width=8, heads=2)


def test_it_reads_and_predicts_vectors():
    model = make_continuous()
    vectors = jax.random.normal(jax.random.key(1), (2, 5, 3))
    found, kept = model(vectors, hooks=("residual",))
    assert found.shape == (2, 5, 2)
    for row, tokens in enumerate(np.asarray(vectors, np.float64)):
        np.testing.assert_allclose(found[row], forward(model, tokens, 0.0)[0], atol=2e-4)
    np.testing.assert_allclose(
        kept["residual"][0], vectors @ model.embedding + model.positions[:5], atol=1e-5
    )
    changed = model(vectors.at[:, 3].set(0.0))
    np.testing.assert_array_equal(found[:, :3], changed[:, :3])
    assert not np.allclose(found[:, 3:], changed[:, 3:])


def test_a_symbol_is_a_unit_vector():
    model = make()
    np.testing.assert_allclose(model(jax.nn.one_hot(TOKENS, 7)), model(TOKENS), atol=1e-5)


def test_a_traced_switch_is_the_same_model():
    model = make()
    traced = jax.jit(lambda s: model(TOKENS, qk_norm=s))
    np.testing.assert_allclose(traced(0.0), model(TOKENS), atol=1e-5)
    np.testing.assert_allclose(traced(1.0), model(TOKENS, qk_norm=1.0), atol=1e-5)


def test_no_position_sees_a_later_token():
    model = make()
    later = TOKENS.at[:, 3].set(0)
    np.testing.assert_array_equal(model(TOKENS)[:, :3], model(later)[:, :3])
    assert not np.allclose(model(TOKENS)[:, 3:], model(later)[:, 3:])


def test_hooks_are_the_intermediates():
    model = make()
    logits, kept = model(
        TOKENS, hooks=("residual", "attention_logits", "attention", "attention_out", "mlp_out")
    )
    np.testing.assert_array_equal(logits, model(TOKENS))
    assert kept["residual"].shape == (3, 2, 5, 8)
    assert kept["attention_logits"].shape == (3, 2, 2, 5, 5)
    np.testing.assert_allclose(kept["residual"][0], model.embedding[TOKENS] + model.positions[:5], rtol=1e-6)
    written = kept["residual"] + kept["attention_out"] + kept["mlp_out"]
    np.testing.assert_allclose(written[:-1], kept["residual"][1:], atol=1e-5)
    np.testing.assert_allclose(layer_norm(written[-1]) @ model.unembedding, logits, atol=1e-4)
    np.testing.assert_allclose(kept["attention"].sum(-1), 1, rtol=1e-5)
    masked = jnp.where(jnp.tril(jnp.ones((5, 5), bool)), jnp.abs(kept["attention_logits"]), 0)
    np.testing.assert_allclose(
        masked[:, 0].max((1, 2, 3)), forward(model, np.asarray(TOKENS)[0], 0.0)[1], rtol=1e-4
    )


@pytest.mark.parametrize("qk_norm", [0.0, 1.0])
def test_hooked_queries_and_keys_are_the_projections_of_the_residual(qk_norm):
    model = make()
    names = ("residual", "queries", "keys", "attention_logits")
    _, kept = model(TOKENS, qk_norm=qk_norm, hooks=names)
    h = layer_norm(kept["residual"])
    for name, w in (("queries", model.blocks.query), ("keys", model.blocks.key)):
        made = jnp.einsum("lbsd,ldhk->lbshk", h, w)
        np.testing.assert_allclose(kept[name], layer_norm(made) if qk_norm else made, atol=1e-4)
    product = np.einsum("lbshk,lbthk->lbhst", kept["queries"], kept["keys"]) / 4**0.5
    np.testing.assert_allclose(kept["attention_logits"], product, atol=1e-4)


def test_initial_variances_are_one_over_the_inputs():
    model = Transformer(jax.random.key(2), vocabulary=96, context=64, layers=2, width=64, heads=4)
    blocks = model.blocks
    for w in (blocks.query, blocks.key, blocks.value, blocks.out, blocks.up, model.unembedding):
        np.testing.assert_allclose(np.var(w), 1 / 64, rtol=0.1)
    np.testing.assert_allclose(np.var(blocks.down), 1 / 256, rtol=0.1)
    for w in (model.embedding, model.positions):
        np.testing.assert_allclose(np.var(w), 1, rtol=0.1)
    vectors = Transformer(jax.random.key(2), features=(96, 1), context=64, width=64)
    np.testing.assert_allclose(np.var(vectors.embedding), 1 / 96, rtol=0.1)
    pieces = [
        (w, 8) for w in (blocks.query, blocks.key, blocks.value, blocks.out, blocks.up, model.unembedding)
    ]
    pieces += [(blocks.down, 16), (model.embedding, 1), (model.positions, 1)]
    drawn = np.concatenate([np.ravel(w * scale) for w, scale in pieces])
    # No number serves twice: floats alone coincide in less than 1%, the smallest piece has 3.5%.
    assert len(np.unique(drawn)) > 0.98 * len(drawn)


def test_a_hook_may_reduce_and_keeps_nothing_else():
    _, kept = make()(TOKENS, hooks={"attention_logits": lambda a: jnp.abs(a).max()})
    assert kept["attention_logits"].shape == (3,)
    assert "residual" not in kept


def test_normalized_queries_and_keys_bound_the_logits():
    model = make()
    loud = jax.tree.map(lambda w: 1e3 * w, model)
    _, kept = loud(TOKENS, qk_norm=1.0, hooks=("attention_logits",))
    assert jnp.abs(kept["attention_logits"]).max() <= 4**0.5 * 1.0001
    _, kept = loud(TOKENS, hooks=("attention_logits",))
    assert jnp.abs(kept["attention_logits"]).max() > 1e3


def test_wrong_names_and_sizes():
    with pytest.raises(ValueError, match="no hook 'resid'"):
        make()(TOKENS, hooks=("resid",))
    with pytest.raises(ValueError, match="heads=3 must divide width=8"):
        Transformer(jax.random.key(0), vocabulary=7, context=6, width=8, heads=3)
    for options in ({}, {"vocabulary": 7, "features": (3, 1)}):
        with pytest.raises(ValueError, match="give the one that says what a token is"):
            Transformer(jax.random.key(0), context=6, **options)
