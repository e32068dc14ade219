"""Runs on a Ray cluster of several nodes, each with processes of its own, on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import armillary
from armillary.lab import InputError, RunError, cluster, fingerprint
from armillary.lab.plan import Plan
from armillary.lab.store import Store

pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")

STUDIES = Path(__file__).parents[1] / "studies"
SLOW = '''
"""A walk that takes some tenths of a second; it tells whether it came to a worker as a copy.

The first run that starts once `HOLD/next` is there stands still, after it has said on which node it does.
"""
import os, time
from pathlib import Path
import jax, jax.numpy as jnp
import numpy as np
from armillary.lab import Study
from beside.step import step

def experiment(key, *, rate=0.1, steps=100_000):
    def refuse(value):
        if Path("HOLD/next").exists() and not Path("HOLD/held").exists():
            import ray
            Path("HOLD/node").write_text(ray.get_runtime_context().get_node_id())
            Path("HOLD/node").rename("HOLD/held")
            time.sleep(120)
        if abs(value - 0.37) < 1e-6:
            os._exit(7)
        if abs(value - 0.55) < 1e-6:
            raise ValueError("0.55 is not allowed")
        return np.float32(value)
    seen = jax.pure_callback(refuse, jax.ShapeDtypeStruct((), jnp.float32), rate, vmap_method="sequential")
    x, curve = jax.lax.scan(lambda x, _: (step(x, seen), x[0, 0]), jax.random.normal(key, (8, 8)), None, length=steps)
    carried = Path(__file__).parent.name.startswith("armillary-")
    return {"total": x.sum(), "curve": curve[:: steps // 5], "carried": jnp.bool_(carried)}

study = Study(experiment)
'''
STEP = "import jax.numpy as jnp\n\n\ndef step(x, rate):\n    return jnp.sin(rate + 0.1 * x @ x)\n"


NODES = """
import sys
from ray.cluster_utils import Cluster

soon = {"health_check_period_ms": 1000, "health_check_failure_threshold": 8}
cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": soon})
said = cluster.address
while True:
    print("said", said, flush=True)
    what, *which = (sys.stdin.readline() or "end").split()
    if what == "add":
        said = cluster.add_node(num_cpus=1).node_id
    elif what == "kill":
        (node,) = [node for node in cluster.worker_nodes if node.node_id == which[0]]
        said = cluster.remove_node(node, allow_graceful=False)
    else:
        break
cluster.shutdown()
"""


class Nodes:
    """A head that computes nothing and nodes with one core each, started by a process without JAX: Ray forks."""

    def __init__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", NODES], stdin=pipe, stdout=pipe, text=True)
        self.address = self._said()

    def _said(self) -> str:
        return next(line for line in self.process.stdout if line.startswith("said ")).split()[1]

    def tell(self, *words: str) -> str:
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self._said()

    def end(self) -> None:
        try:
            self.process.communicate(timeout=60)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Two nodes with one core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_HOME", str(tmp_path_factory.mktemp("worker")))  # no store in common
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # a busy machine starts them late
        made = Nodes()
        for _ in range(2):
            made.tell("add")
        yield made
        made.end()


@pytest.fixture
def slow(tmp_path):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "__init__.py").write_text("")
    (tmp_path / "beside" / "step.py").write_text(STEP)
    path = tmp_path / "slow_walk.py"
    path.write_text(SLOW.replace("HOLD", str(tmp_path)))
    return path


def stored_rows() -> int:
    """How many rows were ever appended, those of one run each counted."""
    return sum(pl.scan_parquet(p).select(pl.len()).collect().item() for p in Store().files())


def test_a_node_that_is_killed_costs_only_what_ran_there(nodes, slow, home, monkeypatch, tmp_path):
    """Another joins later. Every run is computed once, and the numbers are those of this process."""
    rates = np.linspace(0.1, 0.3, 12).tolist()
    told, killed, joined = [], [], []

    def alive():
        import ray

        return sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())

    def notify(event, **found):
        told.append((event, found))
        if event == "chunk" and found["done"] >= 8:
            (tmp_path / "next").touch()
        if (tmp_path / "held").exists() and not killed:
            killed.append((tmp_path / "held").read_text())
            nodes.tell("kill", killed[0])  # by SIGKILL
            deadline = time.monotonic() + 120
            while alive() > 1 and time.monotonic() < deadline:  # until the cluster knows
                time.sleep(0.1)
        if event == "nodes" and found["nodes"] == 1 and not joined:
            nodes.tell("add")
            joined.append(found["out"])

    plan = Plan(chunk=2, ray=nodes.address, in_flight=4)
    found = armillary.sweep(slow, {"rate": rates}, seeds=4, plan=plan, notify=notify)
    assert killed
    assert joined
    notes = [f["words"] for event, f in told if event == "note"]
    assert 1 <= len(notes) <= 4  # no more than was out
    assert all("a chunk of 2 runs was lost" in words for words in notes)
    assert stored_rows() == 48  # none twice
    assert {f["nodes"] for event, f in told if event == "nodes"} == {1, 2}
    assert max(f["out"] for event, f in told if event == "nodes") == 4
    done = [f["done"] for event, f in told if event == "chunk"]
    assert done == sorted(done)
    assert done[-1] == 48
    assert found.carried.values.all()
    monkeypatch.setenv("ARMILLARY_HOME", str(home / "here"))
    here = armillary.sweep(slow, {"rate": rates}, seeds=4, plan=Plan(chunk=2))
    assert not here.carried.values.any()
    np.testing.assert_allclose(found.total, here.total, rtol=1e-5)
    np.testing.assert_allclose(found.curve, here.curve, rtol=1e-5)


def test_what_fails_on_a_worker_is_named_and_the_rest_is_kept(nodes, slow):
    """One run ends its worker's process, another raises."""
    rates = [0.1, 0.37, 0.55, 0.7]
    notes = []

    def notify(event, **found):
        if event == "note":
            notes.append(found["words"])

    plan = Plan(chunk=1, ray=nodes.address)
    with pytest.raises(RunError, match=r"^2 of 4 runs failed, the others are kept") as caught:
        armillary.sweep(slow, {"rate": rates}, seeds=1, plan=plan, notify=notify, steps=5)
    assert ("3 times" in str(caught.value)) or ("0.55 is not allowed" in str(caught.value))
    assert len(notes) == cluster.TRIES - 1
    assert sorted(Store().table()["rate"]) == [0.1, 0.7]


