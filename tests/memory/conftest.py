"""Where the tests of memory put named segments, and other programs for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedarray.memory import named
from tests.conftest import SHM
from tests.memory.elsewhere import Program


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield an empty folder in which named segments are from now on; what is left in it goes."""
    if not SHM.is_dir():
        pytest.skip(f"no {SHM} on this platform")
    with tempfile.TemporaryDirectory(dir=named.FOLDER) as path:
        monkeypatch.setattr(named, "FOLDER", path)
        yield Path(path)


@pytest.fixture
def real_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have named segments where programs look for them by default."""
    monkeypatch.setattr(named, "FOLDER", str(SHM))


@pytest.fixture(scope="module")
def _program() -> Iterator[Program]:
    with Program() as program:
        yield program


@pytest.fixture
def other(_program: Program, folder: Path) -> Iterator[Program]:
    """Yield another program that has its named segments in the same folder."""
    _program.run(
        "import pickle, sharedarray as sa; from sharedarray.memory import named; named.FOLDER = f",
        f=str(folder),
    )
    yield _program
    _program.run("globals().clear()")
