"""The command line: one thin command a verb. Heavy imports wait until a command needs them."""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core

from armillary.lab.errors import InputError, RunError, TooLarge, nearest

if TYPE_CHECKING:
    from armillary.lab.plan import Plan
    from armillary.lab.store import Store
    from armillary.result import Result


class _Commands(typer.core.TyperGroup):
    """The commands; Ctrl-C in one of them says what was kept."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise InputError(
                f"no command {name!r}; {nearest(name, self.list_commands(ctx), what='commands')}"
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            _say(str(stopped) or "stopped")
            _leave(130)


app = typer.Typer(
    cls=_Commands,
    name="armillary",
    help="Papers about machine learning that you can run: claim, experiment, control, verdict.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Start with `armillary list`, `armillary show one-step-gd`, `armillary run one-step-gd`.",
)

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TARGET]...", help="Slugs, or paths of study files: Python, which is run."),
]
Target = Annotated[
    str,
    typer.Argument(help="A slug of the catalogue, or the path of a study file, which is Python and is run."),
]
Subject = Annotated[str | None, typer.Option(help="Every study of this subject.")]
All = Annotated[bool, typer.Option("--all", help="Every study of the catalogue; planned ones are skipped.")]
Scale = Annotated[str, typer.Option(help="`quick` (seconds on two cores) or `full` (GPUs and clusters).")]
Seeds = Annotated[int | None, typer.Option(help="How many seeds. Default: as many as the record used.")]
First = Annotated[int, typer.Option("--first-seed", help="The first seed's number.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another value for a setting, in the arms that do not set it themselves.",
    ),
]
Fresh = Annotated[bool, typer.Option(help="Compute again what the store already has, and append.")]
Explain = Annotated[bool, typer.Option(help="Say which devices, chunks and programs were used.")]
Out = Annotated[Path, typer.Option(help="Where figures and tables go.")]
Devices = Annotated[int | None, typer.Option(help="Use this many devices (a core is one).")]
Chunk = Annotated[int | None, typer.Option(help="Map over this many runs at once.")]
Memory = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Take at most so much memory: `2GB`. With --ray: each worker."),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="local|ADDRESS",
        help="Compute as tasks of a Ray cluster, at HOST:PORT (extra `armillary[ray]`).",
    ),
]
InFlight = Annotated[
    int | None, typer.Option("--max-in-flight", help="With --ray: so many chunks at a time.")
]
OUT = Path("armillary-out")
MOST_ROWS = 10**9


@app.command("list")
def list_(
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only papers with this recorded verdict.")] = None,
    search: Annotated[
        str | None, typer.Option(help="Only papers with this text in slug, title, claim or tags.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the papers: slug, title, year, subject, status, recorded verdict (stale if its code has changed since)."""
    from armillary import api
    from armillary.lab import catalogue

    _known("subject", subject, catalogue.subjects())
    _known("verdict", verdict, ("holds", "fails", "diverged", "vacuous", "undecided"))
    rows = [
        row
        for row in api.catalogue()
        if (subject is None or row["subject"] == subject)
        and (verdict is None or row["verdict"] == verdict)
        and (search is None or search.lower() in _text(catalogue.rows()[row["slug"]]))
    ]
    if as_json:
        _print_json(rows)
        return
    import click

    from armillary.report import listing

    runnable = sum(row["status"] == "runnable" for row in rows)
    click.echo("\n".join([*listing.lines(rows), f"{len(rows)} papers, {runnable} of them runnable"]))


def _text(row: Any) -> str:
    return " ".join([row.slug, row.title, row.claim, *row.tags]).lower()


@app.command()
def show(
    slug: Annotated[str, typer.Argument(help="A slug, or the path of a study file.")], as_json: Json = False
) -> None:
    """Show a paper: claim, control, scope, settings at both scales, checks with bounds, last verdict, source."""
    from armillary.report import show as page

    found = page.describe(slug)
    if as_json:
        _print_json(found)
    else:
        from armillary.report import console

        console.console().print(page.render(found))


