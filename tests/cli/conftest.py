"""Where a command is run, and how."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from sharedarray import config
from sharedarray.cli import main as cli
from tests.cli.support import (
    OLD,
    sample,
    written,
)


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch):
    for name in config.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys):
    """Return what runs a command in this process: code, standard output, standard error."""

    def call(*args):
        try:
            code = cli.main([str(arg) for arg in args])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    return call


@pytest.fixture
def crowded(folder):
    """Stand in a folder with a good input, an old output and things that are neither."""
    written("in.bin", sample(100))
    Path("out.bin").write_bytes(OLD)
    Path("a_folder").mkdir()
    Path("loop.bin").symlink_to("loop.bin")
    return folder
