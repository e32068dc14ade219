"""Settings: from defaults, scale, the user's words and arms to the points at which an experiment runs."""

import itertools
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from armillary.lab.errors import InputError, nearest
from armillary.lab.study import Study

Scale = Literal["quick", "full"]
SCALES: tuple[Scale, ...] = ("quick", "full")
Settings = dict[str, Any]
MOST_VALUES = 100_000
"""Of an axis given by its ends."""


def is_axis(value: Any) -> bool:
    """Whether a setting's value is an axis: a list, or an array with one dimension or more."""
    return isinstance(value, list) or (hasattr(value, "ndim") and value.ndim > 0)


def as_list(axis: Any) -> list[Any]:
    """An axis's values as Python numbers or strings."""
    return list(axis) if isinstance(axis, list) else axis.tolist()


def _example(default: Any) -> Any:
    return as_list(default)[0] if is_axis(default) else default


def coerce(study: Study, name: str, value: Any) -> Any:
    """One value in the kind of its setting's default.

    **Raises:** `InputError` naming the setting, the value and what was expected.
    """
    if name not in study.defaults:
        raise InputError(f"unknown setting {name!r}; {nearest(name, study.defaults, what='settings')}")
    example = _example(study.defaults[name])
    choices = study.choices.get(name)
    if choices is not None and value not in choices:
        raise InputError(f"{name}={value!r}: {nearest(str(value), map(str, choices), what='choices')}")
    result = _as_kind(value, example)
    if result is _WRONG:
        raise InputError(f"{name}={value!r}: expected {_kind(example)} (default {example!r})")
    if isinstance(example, int) and not isinstance(example, bool) and 0 <= example and result < 0:
        raise InputError(f"{name}={value!r}: expected a whole number that is not negative")
    if isinstance(result, int) and abs(result) >= 1 << 63:
        raise InputError(f"{name}={value!r}: expected a whole number of at most 63 bits")
    largest = sys.float_info.max if study.x64 else _LARGEST
    floats = [v for v in _sequence(result) if isinstance(v, float)]
    if not all(abs(v) <= largest for v in floats) and not (isinstance(example, float) and example == result):
        raise InputError(
            f"{name}={value!r}: expected a finite number, at most {largest:.3g} (default {example!r})"
        )
    return result


_LARGEST = 3.4028234663852886e38
"""Of numbers of 32 bits."""


_WRONG = object()


def _as_kind(value: Any, example: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if example is None:
        return value
    if isinstance(example, bool):
        return value if isinstance(value, bool) else _WRONG
    if isinstance(example, int):
        return int(value) if number and math.isfinite(value) and value == int(value) else _WRONG
    if isinstance(example, float):
        return float(value) if number else _WRONG
    if isinstance(example, str):
        return value if isinstance(value, str) else _WRONG
    if isinstance(example, tuple):
        items = [_as_kind(v, example[0]) if example else v for v in _sequence(value)]
        return _WRONG if any(v is _WRONG for v in items) else tuple(items)
    return value if type(value) is type(example) else _WRONG


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple | list) else (value,)


def _kind(example: Any) -> str:
    if isinstance(example, tuple):
        return "values separated by commas"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    return names.get(type(example), type(example).__name__)


def parse(study: Study, name: str, text: str) -> Any:
    """The value of `--set name=text`, in the kind of the setting's default."""
    if name in study.defaults and isinstance(_example(study.defaults[name]), tuple):
        return coerce(study, name, tuple(_literal(t) for t in text.split(",") if t != ""))
    if name in study.defaults and isinstance(_example(study.defaults[name]), str):
        return coerce(study, name, text)
    return coerce(study, name, _literal(text))


def parse_axis(study: Study, name: str, text: str) -> list[Any]:
    """The values of `--over name=text`: `1,2,4`, `lin:0:1:5` or `log:1e-3:1:32`."""
    spacing, _, rest = text.partition(":")
    if spacing in ("lin", "log"):
        parts = rest.split(":")
        try:
            low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
        except (ValueError, IndexError):
            raise InputError(f"{name}={text}: expected {spacing}:LOW:HIGH:COUNT") from None
        if not 1 <= count <= MOST_VALUES or len(parts) != 3 or not math.isfinite(high - low):
            raise InputError(
                f"{name}={text}: expected {spacing}:LOW:HIGH:COUNT with COUNT from 1 to {MOST_VALUES}"
            )
        if spacing == "log" and min(low, high) <= 0:
            raise InputError(f"{name}={text}: a log axis needs positive ends")
        if spacing == "log" and not math.isfinite(high / low):
            raise InputError(f"{name}={text}: the ends are too far apart")
        at = [i / (count - 1) if count > 1 else 0.0 for i in range(count)]
        if spacing == "log":
            values: list[Any] = [low * (high / low) ** t for t in at]
        else:
            values = [low + (high - low) * t for t in at]
        if name in study.defaults and isinstance(_example(study.defaults[name]), int):
            values = sorted({round(v) for v in values})
    elif ":" in text and spacing not in ("", text):
        raise InputError(f"{name}={text}: {nearest(spacing, ('lin', 'log'), what='spacings')}")
    else:
        values = [_literal(t) for t in text.split(",") if t.strip()]
    if not values:
        raise InputError(f"{name}={text}: no values")
    return axis(study, name, values)


