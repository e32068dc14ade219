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


def test_sizes():
    tokens = library_text(400_000)
    assert tokens.shape == (400_000,)
    assert tokens.min() == 0
    assert tokens.max() == 95
    np.testing.assert_array_equal(tokens[:100], library_text(100))
    with pytest.raises(ValueError, match="characters=1000000000"):
        library_text(1_000_000_000)
