"""Whatever is typed or found on disk gives a value or one clear error, and leaves everything else alone."""

import contextlib
import io
import json
import math
import string
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import armillary
from armillary import cli
from armillary.lab import InputError, Study, at_least, at_most, between, catalogue, close_to, settings
from armillary.lab.plan import in_words, parse_bytes
from armillary.lab.store import Store, rows
from armillary.lab.study import Bound
from armillary.lab.where import names, where

some = effort(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.floats(allow_nan=True, allow_infinity=True)


def experiment(key, *, rate=0.5, steps=30, flag=False, word="a", sizes=(1, 2), nothing=None):
    return {"x": jnp.zeros(())}


study = Study(experiment)


@some
@given(numbers, numbers, numbers, numbers)
def test_bounds(a, b, low, high):
    for make in (lambda: between(a, b), lambda: at_most(a), lambda: at_least(a), lambda: close_to(a, b)):
        try:
            bound = make()
        except InputError:
            continue
        assert bound.low <= bound.high
        assert not (bound.contains(low, high) and bound.excludes(low, high) and low <= high)
        if low <= high:
            inside = bound.low <= low and high <= bound.high
            outside = high < bound.low or low > bound.high
            assert (bound.contains(low, high), bound.excludes(low, high)) == (inside, outside)
        if math.isnan(low) and math.isnan(high):
            assert not bound.contains(low, high)
            assert not bound.excludes(low, high)
        assert str(bound)


@pytest.mark.parametrize(("low", "high"), [(math.nan, 1.0), (1.0, 0.0), (math.inf, math.inf)])
def test_a_bound_that_holds_no_number(low, high):
    with pytest.raises(InputError, match="holds no number"):
        Bound(low, high)


typed = st.text(max_size=30) | st.text(string.digits + ".,:-+eEinfalogtrue_ ", max_size=30)


@some
@given(st.sampled_from([*study.defaults, "unknown"]), typed)
def test_settings_from_text(name, text):
    try:
        value = settings.parse(study, name, text)
    except InputError:
        pass
    else:
        assert type(value) is type(study.defaults[name]) or study.defaults[name] is None
    try:
        values = settings.parse_axis(study, name, text)
    except InputError:
        return
    assert 1 <= len(values) <= settings.MOST_VALUES
    assert all(type(v) is type(study.defaults[name]) for v in values) or study.defaults[name] is None


@some
@given(st.floats() | st.integers(-(2**62), 2**62) | st.text(string.ascii_letters, min_size=1))
def test_a_setting_s_words_are_read_back(value):
    name = {float: "rate", int: "steps", str: "word"}[type(value)]
    if name == "steps":
        value = abs(value)
    if name == "rate" and not abs(value) <= np.finfo(np.float32).max:
        with pytest.raises(InputError, match="expected a finite number, at most"):
            settings.parse(study, name, str(value))
        return
    found = settings.parse(study, name, str(value))
    assert found == value
    assert name != "rate" or math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps", "1e300"),
        ("steps", "9" * 5000),
        ("steps", "nan"),
        ("rate", "lin:-1e308:1e308:3"),
        ("rate", "log:1e-300:1e300:3"),
        ("rate", "lin:0:1:999999999999"),
        ("rate", "lin:0:1:3:4"),
    ],
)
def test_huge_numbers(name, text):
    with pytest.raises(InputError):
        settings.parse_axis(study, name, text)


@some
@given(st.integers(1, 10**14), st.sampled_from(["", "B", "kB", "MB", "GiB", "t", " MiB"]))
def test_amounts_of_memory(count, unit):
    power = "kmgt".find(unit.strip()[:1].lower()) + 1 if unit.strip("B ") else 0
    assert parse_bytes(f"{count}{unit}") == count * (1024 if "i" in unit else 1000) ** power
    assert float(in_words(count).split()[0]) > 0


@some
@given(st.text(max_size=12))
def test_no_amount_of_memory(text):
    with contextlib.suppress(InputError):
        assert parse_bytes(text) >= 1


kinds = st.sampled_from(["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8", "?"])
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
outputs = st.dictionaries(
    st.text(min_size=1, max_size=8).map(lambda t: "m" + t.encode("utf-8", "replace").decode()),
    st.tuples(kinds, shapes),
    min_size=1,
    max_size=4,
)


