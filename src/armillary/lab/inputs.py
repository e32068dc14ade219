"""What an experiment is given beside its key: data, and a trained base model."""

import inspect
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from armillary.lab.errors import InputError, RunError
from armillary.lab.fingerprint import digest, versions
from armillary.lab.store import home, write_whole
from armillary.lab.study import Study

_loaded: dict[tuple[Any, str, bool], tuple[Any, str]] = {}


def named(function: Callable[..., Any] | None, point: dict[str, Any]) -> dict[str, Any]:
    """Those of a point's settings that a loader or trainer names."""
    if function is None:
        return {}
    return {name: point[name] for name in inspect.signature(function).parameters if name in point}


def load(study: Study, point: dict[str, Any]) -> tuple[Any, str]:
    """The study's data at a point, and their fingerprint. A loader runs once per distinct settings."""
    if study.data is None:
        return None, ""
    given = named(study.data, point)
    key = (study.data, json.dumps(given, sort_keys=True), study.x64)
    if key not in _loaded:
        try:
            data = jax.tree.map(lambda x: _plain(x, study.x64), study.data(**given))
        except Exception as error:
            raise RunError(f"the data cannot be loaded ({given}): {type(error).__name__}: {error}") from error
        leaves = [(a.shape, str(a.dtype), digest(a.tobytes())) for a in jax.tree.leaves(data)]
        _loaded[key] = data, digest([leaves, str(jax.tree.structure(data))])
    return _loaded[key]


def _plain(value: Any, x64: bool) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InputError(f"data of type {array.dtype}; give arrays of numbers")
    return array if x64 else array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def base(study: Study, point: dict[str, Any], data: Any, code: str, data_hash: str) -> tuple[Any, str]:
    """The study's base model at a point, trained once and kept as npz, and its fingerprint."""
    if study.base is None:
        return None, ""
    given = named(study.base, point)
    name = digest([code, data_hash, given, study.base_seed, versions(), study.x64])
    arguments = (data,) if "data" in inspect.signature(study.base).parameters else ()

    def train(key: Any) -> Any:
        assert study.base is not None
        return study.base(key, *arguments, **given)

    path = home() / "bases" / f"{name}.npz"
    with jax.enable_x64(study.x64):
        key = jax.random.key(study.base_seed)
        structure = jax.eval_shape(train, key)
        leaves = _kept(path, structure)
        if leaves is None:
            leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(train)(key))]
            buffer = io.BytesIO()
            np.savez(buffer, *leaves, allow_pickle=False)
            write_whole(path, buffer.getvalue())
    return jax.tree.unflatten(jax.tree.structure(structure), leaves), name


def _kept(path: Path, structure: Any) -> list[np.ndarray] | None:
    """The arrays in a file; None if it is missing, damaged (its checksums tell) or holds something else."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            leaves = [stored[f"arr_{i}"] for i in range(len(stored.files))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError):
        return None
    expected = [(x.shape, x.dtype) for x in jax.tree.leaves(structure)]
    return leaves if [(x.shape, x.dtype) for x in leaves] == expected else None
