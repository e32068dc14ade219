"""The public methods, read from source without importing them: where each is documented, what it cites, its example."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
APART = {"lab", "report", "papers", "files"}
"""Subpackages that hold no methods."""


@dataclass(frozen=True)
class Method:
    """A function or class that a method package exports."""

    package: str
    name: str
    module: str
    """The module that defines it, as in `measure.coherence`."""
    about: str
    """The first sentence of its docstring."""
    cites: str
    """All that its docstring and its module's say, in one line and lower case: where papers are named."""
    example: str

    @property
    def path(self) -> str:
        """The name to import it by, which is its anchor on the package's page of the API reference."""
        return f"armillary.{self.package}.{self.name}"

    @property
    def hidden(self) -> bool:
        """Whether a module of the same name stands in front of it, for tools that read source."""
        return self.module == f"{self.package}.{self.name}"


def packages() -> list[str]:
    """The method packages by name."""
    return sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py") if p.parent.name not in APART)


@cache
def exported() -> dict[str, Method]:
    """Every exported method by its full name."""
    found = [m for package in packages() for m in _of_package(package)]
    return {m.path: m for m in found}


def imported(source: str) -> list[Method]:
    """The methods that a study's source imports, in its order."""
    names = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]
    return [exported()[name] for name in dict.fromkeys(names) if name in exported()]


def citing(title: str) -> list[Method]:
    """The methods whose docstring, or whose module's, names a paper of that title."""
    plain = _one_line(title)
    return [m for m in exported().values() if plain in m.cites]


def first_example(found: Iterable[Method]) -> str:
    """The first example among methods, or nothing."""
    return next((m.example for m in found if m.example), "")


def _of_package(package: str) -> list[Method]:
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))
    found = []
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("armillary."):
            continue
        module = (node.module or "").removeprefix("armillary.")
        about, documented = _documented(module)
        for alias in node.names:
            doc = documented.get(alias.name)
            if doc is not None:
                cites = _one_line(f"{about} {doc}")
                name = alias.asname or alias.name
                found.append(Method(package, name, module, _sentence(doc), cites, _example(doc)))
    return found


@cache
def _documented(module: str) -> tuple[str, dict[str, str]]:
    path = (PACKAGE / module.replace(".", "/")).with_suffix(".py")
    if not path.is_file():
        return "", {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return ast.get_docstring(tree) or "", {
        node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, kinds)
    }


def _sentence(doc: str) -> str:
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s", paragraph)[0].rstrip(":")


def _example(doc: str) -> str:
    match = re.search(r"\*\*Example:\*\*\s*```python\n(.*?)```", doc, re.DOTALL)
    return match[1].rstrip() if match else ""


def _one_line(text: str) -> str:
    return " ".join(text.split()).lower()