@app.command()
def run(
    targets: Targets = None,
    subject: Subject = None,
    all_: All = False,
    scale: Scale = "quick",
    seeds: Seeds = None,
    first_seed: First = 0,
    set_: Set = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided", help="Add seeds in stages (8, 16, 32, 64) until the verdict is decided."
        ),
    ] = False,
    fresh: Fresh = False,
    explain: Explain = False,
    as_json: Json = False,
    out: Out = OUT,
    devices: Devices = None,
    chunk: Chunk = None,
    memory: Memory = None,
    ray: Ray = None,
    max_in_flight: InFlight = None,
) -> None:
    """Run studies and judge them: each check's interval over seeds against its bound, its control beside it.

    What the store already holds is not computed again, so an interrupted run goes on where it stopped.
    """
    from armillary import api
    from armillary.report import figures

    chosen, many = _targets(targets, subject, all_)
    if until_decided and seeds is not None:
        raise InputError(f"--seeds {seeds} and --until-decided: one of them says how many seeds")
    plan = _plan(devices, chunk, memory, ray, max_in_flight)
    _count("--seeds", seeds)
    _folder(out)
    store = _store()
    documents: list[Any] = []
    failed = False
    given = {entry.slug: _settings(entry, set_) for entry in chosen}
    for entry in chosen:
        try:
            result = api.run(
                entry,
                scale=scale,
                seeds=seeds,
                first_seed=first_seed,
                fresh=fresh,
                until_decided=until_decided,
                plan=plan,
                store=store,
                notify=_Listener(),
                **given[entry.slug],
            )
        except (RunError, TooLarge) as error:
            if isinstance(error, TooLarge) and not many:
                raise
            _say(f"{entry.slug}: {error}")
            failed = True
            continue
        figure = None
        try:
            figure = str(
                figures.save(
                    figures.of_result(result), *(out / f"{entry.slug}.{kind}" for kind in ("png", "svg"))
                )
            )
        except InputError:
            raise
        except Exception as error:  # the study's own, or a formula that cannot be set
            _say(f"{entry.slug}: no figure: {_in_words(error)}")
            failed = True
        documents.append(result.to_json(figure))
        _show(result, figure, as_json, explain)
    if as_json:
        _print_json(documents if many else documents[0] if documents else None)
    _finish(store, failed)


@app.command()
def sweep(
    target: Target,
    over: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUES",
            help="`rate=log:1e-3:1:32`, `rate=lin:0:1:5` or `width=16,32,64`; repeat for a grid.",
        ),
    ],
    arm: Annotated[str | None, typer.Option(help="Only this arm; all arms by default.")] = None,
    scale: Scale = "quick",
    seeds: Seeds = None,
    first_seed: First = 0,
    set_: Set = None,
    fresh: Fresh = False,
    explain: Explain = False,
    as_json: Json = False,
    out: Out = OUT,
    devices: Devices = None,
    chunk: Chunk = None,
    memory: Memory = None,
    ray: Ray = None,
    max_in_flight: InFlight = None,
) -> None:
    """Turn a study's knobs: a table, a figure of every scalar measurement, and the data as parquet."""
    from armillary import api
    from armillary.lab import catalogue, settings
    from armillary.report import console, figures

    plan = _plan(devices, chunk, memory, ray, max_in_flight)
    _count("--seeds", seeds)
    entry = catalogue.find(target)
    axes = {}
    for text in over:
        name, values = _split("--over", text)
        if name in axes:
            raise InputError(f"--over {name} is given twice")
        axes[name] = settings.parse_axis(entry.study, name, values)
    _folder(out)
    store = _store()
    data = api.sweep(
        entry,
        axes,
        arm=arm,
        seeds=seeds,
        first_seed=first_seed,
        scale=scale,
        fresh=fresh,
        plan=plan,
        store=store,
        notify=_Listener(),
        **_settings(entry, set_),
    )
    from armillary.report.tables import write_parquet

    parquet = write_parquet(data, out / f"{entry.slug}-sweep.parquet")
    figure: Path | None = None
    note = ""
    try:
        figure = figures.save(figures.sweep(data, list(axes)), out / f"{entry.slug}-sweep.png")
    except InputError as error:
        note = str(error)
    if as_json:
        _print_json(
            {"slug": entry.slug, "over": axes, "data": str(parquet), "figure": figure and str(figure)}
        )
    else:
        made, left_out = console.sweep(data, list(axes))
        console.console().print(made)
        if left_out:
            print(f"… and {left_out} more rows in the data")
        print(f"data: {parquet}\n" + (f"figure: {figure}" if figure else note))
    for line in settings.kept_in_words(data.attrs["kept"]):
        _say(line)
    if explain:
        print("\n".join(data.attrs["plan"]), file=sys.stderr)
    _finish(store)


