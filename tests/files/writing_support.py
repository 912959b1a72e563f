"""Small chunks for the tests of files that are written, and of .npy and .npz files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from sharedarray.files import load
from sharedarray.files import tofile as functions
from sharedarray_ops.files import checksums, reading, writing

DATA = np.random.default_rng(0).integers(0, 256, 4096, np.uint8)
SMALL = {
    load: {"MIN_FROMFILE": 64, "PIECE": 50},
    functions: {"MIN_TOFILE": 64, "MIN_TOFILE_COPIED": 64},
    reading: {"CHUNK": 64},
    checksums: {"CHUNK": 64},
    writing: {"CHUNK": 64, "SCRATCH": 16},
}


@contextmanager
def small_files() -> Iterator[pytest.MonkeyPatch]:
    """Let a few hundred bytes take the parallel way."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, sizes in SMALL.items():
            for name, size in sizes.items():
                assert hasattr(owner, name)
                patch.setattr(owner, name, size)
        yield patch


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def old_file_stays(folder: Path) -> Iterator[Path]:
    """Yield a path whose file must be as it was in the end, and alone in its folder."""
    path = folder / "data.bin"
    path.write_bytes(b"old")
    yield path
    assert path.read_bytes() == b"old"
    assert names(folder) == ["data.bin"]
