"""The verbs: run, sweep, load, record, verify. What `import armillary` offers and the command line calls."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary.lab import catalogue as _catalogue
from armillary.lab import record as _record
from armillary.lab import settings as _settings
from armillary.lab.catalogue import Entry
from armillary.lab.errors import InputError
from armillary.lab.study import Study

if TYPE_CHECKING:
    import xarray as xr

    from armillary.lab.plan import Plan
    from armillary.lab.store import Store
    from armillary.result import Result

Target = str | Path | Study | Entry
Notify = Callable[..., None]


def run(
    target: Target,
    *,
    scale: str = "quick",
    seeds: int | None = None,
    first_seed: int = 0,
    fresh: bool = False,
    until_decided: bool = False,
    plan: "Plan | None" = None,
    store: "Store | None" = None,
    notify: Notify | None = None,
    **settings: Any,
) -> "Result":
    """Run a study and judge it.

    **Arguments:**

    - `target`: a slug of the catalogue, the path of a study file, or a `Study`.
    - `scale`: `quick` or `full`.
    - `seeds`: how many; by default as many as the record used, else the study's own number.
    - `first_seed`: the first seed's number.
    - `fresh`: compute again what the store already has.
    - `until_decided`: add seeds in stages (8, 16, 32, 64) until the verdict is no longer undecided; each
      stage's intervals take an equal share of the 1% of error.
    - `plan`: force the number of devices or the chunk.
    - `settings`: settings that differ from the scale's. An arm that sets one of them itself keeps its own value, and
      the result says so (`.kept`).

    **Returns:** a `Result` with `.verdict`, `.checks`, `.data[arm]` (an `xarray.Dataset`), `.figure()`.

    **Raises:** `InputError` for what cannot be, settings at which a check cannot be computed among it; `RunError`
    if the experiment fails.
    """
    from armillary.lab import sweep as lab
    from armillary.lab import verdict
    from armillary.lab.rehearse import rehearse
    from armillary.result import Result

    entry = _catalogue.find(target)
    arms = _settings.arms(entry.study, scale, settings)
    rehearse(entry, scale, settings)
    stages: tuple[int, ...] = verdict.STAGES if until_decided else (_seeds(entry, scale, seeds),)
    level = 1 - (1 - verdict.LEVEL) / len(stages)
    with _progress(notify) as tell:
        for count in stages:
            numbers = lab.seed_numbers(entry.study, count, first_seed)
            swept = lab.sweep(entry, arms, numbers, store=store, fresh=fresh, plan=plan, notify=tell)
            judgement = verdict.judge(entry.study, swept.data, level=level)
            if judgement.verdict != "undecided":
                break
    resolved = _settings.resolve(entry.study, scale, settings)
    kept = _settings.kept(entry.study, scale, settings)
    return Result(entry, scale, count, first_seed, resolved, judgement, swept, kept)


def sweep(
    target: Target,
    over: Mapping[str, Any],
    *,
    arm: str | None = None,
    seeds: int | None = None,
    first_seed: int = 0,
    scale: str = "quick",
    fresh: bool = False,
    plan: "Plan | None" = None,
    store: "Store | None" = None,
    notify: Notify | None = None,
    **settings: Any,
) -> "xr.Dataset":
    """Run a study's experiment over a grid of settings.

    **Arguments:**

    - `target`: a slug of the catalogue, the path of a study file, or a `Study`.
    - `over`: setting → its values. Floats share one compiled program; other values take one each.
    - `arm`: only this arm; by default all of them, along a dimension `arm` if there are several.
    - the rest as in [`run`][armillary.run].

    **Returns:** every measurement, with dims `arm` (if several), `seed`, one a swept setting, and its own.
    """
    from armillary.lab import sweep as lab

    entry = _catalogue.find(target)
    if not over:
        raise InputError("nothing to sweep over: give at least one setting with its values")
    if clash := set(over) & set(settings):
        raise InputError(f"{min(clash)!r} is both swept and set")
    axes = {name: _settings.axis(entry.study, name, values) for name, values in over.items()}
    arms = _settings.arms(entry.study, scale, {**settings, **axes})
    kept = _settings.kept(entry.study, scale, {**settings, **axes})
    if arm is not None:
        if arm not in arms:
            from armillary.lab.errors import nearest

            raise InputError(f"no arm {arm!r}; {nearest(arm, arms, what='arms')}")
        arms = {arm: arms[arm]}
        kept = {name: [arm] for name, own in kept.items() if arm in own}
        if fixed := [n for n in axes if not _settings.is_axis(arms[arm][n])] or list(kept):
            raise InputError(f"arm {arm!r} sets {fixed[0]!r} itself; choose another arm or setting")
    numbers = lab.seed_numbers(entry.study, _seeds(entry, scale, seeds), first_seed)
    with _progress(notify) as tell:
        swept = lab.sweep(entry, arms, numbers, store=store, fresh=fresh, plan=plan, notify=tell)
    data = _join_arms(swept.data)
    without: dict[str, list[str]] = {
        a: [n for n in axes if not _settings.is_axis(chosen[n])] for a, chosen in arms.items()
    }
    data.attrs |= {"study": entry.slug, "title": entry.title, "over": list(axes), "fixed": without}
    data.attrs |= {"kept": kept, "plan": swept.plan}
    return data


def load(target: Target, *, store: "Store | None" = None) -> "xr.Dataset":
    """What the store holds of a study's present code: one row a run, nothing computed.

    **Returns:** measurements with dim `run` first and then their own; settings and `seed` are coordinates
    along `run`.
    """
    from armillary.lab.store import Store
    from armillary.lab.sweep import code_of, stored

    entry = _catalogue.find(target)
    found = stored(entry.study, entry.slug, code_of(entry), store or Store())
    if found is None:
        raise InputError(f"the store has no runs of {entry.slug}; `armillary run {entry.slug}` makes some")
    return found


def catalogue() -> list[dict[str, Any]]:
    """Every paper: slug, title, year, subject, status, the record's verdict, and whether that is stale."""
    found = []
    for row in _catalogue.rows().values():
        record = _record.latest(row) if row.status == "runnable" else None
        found.append(
            {
                "slug": row.slug,
                "title": row.title,
                "year": row.year,
                "subject": row.subject,
                "status": row.status,
                "verdict": record and record["verdict"],
                "stale": _record.stale(row, record),
            }
        )
    return found