def axis(study: Study, name: str, values: Any) -> list[Any]:
    """Values for a swept setting, each in the setting's kind."""
    values = [coerce(study, name, v) for v in (as_list(values) if is_axis(values) else _sequence(values))]
    if len({json.dumps(v) for v in values}) < len(values):
        raise InputError(f"{name}: a value stands twice in {values}")
    return values


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    text = text.strip()
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def resolve(study: Study, scale: str = "quick", overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings outside any arm: defaults, then `full`, then the user's."""
    if scale not in SCALES:
        raise InputError(f"scale {scale!r}; {nearest(scale, SCALES, what='one of')}")
    settings = dict(study.defaults)
    if scale == "full":
        settings |= {k: v for k, v in study.full.items() if k in settings}
    for name, value in (overrides or {}).items():
        given_axis = is_axis(value)
        settings[name] = axis(study, name, value) if given_axis else coerce(study, name, value)
    return settings


def arms(
    study: Study, scale: str = "quick", overrides: Mapping[str, Any] | None = None
) -> dict[str, Settings]:
    """Every arm's settings. Precedence: defaults, `full`, the user's, the arm's own.

    **Raises:** `InputError` if the user sets what every arm sets itself.
    """
    base = resolve(study, scale, overrides)
    changes = {name: _changes(arm, base) for name, arm in _declared(study, scale).items()}
    for name in overrides or {}:
        if all(name in c for c in changes.values()):
            raise InputError(f"{name!r} is set by every arm itself; choose another setting")
    return {name: base | c for name, c in changes.items()}


def kept(
    study: Study, scale: str = "quick", overrides: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """Which arms keep a value of their own for what the user sets: setting -> arms, where there are any.

    An arm whose value follows the user's (five times as many steps, say) is not among them.
    """
    given = dict(overrides or {})
    base = resolve(study, scale, given)
    found = {}
    for name in given:
        without = resolve(study, scale, {k: v for k, v in given.items() if k != name})
        own = {a: (_changes(c, base), _changes(c, without)) for a, c in _declared(study, scale).items()}
        arms = [
            arm
            for arm, (now, before) in own.items()
            if name in now and not _equal(now[name], base[name]) and _equal(now[name], before.get(name))
        ]
        if arms:
            found[name] = arms
    return found


def kept_in_words(kept: Mapping[str, Sequence[str]]) -> list[str]:
    """One line a setting: which arms do not take the user's value."""
    lines = []
    for name, arms in kept.items():
        names = ", ".join(map(repr, arms[:4])) + (f" and {len(arms) - 4} more" if len(arms) > 4 else "")
        own = "keeps its own value" if len(arms) == 1 else "keep their own values"
        lines.append(f"{name}: {names} {own}; what was given is for the other arms")
    return lines


def _declared(study: Study, scale: str) -> Mapping[str, Any]:
    return study.full.get("arms", study.arms) if scale == "full" else study.arms


def _equal(a: Any, b: Any) -> bool:
    plain = [as_list(v) if is_axis(v) else v for v in (a, b)]
    return bool(plain[0] == plain[1])


def _changes(arm: Mapping[str, Any] | Callable[[Settings], Mapping[str, Any]], base: Settings) -> Settings:
    changes = arm(base) if callable(arm) else arm
    return {k: v(base) if callable(v) else v for k, v in changes.items()}


def axes_of(settings: Settings) -> dict[str, list[Any]]:
    """An arm's axes."""
    return {name: as_list(v) for name, v in settings.items() if is_axis(v)}


def points(settings: Settings) -> tuple[dict[str, list[Any]], list[Settings]]:
    """An arm's axes and the points of their grid, in row-major order."""
    axes = axes_of(settings)
    grid = [settings | dict(zip(axes, values)) for values in itertools.product(*axes.values())]
    return axes, grid


def split(point: Settings) -> tuple[dict[str, float], Settings]:
    """A point's traced settings (floats) and its static ones."""
    traced = {k: v for k, v in point.items() if isinstance(v, float)}
    return traced, {k: v for k, v in point.items() if k not in traced}
