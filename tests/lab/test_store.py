import numpy as np
import polars as pl
import pytest

from armillary.lab import InputError
from armillary.lab.store import Store, rows
from armillary.lab.where import where


def loaded(store, runs):
    """The stored measurements of those of the wanted runs that are there, by run."""
    return {
        run: {name: values[i] for name, values in block.arrays.items()}
        for block in store.blocks("s", "c", runs)
        for i, run in enumerate(block.table["run"])
    }


def chunk(runs, value, study="s", **settings):
    outputs = {
        "scalar": np.full(len(runs), value, np.float32),
        "matrix": np.arange(len(runs) * 6, dtype=np.float32).reshape(len(runs), 2, 3) + np.float32(1 / 3),
        "flag": np.ones(len(runs), bool),
    }
    frame = rows(
        study=study,
        code="c",
        runs=runs,
        seeds=range(len(runs)),
        settings=[settings or {"rate": 0.1}] * len(runs),
        outputs=outputs,
        seconds=1.0,
        plan="p",
    )
    return frame, outputs


def test_what_is_written_is_read_bit_for_bit():
    store = Store()
    frame, outputs = chunk(["a", "b"], 1 / 3)
    store.append("s", "c", frame)
    found = loaded(store, ["b", "z"])
    assert set(found) == {"b"}
    for name, value in outputs.items():
        assert found["b"][name].dtype == value.dtype
        np.testing.assert_array_equal(found["b"][name], value[1])


def test_the_newest_row_wins():
    store = Store()
    for value in (1.0, 2.0):
        store.append("s", "c", chunk(["a"], value)[0])
    assert loaded(store, ["a"])["a"]["scalar"] == 2.0
    assert store.table()["scalar"].to_list() == [2.0]


def test_a_corrupt_file_is_named_and_set_aside_and_the_rest_is_read():
    store = Store()
    store.append("s", "c", chunk(["a"], 1.0)[0])
    bad = store.append("s", "c", chunk(["b"], 2.0)[0])
    bad.write_bytes(b"PAR1 nonsense")
    assert set(loaded(store, ["a", "b"])) == {"a"}
    assert str(bad) in store.set_aside[0]
    assert not bad.exists()
    assert bad.with_suffix(".corrupt").read_bytes() == b"PAR1 nonsense"
    again = Store()
    assert len(again.table()) == 1
    assert again.set_aside == []


def test_nothing_half_written_is_read(home):
    store = Store()
    path = store.append("s", "c", chunk(["a"], 1.0)[0])
    path.with_name(".half.parquet.1234").write_bytes(b"PAR1")
    assert len(store.files()) == 1


def test_an_unwritable_store_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        Store(tmp_path / "file" / "store").check()


def test_a_setting_may_be_a_number_here_and_a_word_there():
    store = Store()
    store.append("s", "c", chunk(["a"], 1.0, rate=0.5)[0])
    store.append("t", "c", chunk(["b"], 1.0, study="t", rate="fast")[0])
    store.append("u", "c", chunk(["d"], 1.0, study="u", rate=(1, 2))[0])
    assert store.table()["rate"].to_list() == ["0.5", "fast", "[1, 2]"]


def test_status_is_diverged_where_a_scalar_is_not_finite():
    frame, _ = chunk(["a"], np.nan)
    assert frame["status"].to_list() == ["diverged"]


TABLE = pl.DataFrame({"study": ["a", "b"], "seed": [1, 2], "rate": [0.1, 0.2], "select": [1, 1]})


@pytest.mark.parametrize(
    ("expression", "seeds"),
    [
        ("seed > 1", [2]),
        ("study = 'a' AND rate BETWEEN 0.05 AND 0.15", [1]),
        ("lower(study) IN ('b', 'select from read_csv(')", [2]),
        ("study LIKE 'a%' OR NOT seed = 1", [1, 2]),
        ('"select" = 1 AND rate * 10 > 1.5', [2]),
        ("seed IS NOT NULL", [1, 2]),
    ],
)
def test_where(expression, seeds):
    assert where(TABLE, expression)["seed"].to_list() == seeds


@pytest.mark.parametrize(
    "expression",
    [
        "study IN (SELECT study FROM read_csv('/etc/passwd'))",
        "seed > (select max(seed) from self)",
        "read_csv('/etc/passwd') = 1",
        "READ_PARQUET ('x') IS NULL",
        "exists (select 1)",
        "sede > 1",
        "seed > 1; drop table self",
        "seed >",
        "seed + 'a' = (",
    ],
)
def test_where_refuses(expression):
    with pytest.raises(InputError, match="--where"):
        where(TABLE, expression)


def test_an_empty_store_has_the_columns_of_every_run():
    found, total = Store().query("study = 'one-step-gd' AND seed < 4 AND seconds > 0 AND code != ''")
    assert (len(found), total) == (0, 0)
