"""What is imported, and when."""

import subprocess
import sys

import pytest

HEAVY = ("jax", "polars", "xarray", "matplotlib", "numpy", "scipy", "sklearn", "equinox", "torch", "ray")


@pytest.mark.parametrize(
    "code",
    [
        "import armillary",
        "from armillary.lab import Study, Check, at_most",
        "import armillary; armillary.catalogue()",
        "import sys; sys.argv = ['armillary', 'list']; from armillary.cli import main\n"
        "try: main()\nexcept SystemExit as e: assert not e.code",
    ],
)
def test_start_is_light(code):
    check = f"\nimport sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "armillary", "list", "--search", "one-step-gd"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "one-step-gd" in done.stdout


def test_public_names_are_there():
    import armillary

    for name in armillary.__all__:
        assert getattr(armillary, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        armillary.nothing  # noqa: B018
