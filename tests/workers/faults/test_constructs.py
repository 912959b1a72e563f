"""Fault table G: `critical`, `ordered` and `local` of worker processes, misused."""

from __future__ import annotations

import os

import pytest

from tests.workers.faults.scripts import run_fault

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

# where there is no worker

USES = {
    "critical": "pool.critical.__enter__()",
    "ordered": "pool.ordered.__enter__()",
    "the rank": "pool.local.rank",
    "the random numbers": "pool.local.rng",
    "what the worker has stored": "pool.local.x",
    "storing": "pool.local.x = 1",
    "deleting": "del pool.local.x",
    "tls": "pool.tls.rank",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_use_where_there_is_no_worker_is_an_error(tmp_path, use):
    script = """
def misuse(*_):
    error = expect(RuntimeError, lambda: exec(use))
    assert any(name in str(error) for name in ("critical", "ordered", "local")), error
    n_misuses.append(os.getpid())
    return True

def items():
    yield 1
    misuse()
    yield 2

class Unpickled:
    def __reduce__(self):
        return misuse, ()

n_misuses = []
with clean():
    pool, other = MapReduce(np=2), MapReduce(np=2)
    misuse()
    with pool:
        misuse()
        pool.map(abs, range(3))
        misuse()
    misuse()
    pool.map(abs, range(3), reduce=misuse)
    pool.map(abs, items())
    assert next(pool.imap(abs, range(3)))  == 0
    misuse()
    assert other.map(misuse, range(2)) == [True] * 2
    pool.map(lambda i: Unpickled() if i == 0 else i, range(2), reduce=lambda _: None)
    assert set(n_misuses) == {os.getpid()} and len(n_misuses) >= 9
check_reuse(pool)
"""
    run_fault(script, tmp_path, use=use)


@pytest.mark.parametrize("construct", ["critical", "ordered"])
def test_construct_may_be_taken_into_a_map_of_another_kind_and_back(tmp_path, construct):
    # Processes within threads share no lock with them; that must be an error, not a wait for ever.
    script = """
def enter(pool):
    with getattr(pool, construct):
        return True

with clean():
    threads, processes = MapReduce("thread", 1), MapReduce(np=2)
    failure = expect(WorkerException, lambda: threads.map(
        lambda _: processes.map(lambda _: enter(threads), range(2)), [0]))
    assert type(failure.reason) is WorkerException
    assert type(failure.reason.reason) is RuntimeError
    assert processes.map(
        lambda _: MapReduce("thread", 1).map(lambda _: enter(processes), [0]), range(4)
    ) == [[True]] * 4
check_reuse(processes)
"""
    run_fault("from sharedarray import ForkInThreadsWarning\n"
              "warnings.simplefilter('ignore', ForkInThreadsWarning)\n" + script,
              tmp_path, construct=construct)  # fmt: skip


# ordered


@pytest.mark.parametrize("chunksize", [None, 1, 7])
@pytest.mark.parametrize("who", ["i % 2", "not i % 2", "i > 900", "i < 100", "False"])
def test_items_may_leave_ordered_out(tmp_path, who, chunksize):
    script = """
from tests.workers.synchronization import Log

def work(i):
    if eval(who, {"i": i}):
        with pool.ordered:
            log.append(i)
    return i

log = Log()
with clean():
    pool = MapReduce(np=3)
    assert pool.map(work, range(1000), chunksize=chunksize) == list(range(1000))
    assert list(log) == [i for i in range(1000) if eval(who)]
check_reuse(pool)
"""
    run_fault(script, tmp_path, who=who, chunksize=chunksize)


ORDER = """
from contextlib import nullcontext
from tests.workers.synchronization import Event, Log

def log_with(block, n_workers, patience):
    log, somebody = Log(), Event()
    def work(i):
        with block(pool):
            if i == 0:
                somebody.wait(patience)  # for another one, where one can be
            log.append(i)
            somebody.set()
    pool = MapReduce(np=n_workers)
    pool.map(work, range(50), chunksize=1)
    return list(log)
"""


@pytest.mark.parametrize("n_workers", [2, 5])
def test_order_is_kept_and_is_lost_without_ordered(tmp_path, n_workers):
    script = """
in_order = log_with(lambda pool: pool.ordered, n_workers, 0.2)
assert in_order == list(range(50)), in_order
assert log_with(lambda pool: nullcontext(), n_workers, 10) != list(range(50))
"""
    run_fault(ORDER + script, tmp_path, n_workers=n_workers)


MISUSES = {
    "ordered within ordered": ("with pool.ordered:\n with pool.ordered: pass", "twice"),
    "ordered after ordered": ("with pool.ordered: pass\nwith pool.ordered: pass", "twice"),
    "ordered within critical": ("with pool.critical:\n with pool.ordered: pass", "may wait"),
    "critical within critical": ("with pool.critical:\n with pool.critical: pass", "within"),
    "critical of a map within": (
        "with pool.critical: MapReduce(np=1).map(lambda _: pool.critical.__enter__(), [0])",
        "within",
    ),
    "ordered of a map within": (
        "MapReduce(np=1).map(lambda _: pool.ordered.__enter__(), [0])",
        "cannot take part",
    ),
}


@pytest.mark.parametrize(("misuse", "message"), MISUSES.values(), ids=MISUSES)
def test_wrong_entry_is_an_error_and_no_wait_for_ever(tmp_path, misuse, message):
    script = """
def work(i):
    if i == 3:
        exec(misuse, globals())
    with pool.ordered, pool.critical:
        return i

def handles(i):
    try:
        work(i)
    except (RuntimeError, WorkerException) as error:
        return type(error)

with clean():
    pool = MapReduce(np=2)
    failure = expect(WorkerException, lambda: pool.map(work, range(20), chunksize=1))
    error = failure.reason
    while isinstance(error, WorkerException):
        error = error.reason
    assert type(error) is RuntimeError and message in str(error), error
    # An item that gets over it goes on, and so do the others.
    errors = pool.map(handles, range(20), chunksize=1)
    assert [i for i, error in enumerate(errors) if error] == [3]
check_reuse(pool)
"""
    run_fault(script, tmp_path, misuse=misuse, message=message)


def test_map_within_may_enter_critical_of_the_outer_one(tmp_path):
    script = """
def work(i):
    def inner(j):
        with pool.critical:
            old = int(counter[0])
            counter[0] = old + 1
    MapReduce(np=2).map(inner, range(20))

counter = sharedarray.zeros(1, int)
with clean():
    pool = MapReduce(np=2)
    pool.map(work, range(10), chunksize=1)
    assert counter[0] == 200
"""
    run_fault(script, tmp_path)


@pytest.mark.parametrize("construct", ["critical", "ordered"])
def test_exception_inside_lets_the_others_in(tmp_path, construct):
    script = """
def work(i):
    try:
        with getattr(pool, construct):
            if i % 3 == 0:
                raise ValueError(i)
    except ValueError:
        return "handled"
    with pool.critical:
        return i

with clean():
    pool = MapReduce(np=3)
    expected = [i if i % 3 else "handled" for i in range(100)]
    assert pool.map(work, range(100), chunksize=1) == expected
    def fail(i):
        with getattr(pool, construct):
            if i == 5:
                raise ValueError(i)
    failure = expect(WorkerException, lambda: pool.map(fail, range(100)))
    assert type(failure.reason) is ValueError and failure.reason.args == (5,)
check_reuse(pool)
"""
    run_fault(script, tmp_path, construct=construct)


# critical

COUNT = """
from contextlib import nullcontext
from tests.workers.synchronization import Rendezvous

def count_with(block, n_workers, patience):
    counter, rendezvous = sharedarray.zeros(1, int), Rendezvous(2, patience)
    def work(_):
        with block(pool):
            old = int(counter[0])
            rendezvous.wait()  # where they can, others read what this one has read
            counter[0] = old + 1
    pool = MapReduce(np=n_workers)
    pool.map(work, range(8), chunksize=1)
    return int(counter[0])
"""


@pytest.mark.parametrize("n_workers", [2, 8])
def test_no_update_is_lost_and_some_are_without_critical(tmp_path, n_workers):
    script = """
assert count_with(lambda pool: pool.critical, n_workers, 0.2) == 8
assert count_with(lambda pool: nullcontext(), n_workers, 10) < 8
"""
    run_fault(COUNT + script, tmp_path, n_workers=n_workers)


def test_eighty_thousand_updates_of_eight_workers(tmp_path):
    script = """
def work(_):
    for _ in range(10_000):
        with pool.critical:
            counter[0] += 1

counter = sharedarray.zeros(1, int)
with clean():
    pool = MapReduce(np=8)
    pool.map(work, range(8), chunksize=1)
    assert counter[0] == 80_000
check_reuse(pool)
"""
    run_fault(script, tmp_path)


@pytest.mark.parametrize("construct", ["critical", "ordered"])
def test_child_of_an_item_that_leaves_from_within_a_block_frees_nobody(tmp_path, construct):
    # The child of the item leaves by os._exit: what it has entered is its parent's still.
    script = """
from tests.workers.synchronization import Rendezvous

def work(i):
    with getattr(pool, construct):
        old = int(counter[0])
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        rendezvous.wait()
        counter[0] = old + 1

counter, rendezvous = sharedarray.zeros(1, int), Rendezvous(2, 0.02)
with clean():
    pool = MapReduce(np=2)
    pool.map(work, range(8), chunksize=1)
    assert counter[0] == 8
check_reuse(pool)
"""
    run_fault(script, tmp_path, construct=construct)
