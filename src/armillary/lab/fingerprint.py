"""What a result depends on, as hashes.

*code*: the normalized syntax tree (no comments, no docstrings, no figure) of a study and of every module of
the package or beside the study that its names resolve to, through re-exports, plus the lab's `NUMERICS`.
*run*: code, data, settings, versions of the numerical packages and precision.
"""

import ast
import atexit
import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from armillary.lab.errors import InputError
from armillary.lab.store import home, write_whole

PACKAGE = Path(__file__).parents[1]
_APART = {"lab", "report", "cli", "api"}
"""Parts of the package whose code does not change a number: NUMERICS stands for the lab."""
MOST_SOURCES = 10_000
"""Parsed files kept on disk at most; beyond that nothing new is kept."""
_NUMERICAL = ("jax", "jaxlib", "numpy", "scipy", "equinox", "optax", "diffrax", "scikit-learn")


def digest(value: Any) -> str:
    """A short hash of anything that JSON can write, or of bytes."""
    raw = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.sha256(raw).hexdigest()[:20]


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the numerical packages that are installed."""
    import importlib.metadata

    found = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in _NUMERICAL:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def sources(path: Path) -> list[Path]:
    """The files that a study's names resolve to, itself first: what its code hash is made of."""
    found: dict[Path, None] = {}
    _follow(path.resolve(), found)
    return list(found)


def code(path: Path) -> str:
    """The code hash of the study in a file."""
    from armillary.lab import NUMERICS

    return digest([NUMERICS, *(_normal(p.read_bytes()) for p in sources(path))])


def beside(path: Path) -> dict[str, bytes]:
    """A user's study file and the files beside it that its names resolve to: name below its folder → bytes.

    **Raises:** `InputError` if one lies outside the study's folder.
    """
    folder = path.resolve().parent
    files = [p for p in sources(path) if not p.is_relative_to(PACKAGE)]
    routes = [up / "__init__.py" for p in files for up in p.parents if folder in up.parents]  # of packages
    found = {}
    for file in dict.fromkeys([*files, *(p for p in routes if p.is_file())]):
        if not file.is_relative_to(folder):
            raise InputError(f"{path} imports {file}, which lies outside its folder; move it there")
        found[file.relative_to(folder).as_posix()] = file.read_bytes()
    return found


def raw(path: Path) -> dict[str, str]:
    """A study's files and the hashes of their bytes: if none has changed, neither has the code hash."""
    files = sources(path)
    routes = [p.with_name("__init__.py") for p in files]  # re-exports decide which file a name is from
    return {_name(p): digest(p.read_bytes()) for p in dict.fromkeys([*files, *routes]) if p.is_file()}


def unchanged(files: dict[str, str]) -> bool:
    """Whether the files of an earlier `raw` are still the same, byte for byte."""
    try:
        return all(digest((PACKAGE / name).read_bytes()) == value for name, value in files.items())
    except OSError:
        return False


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else str(path)


def _normal(source: bytes) -> str:
    return _parsed().of(source)[0]


def _imports(source: bytes) -> list[tuple[str, list[str], int]]:
    return _parsed().of(source)[1]


@cache
def _parsed() -> "_Parsed":
    return _Parsed()


class _Parsed:
    """The normal form and the imports of source files, kept on disk: parsing would be most of `armillary list`."""

    def __init__(self) -> None:
        # A file for each version of what this module computes, and of the parser.
        name = digest(Path(__file__).read_bytes() + sys.version.encode())
        self.path = home() / "sources" / f"{name}.json"
        self.known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            self.known = kept if isinstance(kept, dict) else {}
        self.kept = len(self.known)
        atexit.register(self.keep)

    def of(self, source: bytes) -> tuple[str, list[tuple[str, list[str], int]]]:
        key = digest(source)
        if key not in self.known:
            self.known[key] = (_normal_form(source), _imports_of(source))
        return self.known[key]

    def keep(self) -> None:
        """Write what is new. Without a place to write, the next process parses again."""
        if self.kept < len(self.known) < MOST_SOURCES:
            with contextlib.suppress(InputError):
                write_whole(self.path, json.dumps(self.known).encode())


def _normal_form(source: bytes) -> str:
    tree = ast.parse(source)
    _drop_figure(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [n for n in body if not _is_docstring(n)]
    return digest(ast.dump(tree))


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _drop_figure(tree: ast.Module) -> None:
    """Take `figure=` out of the call of Study, and the functions that nothing else needs: a drawing changes no number."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Study"]
    for call in calls:
        call.keywords = [k for k in call.keywords if k.arg != "figure"]
    unused = [n for n in tree.body if calls]
    while unused:
        used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        unused = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name not in used]
        tree.body = [n for n in tree.body if n not in unused]


def _follow(path: Path, found: dict[Path, None]) -> None:
    if path in found:
        return
    found[path] = None
    for module, names, level in _imports(path.read_bytes()):
        for target in _resolve(module, names, level, path):
            _follow(target, found)


def _imports_of(source: bytes) -> list[tuple[str, list[str], int]]:
    found: list[tuple[str, list[str], int]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found.append((node.module or "", [a.name for a in node.names], node.level))
        elif isinstance(node, ast.Import):
            found += [(a.name, [], 0) for a in node.names]
    return found


def _resolve(module: str, names: Sequence[str], level: int, importer: Path) -> list[Path]:
    if level:
        root = importer.parents[level - 1]
        parts = module.split(".") if module else []
    elif module.split(".")[0] == PACKAGE.name:
        root, parts = PACKAGE, module.split(".")[1:]
        if (parts and parts[0] in _APART) or (not parts and set(names) <= _APART):
            return []
    else:
        root, parts = importer.parent, module.split(".")
        if PACKAGE in importer.parents:
            return []
    base = root.joinpath(*parts)
    if base.with_suffix(".py").is_file():
        return [base.with_suffix(".py")]
    if not (base / "__init__.py").is_file():
        return []
    return [target for name in names or [""] for target in _of_name(base, name)]


def _of_name(package: Path, name: str) -> list[Path]:
    """The file in which a name of a package is defined: a submodule, or where `__init__` imports it from."""
    init = package / "__init__.py"
    if (package / f"{name}.py").is_file():
        # a function and its module often share a name; either way this is the file
        return [package / f"{name}.py"]
    if (package / name / "__init__.py").is_file() and name:
        return [package / name / "__init__.py"]
    for module, names, level in _imports(init.read_bytes()):
        if name in names:
            return _resolve(module, [name], level, init) or [init]
    return [init]