@some
@given(
    data=st.data(),
    count=st.integers(1, 5),
    of=outputs,
    given_=st.dictionaries(st.sampled_from("abc"), plain | st.lists(plain, max_size=3).map(tuple)),
)
def test_what_is_stored_comes_back_bit_for_bit(data, count, of, given_, tmp_path_factory):
    values = {name: data.draw(arrays.arrays(kind, (count, *shape))) for name, (kind, shape) in of.items()}
    store = Store(tmp_path_factory.mktemp("store"))
    frame = rows(
        study="s",
        code="c",
        runs=[f"r{i}" for i in range(count)],
        seeds=range(count),
        settings=[given_] * count,
        outputs=values,
        seconds=1.0,
        plan="p",
    )
    store.append("s", "c", frame)
    (block,) = store.blocks("s", "c")
    assert store.set_aside == []
    assert set(block.arrays) == set(values)
    for name, value in values.items():
        found = block.arrays[name]
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(found, value)
        if value.dtype.kind == "f":
            np.testing.assert_array_equal(
                np.signbit(found[~np.isnan(found)]), np.signbit(value[~np.isnan(value)])
            )
    assert store.query(None, 1)[1] == count
    for name, value in given_.items():  # as they are, or in words
        kept = block.table[name].to_list()[0]
        assert kept == value or isinstance(kept, str | list) or (kept != kept and value != value)


TABLE = pl.DataFrame({"study": ["a", "b"], "seed": [1, 2], "rate": [0.1, 0.2], "größe": [1, 2]})
words = st.sampled_from(
    [
        "seed",
        "rate",
        "study",
        '"größe"',
        "AND",
        "OR",
        "NOT",
        "(",
        ")",
        "1",
        "'a'",
        "=",
        "<",
        "+",
        "-",
        "--",
        "/*",
        "*/",
        "'",
        '"',
        ",",
        "IN",
        "SELECT",
        "FROM",
        "read_csv",
        "read_parquet",
        "CASE",
        "WHEN",
        "||",
        "NULL",
        "IS",
        ";",
        "abs",
        "cast",
        "AS",
        "BETWEEN",
        "EXISTS",
        "UNION",
        "LIKE",
        "\\",
        "$$",
        "[",
        "]",
        ".",
        "::",
        "%",
        "1e999",
    ]
)


@some
@given(
    st.text(max_size=60)
    | st.lists(words, max_size=15).map(" ".join)
    | st.lists(words, max_size=15).map("".join)
)
def test_where_gives_rows_or_one_error(expression):
    try:
        found = where(TABLE, expression)
    except InputError:
        return
    assert found.columns == TABLE.columns
    assert set(names(expression)) <= set(TABLE.columns)


@pytest.mark.parametrize(
    "expression",
    [
        "seed > 1 -- '\n OR study IN (SELECT study FROM read_csv('/etc/passwd')) --'",
        "seed > 1 /* ' */ OR study IN (SELECT 1) /* ' */",
        "study = E'\\'' OR read_csv('x') = ''",
        "study = $$a$$",
        'study = "read_csv"(1)',
        "study IN (TABLE self)",
        "seed = (WITH x AS (SELECT 1) SELECT * FROM x)",
        "study = `seed`",
        "study = 'a' UNION SELECT 1",
        "scan_parquet('/etc/passwd') = 1",
        "study = pg_read_file('/etc/passwd')",
        "__import__('os').system('true')",
        "seed = 1 if True else 2",
        "'a' || " * 1000 + "'a' = 'b'",
        "seed = 1 OR " * 1000 + "seed = 2",
        "(" * 2000 + "1" + ")" * 2000,
    ],
)
def test_where_refuses_what_could_read_or_run(expression):
    with pytest.raises(InputError, match="--where"):
        where(TABLE, expression)


@some
@given(
    st.text(max_size=30)
    | st.sampled_from(["../../etc/passwd", "~nobody/x.py", "a\0b.py", "/dev/zero", "/", ".py", "...py"])
)
def test_a_target_that_is_none(target):
    with pytest.raises(InputError):
        catalogue.find(target)


@pytest.mark.parametrize("name", ["..", ".", "", "../../evil", "/etc", "a/b", "a\0b"])
def test_the_store_writes_nowhere_else(name, home):
    frame = pl.DataFrame({"study": ["s"], "run": ["r"], "shapes": ["{}"]})
    for folder in ((name, "c"), ("s", name)):
        with pytest.raises(InputError, match="name of a folder"):
            Store().append(*folder, frame)
        with pytest.raises(InputError, match="name of a folder"):
            Store().files(*folder)
    assert not list(home.parent.rglob("*.parquet"))


