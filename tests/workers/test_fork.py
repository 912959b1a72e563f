"""Forks of a process whose worker threads are idle, or busy. Each in a fresh Python."""

from __future__ import annotations

import os
import sys

import pytest

from tests.workers.support import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

IN_CHILD = """
def in_child(function):
    pid = os.fork()
    if pid == 0:
        faulthandler.register(signal.SIGALRM, chain=True)  # a child that hangs says where, and dies
        signal.alarm(20)
        code = 1
        try:
            code = 0 if function() else 2
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\\n".encode())
        finally:
            os._exit(code)
    return pid

def wait(pid):
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"exit code {code} of the child"

def works():
    barrier = threading.Barrier(3)
    ok = MapReduce("thread", 3).map(lambda i: barrier.wait(10) >= 0, range(3), chunksize=1)
    return ok == [True] * 3 and MapReduce("thread", 2).map(abs, range(-9, 0)) == [*range(9, 0, -1)]
"""


def test_map_works_in_the_child_and_afterwards_in_the_parent(tmp_path):
    script = """
for _ in range(5):
    assert works()
    pids = [in_child(works) for _ in range(2)]
    assert works()
    for pid in pids:
        wait(pid)
"""
    run_script(IN_CHILD + script, tmp_path)


def test_map_works_in_a_grandchild(tmp_path):
    script = """
def child():
    assert works()
    wait(in_child(works))
    return works()

assert works()
wait(in_child(child))
"""
    run_script(IN_CHILD + script, tmp_path)


def test_pool_made_before_the_fork_works_in_the_child(tmp_path):
    script = """
pool = MapReduce("thread", 2, seed=3)
rng = lambda: pool.map(lambda _: pool.local.rng.random(), range(5))
first = rng()
wait(in_child(lambda: len(rng()) == 5 and first not in (rng(), rng())))
rng()
"""
    run_script(IN_CHILD + script, tmp_path)


def test_child_has_no_idle_threads(tmp_path):
    script = """
MapReduce("thread", 4).map(abs, range(100))
wait(in_child(lambda: threading.active_count() == 1))
"""
    run_script(IN_CHILD + script, tmp_path)


def test_fork_while_a_map_runs_in_another_thread(tmp_path):
    script = """
warnings.simplefilter("ignore", DeprecationWarning)  # these threads are the user's doing
running, forked = threading.Barrier(3), threading.Event()
results = []

def work(i):
    if i < 2:
        running.wait(20)
        forked.wait(20)
    with pool.ordered, pool.critical:
        return -i

pool = MapReduce("thread", 2)
thread = threading.Thread(
    target=lambda: results.extend(pool.map(work, range(100), chunksize=1)), daemon=True
)
thread.start()
running.wait(20)
pids = [in_child(works) for _ in range(5)]
forked.set()
thread.join(20)
assert results == [-i for i in range(100)]
assert works()
for pid in pids:
    wait(pid)
"""
    run_script(IN_CHILD + script, tmp_path)


def test_forks_while_another_thread_runs_maps(tmp_path):
    script = """
warnings.simplefilter("ignore", DeprecationWarning)
done = threading.Event()
failures = []

def loop():
    while not done.is_set():
        if MapReduce("thread", 3).map(abs, range(20)) != list(range(20)):
            failures.append("wrong")

thread = threading.Thread(target=loop, daemon=True)
thread.start()
for _ in range(40):
    wait(in_child(works))
done.set()
thread.join(20)
assert not failures and not thread.is_alive()
"""
    run_script(IN_CHILD + script, tmp_path)


def test_fork_inside_a_work_function(tmp_path):
    script = """
warnings.simplefilter("ignore", DeprecationWarning)
pool = MapReduce("thread", 2)

def work(i):
    pid = in_child(lambda: works() and pool.map(abs, [-i]) == [i])
    wait(pid)
    return i

assert pool.map(work, range(6)) == list(range(6))
assert works()
"""
    run_script(IN_CHILD + script, tmp_path)


WARNED = """
def warned(n_workers):
    barrier = threading.Barrier(n_workers)
    MapReduce("thread", n_workers).map(lambda _: barrier.wait(20), range(n_workers), chunksize=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wait(in_child(lambda: True))
    return [str(warning.message) for warning in caught]
"""

warns = pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 began to warn")


@warns
@pytest.mark.parametrize("n_workers", [1, 2, 3, 64])
def test_fork_is_not_one_of_a_multi_threaded_process(tmp_path, n_workers):
    """Idle threads are gone before the fork; 64 are more than stay, so that some are leaving."""
    script = f"""
found = [message for _ in range(30) for message in warned({n_workers})]
assert not found, f"{{len(found)}} of 30 forks: {{found[0]}}"
"""
    run_script(IN_CHILD + WARNED + script, tmp_path)


@warns
def test_fork_with_a_thread_of_the_user_is_one(tmp_path):
    # The twin: the warning is there to be seen.
    script = """
threading.Thread(target=threading.Event().wait, daemon=True).start()
assert "multi-threaded" in warned(2)[0]
"""
    run_script(IN_CHILD + WARNED + script, tmp_path)
