import time
from types import SimpleNamespace

from armillary.report.progress import Progress


def test_plain_lines_say_what_runs_and_how_long_is_left(capsys, monkeypatch):
    monkeypatch.setattr(Progress, "LINE_SECONDS", 0.05)
    group = SimpleNamespace(settings="width=3")
    with Progress(show=True) as tell:
        tell("start", total=8, reused=2, slug="s")
        tell("compile", group=group)
        time.sleep(0.12)
        tell("compiled", group=group, seconds=1.0)
        tell("chunk", done=5, total=8)
        tell("nodes", nodes=2, out=3)
        time.sleep(0.12)
        tell("end")
    lines = capsys.readouterr().err.splitlines()
    assert "2/8 runs, 2 from the store, compiling width=3" in lines[0]
    assert "s: 5/8 runs, 2 from the store, 3 chunks out on 2 nodes" in lines[-1]
    assert "s left" in lines[-1]
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_silence_in_a_pipe_unless_asked(capsys):
    with Progress() as tell:
        tell("start", total=8, reused=0, slug="s")
        tell("end")
    assert capsys.readouterr().err == ""
