"""Source text that every machine has: the Python standard library's own."""

import sysconfig
from pathlib import Path

import numpy as np
from jaxtyping import Int

SYMBOLS = "\n" + "".join(map(chr, range(32, 127)))
"""The 96 symbols: newline and printable ASCII; a token is a symbol's place here."""

LOCAL = ("_sysconfigdata", "_sysconfig_vars", "sitecustomize", "usercustomize")
"""How the names of modules begin that differ from machine to machine."""


def library_text(characters: int = 400_000) -> Int[np.ndarray, " characters"]:
    """The first characters of the standard library's modules, in alphabetical order of their names, as tokens.

    Other characters than the 96 of `SYMBOLS` are left out, and so are the modules that an installation writes
    for itself, so that machines agree. The text is that of the running Python's version (Python Software
    Foundation License): another version has other text.

    **Raises:** `ValueError` if the library has fewer characters.
    """
    known = {ord(c): i for i, c in enumerate(SYMBOLS)}
    table = np.full(256, -1, np.int32)
    table[list(known)] = list(known.values())
    parts, count = [], 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if path.name.startswith(LOCAL):
            continue
        tokens = table[np.frombuffer(path.read_bytes(), np.uint8)]
        parts.append(tokens[tokens >= 0])
        count += len(parts[-1])
        if count >= characters:
            return np.concatenate(parts)[:characters]
    raise ValueError(f"characters={characters}: the standard library's modules have {count}")
