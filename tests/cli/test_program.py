from __future__ import annotations

import re

import numpy as np
import pytest

from sharedarray import machine
from sharedarray.cli import main as cli
from tests.cli.support import (
    fail_with,
    run,
)


def test_no_command_shows_the_help(call):
    done = call()

    assert (done.returncode, done.stdout) == (2, "")
    for command in ("argsort", "sort", "sum", "demo", "info", "bench"):
        assert f"\n    {command} " in done.stderr


@pytest.mark.parametrize("command", ["argsort", "sort", "sum", "demo", "info", "bench"])
def test_help_of_a_command(call, command):
    done = call(command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert "--workers" in done.stdout


def test_version(call, monkeypatch):
    monkeypatch.setattr(cli.metadata, "version", {"sharedarray-toolkit": "1.2.3"}.__getitem__)
    assert call("--version").stdout == "sharedarray 1.2.3\n"

    monkeypatch.setattr(cli.metadata, "version", fail_with(cli.metadata.PackageNotFoundError()))
    assert call("--version").stdout == "sharedarray, not installed\n"


def test_info(call, monkeypatch, tmp_path):
    setting = tmp_path / "shmem_enabled"
    setting.write_text("always within_size advise [never] deny force\n")
    monkeypatch.setattr(machine, "SHMEM_HUGE_PAGES", setting)

    done = call("info", "-w", 3)

    assert (done.returncode, done.stderr) == (0, "")
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.splitlines()[1:])
    assert facts["NumPy"] == np.__version__
    assert facts["workers"] == "3 (from num_workers)"
    assert facts["SIMD features"]
    assert facts["shared huge pages"] == "never"
    assert f"echo advise | sudo tee {setting}" in facts["huge pages cost"]


def test_malformed_variable_is_one_line(crowded):
    done = run("sum", "in.bin", "--dtype", "f8", env={"OMP_NUM_THREADS": "many"})

    assert done.returncode == 0
    assert done.stderr.startswith("python -m sharedarray: warning: ")
    assert "OMP_NUM_THREADS='many'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
