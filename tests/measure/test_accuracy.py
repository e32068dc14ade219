import numpy as np
from sklearn.metrics import accuracy_score, log_loss

from armillary.measure import accuracy, cross_entropy


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(accuracy(logits, labels), accuracy_score(labels, logits.argmax(1)), rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(logits, labels), log_loss(labels, probability), rtol=1e-5)


def test_any_batch_shape():
    logits = np.random.default_rng(1).normal(size=(2, 3, 4))
    labels = logits.argmax(-1)
    assert accuracy(logits, labels) == 1
    assert cross_entropy(1e4 * logits, labels) < 1e-3
