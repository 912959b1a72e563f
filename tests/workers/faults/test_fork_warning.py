"""Fault table F: the warning about other threads at the fork, and none where there are none."""

from __future__ import annotations

import os
import sys

import pytest

from tests.workers.faults.scripts import run_fault

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

WARNED = """
from sharedarray import ForkInThreadsWarning
if as_if is not None:
    sys.version_info = as_if  # what the package looks at

forks, done = [], threading.Event()
real_fork = os.fork

def fork():
    pid = real_fork()
    if pid:
        forks.append(pid)
        if threading.active_count() > 1:
            warnings.warn("This process is multi-threaded, use of fork() may lead to deadlocks in "
                          "the child.", DeprecationWarning, stacklevel=2)
    return pid

os.fork = fork  # 3.15 raises like this under -W error: the child is there, its number is lost
other = threading.Thread(target=done.wait, args=(20,), name="the other", daemon=True)
pool = MapReduce(np=2)

def end():
    done.set()
    if other.ident:
        other.join(20)
"""
# Up to 3.11 there is no warning; on what comes later, there is one of ours and none of Python's.
AS_IF = [None, (3, 12, 0, "final", 0), (3, 15, 0, "final", 0)]
as_if_python = pytest.mark.parametrize(
    "as_if", AS_IF, ids=["this Python", "as if 3.12", "as if 3.15"]
)


@as_if_python
def test_no_warning_where_there_is_one_thread(tmp_path, as_if):
    script = """
MapReduce("thread", 3).map(abs, range(10))  # threads of ours are no reason
with clean(), warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert pool.map(abs, [-1, 2]) == [1, 2]
    assert not caught, caught[0]
assert len(forks) == 2
"""
    run_fault(WARNED + script, tmp_path, as_if=as_if)


@as_if_python
def test_one_warning_before_the_fork_where_there_are_more_threads(tmp_path, as_if):
    if as_if is None and sys.version_info < (3, 12):
        pytest.skip("Python 3.12 began to warn")
    script = """
def note(message, category, *_):
    shown.append((category, str(message), len(forks)))

shown = []
other.start()
with clean(), warnings.catch_warnings():
    warnings.simplefilter("always")
    warnings.showwarning = note
    assert pool.map(abs, [-1, 2]) == [1, 2]
end()
((category, message, n_forks),) = shown
assert category is ForkInThreadsWarning
assert "1 other thread" in message and "the other" in message, message
assert (n_forks, len(forks)) == (0, 2)
"""
    run_fault(WARNED + script, tmp_path, as_if=as_if)


@as_if_python
def test_warning_as_error_leaves_no_child(tmp_path, as_if):
    if as_if is None and sys.version_info < (3, 12):
        pytest.skip("Python 3.12 began to warn")
    script = """
other.start()
with clean():
    expect(ForkInThreadsWarning, lambda: pool.map(abs, [-1, 2]))
    assert not forks and not children()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ForkInThreadsWarning)
        assert pool.map(abs, [-1, 2]) == [1, 2]  # Python's own is an error still, and not seen
assert len(forks) == 2
end()
check_reuse(pool)
"""
    run_fault(WARNED + script, tmp_path, as_if=as_if)


def test_no_warning_before_python_3_12(tmp_path):
    script = """
other.start()
with clean():
    os.fork = real_fork
    assert pool.map(abs, [-1, 2]) == [1, 2]
end()
"""
    if sys.version_info >= (3, 12):
        pytest.skip("there is one")
    run_fault(WARNED + script, tmp_path, as_if=None)