def record(target: Target, *, store: "Store | None" = None, notify: Notify | None = None) -> "Result":
    """Compute a study at quick scale with its own number of seeds; append its verdict to the record.

    Its figure is kept beside the record.
    """
    from armillary.report import figures

    entry = _catalogue.find(target)
    result = run(entry, seeds=entry.study.seeds, fresh=True, store=store, notify=notify)
    body = result.to_json()
    for name in ("slug", "figure", "computed", "reused"):
        del body[name]
    _record.append(entry, body)
    figures.keep(result)
    return result


def redraw(target: Target, *, store: "Store | None" = None, notify: Notify | None = None) -> Path:
    """Draw the figure beside a study's record again; what the store holds is not computed again.

    **Returns:** the SVG's path.

    **Raises:** `InputError` without a record.
    """
    from armillary.report import figures

    entry = _catalogue.find(target)
    past = _past(entry)
    result = run(entry, seeds=past["seeds"], first_seed=past["first_seed"], store=store, notify=notify)
    return figures.keep(result)


def verify(
    target: Target, *, store: "Store | None" = None, notify: Notify | None = None
) -> "tuple[Result, list[str]]":
    """Compute a recorded study again.

    **Returns:** the result, and a line for each verdict that differs from the record.
    """
    entry = _catalogue.find(target)
    past = _past(entry)
    result = run(
        entry, seeds=past["seeds"], first_seed=past["first_seed"], fresh=True, store=store, notify=notify
    )
    now = {"the study": result.verdict} | {c.id: c.verdict for c in result.checks}
    then = {"the study": past["verdict"]} | {c["id"]: c["verdict"] for c in past["checks"]}
    names = dict.fromkeys([*then, *now])
    return result, [
        f"{name}: recorded {then.get(name, 'nothing')}, now {now.get(name, 'gone')}"
        for name in names
        if then.get(name) != now.get(name)
    ]


def _past(entry: Entry) -> _record.Record:
    past = _record.latest(entry)
    if past is None:
        raise InputError(f"{entry.slug} has no record; `armillary record {entry.slug}` makes one")
    return past


def _seeds(entry: Entry, scale: str, asked: int | None) -> int:
    if asked is not None:
        return asked
    if scale == "full":
        return entry.study.full.get("seeds", entry.study.seeds)
    past = _record.latest(entry)
    return past["seeds"] if past else entry.study.seeds


def _progress(notify: Notify | None) -> Any:
    from contextlib import nullcontext

    from armillary.report.progress import Progress

    return nullcontext(notify) if notify is not None else Progress()


def _join_arms(data: "dict[str, xr.Dataset]") -> "xr.Dataset":
    import xarray as xr

    if len(data) == 1:
        return next(iter(data.values()))
    sizes: dict[Any, int] = {}
    for one in data.values():
        for dim, size in one.sizes.items():
            sizes[dim] = max(size, sizes.get(dim, 0))
    padded = [
        one.pad({d: (0, n - one.sizes[d]) for d, n in sizes.items() if n > one.sizes.get(d, n)})
        for one in data.values()
    ]
    return xr.concat(padded, xr.DataArray(list(data), dims="arm", name="arm"), join="outer", coords="minimal")


__all__ = ["catalogue", "load", "record", "run", "sweep", "verify"]
