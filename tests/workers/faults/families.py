"""Coordinators whose workers are all busy, to be ended from outside: for fault table C."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from tests.workers.clock import naps
from tests.workers.faults.scripts import state_of
from tests.workers.support import end_script, start_script

__all__ = ["FAMILY", "check_gone", "start_family"]

SOON = 2.0  # seconds until all workers are gone

# `all_here()`, called by every worker, prints their numbers when the last one has come.
FAMILY = """
from tests.workers.faults.harness import *
from tests.workers.synchronization import Barrier

coordinator = os.getpid()
sharedarray.zeros(1)  # the slab of the barriers: the allocator keeps one

def gather(n):
    global everybody
    everybody = Barrier(n)

def all_here():
    if everybody.wait() == 0:
        print("ready", *descendants(coordinator), flush=True)
"""


def start_family(source, tmp_path, *, n=None):
    """Start a script, and return it with the numbers of its workers when they are busy."""
    process = start_script(FAMILY + source, tmp_path)
    word, *pids = process.stdout.readline().split() or [""]
    if word != "ready" or n not in (len(pids), None):
        process.terminate()
        out, err, code = end_script(process)
        pytest.fail(f"exit code {code}\n{word} {pids}\n{out}\n{err}")
    return process, list(map(int, pids))


def check_gone(pids):
    """Assert that no process is left two seconds from now; nobody has to be killed by the test."""
    left = pids
    for _ in naps(SOON):
        left = [pid for pid in left if state_of(pid) not in ("", "Z")]  # a zombie is init's to reap
        if not left:
            return
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    pytest.fail(f"{len(left)} of {len(pids)} workers are left")
