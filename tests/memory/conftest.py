"""Where the tests of memory put named segments, and other programs for them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedarray.memory import named
from tests.memory.elsewhere import Program

SHM = Path("/dev/shm")


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    # One for all tests of a file, since every test looks for new entries in /dev/shm.
    if not SHM.is_dir():
        pytest.skip(f"no {SHM} on this platform")
    folder = Path(tempfile.mkdtemp(prefix="test-", dir=SHM))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(module_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield an empty folder in which named segments are from now on; what is left in it goes."""
    with tempfile.TemporaryDirectory(dir=module_folder) as path:
        monkeypatch.setattr(named, "FOLDER", path)
        yield Path(path)


@pytest.fixture(scope="module")
def _program() -> Iterator[Program]:
    with Program() as program:
        yield program


@pytest.fixture
def other(_program: Program, folder: Path) -> Iterator[Program]:
    """Yield another program that has its named segments in the same folder."""
    run_in(_program, folder)
    yield _program
    _program.run("globals().clear()")


def run_in(program: Program, folder: Path) -> None:
    program.run(
        "import pickle, sharedarray as sa; from sharedarray.memory import named; named.FOLDER = f",
        f=str(folder),
    )
