"""Early-warning signals: what a series shows before it tips.

Near a fold a system returns ever more slowly to its state, so that its fluctuations grow and remember longer:
variance and lag-1 autocorrelation rise ("Early warning signals: The charted and uncharted territories", Boettiger,
Ross, Hastings 2013).
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage, stats

Indicator = Literal["variance", "autocorrelation"]


class EarlyWarning(NamedTuple):
    """What `early_warning` returns."""

    residuals: Float[np.ndarray, " time"]
    """The series less its smoothed self."""
    variance: Float[np.ndarray, " windows"]
    autocorrelation: Float[np.ndarray, " windows"]
    """In every window; place w is that of residuals[w : w + window]."""
    trend: dict[str, float]
    """Kendall's τ of each indicator with time, -1 to 1."""
    p_value: dict[str, float]
    """The share of surrogate series whose τ is at least as large."""
    surrogates: dict[str, np.ndarray]
    """The surrogates' τ."""


def detrend(series: Float[np.ndarray, " time"], bandwidth: float) -> Float[np.ndarray, " time"]:
    """The series less a Gaussian smooth of standard deviation `bandwidth`, in steps."""
    return series - ndimage.gaussian_filter1d(np.asarray(series, float), bandwidth, mode="nearest")


def rolling(
    residuals: Float[np.ndarray, "*batch time"], window: int
) -> tuple[Float[np.ndarray, "*batch windows"], Float[np.ndarray, "*batch windows"]]:
    """Variance and lag-1 autocorrelation in every window of so many steps."""
    views = np.lib.stride_tricks.sliding_window_view(residuals, window, axis=-1)
    centred = views - views.mean(-1, keepdims=True)
    square = (centred**2).sum(-1)
    lagged = (centred[..., 1:] * centred[..., :-1]).sum(-1)
    return square / (window - 1), lagged / np.where(square > 0, square, 1)


def kendall_trend(values: Float[np.ndarray, "*batch windows"]) -> Float[np.ndarray, "*batch"]:
    """Kendall's τ of each row with its index."""
    flat = np.asarray(values).reshape(-1, np.shape(values)[-1])
    time = np.arange(flat.shape[1])
    found = [stats.kendalltau(time, row).statistic if np.ptp(row) > 0 else 0.0 for row in flat]
    return np.array(found).reshape(np.shape(values)[:-1])


def ar1_surrogates(
    residuals: Float[np.ndarray, " time"], count: int, rng: np.random.Generator
) -> Float[np.ndarray, "count time"]:
    """Stationary Gaussian series with the same variance and lag-1 autocorrelation throughout."""
    x = np.asarray(residuals, float) - np.mean(residuals)
    square = x @ x
    memory = float(np.clip(x[1:] @ x[:-1] / square if square else 0.0, -0.999, 0.999))
    noise = rng.standard_normal((count, len(x) + 100)) * np.sqrt(max(x.var(), 1e-300) * (1 - memory**2))
    from scipy.signal import lfilter

    return lfilter([1], [1, -memory], noise, axis=1)[:, 100:]


def early_warning(
    series: Float[np.ndarray, " time"],
    *,
    rng: np.random.Generator,
    window: int | None = None,
    bandwidth: float | None = None,
    surrogates: int = 200,
) -> EarlyWarning:
    """Rolling variance and autocorrelation of a series, their trends, and how likely chance is to make them.

    The null hypothesis is a stationary first-order autoregression with the residuals' own variance and memory,
    detrended and windowed in the same way ("Methods for Detecting Early Warnings of Critical Transitions in Time Series",
    Dakos et al. 2012). Neither rise proves that a tipping point is near, nor does their absence exclude one: a
    jump by noise alone gives no warning.

    **Arguments:**

    - `series`: evenly spaced in time, finite.
    - `rng`: the surrogates' randomness.
    - `window`: steps; half the series by default.
    - `bandwidth`: of the detrending Gaussian, steps; a tenth of the series by default.
    - `surrogates`: how many.

    **Raises:** `ValueError` for fewer than 20 values, values that are not finite, or a window that does not fit.
    """
    series = np.asarray(series, float)
    if len(series) < 20:
        raise ValueError(f"{len(series)} values: trends over windows need 20 or more")
    if not np.isfinite(series).all():
        raise ValueError("the series has values that are not finite")
    window = len(series) // 2 if window is None else window
    if not 3 <= window < len(series):
        raise ValueError(f"window={window} must lie between 3 and the series' length, {len(series)}")
    bandwidth = len(series) / 10 if bandwidth is None else bandwidth
    residuals = detrend(series, bandwidth)
    measured = dict(zip(("variance", "autocorrelation"), rolling(residuals, window)))
    null = ar1_surrogates(residuals, surrogates, rng)
    null = null - ndimage.gaussian_filter1d(null, bandwidth, axis=1, mode="nearest")
    chance = {n: kendall_trend(v) for n, v in zip(measured, rolling(null, window))}
    trend = {name: float(kendall_trend(values)) for name, values in measured.items()}
    p_value = {n: float((1 + (chance[n] >= trend[n]).sum()) / (1 + surrogates)) for n in trend}
    return EarlyWarning(residuals, measured["variance"], measured["autocorrelation"], trend, p_value, chance)
