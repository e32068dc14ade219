"""What goes wrong while runs are computed and kept: each test does it for real, and counts what was lost."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import armillary
from armillary import cli
from armillary.lab import Check, InputError, RunError, Study, at_most, catalogue, settings
from armillary.lab import store as lab
from armillary.lab.plan import Plan
from armillary.lab.store import Store, rows
from armillary.lab.sweep import sweep

WALK = '''
"""A walk that takes some milliseconds."""
import jax, jax.numpy as jnp
from armillary.lab import Study

def experiment(key, *, rate=0.1, steps=8_000):
    def step(x, _):
        return jnp.sin(rate + x @ x), None
    x, _ = jax.lax.scan(step, jax.random.normal(key, (8, 8)), None, length=steps)
    return {"total": x.sum(), "row": x[0]}

study = Study(experiment)
'''


def line(run: str, value: float = 0.0, **outputs) -> pl.DataFrame:
    """A chunk of one run."""
    return rows(
        study="s",
        code="c",
        runs=[run],
        seeds=[0],
        settings=[{"rate": 0.1}],
        outputs={"value": np.array([value]), **outputs},
        seconds=0.1,
        plan="p",
    )


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_sweep_killed_ten_times_loses_and_repeats_nothing(tmp_path, home):
    path = tmp_path / "walk.py"
    path.write_text(WALK)
    command = [sys.executable, "-m", "armillary.cli", "sweep", str(path), "--over", "rate=lin:0.1:0.9:150"]
    command += ["--seeds", "8", "--devices", "2", "--chunk", "1"]
    draw = random.Random()
    kept: dict[str, tuple] = {}

    def stored() -> dict[str, tuple]:
        table = Store().table()
        return {row["run"]: tuple(row.values()) for row in table.iter_rows(named=True)}

    for kill in range(10):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        deadline = time.monotonic() + 120
        while len(stored()) <= len(kept) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 0.3))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.wait()
        now = stored()
        assert len(now) > len(kept)
        assert {run: now[run] for run in kept} == kept, f"kill {kill}: a run was lost, or computed twice"
        kept = now
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "cannot" not in done.stderr
    now = stored()
    assert len(now) == 1200
    assert {run: now[run] for run in kept} == kept
    killed = pl.read_parquet(tmp_path / "armillary-out" / "walk-sweep.parquet")
    elsewhere = {**os.environ, "ARMILLARY_HOME": str(tmp_path / "undisturbed")}
    subprocess.run(command, capture_output=True, cwd=tmp_path, env=elsewhere, check=True)
    undisturbed = pl.read_parquet(tmp_path / "armillary-out" / "walk-sweep.parquet")
    assert killed.equals(undisturbed)


APPEND = """
import sys
import numpy as np
from armillary.lab.store import Store, rows
who, count = sys.argv[1], int(sys.argv[2])
store = Store()
for i in range(count):
    frame = rows(study="s", code="c", runs=[f"{who}-{i}"], seeds=[i], settings=[{"rate": 0.1}],
                 outputs={"value": np.array([i + 0.5]), "curve": np.arange(3.0)[None] + i}, seconds=0.1, plan="p")
    store.append("s", "c", frame)
    print(i, flush=True)