def test_a_host_study_with_data_and_a_base_model(nodes):
    path = STUDIES / "on_host.py"
    here = armillary.run(path, seeds=5, fresh=True)
    there = armillary.run(path, seeds=5, fresh=True, plan=Plan(ray=nodes.address))
    assert there.verdict == "holds"
    for name in ("mean", "base_sum", "echo"):
        np.testing.assert_array_equal(there.data["shifted"][name], here.data["shifted"][name])
    assert not set(np.unique(there.data["plain"].process)) & set(np.unique(here.data["plain"].process))


def test_a_worker_with_other_versions_does_not_answer(nodes, slow, monkeypatch):
    versions = fingerprint.versions() | {"jax": "0.0.1"}
    monkeypatch.setattr(fingerprint, "versions", lambda: versions)
    with pytest.raises(InputError, match=r"the worker on .* has jax 0\.10.*, not 0\.0\.1; numbers would"):
        armillary.run(slow, seeds=1, plan=Plan(ray=nodes.address))


def armillary_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "armillary.cli", *map(str, arguments)]


def test_ctrl_c_keeps_what_came_home_and_the_same_command_goes_on(nodes, slow, tmp_path):
    command = armillary_command("sweep", slow, "--over", "rate=lin:0.1:0.3:8", "--seeds", 4)
    command += ["--ray", nodes.address, "--chunk", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while stored_rows() < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everything that the command started has it
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    kept = stored_rows()
    assert f"stopped; {kept} of 32 runs are kept, and the same command goes on from there" in said
    assert "Traceback" not in said
    assert 5 <= kept < 32
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert stored_rows() == len(Store().table()) == 32
    assert "slow-walk-sweep.parquet" in done.stdout


def test_ray_on_this_machine_alone(descent, tmp_path):
    command = armillary_command("run", descent, "--ray", "local", "--memory", "2GB", "--explain")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "verdict: holds" in done.stdout
    assert "ray, 1 group(s) of runs" in done.stderr
    assert set(Store().table()["plan"].str.split(" ").list.first()) == {"ray"}


def test_without_a_node_it_waits_and_then_says_so(slow, monkeypatch):
    monkeypatch.setattr(cluster, "ALONE_SECONDS", 2.0)
    empty = Nodes()
    try:
        with pytest.raises(RunError, match="no node of the Ray cluster is left; 2 chunks were out"):
            armillary.run(slow, seeds=2, plan=Plan(chunk=1, ray=empty.address))
    finally:
        empty.end()


def test_ray_that_does_not_start_is_said(slow, monkeypatch):
    monkeypatch.setattr(cluster, "HEAD_SECONDS", 0.01)
    with pytest.raises(InputError, match=r"--ray local: Ray did not start within 0\.01 s"):
        armillary.run(slow, seeds=1, plan=Plan(ray="local"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ray", "127.0.0.1:1"], "--ray 127.0.0.1:1: nobody answers there (Connection refused)"),
        (["--ray", "nowhere"], "expected local, auto or HOST:PORT"),
        (["--ray", "ray://127.0.0.1:10001"], "expected local, auto or HOST:PORT"),
        (["--ray", "a.invalid:6379"], "--ray a.invalid:6379: nobody answers there"),
        (["--ray", "127.0.0.1:1", "--devices", "2"], "--devices"),
        (["--max-in-flight", "2"], "--max-in-flight is for --ray"),
        (["--ray", "local", "--max-in-flight", "0"], "--max-in-flight"),
        (["--memory", "lots"], "expected an amount of memory"),
        (["--memory", "1MB"], "armillary itself takes"),
    ],
)
def test_what_cannot_be(options, words, descent, tmp_path, monkeypatch, capsys):
    from armillary import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_leave", sys.exit)
    monkeypatch.setattr(sys, "argv", ["armillary", "run", descent, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2
    assert len(said) == 1
    assert words in said[0]
