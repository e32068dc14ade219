"""What the catalogue's papers say about a model: measurements, references, meanings, and their studies' verdicts."""

from armillary.probe.examine import MEASUREMENTS, Report, examine, examine_log, load
from armillary.probe.jax_problem import from_jax
from armillary.probe.problem import Engine, Problem
from armillary.probe.rows import Measurement, Row
from armillary.probe.torch_problem import from_torch

__all__ = [
    "MEASUREMENTS",
    "Engine",
    "Measurement",
    "Problem",
    "Report",
    "Row",
    "examine",
    "examine_log",
    "from_jax",
    "from_torch",
    "load",
]
