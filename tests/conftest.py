import gc
import os
from pathlib import Path

import pytest

os.environ["MPLBACKEND"] = "Agg"

import jax

jax.config.update("jax_num_cpu_devices", 2)  # as a two-core machine has, wherever the tests run

STUDIES = Path(__file__).parent / "studies"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A store of its own for every test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ARMILLARY_HOME", str(folder))
    return folder


@pytest.fixture
def descent() -> str:
    return str(STUDIES / "descent.py")


@pytest.fixture(autouse=True, scope="module")
def programs_are_dropped():
    """Compiled programs are kept while a module's tests run: over all modules they took 7 GB a process."""
    yield
    from armillary.lab import backend, plan

    if plan.resident() > 2 << 30:
        backend._traces.clear()
        backend._programs.clear()
        jax.clear_caches()
        gc.collect()
        plan.trim()
