"""A rank that fails, or ranks that disagree, end the block with an exception within seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import pytest

import sharedarray
from sharedarray import LostExceptionType, WorkerDied, WorkerException
from sharedarray.errors import ParallelException
from sharedarray.openmp.parallel import Parallel, Shared
from tests.openmp.blocks import SOON, failure_of
from tests.workers.clock import naps, within
from tests.workers.support import each_backend, end_script, run_script, start_script, until_asleep
from tests.workers.synchronization import Event

# One rank fails


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("has_barrier", [True, False])
@each_backend
def test_rank_that_raises(backend, rank, has_barrier):
    def helper():
        raise ValueError("no such star")

    def body(p):
        if p.rank == rank:
            helper()
        if has_barrier:
            p.barrier()

    error = failure_of(body, 4, backend)
    assert isinstance(error, WorkerException)
    assert error.rank == rank
    assert isinstance(error.reason, ValueError)
    assert error.__cause__ is error.reason
    assert all(text in error.traceback for text in ("helper()", "no such star", __file__))
    assert f"rank {rank}: ValueError: no such star" in str(error)


@each_backend
def test_exception_of_rank_0_comes_out_as_it_is(backend):
    mine = ValueError("mine")

    def body(p):
        if p.master:
            raise mine
        p.barrier()

    with pytest.raises(ValueError, match="mine") as caught:
        Parallel(num_threads=3, backend=backend).run(body)
    assert caught.value is mine


@pytest.mark.parametrize(
    ("end", "exitcode"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -signal.SIGKILL),
        (lambda: os._exit(0), 0),
        (lambda: os._exit(3), 3),
        (lambda: signal.raise_signal(signal.SIGTERM), -signal.SIGTERM),
        (lambda: os.execv("/bin/true", ["true"]), None),
        (lambda: os.closerange(3, 4096), None),
    ],
)
@pytest.mark.parametrize(
    "waits", ["barrier", "exit", "critical", "single", "ordered", "dynamic", "mutex"]
)
def test_rank_that_dies(end, exitcode, waits):
    is_inside = Event()

    def body(p):
        if p.rank == 1:
            if waits == "critical":
                p.critical.__enter__()
            if waits == "mutex":
                p._here("").team.primitives.__enter__()
            if waits == "ordered":
                next(p.forloop(2, schedule=("static", 1), ordered=True))
            is_inside.set()
            end()
        is_inside.wait()
        if waits in ("barrier", "mutex"):
            p.barrier()
        elif waits == "critical":
            with p.critical:
                pass
        elif waits == "single":
            with p.single():
                pass
        elif waits == "dynamic":
            for _ in p.forloop(10, schedule="dynamic"):
                pass
        elif waits == "ordered":
            for _, ordered in p.forloop(4, schedule=("static", 1), ordered=True):
                with ordered:
                    pass

    error = failure_of(body)
    assert isinstance(error.reason, WorkerDied)
    assert error.rank == error.reason.rank == 1
    assert exitcode is None or error.reason.exitcode == exitcode


@each_backend
@pytest.mark.parametrize("code", [0, 1, "text"])
def test_rank_that_leaves_by_sys_exit(backend, code):
    def body(p):
        if p.rank == 1:
            sys.exit(code)
        p.barrier()

    error = failure_of(body, 3, backend)
    assert isinstance(error.reason, SystemExit)
    assert (error.rank, error.reason.code) == (1, code)


@pytest.mark.parametrize("how", ["return", "break", "continue"])
def test_rank_that_leaves_early_never_runs_on(how):
    after = sharedarray.zeros(3, int)

    def block():
        for _ in range(1):
            with Parallel(num_threads=3) as p:
                try:
                    if p.rank == 1:
                        if how == "return":
                            return p.rank
                        if how == "break":
                            break
                        continue
                    p.barrier()
                finally:
                    after[1] += p.rank == 1  # still in the block
            after[0] += 1
        after[0] += 1
        return None

    with (
        within(SOON),
        pytest.raises(ParallelException, match="rank 1 has left the block") as caught,
    ):
        block()
    assert caught.value.rank == 1
    assert after.tolist() == [0, 1, 0]


def test_return_of_all_ranks_is_the_end_of_the_block():
    ran = sharedarray.zeros(2, int)

    def block():
        with Parallel(num_threads=2) as p:
            ran[p.rank] += 1
            return p.rank
        return -1

    assert block() == 0
    assert ran.tolist() == [1, 1]


def test_exception_that_does_not_pickle():
    class Local(Exception):  # noqa: N818 - a class of the test
        pass

    def body(p):
        if p.rank == 1:
            raise Local("lost")

    with pytest.warns(LostExceptionType):
        assert "lost" in str(failure_of(body).reason)


@each_backend
def test_ranks_that_all_raise_make_one_exception(backend):
    def body(p):
        if not p.master:
            raise KeyError(p.rank)
        p.barrier()

    error = failure_of(body, 7, backend)
    assert error.reason.args == (error.rank,)


@each_backend
def test_failure_that_the_body_swallows_comes_out_all_the_same(backend):
    def body(p):
        if p.rank == 1:
            raise ValueError
        for _ in range(2):
            with contextlib.suppress(BaseException):
                p.barrier()

    assert isinstance(failure_of(body, 2, backend).reason, ValueError)


# Ranks disagree


def loops(p, **others):
    for _ in p.forloop(10, **others):
        pass


MISMATCHES = {
    "more barriers": (lambda p: p.barrier(), lambda p: None),
    "barrier and loop": (lambda p: p.barrier(), loops),
    "loops of other lengths": (loops, lambda p: [None for _ in p.forloop(11)]),
    "other schedules": (loops, lambda p: loops(p, schedule="dynamic")),
    "one waits": (loops, lambda p: loops(p, nowait=True)),
    "no rank waits": (lambda p: loops(p, nowait=True), lambda p: None),
    "single": (lambda p: bool(p.single()), lambda p: p.barrier()),
    "sections": (lambda p: p.sections(int, int), lambda p: p.sections(int)),
    "ordered": (lambda p: [o.__enter__() for _, o in p.forloop(4, ordered=True)], lambda p: None),
}


@each_backend
@pytest.mark.parametrize("odd", [0, 1])
@pytest.mark.parametrize("case", MISMATCHES)
def test_ranks_that_meet_different_constructs(backend, odd, case):
    one, other = MISMATCHES[case]

    def body(p):
        p.barrier()
        (one if p.rank == odd else other)(p)

    error = failure_of(body, 3, backend, match="rank 0 .*rank 1 .*rank 2 ")
    assert isinstance(error.reason, RuntimeError)


@each_backend
def test_no_rank_passes_a_barrier_where_others_are_at_another_one(backend):
    beyond = sharedarray.zeros(3, int)

    def body(p):
        (loops if p.rank == 1 else Parallel.barrier)(p)
        beyond[p.rank] = 1

    failure_of(body, 3, backend, match="different constructs")
    assert beyond.tolist() == [0, 0, 0]


@each_backend
def test_ranks_that_wait_for_each_others_critical_blocks(backend):
    in_one, in_two = Event(), Event()

    def body(p):
        names, here, there = ("a", "b"), in_one, in_two
        if p.rank:
            names, here, there = ("b", "a"), in_two, in_one
        with p.critical(names[0]):
            here.set()
            there.wait()
            with p.critical(names[1]):
                pass

    failure_of(body, 2, backend, match="nobody can go on")


def test_rank_that_leaves_while_another_one_still_works():
    # No mistake: the faster rank does not have to wait before the end.
    is_gone = Event()
    with Parallel(Shared(done=[0, 0]), num_threads=2) as p:
        if p.rank == 0:
            is_gone.wait(0.1)
            with p.critical:
                p.var.done[0] = 1
        else:
            p.var.done[1] = 1
    assert p.var.done.tolist() == [1, 1]


# Around the block


SCRIPT = """
from sharedarray.openmp.parallel import Parallel
"""


def test_streams_and_exit_functions(tmp_path):
    source = """