def test_a_study_s_name_leads_nowhere_else(tmp_path, home):
    """A study that was typed into a prompt is named after its function, which can be called anything."""
    scope: dict = {}
    exec("def experiment(key, *, rate=0.5):\n    return {'x': rate}", scope)
    typed_study = Study(scope["experiment"])
    for name in ("../../evil", "/etc/evil", "..", "[red]a[/]", "", "a\0b", "*", "größe"):
        scope["experiment"].__name__ = name
        slug = catalogue.find(typed_study).slug
        assert Path(slug).name == slug
        assert slug not in (".", "..", "")
        armillary.run(typed_study, seeds=1)
    assert {p.parents[2] for p in home.rglob("*.parquet")} == {home / "runs"}


MARKUP = '''
"""[red]Title[/red] :smile: [link=http://x]a[/link] costs $5 and $\\\\frac{$.

Claim: [/] closes nothing, and \\x1b[2J clears nothing.
Control: [bold]control[/bold].
"""
import jax.numpy as jnp
from armillary.lab import Check, Report, Study, at_most
def experiment(key, *, rate=0.5, word="[green]w[/green]"):
    return {"x": jnp.float32(rate), "$y_{$": jnp.float32(1)}
study = Study(
    experiment,
    arms={"[a] $\\\\frac{$": {}, "[/b]": {"word": "[/w]"}},
    checks=[Check("[i]id[/i]", "[s]sentence[/s] [/] $\\\\frac{$ :bomb:", lambda a: a["[a] $\\\\frac{$"].x, at_most(1.0),
                  {"[a] $\\\\frac{$": "[/b]"}, because="[u]because[/u] [/]", basis="pilot")],
    requires=[Check("[q]", "[/q]", lambda a: a["[/b]"].x, at_most(1.0))],
    reports=[Report("[r]", "[/]", lambda a: a["[/b]"].x)],
)
'''


