import jax
import numpy as np

from armillary.data import unit_sphere


def test_points_are_uniform_on_the_sphere():
    x = np.asarray(unit_sphere(jax.random.key(0), 3, 100, 200)).reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
    # on the sphere in three dimensions each coordinate is uniform in [-1, 1] (Archimedes)
    for coordinate in x.T:
        np.testing.assert_allclose(np.quantile(coordinate, [0.1, 0.5, 0.9]), [-0.8, 0, 0.8], atol=0.03)
