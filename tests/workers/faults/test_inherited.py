"""Fault table F: what a worker inherits, and must not do once more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.workers import support
from tests.workers.faults.scripts import run_fault

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_start_method_of_multiprocessing_does_not_matter(tmp_path, method):
    script = """
import multiprocessing
multiprocessing.set_start_method(method)
class Local:
    def __init__(self, x):
        self.x = x
with clean():
    private, local = [1, 2, 3], Local(5)
    pool = MapReduce(np=2)
    assert pool.map(lambda i: private[i] + local.x, range(3)) == [6, 7, 8]
    assert multiprocessing.get_start_method() == method
check_reuse(pool)
"""
    run_fault(script, tmp_path, method=method)


def run_buffered(source, tmp_path):
    """Run a script as users do: with a buffer before a pipe, without our settings."""
    path = tmp_path / "script.py"
    path.write_text(support.PREAMBLE + source)
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "PYTHON"))}
    command = [sys.executable, "-W", "error", str(path)]
    env = ours | {"PYTHONPATH": str(support.ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)


def test_buffered_text_comes_out_once(tmp_path):
    script = """
sys.stderr = open(2, "w", closefd=False)  # its own would not wait for the end of a line
print("parent before")
print("to stderr before", end=" ", file=sys.stderr)
def work(i):
    print(f"item {i}")
    print(f"[{i}]", end=" ", file=sys.stderr)
    return i
assert not sys.stdout.line_buffering and not sys.stdout.write_through
for _ in range(3):
    print("next", end=" ")
    assert MapReduce(np=3).map(work, range(10), chunksize=1) == list(range(10))
print("parent after")
sys.stderr.flush()
"""
    done = run_buffered(script, tmp_path)
    assert done.returncode == 0, done.stderr
    out, err = done.stdout.split("\n"), done.stderr.split()
    assert [out.count(line) for line in ("parent before", "parent after")] == [1, 1]
    assert done.stdout.count("next") == 3
    text = done.stdout.replace("next ", "")
    assert sorted(line for line in text.split("\n") if "item" in line) == sorted(
        3 * [f"item {i}" for i in range(10)]
    )
    assert done.stderr.count("to stderr before") == 1
    assert sorted(word for word in err if "[" in word) == sorted(3 * [f"[{i}]" for i in range(10)])


def test_text_of_a_worker_that_fails_comes_out(tmp_path):
    script = """
def work(i):
    print("about to fail", i)
    raise ValueError
try:
    MapReduce(np=1).map(work, range(3))
except WorkerException:
    print("failed")
"""
    done = run_buffered(script, tmp_path)
    assert (done.stdout, done.stderr) == ("about to fail 0\nfailed\n", "")


def test_nothing_that_the_parent_does_at_its_exit_runs_in_a_worker(tmp_path):
    script = """
import atexit, tempfile, weakref

def note(what):
    with open(notes, "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

class Object:
    pass

notes = sys.argv[0] + ".notes"
anchor, folder = Object(), tempfile.TemporaryDirectory()
atexit.register(note, "atexit")
weakref.finalize(anchor, note, "finalize")
print(os.getpid(), notes, folder.name)

def work(i):
    atexit.register(note, "of a worker")
    if i == 7:
        raise SystemExit(3)
    return os.path.isdir(folder.name)

pool = MapReduce(np=3)
assert pool.map(work, range(5)) == [True] * 5
try:
    pool.map(work, range(10))
except WorkerException as failure:
    assert type(failure.reason) is SystemExit
assert os.path.isdir(folder.name)
folder.cleanup()
"""
    pid, notes, folder = support.run_script(script, tmp_path).split()
    with open(notes) as file:  # noqa: PTH123 - the path is text
        assert sorted(file.read().split("\n")) == ["", f"atexit {pid}", f"finalize {pid}"]
    assert not os.path.isdir(folder)  # noqa: PTH112 - see above