def test_markup_in_names_is_printed_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_leave", sys.exit)
    (tmp_path / "[red]x[.py").write_text(MARKUP)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["armillary", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return out

    said = call("run", "[red]x[.py", "--seeds", "5")
    for text in (
        "[red]Title[/red] :smile: [link=http://x]",
        "[i]id[/i]",
        "[/b]",
        "[q]",
        "[/q]",
        "[r]",
        ":bomb:",
    ):
        assert text in said
    assert "[u]because[/u] [/]" in call("show", "[red]x[.py")
    assert "[green]w[/green]" in call("runs")
    swept = call("sweep", "[red]x[.py", "--over", "rate=0.1,0.2,0.3", "--seeds", "2")
    assert "$y_{$" in swept
    call(
        "sweep",
        "[red]x[.py",
        "--over",
        "rate=0.1,0.2",
        "--over",
        "word=[/],$\\frac{$",
        "--arm",
        "[a] $\\frac{$",
        "--seeds",
        "2",
    )
    assert sorted(p.suffix for p in (tmp_path / "armillary-out").iterdir()) == [
        ".parquet",
        ".png",
        ".png",
        ".svg",
    ]


@pytest.mark.parametrize("out", ["a-file", "a-file/below", "/proc/nothing", "n" * 300])
def test_an_output_folder_that_cannot_be(out, tmp_path, monkeypatch, capsys, descent):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["armillary", "run", descent, "--seeds", "1", "--out", out])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def stray(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


GOOD = {"study": ["s"], "run": ["r"], "seed": [1], "shapes": ['{"x": ["float32"]}'], "x": [1.0]}
FOREIGN = {
    "no parquet": b"PAR1" + bytes(range(256)) * 9,
    "nothing": b"",
    "other columns": stray(pl.DataFrame({"a": [1]})),
    "run is a number": stray(pl.DataFrame(GOOD | {"run": [1]})),
    "shapes are no JSON": stray(pl.DataFrame(GOOD | {"shapes": ["{"]})),
    "shapes of what is not there": stray(pl.DataFrame(GOOD | {"shapes": ['{"y": ["float32"]}']})),
    "shapes without end": stray(pl.DataFrame(GOOD | {"shapes": ['{"x": ["float32", 99999999999]}']})),
    "objects": stray(pl.DataFrame(GOOD | {"shapes": ['{"x": ["object"]}']})),
    "shapes are a list": stray(pl.DataFrame(GOOD | {"shapes": ["[1, 2]"]})),
    "odd kinds": stray(
        pl.DataFrame(
            GOOD
            | {
                "shapes": ["{}"],
                "versions": ["{"],
                "date": [5],
                "status": [b"\x1b[2J"],
                "\x1b[2J": [{"a": [b"x"]}],
            }
        )
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_from_elsewhere_in_the_store(name, monkeypatch, capsys):
    store = Store()
    frame = rows(
        study="s",
        code="c",
        runs=["mine"],
        seeds=[0],
        settings=[{"rate": 1.0}],
        outputs={"x": np.ones(1, np.float32)},
        seconds=1.0,
        plan="p",
    )
    folder = store.append("s", "c", frame).parent
    (folder / "7-00000000.parquet").write_bytes(FOREIGN[name])
    (folder / "notes.parquet").write_bytes(b"of no concern")
    again = Store()
    found = [b for b in again.blocks("s", "c") if "mine" in b.table["run"]]
    assert found[0].arrays["x"].tolist() == [1.0]
    assert (folder / "notes.parquet").exists()
    if name not in ("odd kinds",):
        assert len(again.set_aside) == 1
        assert "\n" not in again.set_aside[0]
    for options in ([], ["--json"], ["--where", "run = 'mine'"]):
        monkeypatch.setattr(sys, "argv", ["armillary", "runs", *options])
        with pytest.raises(SystemExit):
            cli.main()
        out, err = capsys.readouterr()
        assert "mine" in out
        assert "Traceback" not in err
        assert "\x1b" not in out
    again.settle("s", "c")


@some
@given(st.binary(max_size=300))
def test_rubbish_in_the_store(tmp_path_factory, content):
    store = Store(tmp_path_factory.mktemp("rubbish"))
    folder = store.root / "runs" / "s" / "c"
    folder.mkdir(parents=True)
    (folder / "1-00000000.parquet").write_bytes(content)
    assert len(store.table()) == 0
    assert len(store.set_aside) == 1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"history": 3}', b"\xff\xfe", b'{"history": [1]}', b"null"]
)
def test_a_record_that_is_none(content, descent):
    from armillary.lab import record

    entry = catalogue.find(descent)
    path = record.path_for(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a record"):
        record.history(entry)
    with pytest.raises(InputError, match="not a record"):
        record.append(entry, {"verdict": "holds"})
    assert path.read_bytes() == content


@pytest.mark.parametrize("how", ["truncated", "flipped", "another's", "pickled"])
def test_a_damaged_base_model_is_trained_again(how, home):
    def base(key, *, width=50):
        return {"w": jax.random.normal(key, (width,))}

    def measured(key, base, *, width=50):
        return {"w": base["w"].sum()}

    def run() -> float:
        return float(
            armillary.sweep(Study(measured, base=base), {"width": [50]}, seeds=1, fresh=True).w[0, 0]
        )

    first = run()
    (path,) = (home / "bases").glob("*.npz")
    content = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[:-30])
    elif how == "flipped":
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    elif how == "another's":
        np.savez(path, np.zeros(3, np.float32))
    else:
        np.savez(path, np.array([{"a": 1}], object))
    assert run() == first


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"3", b'{"a": 1}'])
def test_rubbish_where_parsed_sources_are_kept(content, home, descent, monkeypatch):
    from armillary.lab import fingerprint

    path = Path(descent)
    expected = fingerprint.code(path)
    kept = fingerprint._Parsed()
    kept.path.parent.mkdir(parents=True, exist_ok=True)
    kept.path.write_bytes(content)
    fingerprint._parsed.cache_clear()
    assert fingerprint.code(path) == expected
    fingerprint._parsed.cache_clear()


def test_json_of_a_store_is_strict(monkeypatch, capsys):
    values = np.array([np.nan, np.inf, -np.inf, -0.0])
    frame = rows(
        study="s",
        code="c",
        runs=list("abcd"),
        seeds=range(4),
        settings=[{"word": '"\n\u2028<script>'}] * 4,
        outputs={"x": values, "curve": values.reshape(4, 1)},
        seconds=1.0,
        plan="p",
    )
    Store().append("s", "c", frame)
    monkeypatch.setattr(sys, "argv", ["armillary", "runs", "--json"])
    with pytest.raises(SystemExit):
        cli.main()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert [r.get("x") for r in reversed(found)] == [None, None, None, 0.0]
