"""What the tests of the command line share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sharedarray import machine

ROOT = Path(__file__).resolve().parents[2]
ERROR = "python -m sharedarray: error: "
OLD = b"what was there before"

is_root = hasattr(os, "geteuid") and os.geteuid() == 0
obeys_permissions = pytest.mark.skipif(is_root, reason="root may read and write everything")
has_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the platform has no FIFOs")
has_limits = pytest.mark.skipif(machine.resource is None, reason="the platform has no rlimits")

# Runs the program in a process of its own, after a prelude that prepares the process.
DRIVER = """
import errno, os, runpy, signal, sys
{prelude}
sys.argv = ["sharedarray", *sys.argv[1:]]
runpy.run_module("sharedarray", run_name="__main__", alter_sys=True)
"""
NO_RESERVATION = """
from sharedarray_ops.files import writing
writing._fallocate = lambda: None
"""
SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
"""


def run(*args, prelude=None, **kwargs):
    """Run a command in a process of its own."""
    how = ["-m", "sharedarray"] if prelude is None else ["-c", DRIVER.format(prelude=prelude)]
    # A measurement of coverage in the child would start things of its own.
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    env |= {"PYTHONPATH": str(ROOT)} | kwargs.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs
    command = [sys.executable, *how, *map(os.fspath, args)]
    return subprocess.run(command, env=env, timeout=60, text=True, check=False, **streams)


def sample(n=200_000, dtype="f8"):
    """Return values with ties, in no order."""
    return np.random.default_rng(1).integers(0, 100, n).astype(dtype)


def written(name, a):
    a.tofile(name)
    return a


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_refused(done, *words):
    """Check the exit code and the one line that says why."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(ERROR)
    assert done.stderr.endswith("\n")
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def fail_with(error):
    def fail(*args, **kwargs):
        raise error

    return fail
