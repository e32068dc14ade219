import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from armillary.measure import feature_variance_share


def test_is_the_variance_weighted_r2_of_sklearn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (500, 3))
    representation = (
        labels @ rng.standard_normal((3, 7)) + rng.standard_normal((500, 7)) * np.arange(1, 8) + 5
    )
    found = feature_variance_share(jnp.array(representation), jnp.array(labels))
    for j in range(3):
        said = LinearRegression().fit(labels[:, [j]], representation).predict(labels[:, [j]])
        expected = r2_score(representation, said, multioutput="variance_weighted")
        np.testing.assert_allclose(found[j], expected, atol=1e-5)
