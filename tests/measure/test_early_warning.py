import numpy as np
import pytest
import scipy.stats

from armillary.measure.early_warning import ar1_surrogates, early_warning, kendall_trend, rolling


def autoregression(memory, rng):
    """x[t] = memory[t] x[t-1] + noise."""
    x = np.zeros(len(memory))
    for t in range(1, len(x)):
        x[t] = memory[t] * x[t - 1] + rng.normal()
    return x


def test_slowing_down_is_seen_and_a_stationary_series_is_not():
    rising, flat = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        slow = early_warning(autoregression(np.linspace(0.1, 0.97, 400), rng), rng=rng, surrogates=100)
        even = early_warning(autoregression(np.full(400, 0.5), rng), rng=rng, surrogates=100)
        rising.append(slow.p_value["autocorrelation"])
        flat.append(even.p_value["autocorrelation"])
    assert np.median(rising) < 0.05
    assert np.mean(np.array(rising) < 0.1) >= 0.75
    assert np.mean(np.array(flat) < 0.1) <= 0.35


def test_p_values_of_the_null_are_uniform():
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        p.append(
            early_warning(autoregression(np.full(120, 0.6), rng), rng=rng, surrogates=60).p_value["variance"]
        )
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3


def test_indicators_by_hand():
    x = np.random.default_rng(0).normal(size=30)
    variance, memory = rolling(x, 10)
    part = x[4:14] - x[4:14].mean()
    np.testing.assert_allclose(variance[4], x[4:14].var(ddof=1))
    np.testing.assert_allclose(memory[4], (part[1:] * part[:-1]).sum() / (part**2).sum())
    np.testing.assert_allclose(
        kendall_trend(np.stack([np.arange(5.0), -np.arange(5.0), np.ones(5)])), [1, -1, 0]
    )


def test_surrogates_have_the_series_variance_and_memory():
    rng = np.random.default_rng(0)
    x = autoregression(np.full(4000, 0.7), rng)
    made = ar1_surrogates(x, 50, rng)
    np.testing.assert_allclose(made.var(), x.var(), rtol=0.1)
    np.testing.assert_allclose(np.mean([np.corrcoef(m[1:], m[:-1])[0, 1] for m in made]), 0.7, atol=0.03)


def test_a_constant_series_warns_of_nothing():
    found = early_warning(np.ones(50), rng=np.random.default_rng(0), surrogates=20)
    assert found.trend == {"variance": 0.0, "autocorrelation": 0.0}


@pytest.mark.parametrize(
    ("series", "options", "words"),
    [
        (np.ones(10), {}, "10 values"),
        (np.r_[np.ones(30), np.nan], {}, "not finite"),
        (np.ones(30), {"window": 30}, "window=30"),
    ],
)
def test_bad_arguments(series, options, words):
    with pytest.raises(ValueError, match=words):
        early_warning(series, rng=np.random.default_rng(0), **options)
