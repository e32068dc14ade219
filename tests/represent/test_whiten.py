import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from armillary.represent import whiten


def test_it_is_scikit_learns_up_to_signs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 3
    wanted = PCA(3, whiten=True).fit_transform(x) * (60 / 59) ** 0.5  # its variances are over n - 1
    np.testing.assert_allclose(abs(whiten(jnp.array(x), 3)), abs(wanted), atol=1e-3)
    np.testing.assert_allclose(np.cov(whiten(jnp.array(x)).T, bias=True), np.eye(5), atol=1e-3)
