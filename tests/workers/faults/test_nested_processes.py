"""Fault table G: maps within worker processes, and pools in forked children."""

from __future__ import annotations

import os

import pytest

from tests.workers.faults.scripts import run_fault

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")


def test_nested_maps_to_depth_three(tmp_path):
    script = """
def count():
    while True:
        try:
            return len(descendants(main))
        except OSError:  # one of them has ended meanwhile
            pass

def work(numbers):
    n_alive.append(count())
    if len(numbers) == 3:
        return numbers, n_alive
    return MapReduce(np=2).map(work, [(*numbers, i) for i in range(2)])

main, n_alive = os.getpid(), []
with clean():
    found = MapReduce(np=2).map(work, [(0,), (1,)])
    for i in range(2):
        for j in range(2):
            for k in range(2):
                numbers, counts = found[i][j][k]
                assert numbers == (i, j, k)
                assert max(counts) <= 2 + 4 + 8, counts
"""
    run_fault(script, tmp_path)


def test_nested_maps_of_one_pool_have_constructs_of_their_own(tmp_path):
    script = """
def outer(i):
    def inner(j):
        with pool.ordered, pool.critical:
            pool.local.x = j
        return pool.local.x
    pool.local.x = i
    with pool.ordered:
        inside = pool.map(inner, range(5))
    with pool.critical:
        return i, pool.local.x, inside

with clean():
    pool = MapReduce(np=2)
    assert pool.map(outer, range(6)) == [(i, i, list(range(5))) for i in range(6)]
check_reuse(pool)
"""
    run_fault(script, tmp_path)


def test_share_shrinks_with_depth(tmp_path):
    script = """
def work(depth):
    if depth == 3:
        return [sharedarray.cpu_count()]
    inner = MapReduce(np=2).map(work, [depth + 1] * 2)
    return [sharedarray.cpu_count(), *inner[0]]

with clean(), sharedarray.num_workers(8):
    assert work(0) == [8, 4, 2, 1]
"""
    run_fault(script, tmp_path)


def test_share_holds_in_threads_that_a_worker_starts(tmp_path):
    script = """
def work(_):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(sharedarray.cpu_count()))
    thread.start()
    thread.join(20)
    return seen

with clean(), sharedarray.num_workers(6):
    assert MapReduce(np=2).map(work, range(4)) == [[3]] * 4
"""
    run_fault(script, tmp_path)


# Which of a chain of processes ends first: the last one tells all its numbers, then ...
ENDS = {
    "the outermost worker is killed": ("os.kill(pids[1], 9)", "WorkerDied"),
    "a middle worker is killed": ("os.kill(pids[2], 9)", "WorkerException"),
    "the innermost worker is killed": ("os.kill(pids[3], 9)", "WorkerException"),
    "the innermost item raises": ("raise ValueError", "WorkerException"),
    "Ctrl-C": ("os.killpg(0, signal.SIGINT); time.sleep(60)", "KeyboardInterrupt"),
    "SIGINT for the coordinator": ("os.kill(pids[0], signal.SIGINT)", "KeyboardInterrupt"),
}


@pytest.mark.parametrize(("end", "error"), ENDS.values(), ids=ENDS)
def test_all_processes_end_with_one_of_them(tmp_path, end, error):
    script = """
from tests.workers.clock import naps
from tests.workers.synchronization import Barrier

def work(pids):
    pids = [*pids, os.getpid()]
    if len(pids) < 4:
        return MapReduce(np=2).map(work, [pids, pids])
    here.append(os.getpid())
    number = all_here.wait()
    for n, pid in enumerate(pids):
        everybody[4 * number + n] = pid
    all_noted.wait()
    if number == 0:
        exec(end)
    while number == 1:  # one is busy, in no system call
        pass
    time.sleep(60)

here, everybody = [], sharedarray.zeros(32, int)
all_here, all_noted = Barrier(8), Barrier(8)
with clean():
    expect(eval(error), lambda: MapReduce(np=2).map(work, [[os.getpid()]] * 2))
    others = set(everybody.tolist()) - {os.getpid()}
    assert len(others) == 2 + 4 + 8
    for _ in naps(2):
        left = {pid: state_of(pid) for pid in others if state_of(pid) not in ("", "Z")}
        if not left:
            break
    assert not left, left
check_reuse(MapReduce(np=2))
"""
    run_fault(script, tmp_path, end=end, error=error)


# pools in forked children

IN_CHILD = """
def in_child(function):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if function() else 2
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\\n".encode())
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"exit code {code} of the child"

def works(pool):
    def work(i):
        with pool.ordered, pool.critical:
            return -i, pool.local.rank < pool.np
    return pool.map(work, range(20)) == [(-i, True) for i in range(20)]
"""


def test_pool_works_in_a_child_and_a_grandchild(tmp_path):
    script = """
def child():
    assert works(pool)
    in_child(lambda: works(pool))
    return works(pool)

pool = MapReduce(np=2)
with clean():
    in_child(child)
    assert works(pool)
    in_child(child)
check_reuse(pool)
"""
    run_fault(IN_CHILD + script, tmp_path)