@app.command()
def runs(
    where: Annotated[
        str | None,
        typer.Option(help="A SQL expression on the columns: `study = 'one-step-gd' AND seed < 4`."),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most this many rows, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """Query the store: one row a run, with its settings and measurements as columns."""
    from armillary.lab.store import Store
    from armillary.report import console, tables

    _count("--limit", limit)
    if limit > MOST_ROWS:
        raise InputError(f"--limit {limit}: expected at most {MOST_ROWS}")
    store = Store()
    found, total = store.query(where, limit)
    newest = found.reverse()
    if as_json:
        _print_json(tables.as_json(newest))
    else:
        console.console().print(tables.runs(newest))
        print(f"{len(newest)} of {total} runs in {store.root}")
    _finish(store)


@app.command()
def record(
    targets: Targets = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Studies without a record, or whose code has changed since.")
    ] = False,
    all_: All = False,
    only_figures: Annotated[
        bool,
        typer.Option(
            "--figures",
            help="Only draw figures again, from the store where it can; alone: of every record without one.",
        ),
    ] = False,
) -> None:
    """Run studies at quick scale and append their verdicts to the record, with their figures beside it."""
    from armillary import api
    from armillary.lab import catalogue
    from armillary.lab import record as records

    if only_figures:
        recorded = [s for s in catalogue.runnable() if records.latest(catalogue.row(s))]
        if not targets and not all_:
            chosen = [catalogue.find(s) for s in recorded if not records.figure(catalogue.row(s))]
        else:
            chosen, _ = (
                _targets(targets, None, False) if targets else ([catalogue.find(s) for s in recorded], True)
            )
        store = _store()
        for entry in chosen:
            print(api.redraw(entry, store=store, notify=_Listener()), flush=True)
        return _finish(store)
    if stale and not targets and not all_:
        outdated = [
            r["slug"] for r in api.catalogue() if r["status"] == "runnable" and r["stale"] is not False
        ]
        chosen = [catalogue.find(slug) for slug in outdated]
        if not chosen:
            print("no record is stale")
    else:
        chosen, _ = _targets(targets, None, all_, flags="TARGET, --stale or --all")
    store = _store()
    failed = False
    for entry in chosen:
        try:
            _show(api.record(entry, store=store, notify=_Listener()), None, False, False)
        except RunError as error:
            _say(f"{entry.slug}: {error}")
            failed = True
    _finish(store, failed)


@app.command()
def verify(
    targets: Targets = None,
    sample: Annotated[int | None, typer.Option(help="This many studies, drawn at random.")] = None,
    all_: All = False,
) -> None:
    """Compute recorded studies again and compare the verdicts; exit code 1 if one differs."""
    import random

    from armillary import api
    from armillary.lab import catalogue
    from armillary.lab import record as records

    _count("--sample", sample)
    if sample is not None and (targets or all_):
        raise InputError(f"--sample {sample}: expected without TARGET and without --all")
    if sample is not None:
        recorded = [slug for slug in catalogue.runnable() if records.latest(catalogue.row(slug))]
        chosen = [catalogue.find(s) for s in random.sample(recorded, min(sample, len(recorded)))]
    else:
        chosen, _ = _targets(targets, None, all_, flags="TARGET, --sample N or --all")
    if all_:
        chosen = [entry for entry in chosen if records.latest(entry)]
    store = _store()
    differs = False
    for entry in chosen:
        try:
            result, lines = api.verify(entry, store=store, notify=_Listener())
        except RunError as error:
            lines = [str(error)]
            result = None
        word = "differs from the record" if lines else "as recorded"
        print(f"{entry.slug}: {result.verdict if result else 'failed'}, {word}", flush=True)
        for line in lines:
            print(f"  {line}")
        differs = differs or bool(lines)
    _finish(store, differs)


@app.command()
def probe(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.py:FUNCTION]", help="A function that returns a problem of `armillary.probe`."
        ),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="A small network, trained on the spot on real digits.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="A CSV or parquet file of logged metrics, in place of a model.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of the log, with commas between; default: all numbers.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this measurement, or family of them; may be repeated."),
    ] = None,
    budget: Annotated[
        float, typer.Option(help="Seconds. What does not fit is left out and listed with its cost.")
    ] = 60.0,
    memory: Annotated[
        float, typer.Option(help="GB for vectors of the parameters' size that are kept.")
    ] = 4.0,
    learning_rate: Annotated[
        float | None, typer.Option(help="The training run's, to hold curvature against.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="The training run's, to hold noise against.")] = None,
    key: Annotated[int, typer.Option(help="The random vectors' seed.")] = 0,
    as_json: Json = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as one HTML file, with figures.")
    ] = None,
) -> None:
    """Measure a trained model, or a training log, the way the papers do; each row with its study's verdict."""
    if (target is not None) + example + (log is not None) != 1:
        raise InputError("expected one of FILE.py:FUNCTION, --example or --log FILE")
    if columns is not None and log is None:
        raise InputError("--columns names columns of a log: give --log too")
    from armillary import probe as probing
    from armillary.report import console
    from armillary.report import probe as shown

    if log is not None:
        report = probing.examine_log(log, columns.split(",") if columns else None, key=key)
    else:
        if example:
            from armillary.probe.example import problem, settings

            found = problem()
            learning_rate = learning_rate or settings["learning_rate"]
            batch_size = batch_size or settings["batch_size"]
        else:
            assert target is not None
            found = probing.load(target)
        report = probing.examine(
            found,
            only=only,
            budget=budget,
            memory=memory,
            learning_rate=learning_rate,
            batch_size=batch_size,
            key=key,
            tell=_say,
        )
    if html is not None:
        from armillary.lab.store import write_whole
        from armillary.report.probe_page import page as written

        write_whole(html, written(report).encode())
    if as_json:
        _print_json(report.to_json())
    else:
        console.console().print(shown.render(report))
        if html is not None:
            print(f"report: {html}")
    if report.failed:
        raise typer.Exit(1)


