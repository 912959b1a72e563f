"""What another program takes while it works: the GIL, by py-spy, and memory, by PSS."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GIL_RATE = 500  # samples a second

# A line of output says that a step is done; a line of input lets the next one begin.
LOOP = """
import os, numpy as np, sharedarray
{prepare}
{work}
print(flush=True)
while True:
    {work}
"""
STEPS = """
import os, numpy as np, sharedarray
{prepare}
print(flush=True); input()
for _ in range({n_times}):
    result = None
    {work}
print(flush=True); input()
"""


@contextmanager
def running(source: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program, wait for its first line, and end it after the block."""
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            if not program.stdout.readline():
                raise RuntimeError("the program to watch has failed")
            yield program
        finally:
            program.kill()


def share_with_gil(prepare: str, work: str, seconds: float = 2.0) -> float:
    """Return the share of its time in which a program that repeats `work` holds the GIL, in %."""
    spy = shutil.which(
        "py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if spy is None:
        raise NotImplementedError("py-spy is not installed")
    with running(LOOP.format(prepare=prepare, work=work)) as program:
        return 100 * _gil_samples(spy, program.pid, seconds) / (GIL_RATE * seconds)


def _gil_samples(spy: str, pid: int, seconds: float) -> int:
    """Count the samples in which a thread held the GIL."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples"
        options = ["--gil", "--nonblocking", "--format", "raw", "--output", str(path)]
        options += ["--rate", str(GIL_RATE), "--duration", str(int(seconds))]
        done = subprocess.run(
            [spy, "record", "--pid", str(pid), *options],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:  # a system may let nobody look into another process
            raise NotImplementedError(f"py-spy: {done.stderr.strip() or done.returncode}")
        return sum(int(line.rsplit(" ", 1)[1]) for line in path.read_text().splitlines())


def peak_memory(prepare: str, work: str, n_times: int = 3) -> int:
    """Return by how many bytes `work` raises the memory of a program and all of its children.

    It is looked at again and again: what is there for less than some milliseconds may be missed,
    and so the work is done several times. Its result is to be named `result`.
    """
    with running(STEPS.format(prepare=prepare, work=work, n_times=n_times)) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        before = highest = memory_of_tree(program.pid)
        program.stdin.write("\n")
        program.stdin.flush()
        while not select.select([program.stdout], [], [], 0.002)[0]:
            highest = max(highest, memory_of_tree(program.pid))
        if not program.stdout.readline():
            raise RuntimeError("the program to watch has failed")
        return max(highest, memory_of_tree(program.pid)) - before


def memory_of_tree(pid: int) -> int:
    """Return the proportional set sizes of a process and all that come from it, in bytes.

    Together they count a page once, however many share it: if they stand still meanwhile. A page
    that one more process maps between two looks would count one and a half times.
    """
    stopped: list[int] = []
    try:
        for member in tree(pid):  # who is stopped has no more children
            _stop(member)
            stopped.append(member)
        return sum(map(_proportional_set_size, stopped))
    finally:
        for member in stopped:
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGCONT)


def tree(pid: int) -> Iterator[int]:
    """Yield a process, and then all that come from it."""
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended meanwhile
            for child in file.read_text().split():
                yield from tree(int(child))


def _stop(pid: int) -> None:
    """Stop a process, and wait until it stands still or has ended."""
    with suppress(OSError):
        os.kill(pid, signal.SIGSTOP)
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
            time.sleep(0)


def _proportional_set_size(pid: int) -> int:
    with suppress(OSError):  # it has ended meanwhile
        facts = Path(f"/proc/{pid}/smaps_rollup").read_text()
        if found := re.search(r"^Pss:\s*(\d+) kB", facts, re.MULTILINE):
            return int(found[1]) * 1024
    return 0