def test_pool_works_in_a_child_while_the_parent_is_in_a_map(tmp_path):
    script = """
pool = MapReduce(np=2)
with clean():
    def reduce(i):
        in_child(lambda: works(pool))
        return i
    assert pool.map(abs, range(-3, 3), reduce=reduce) == [3, 2, 1, 0, 1, 2]

    def work(i):
        in_child(lambda: works(MapReduce(np=2)))
        return i
    assert pool.map(work, range(6)) == list(range(6))

    results = pool.imap(abs, range(-20, 0))
    assert next(results) == 20
    in_child(lambda: works(pool))
    assert list(results) == list(range(19, 0, -1))
check_reuse(pool)
"""
    run_fault(IN_CHILD + script, tmp_path)


LEAVING = {
    "os._exit": "os._exit(0)",
    "sys.exit": "sys.exit(0)",
    "closes it": "results.close(); os._exit(0)",
    "drops it": "del results; os._exit(0)",
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
def test_child_that_leaves_does_no_harm_to_the_map_of_its_parent(tmp_path, leave):
    script = """
with clean():
    pool = MapReduce(np=2)
    results = pool.imap(lambda i: np.full(100_000, i), range(20))
    assert next(results)[0] == 0
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        exec(leave, globals())
    assert os.waitpid(pid, 0)[1] == 0
    assert [int(x.sum()) for x in results] == [100_000 * i for i in range(1, 20)]
check_reuse(pool)
"""
    run_fault(script, tmp_path, leave=leave)


def test_child_cannot_take_results_of_a_map_of_its_parent(tmp_path):
    script = """
def child():
    expect(RuntimeError, lambda: list(results))
    return works(pool)

with clean():
    pool = MapReduce(np=2)
    results = pool.imap(abs, range(-20, 0))
    assert next(results) == 20
    in_child(child)
    assert list(results) == list(range(19, 0, -1))
check_reuse(pool)
"""
    run_fault(IN_CHILD + script, tmp_path)


def test_child_does_not_touch_results_that_the_parent_has_yet_to_read(tmp_path):
    # 1. The generator lets both workers report before the coordinator looks. 2. It takes one
    # report, and notes that the other is there. 3. A child tries to take that one; so large a
    # spool gives back its pages once it is read.
    script = """
from tests.workers.synchronization import Semaphore

def work(i):
    if i < 2:
        done.release()
    return bytes([i]) * (65 << 20)

def generate():
    yield from range(2)
    for _ in range(2):
        assert done.acquire()
    wait_until(lambda: all(state_of(pid) == "S" for pid in children()))  # they have reported

def child():
    expect(RuntimeError, lambda: list(results))
    return True

done = Semaphore()
with clean():
    pool = MapReduce(np=2)
    results = pool.imap(work, generate(), ordered=False)
    first = next(results)
    in_child(child)
    (second,) = results
    assert {first[0], second[0]} == {0, 1}
    assert len(first) == len(second) == 65 << 20
    del first, second
"""
    run_fault(IN_CHILD + script, tmp_path)


# pools that have been through something

PASTS = {
    "an item that has raised": "fails(WorkerException, lambda i: 1 // i, [0, 1])",
    "a dead worker": "fails(WorkerDied, lambda i: os._exit(i), [3, 4])",
    "a reduce that has raised": "fails(ZeroDivisionError, abs, [0], lambda i: 1 // i)",
    "an iterator that has raised": "fails(ZeroDivisionError, abs, map((1).__mod__, [1, 0]))",
    "a timeout": "fails(TimeoutError, time.sleep, [60], timeout=0.05)",
    "a with block": "with pool: pool.map(abs, [1])",
    "two with blocks within each other": "with pool, pool: pool.map(abs, [1])",
    "results that nobody wants": "results = pool.imap(abs, range(9)); next(results); del results",
    "results that are yet to come": "results = pool.imap(abs, range(9)); next(results)",
}


@pytest.mark.parametrize("past", PASTS.values(), ids=PASTS)
def test_pool_may_be_used_after(tmp_path, past):
    script = """
def fails(error, *args, **options):
    expect(error, lambda: pool.map(*args, **options))

with clean():
    pool = MapReduce(np=2)
    for _ in range(3):
        exec(past)
        check_reuse(pool)
        assert works(pool)
    results = None
"""
    run_fault(IN_CHILD + script, tmp_path, past=past)


def test_pickled_pool_is_a_pool_of_its_own(tmp_path):
    script = """
import pickle, copy

with clean():
    pool = MapReduce(np=2, seed=3)
    for other in pickle.loads(pickle.dumps(pool)), copy.copy(pool), copy.deepcopy(pool):
        assert works(other)
        def work(i):
            expect(RuntimeError, lambda: other.local.rank)
            return works(other) and works(pool)
        assert pool.map(work, range(2)) == [True] * 2
    # As an item that is pickled, and as a result.
    assert pool.map(works, iter([pool])) == [True]
    (result,) = pool.map(lambda _: pool, [0])
    assert works(result)
check_reuse(pool)
"""
    run_fault(IN_CHILD + script, tmp_path)
