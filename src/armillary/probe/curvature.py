"""Curvature: the Hessian's largest eigenvalues, its sizes, its spectrum."""

import numpy as np

from armillary.measure.krylov import KrylovRuns, krylov_runs
from armillary.measure.stability import batch_noise
from armillary.probe.problem import Problem
from armillary.probe.rows import Measurement, Row, Setting, row, standard_error, words

SHARE = 0.05
"""Of the largest eigenvalue, above which one is an outlier: as in the study of the Hessian's spectrum."""
PRODUCT = 2.5
"""A Hessian product costs about so many gradients."""

STABILITY = "The Implicit Regularization of Dynamical Stability in Stochastic Gradient Descent (2023)"
BULK = "Empirical Analysis of the Hessian of Over-Parametrized Neural Networks (2017)"


def _starts(problem: Problem, setting: Setting, count: int) -> np.ndarray:
    return setting.rng.standard_normal((count, problem.size), np.float32).astype(problem.vector.dtype)


def sharpness(problem: Problem, setting: Setting) -> list[Row]:
    """The Hessian's extreme eigenvalues by Lanczos, with residuals, against 2/η."""
    (steps,) = setting.effort
    steps = setting.keeps(problem, min(steps, problem.size), "sharpness")
    run = krylov_runs(problem.hessian, _starts(problem, setting, 1), steps)
    values, residuals, _ = run.ritz(0)
    top, low = float(values[-1]), float(values[0])
    residuals = np.maximum(residuals, np.finfo(problem.vector.dtype).eps * np.abs(values).max())  # rounding
    vector = run.vector(0, -1)
    setting.found["direction"], setting.found["largest"] = vector, top
    rate = setting.learning_rate
    edge = None if rate is None else 2 / rate
    found = [
        row(
            "sharpness",
            "largest Hessian eigenvalue λ",
            top,
            _edge(top, rate),
            STABILITY,
            "sgd-dynamical-stability",
            error=residuals[-1],
            error_kind="residual",
            reference=edge,
            against="2/η, where gradient descent stops being stable"
            if edge
            else "2/η: pass the learning rate",
            eigenvalues=values[::-1][:5],
            residuals=residuals[::-1][:5],
            notable=edge is not None and top > 1.1 * edge,
            rate_limit=2 / top if top > 0 else None,
        ),
        row(
            "sharpness",
            "most negative eigenvalue",
            min(low, 0.0),
            f"{words(-min(low, 0.0) / top if top > 0 else np.inf, 2)} times λ: "
            + (
                "next to no downward curvature is left, as near a minimum"
                if -low < 0.01 * top
                else "directions of negative curvature are left, so this is no minimum yet"
            ),
            BULK,
            "hessian-bulk-outliers",
            error=residuals[0],
            error_kind="residual",
            reference=0.0,
            against="at a minimum",
        ),
    ]
    if problem.has("objective"):
        share = float(vector @ problem.gauss_newton(vector[None])[0]) / top
        found.append(
            row(
                "sharpness",
                "Gauss-Newton share of λ",
                share,
                "the steepest direction's curvature comes from the loss through the outputs"
                if share > 0.9
                else "part of the steepest direction's curvature is the network's own second derivative",
                "Landscaping Linear Mode Connectivity (2024)",
                "landscaping-lmc",
                error=2 * residuals[-1] / max(top - float(values[-2]), float(residuals[-1]))
                if len(values) > 1
                else None,
                error_kind="bound from the residual",
                reference=1.0,
                against="where the network is linear along it",
            )
        )
    return found


def _edge(top: float, rate: float | None) -> str:
    if top <= 0:
        return "no direction curves upward: gradient descent has no largest stable rate here"
    if rate is None:
        return f"plain gradient descent is stable here up to a rate of 2/λ = {words(2 / top)}"
    excess = top * rate / 2
    if excess > 1.1:
        return (
            f"{words(excess, 2)} times past the edge: gradient descent at this rate grows along this direction until "
            "the curvature gives way"
        )
    if excess > 0.9:
        return "at the edge of stability: gradient descent at this rate neither settles nor blows up along it"
    return f"stable: the rate could grow {words(1 / excess, 2)}-fold before this direction limits it"