import atexit
atexit.register(print, "exit")
sys.stdout = open(1, "w", closefd=False)  # buffered, despite PYTHONUNBUFFERED
print("before")
with Parallel(num_threads=3) as p:
    print(f"rank {p.rank}")
print("after")
"""
    lines = run_script(SCRIPT + source, tmp_path).split("\n")
    assert sorted(lines) == ["", "after", "before", "exit", "rank 0", "rank 1", "rank 2"]
    assert (lines[0], *lines[4:]) == ("before", "after", "exit", "")


WAITS = {
    "body": "time.sleep(60)",
    "barrier": "p.barrier() if p.master else time.sleep(60)",
    "end": "p.master or time.sleep(60)",
    "critical": "p.rank == 1 and time.sleep(60)\n    with p.critical: time.sleep(60)",
}


@pytest.mark.parametrize("waits", WAITS)
@pytest.mark.parametrize("whole_group", [True, False])
def test_interrupt(tmp_path, waits, whole_group):
    source = f"""
ready = sharedarray.zeros(1, int)
def children():
    with open(f"/proc/self/task/{{os.getpid()}}/children") as file:
        return file.read().split()
try:
    with Parallel(num_threads=3) as p:
        if p.master:
            print("ready", flush=True)
        {WAITS[waits]}
except KeyboardInterrupt:
    print("interrupted", children())
"""
    source = source.replace("\n    with p.critical", "\n        with p.critical")
    process = start_script(SCRIPT + source, tmp_path)
    assert process.stdout.readline() == "ready\n"
    until_asleep(process)
    with within(SOON):
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        out, err, code = end_script(process)
    assert (out, err, code) == ("interrupted []\n", "", 0)


def test_ranks_end_with_the_coordinator(tmp_path):
    source = """
with Parallel(num_threads=3) as p:
    if p.master:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            print(*file.read().split(), flush=True)
        time.sleep(60)
    while p.rank == 1: pass
    p.barrier()
"""
    process = start_script(SCRIPT + source, tmp_path)
    children = process.stdout.readline().split()
    process.kill()
    end_script(process)
    assert len(children) == 2
    assert any(not any(map(is_alive, children)) for _ in naps(SOON)), "they live on"


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a path of the kernel
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
