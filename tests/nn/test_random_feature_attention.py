"""The features against an attention layer, head by head and key by key."""

import jax
import numpy as np

from armillary.nn import random_feature_attention


def test_a_linear_model_of_the_features_is_the_attention_layer():
    rng = np.random.default_rng(0)
    query, keys = rng.normal(size=(5, 3)), rng.normal(size=(5, 4, 3))
    weights, values = rng.normal(size=(6, 3, 3)), rng.normal(size=(6, 3))
    features = random_feature_attention(*map(jax.numpy.array, (query, keys, weights)))
    layer = [
        sum(max(q @ w @ k, 0) * (v @ k) / 4 for w, v in zip(weights, values) for k in ks)
        for q, ks in zip(query, keys)
    ]
    np.testing.assert_allclose(np.einsum("bmd,md->b", features, values), layer, rtol=1e-4)
    # the order of the keys does not matter
    turned = random_feature_attention(*map(jax.numpy.array, (query, keys[:, ::-1], weights)))
    np.testing.assert_allclose(turned, features, rtol=1e-4, atol=1e-6)