"""


def test_two_processes_append_at_once_and_no_reader_notices_merging():
    said = {"a": 0, "b": 0}

    def listen(who: str, process: subprocess.Popen) -> None:
        for text in process.stdout:
            said[who] = int(text) + 1

    processes = [
        subprocess.Popen([sys.executable, "-c", APPEND, who, "1000"], stdout=subprocess.PIPE, text=True)
        for who in said
    ]
    listeners = [threading.Thread(target=listen, args=pair) for pair in zip(said, processes)]
    for listener in listeners:
        listener.start()
    looks = 0
    while any(listener.is_alive() for listener in listeners):
        written = dict(said)
        table = Store().table()
        for who, count in written.items():
            found = set(table.filter(pl.col("run").str.starts_with(who))["seed"]) if len(table) else set()
            assert found >= set(range(count)), "a run that was written is not there"
        looks += 1
        time.sleep(0.02)
    assert [p.wait() for p in processes] == [0, 0]
    store = Store()
    table = store.table()
    assert sorted(table["run"]) == sorted(f"{who}-{i}" for who in said for i in range(1000))
    assert table["value"].to_list() == [seed + 0.5 for seed in table["seed"]]
    assert store.set_aside == []
    assert len(store.files()) < 2 * lab.MANY, "nothing was merged"
    assert looks > 10


KILLED = APPEND.replace("range(count)", "range(int(sys.argv[3]), 10**6)")


def test_killed_while_it_appends_and_merges():
    """Small files are merged every second or so here: what a kill in the middle leaves has every run."""
    written = 0
    draw = random.Random()
    for _ in range(5):
        command = [sys.executable, "-c", KILLED, "a", "0", str(written)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Timer(1.0 + draw.uniform(0, 0.5), process.kill).start()
        for text in process.stdout:
            written = int(text) + 1
        process.wait()
        found = set(Store().table()["seed"])
        assert found >= set(range(written))
        written = max(found) + 1


def fill(key, *, rate=0.1):
    return {"noise": jax.random.normal(key, (50_000,))}


filling = Study(fill)


def test_a_full_disk_is_named_and_what_was_kept_is_read(small_disk, monkeypatch):
    monkeypatch.setenv("ARMILLARY_HOME", str(small_disk))

    def run():
        return sweep(catalogue.find(filling), settings.arms(filling), range(16), plan=Plan(1, 1))

    with pytest.raises(InputError, match=r"No space left on device \((\d+) of 16 runs are kept\)") as caught:
        run()
    kept = int(str(caught.value).partition("device (")[2].split()[0])
    store = Store()
    assert len(store.table()) == kept > 3
    assert store.set_aside == []
    assert not [p for p in small_disk.rglob("*") if p.is_file() and p.name.startswith(".1")]
    remount(small_disk, "size=8m")
    again = run()
    assert (again.reused, again.computed) == (kept, 16 - kept)
    expected = jax.random.normal(jax.random.key(15), (50_000,))
    np.testing.assert_array_equal(again.data["default"].noise[15], expected)


def test_a_full_disk_is_named_before_the_first_minute_of_work(small_disk):
    (small_disk / "ballast").write_bytes(bytes((2 << 20) - (32 << 10)))
    with pytest.raises(InputError, match="No space left on device"):
        Store(small_disk).check()


def test_a_read_only_store_is_named_and_read(small_disk, monkeypatch, capsys, descent, tmp_path):
    monkeypatch.setenv("ARMILLARY_HOME", str(small_disk))
    monkeypatch.chdir(tmp_path)
    armillary.run(descent, seeds=5)
    bad = Store().append("s", "c", line("bad"))
    bad.write_bytes(bad.read_bytes()[:-9])
    remount(small_disk, "ro")
    with pytest.raises(InputError, match="Read-only file system"):
        armillary.run(descent, seeds=6)
    store = Store()
    assert len(store.table()) == 10
    assert "left out, it cannot be renamed (Read-only file system)" in store.set_aside[0]
    assert bad.exists()
    assert armillary.load(descent).sizes["run"] == 10
    monkeypatch.setattr(sys, "argv", ["armillary", "runs", "--where", "seed = 4", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert ended.value.code == 2  # for the file that could not be read


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped", "swapped"])
def test_a_damaged_file_is_named_and_set_aside_and_the_rest_is_read(how):
    store = Store()
    draw = random.Random(how)
    good = [store.append("s", "c", line(f"good-{i}", i, curve=np.full((1, 3), i / 3))) for i in range(3)]
    content = good[1].read_bytes()
    for trial in range(25):
        bad = store.append("s", "c", line("bad", 7.0, curve=np.ones((1, 3))))
        whole = bytearray(bad.read_bytes())
        if how == "truncated":
            bad.write_bytes(whole[: draw.randrange(1, len(whole))])
        elif how == "empty":
            bad.write_bytes(b"")
        elif how == "swapped":  # a sound file, but not the one that was written here
            bad.write_bytes(content)
        else:
            whole[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            bad.write_bytes(whole)
        again = Store()
        assert sorted(again.table()["run"]) == ["good-0", "good-1", "good-2"]
        assert again.set_aside == [
            f"{bad}: not the bytes that were written; set aside as {bad.stem}.corrupt"
        ], trial
        (block,) = Store().blocks("s", "c")
        np.testing.assert_array_equal(block.arrays["curve"][:, 0], np.arange(3) / 3)
        assert bad.with_suffix(".corrupt").exists()


def turning(key, *, rate=0.1, nan_from=100, only_seed=-1):
    """A curve that is NaN from a step on, for all seeds or one of them."""
    seed = jax.random.key_data(key)[-1].astype(jnp.int32)
    hit = (only_seed < 0) | (seed == only_seed)

    def step(x, t):
        x = jnp.where(hit & (t >= nan_from), jnp.inf * 0.0, 0.9 * x)
        return x, x

    last, curve = jax.lax.scan(step, 1.0 + rate, jnp.arange(20))
    return {"last": last, "curve": curve}


@pytest.mark.parametrize(
    ("given", "diverged", "finite"),
    [
        ({"nan_from": 0}, range(8), 0),
        ({"nan_from": 19}, range(8), 19),
        ({"nan_from": 5, "only_seed": 3}, [3], 5),
    ],
)
def test_a_run_that_is_not_finite_is_kept_and_named(given, diverged, finite):
    check = Check("small", "it is small", lambda a: a["claim"].last, at_most(1.0), {"claim": "control"})
    study = Study(turning, [check], arms={"claim": given, "control": {"rate": 1e6}})
    found = armillary.run(study, seeds=8)
    assert found.verdict == "diverged"
    assert found.figure() is not None
    table = Store().table().filter(pl.col("nan_from") < 100)
    assert table.filter(status="diverged")["seed"].sort().to_list() == list(diverged)
    curve = found.data["claim"].curve.sel(seed=3).values
    np.testing.assert_allclose(curve[:finite], 1.1 * 0.9 ** np.arange(1, finite + 1), rtol=1e-5)
    assert np.isnan(curve[finite:]).all()
    again = armillary.run(study, seeds=8)
    assert again.swept.reused == 16
    np.testing.assert_array_equal(again.data["claim"].curve, found.data["claim"].curve)


def picky(key, *, size=1, rate=0.5):
    if size == 37:
        raise ValueError("37 is not allowed")

    def refuse(value):
        if abs(value - 0.37) < 1e-6:
            raise ValueError("0.37 is not allowed")
        return np.float32(value)

    seen = jax.pure_callback(refuse, jax.ShapeDtypeStruct((), jnp.float32), rate, vmap_method="sequential")
    return {"x": seen + size + jax.random.uniform(key)}


@pytest.mark.parametrize(
    ("name", "axis"), [("size", list(range(1, 51))), ("rate", [i / 100 for i in range(1, 51)])]
)
def test_an_experiment_that_raises_on_one_setting_in_fifty(name, axis):
    """A whole number fails while it is traced, and a float in the middle of a chunk of others."""
    with pytest.raises(
        RunError, match=r"^2 of 100 runs failed, the others are kept.*37 is not allowed"
    ) as caught:
        armillary.sweep(Study(picky), {name: axis}, seeds=2)
    assert ("size=37" if name == "size" else "rate=0.37") in str(caught.value)
    table = Store().table()
    assert len(table) == 98
    left = [v for v in axis if v not in (37, 0.37)]
    found = armillary.sweep(Study(picky), {name: left}, seeds=2)
    assert len(Store().table()) == 98  # nothing is computed again
    one = jax.random.uniform(jax.random.key(1)) + (left[7] + 0.5 if name == "size" else 1 + left[7])
    np.testing.assert_allclose(found.x.sel({"seed": 1, name: left[7]}), one, rtol=1e-6)


def test_data_that_cannot_be_loaded_for_one_setting():
    def load(*, size=3):
        if size == 5:
            raise OSError("no such data set")
        return np.zeros(size)

    study = Study(lambda key, data, *, size=3: {"x": data.sum()}, data=load)
    with pytest.raises(RunError, match=r"^2 of 6 runs failed.*size.: 5.*no such data set"):
        armillary.sweep(study, {"size": [3, 4, 5]}, seeds=2)
    assert len(Store().table()) == 4


def test_a_clock_that_jumps(monkeypatch, descent):
    """Set back by a year, forward by a century, and to 1970: the row that was written last is the newest."""
    year = 365 * 86_400 * 10**9
    now = time.time_ns()
    store = Store()
    clocks = [now, now - year, now + 100 * year, 5, now, now - year]
    for i, clock in enumerate(clocks):
        monkeypatch.setattr(lab.time, "time_ns", lambda clock=clock: clock)
        store.append("s", "c", line("same", i))
        store.append("s", "c", line(f"other-{i}", i))
        assert Store().blocks("s", "c", ["same"])[0].arrays["value"].tolist() == [i]
    store.settle("s", "c")
    assert len(store.files()) == 1
    assert Store().blocks("s", "c", ["same"])[0].arrays["value"].tolist() == [len(clocks) - 1]
    assert len(Store().table()) == len(clocks) + 1
    monkeypatch.undo()
    entry = catalogue.find(descent)
    armillary.record(entry)
    path = armillary.lab.record.path_for(entry)
    document = json.loads(path.read_text())
    document["history"][0] |= {"date": "2999-01-01T00:00:00+00:00", "verdict": "fails"}
    path.write_text(json.dumps(document))
    armillary.record(entry)
    assert armillary.lab.record.latest(entry)["verdict"] == "holds"


OLD = Path(__file__).parent / "stores" / "0.1"


@pytest.fixture
def old(home):
    """A store as version 0.1 wrote it: names without checksums, one file a chunk."""
    import shutil

    shutil.copytree(OLD, home)
    return Store()


def some(dtype: str, count: int) -> np.ndarray:
    """The values that were stored: the odd ones of each type."""
    if dtype == "bool":
        return np.arange(count) % 2 == 0
    if dtype.startswith("float"):
        limits = np.finfo(dtype)
        values = [0.0, -0.0, np.inf, -np.inf, np.nan, 1 / 3, limits.max, limits.tiny]
    else:
        limits = np.iinfo(dtype)
        return np.resize(np.array([0, 1, limits.max, limits.min, 7, 8, 9, 10], dtype), count)
    return np.resize(np.array(values).astype(dtype), count)


def check_old(store: Store) -> None:
    (block,) = store.blocks("kinds", "0" * 20)
    for kind in ("float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool"):
        for suffix, shape in {"": (8,), "_curve": (8, 5), "_matrix": (8, 2, 3)}.items():
            found, expected = block.arrays[kind + suffix], some(kind, int(np.prod(shape))).reshape(shape)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
            assert (np.signbit(found) == np.signbit(expected)).all() if kind.startswith("float") else True
    assert block.table["word"].to_list() == ["grün 測試 [b]"] * 8
    assert block.table["sizes"].to_list() == [[1, 2, i] for i in range(8)]
    table = store.table("descent")
    assert len(table) == 16
    assert table.filter(rate=2.1)["final"].min() > 1
    assert table.filter(rate=0.5)["final"].max() < 1e-3
    assert [len(c) for c in table["curve"]] == [30] * 16
    (block,) = store.blocks("on-host", next(iter(store.table("on-host")["code"])))
    assert block.arrays["echo"].shape == (3, 3)
    found, total = store.query("study = 'kinds' AND float32 > 1", 1)
    assert (total, found["float64_curve"][0].len()) == (
        3,
        5,
    )  # inf, the largest, and NaN, which comes after all
    assert store.set_aside == []


def test_a_store_of_an_older_version_stays_readable(old, home):
    check_old(old)
    for study, code in (("kinds", "0" * 20), ("descent", next(iter(old.table("descent")["code"])))):
        for i in range(5):  # new rows among the old, and all of them merged
            old.append(study, code, line(f"new-{i}").with_columns(study=pl.lit(study)))
        old.settle(study, code)
    news = Store().query("run LIKE 'new%'")[0]
    assert len(news) == 5  # of equal name in both studies: the newest of each
    with np.load(next((home / "bases").glob("*.npz")), allow_pickle=False) as base:
        assert len(base.files) == 1
    text = next((home / "records").glob("descent-*.json")).read_text()
    assert json.loads(text)["history"][0]["verdict"] == "holds"


def test_an_old_store_is_read_from_where_nothing_can_be_written(small_disk):
    import shutil

    shutil.copytree(OLD, small_disk / "store")
    remount(small_disk, "ro")
    check_old(Store(small_disk / "store"))


def test_a_checksum_is_in_the_name():
    path = Store().append("s", "c", line("a"))
    assert int(path.stem.rpartition("-")[2], 16) == zlib.crc32(path.read_bytes())


def test_what_a_killed_process_left_half_written_is_removed_after_a_day():
    store = Store()
    path = store.append("s", "c", line("a"))
    half = path.with_name(f".{path.name}.12345678")
    half.write_bytes(b"PAR1")
    store.settle("s", "c")
    assert half.exists()
    os.utime(half, (time.time() - 90_000,) * 2)
    store.settle("s", "c")
    assert not half.exists()
    assert path.exists()


def test_sigterm_leaves_a_store_that_goes_on(tmp_path, home):
    path = tmp_path / "walk.py"
    path.write_text(WALK.replace("8_000", "200_000"))
    command = [sys.executable, "-m", "armillary.cli", "run", str(path), "--chunk", "1", "--seeds", "400"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not Store().files() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    kept = len(Store().table())
    assert kept >= 1
    assert Store().set_aside == []
