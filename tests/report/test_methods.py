"""What the site reads from the methods' source agrees with the modules, and their examples run."""

import importlib

import pytest

from armillary.report.site import methods

EXPORTED = methods.exported()
EXAMPLES = {name: m.example for name, m in EXPORTED.items() if m.example}


@pytest.mark.parametrize("package", methods.packages())
def test_every_exported_function_and_class_is_found(package):
    module = importlib.import_module(f"armillary.{package}")
    ours = {
        n for n in module.__all__ if getattr(getattr(module, n), "__module__", "").startswith("armillary.")
    }
    callables = {
        n for n in ours if isinstance(getattr(module, n), type) or hasattr(getattr(module, n), "__code__")
    }
    assert callables <= {m.name for m in EXPORTED.values() if m.package == package}


def test_a_method_is_found_by_the_paper_that_it_names():
    found = {m.path for m in methods.citing("On the Generalization Mystery in Deep Learning")}
    assert "armillary.measure.m_coherence" in found
    assert not methods.citing("No Such Paper")


def test_imports_are_read_in_order():
    source = "import jax\nfrom armillary.nn import MLP\nfrom armillary.measure import m_coherence, MLP\nx = 1"
    assert [m.path for m in methods.imported(source)] == ["armillary.nn.MLP", "armillary.measure.m_coherence"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name):
    assert len(EXAMPLES[name].splitlines()) <= 10
    exec(compile(EXAMPLES[name], name, "exec"), {})
