import sysconfig
from pathlib import Path

import numpy as np
import pytest

from armillary.data import SYMBOLS, library_text


def test_tokens_are_the_first_modules_characters():
    first = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[0].read_text(encoding="utf-8")
    kept = "".join(c for c in first if c in SYMBOLS)[:2000]
    assert "".join(SYMBOLS[t] for t in library_text(2000)) == kept
    assert len(SYMBOLS) == 96


def test_order_other_characters_and_local_modules(tmp_path, monkeypatch):
    files = {"b.py": "b\té\r\n~", "a.py": "a \n", "_sysconfigdata_x.py": "local", "sitecustomize.py": "local"}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert "".join(SYMBOLS[t] for t in library_text(6)) == "a \nb\n~"
    with pytest.raises(ValueError, match="have 6"):
        library_text(7)


def test_sizes():
    tokens = library_text(400_000)
    assert tokens.shape == (400_000,)
    assert tokens.min() == 0
    assert tokens.max() == 95
    np.testing.assert_array_equal(tokens[:100], library_text(100))
    with pytest.raises(ValueError, match="characters=1000000000"):
        library_text(1_000_000_000)