@app.command()
def new(name: Annotated[str, typer.Argument(help="The study's name; NAME.py is written here.")]) -> None:
    """Write a commented study file that runs as it is."""
    import keyword
    from importlib.resources import files

    stem = name.removesuffix(".py").replace("-", "_")
    if not stem.isidentifier() or keyword.iskeyword(stem) or stem != stem.lower() or len(stem) > 100:
        raise InputError(
            f"{name!r}: expected a name of at most 100 lower-case letters, digits, - and _ (as in my-claim)"
        )
    path = Path(f"{stem}.py")
    if path.exists():
        raise InputError(f"{path} exists already; choose another name")
    from armillary.lab.store import write_whole

    write_whole(path, files("armillary.report").joinpath("new_study.py.txt").read_bytes())
    print(f"{path}: edit it, then `armillary run {path}`")


With = Annotated[
    list[Path] | None, typer.Option("--with", help="A study file of your own that gets a page too; repeat.")
]
site = typer.Typer(
    help="The site: catalogue, papers, guides, API reference. Needs the extra `armillary[site]`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(site, name="site")


@site.command("build")
def site_build(
    out: Annotated[Path, typer.Option(help="The folder; new, empty or an earlier site.")] = OUT / "site",
    with_: With = None,
    url: Annotated[str, typer.Option(help="Where the site will stand, for the feed's links.")] = "",
) -> None:
    """Build the static site from docs, papers, the record and the figures; no study runs."""
    from armillary.report.site import build

    if url and not url.startswith(("https://", "http://")):
        raise InputError(f"--url {url!r}: expected an address that starts with https:// or http://")
    _folder(out)
    try:
        built = build(out, with_ or (), url=url)
    except OSError as error:
        raise InputError(f"--out {str(out)!r}: cannot write there ({error.strerror or error})") from None
    for line in built.warnings:
        _say(line)
    print(f"{built.path / 'index.html'}: {built.papers} papers, {built.pages} pages, {built.seconds:.1f} s")


@site.command("serve")
def site_serve(
    out: Annotated[Path, typer.Option(help="The folder; new, empty or an earlier site.")] = OUT / "site",
    with_: With = None,
    port: Annotated[int, typer.Option(help="The port on this machine.", min=0, max=65535)] = 8000,
) -> None:
    """Build the site, serve it to this machine alone, and build it again when something changes."""
    from armillary.report.site import serve

    _folder(out)
    serve(out, with_ or (), port=port, say=lambda line: print(line, flush=True))


@app.command()
def digest(
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only from this day on (UTC), as in 2026-11-24.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print new and changed verdicts, newest first: what the site's feed says."""
    from armillary.report import news

    events = news.of_catalogue(news.day(since) if since else None)
    if as_json:
        names = ("date", "slug", "title", "verdict", "before")
        _print_json([{name: getattr(e, name) for name in names} for e in events])
    else:
        print("\n".join(news.lines(events)) or "no new or changed verdict")


def main() -> NoReturn:
    """The console script: every error is one line on stderr and an exit code, never a traceback."""
    import click

    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        code = app(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        code = 2
    except click.UsageError as error:
        _say(error.format_message())
        code = 2
    except InputError as error:
        _say(str(error))
        code = 2
    except RunError as error:
        _say(str(error))
        code = 1
    except BrokenPipeError:  # `armillary list | head`
        _leave(0)
    except Exception as error:
        if os.environ.get("ARMILLARY_TRACEBACK"):
            raise
        _say(f"{_in_words(error)}; ARMILLARY_TRACEBACK=1 shows how it came to that")
        code = 1
    code = code if isinstance(code, int) else 0
    if any(t.daemon and t.name.startswith("armillary") for t in threading.enumerate()):
        _leave(code)
    sys.exit(code)


def _in_words(error: Exception) -> str:
    """Where an error came from, and what it says."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}, line {frames[-1].lineno}: " if frames else ""
    return f"{place}{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _leave(code: int) -> NoReturn:
    """Exit without waiting for the threads that still compute."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _say(message: str) -> None:
    """One line on stderr, whatever is in the message."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(message.split()))
    with contextlib.suppress(OSError):
        print(f"armillary: {line}", file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    from armillary.lab.record import plain

    print(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _show(result: "Result", figure: str | None, as_json: bool, explain: bool) -> None:
    from armillary.report import console

    if not as_json:
        console.console().print(console.result(result, figure))
    if explain:
        print("\n".join(result.swept.plan), file=sys.stderr)


def _Listener() -> Any:
    from armillary.report.progress import Progress

    return Progress(show=True)


def _store() -> "Store":
    from armillary.lab.store import Store

    store = Store()
    store.check()
    return store


def _plan(
    devices: int | None, chunk: int | None, memory: str | None, ray: str | None, in_flight: int | None
) -> "Plan":
    from armillary.lab.plan import Plan, parse_bytes

    for option, value in (("--devices", devices), ("--chunk", chunk), ("--max-in-flight", in_flight)):
        _count(option, value)
    return Plan(devices, chunk, None if memory is None else parse_bytes(memory), ray, in_flight)


def _finish(store: "Store", failed: bool = False) -> None:
    """The exit code: 1 if a run failed, 2 if the store had a file that could not be read, else 0."""
    for line in store.set_aside:
        _say(line)
    if failed or store.set_aside:
        raise typer.Exit(1 if failed else 2)


def _targets(
    targets: list[str] | None, subject: str | None, all_: bool, *, flags: str = "TARGET, --subject or --all"
) -> tuple[list[Any], bool]:
    """The studies asked for, and whether the answer is a list."""
    from armillary.lab import catalogue

    if not targets and not subject and not all_:
        raise InputError(f"nothing to do: give {flags}; `armillary list` names the papers")
    slugs = list(dict.fromkeys([*(targets or []), *(catalogue.runnable(subject) if subject or all_ else [])]))
    return [catalogue.find(slug) for slug in slugs], len(slugs) != 1 or bool(subject) or all_


def _settings(entry: Any, given: list[str] | None) -> dict[str, Any]:
    from armillary.lab import settings

    pairs = [_split("--set", text) for text in given or []]
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--set {twice[0]} is given twice")
    return {name: settings.parse(entry.study, name, value) for name, value in pairs}


def _split(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"{option} {text!r}: expected NAME=VALUE")
    return name.strip().replace("-", "_"), value


def _folder(out: Path) -> None:
    """Raise `InputError` now if nothing can be written there, not after the first minute of work."""
    there = next((p for p in (out, *out.absolute().parents) if os.path.lexists(p)), out)
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        reason = "no permission" if os.path.isdir(there) else "it is no folder"
        raise InputError(f"--out {str(out)!r}: cannot write in {there} ({reason})")


def _count(option: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InputError(f"{option} {value}: expected 1 or more")


def _known(what: str, value: str | None, valid: Any) -> None:
    if value is not None and value not in valid:
        raise InputError(f"no {what} {value!r}; {nearest(value, valid, what='one of')}")


if __name__ == "__main__":
    main()
