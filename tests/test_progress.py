import time
from types import SimpleNamespace

from armillary.report.progress import Progress, duration


def test_plain_lines_say_what_runs_and_how_long_is_left(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "LINE_SECONDS", 0.05)
    group = SimpleNamespace(settings="width=3")
    with Progress(show=True) as tell:
        tell("start", total=8, reused=2, slug="s")
        tell("compile", group=group)
        time.sleep(0.12)
        tell("compiled", group=group, seconds=1.0)
        tell("chunk", done=5, total=8, left=7.4)
        tell("nodes", nodes=2, out=3)
        time.sleep(0.12)
        tell("end")
    lines = capsys.readouterr().err.splitlines()
    assert "2/8 runs, 2 from the store, compiling width=3" in lines[0]
    assert "s: 5/8 runs, 2 from the store, 3 chunks out on 2 nodes" in lines[-1]
    assert "about 7 s left" in lines[-1]
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_guess_until_the_first_chunk_ends(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "LINE_SECONDS", 0.05)
    with Progress(show=True) as tell:
        tell("start", total=8, reused=0, slug="s")
        tell("forecast", seconds=4e4)
        time.sleep(0.12)
        tell("chunk", done=2, total=8, left=None)
        time.sleep(0.12)
        tell("end")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("about 11 h of computing, by its size")
    assert "about" not in lines[-1]


def test_durations():
    given = (0.4, 119, 121, 7100, 7300, 40_000, 300_000, 9e8)
    words = ["0 s", "119 s", "2 min", "118 min", "2.0 h", "11 h", "3 days", "10,417 days"]
    assert [duration(s) for s in given] == words


def test_silence_in_a_pipe_unless_asked(capsys):
    with Progress() as tell:
        tell("start", total=8, reused=0, slug="s")
        tell("end")
    assert capsys.readouterr().err == ""