def spectrum(problem: Problem, setting: Setting) -> list[Row]:
    """Trace, Frobenius norm, spectral density and outliers, by stochastic Lanczos quadrature."""
    probes, steps = setting.effort
    steps = min(steps, problem.size)
    fits = int(setting.memory // (problem.vector.itemsize * problem.size))
    keep = fits >= probes * (steps + 3)
    together = probes if keep else max(1, min(probes, fits // 4))
    if (kept := probes * steps if keep else 4 * together) * problem.vector.itemsize * problem.size > 1e8:
        setting.tell(
            f"spectrum: keeps {kept} vectors, {kept * problem.vector.itemsize * problem.size / 1e9:.2g} GB"
        )
    starts = np.array_split(_starts(problem, setting, probes), range(together, probes, together))
    runs = [krylov_runs(problem.hessian, part, steps, keep=keep)._replace(basis=None) for part in starts]
    run = KrylovRuns(np.concatenate([r.alphas for r in runs]), np.concatenate([r.betas for r in runs]), None)
    size = problem.size
    # Of a unit vector v in a uniform direction, vᵀHv has mean tr H / size and ‖Hv‖² mean ‖H‖²/size.
    traces = size * run.alphas[:, 0]
    squares = size * (run.alphas[:, 0] ** 2 + run.betas[:, 0] ** 2)
    trace, trace_error = _mean(traces)
    square, square_error = _mean(squares)
    norm = square**0.5
    nodes = [run.quadrature(i) for i in range(probes)]
    top = setting.found.get("largest") or max(float(values[-1]) for values, _ in nodes)
    counts = np.array([size * weights[values > SHARE * top].sum() for values, weights in nodes])
    count, count_error = _mean(counts)
    return [
        row(
            "spectrum",
            "trace of the Hessian",
            trace,
            _trace(trace, setting.learning_rate),
            STABILITY,
            "sgd-dynamical-stability",
            error=trace_error,
            reference=None if setting.learning_rate is None else 2 / setting.learning_rate,
            against="2/η, SGD's bound with batches of 1"
            if setting.learning_rate
            else "2/η: pass the learning rate",
        ),
        row(
            "spectrum",
            "Frobenius norm of the Hessian",
            norm,
            f"(‖H‖/λ)² = {words((norm / top) ** 2 if top else np.inf, 2)}: as curved as that many equally steep directions",
            STABILITY,
            "sgd-dynamical-stability",
            error=square_error / (2 * norm) if norm else 0.0,
            reference=top,
            against="λ, were one direction to have it all",
        ),
        _limit(traces, squares, problem, setting),
        row(
            "spectrum",
            f"eigenvalues above {SHARE:.0%} of λ",
            count,
            _outliers(count, problem.classes),
            BULK,
            "hessian-bulk-outliers",
            error=count_error,
            reference=problem.classes,
            against="the number of classes" if problem.classes else "the number of classes: none known",
            nodes=np.concatenate([values for values, _ in nodes]),
            weights=np.concatenate([weights for _, weights in nodes]) / probes,
            cut=SHARE * top,
        ),
    ]


def _mean(samples: np.ndarray) -> tuple[float, float | None]:
    return float(samples.mean()), standard_error(samples)


def _trace(trace: float, rate: float | None) -> str:
    if rate is None or trace <= 0:
        return "the sum of all curvatures: what the noise of single-example steps meets"
    if trace * rate > 2:
        return f"{words(trace * rate / 2, 2)} times the bound: SGD with batches of 1 could not rest here at this rate"
    return "within the bound: even batches of 1 may rest here at this rate"


def _limit(traces: np.ndarray, squares: np.ndarray, problem: Problem, setting: Setting) -> Row:
    batch = setting.batch_size or 1
    share = float(batch_noise(problem.dataset, min(batch, problem.dataset))) if problem.dataset > 1 else 0.0

    def limit(keep: np.ndarray) -> float:
        trace, square = traces[keep].mean(), squares[keep].mean()
        return 2 / ((1 - share) * square / trace + share * trace) if trace > 0 else np.nan

    every = np.arange(len(traces))
    value: float | None = limit(every)
    without = np.array([limit(every[every != i]) for i in every]) if len(every) > 1 else np.array([np.nan])
    n = len(without)
    error: float | None = ((n - 1) / n * ((without - without.mean()) ** 2).sum()) ** 0.5
    rate = setting.learning_rate
    if value is None or not np.isfinite(value):
        meaning, value, error = "the trace is not positive, so the bound says nothing here", None, None
    elif rate is None:
        meaning = (
            f"an upper bound on the rate at which SGD with batches of {batch} can rest at a minimum like this"
        )
    elif rate > value:
        meaning = f"the rate is above it: SGD with batches of {batch} would leave a minimum with this Hessian"
    else:
        meaning = f"the rate is below it: the bound does not forbid SGD with batches of {batch} to rest here"
    return row(
        "spectrum",
        f"SGD's stability bound on the rate, batch {batch}",
        value,
        meaning,
        STABILITY,
        "sgd-dynamical-stability",
        error=None if error is None or not np.isfinite(error) else error,
        notable=setting.batch_size is not None and rate is not None and value is not None and rate > value,
        reference=rate,
        against="η, the learning rate" if rate else "η: pass the learning rate",
    )


def _outliers(count: float, classes: int | None) -> str:
    if classes is None:
        return "the Hessian has about this many steep directions; the rest is a bulk near 0"
    if count <= 2 * classes:
        return "a few steep directions, about one a class or fewer, stand clear of a bulk near 0"
    return "more steep directions than classes: the spectrum has no clear gap at this threshold"


MEASUREMENTS = (
    Measurement(
        "sharpness",
        "curvature",
        "largest and smallest Hessian eigenvalues against 2/η",
        (),
        lambda p, s: PRODUCT * min(s.effort[0], p.size),
        sharpness,
        efforts=((30,), (20,), (12,)),
    ),
    Measurement(
        "spectrum",
        "curvature",
        "trace, Frobenius norm, spectral density, outliers",
        (),
        lambda p, s: PRODUCT * s.effort[0] * min(s.effort[1], p.size),
        spectrum,
        efforts=((8, 30), (6, 30), (4, 30), (3, 30), (3, 20), (2, 20), (2, 12)),
    ),
)
