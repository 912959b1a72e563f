"""What several tests of the workers need: pools of every kind, fresh Pythons."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException

WORKERS = Path(sharedarray.__file__).parent / "workers"
ROOT = WORKERS.parent.parent
NAME = "sharedarray-"  # what the names of worker threads begin with
SCRIPT_LIMIT = 30  # seconds

# np=0 and the serial backend run in the caller; 7 is more than most sequences here have items.
THREADED = [("thread", np) for np in (1, 2, 3, 7)]
FORKED = [("process", np) for np in (1, 2, 3, 7)] if hasattr(os, "fork") else []
PARALLEL = [*THREADED, *FORKED]
SERIAL = [("thread", 0), ("serial", None)]
SHARING = [*THREADED, *SERIAL]  # whose workers share the objects of the test
POOLS = [*SHARING, *FORKED]
# For what depends on the backend and not on the number of workers.
BACKENDS = ["thread", "process"] if FORKED else ["thread"]
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def make_pool(kind, **options):
    backend, np = kind
    return MapReduce(backend, np, **options)


def worker_threads():
    return {thread.ident for thread in threading.enumerate() if thread.name.startswith(NAME)}


def reason_of(pool, work, sequence, **options):
    """Return why a map has failed."""
    with pytest.raises(WorkerException) as caught:
        pool.map(work, sequence, **options)
    return caught.value.reason


def in_threads(*functions, limit=20):
    """Run functions at the same time and return their results; the first exception comes out."""
    results = [None] * len(functions)
    failures = []

    def run(i):
        try:
            results[i] = functions[i]()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit)
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return results


PREAMBLE = """\
import faulthandler, os, signal, sys, threading, time, warnings
faulthandler.enable()
import numpy as np
import sharedarray
from sharedarray import MapReduce, WorkerException
"""


def start_script(source, tmp_path):
    """Start a fresh Python in a session of its own."""
    path = tmp_path / "script.py"
    path.write_text(PREAMBLE + source)
    # A measurement of coverage in it would start things of its own.
    ours = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(path)],
        env=ours | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end_script(process, stdin=None, *, limit=SCRIPT_LIMIT):
    """Return what it printed and its exit code: (stdout, stderr, code)."""
    try:
        out, err = process.communicate(stdin, timeout=limit)
    except subprocess.TimeoutExpired:
        # faulthandler prints the stacks. Its own timer would be a thread, which forks do not like.
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(ChildProcessError):  # it has ended, and a child has its pipes
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie keeps its group
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children that it has left
        out, err = process.communicate()
        pytest.fail(f"the script hangs:\n{out}\n{err}", pytrace=False)
    return out, err, process.returncode


def until_asleep(process, limit=5):
    """Wait until the main thread of a script sleeps, before a signal is sent to it.

    CPython sees a signal late that comes between its last look for one and the system call in which
    it waits: then nothing interrupts that. No user is that fast.
    """
    status = Path(f"/proc/{process.pid}/task/{process.pid}/status")
    deadline = time.monotonic() + limit
    before = None
    while time.monotonic() < deadline:
        try:
            found = re.search(
                r"State:\s+(\w).*^voluntary\w+:\s+(\d+)", status.read_text(), re.S | re.M
            )
        except OSError:  # another platform, or it has ended
            found = None
        state, n_sleeps = found.groups() if found else ("S", "")
        # A thread that waits for the GIL wakes up every 5 ms.
        if state == "S" and n_sleeps == before:
            return
        before = n_sleeps if state == "S" else None
        time.sleep(0.02)


def run_script(source, tmp_path, *, stdin=None, limit=SCRIPT_LIMIT):
    """Run a script that has to succeed in silence on stderr, and return what it printed."""
    out, err, code = end_script(start_script(source, tmp_path), stdin, limit=limit)
    assert (code, err) == (0, ""), f"exit code {code}\n{out}\n{err}"
    return out
