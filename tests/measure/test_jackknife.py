import numpy as np

from armillary.measure.jackknife import jackknife, leave_one_out


def test_the_mean_s_error_is_the_textbook_one():
    x = np.random.default_rng(0).normal(size=200)
    got = jackknife(lambda rows: x[rows].mean(), 200, groups=200)
    np.testing.assert_allclose(got, [x.mean(), x.std(ddof=1) / 200**0.5])
    np.testing.assert_allclose(leave_one_out(x.mean(), (x.sum() - x) / 199), got)


def test_the_error_of_a_ratio_is_its_spread_over_samples():
    rng = np.random.default_rng(1)
    ratios, errors = [], []
    for _ in range(300):
        x, y = rng.normal(3, 1, 100), rng.normal(5, 1, 100)
        found = jackknife(lambda rows, x=x, y=y: x[rows].mean() / y[rows].mean(), 100, groups=20)
        ratios.append(found.value)
        errors.append(found.error)
    np.testing.assert_allclose(np.mean(errors), np.std(ratios), rtol=0.15)


def test_a_statistic_that_is_not_finite_has_no_error():
    assert jackknife(lambda rows: np.inf, 10).error == np.inf
    assert leave_one_out(1.0, np.array([1.0])).error == np.inf
