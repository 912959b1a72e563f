"""Debug mode: everything in the caller, exceptions as they are, a debugger works."""

from __future__ import annotations

import threading

import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from tests.workers.support import each_backend, run_script


@pytest.fixture
def debug():
    sharedarray.set_debug(True)
    yield
    sharedarray.set_debug(False)


@pytest.mark.usefixtures("debug")
def test_everything_runs_in_the_calling_thread(pool):
    idents = set()

    def work(i):
        idents.add(threading.get_ident())
        return i

    def generate():
        idents.add(threading.get_ident())
        yield from range(50)

    for sequence in (range(50), generate()):
        results = pool.map(work, sequence, lambda i: idents.add(threading.get_ident()) or -i)
        assert results == [-i for i in range(50)]
    assert idents == {threading.get_ident()}


@pytest.mark.usefixtures("debug")
@pytest.mark.parametrize(
    "error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]
)
def test_exceptions_come_out_as_they_are(pool, error):
    def work(i):
        if i == 3:
            raise error
        return i

    with pytest.raises(type(error)) as caught:
        pool.map(work, range(10))
    assert caught.value is error
    assert caught.traceback[-1].name == "work"
    assert pool.map(abs, [-1]) == [1]


def test_without_debug_mode_they_do_not(pool):
    with pytest.raises(WorkerException):
        pool.map(lambda i: 1 // 0, [1])


@pytest.mark.usefixtures("debug")
def test_items_run_in_their_order(pool):
    order = []
    pool.map(order.append, range(100))
    assert order == list(range(100))


@pytest.mark.usefixtures("debug")
@each_backend
def test_constructs_work(backend):
    order = []

    def work(i):
        with pool.critical:
            pool.local.last = i
        with pool.ordered:
            order.append(pool.local.last)
        return pool.local.rank, pool.tls.rng.integers(10**9)

    pool = MapReduce(backend, 3, seed=5)
    drawn = pool.map(work, range(10))
    assert order == list(range(10))
    assert {rank for rank, _ in drawn} == {0}
    sharedarray.set_debug(False)
    again = MapReduce(backend, 3, seed=5)
    assert [n for _, n in drawn] == again.map(lambda i: again.local.rng.integers(10**9), range(10))


@pytest.mark.usefixtures("debug")
def test_nothing_is_forked(fork_calls):
    for sequence in (range(9), iter(range(9))):
        assert MapReduce(np=3).map(abs, sequence) == list(range(9))
        assert list(MapReduce(np=3).imap(abs, range(9))) == list(range(9))
    assert fork_calls == []


@pytest.mark.usefixtures("debug")
def test_mistakes_are_noticed(pool):
    def twice(_):
        with pool.ordered, pool.ordered:
            pass

    with pytest.raises(RuntimeError):
        pool.map(twice, [1])


@pytest.mark.usefixtures("debug")
def test_number_of_workers_stays_what_it_is():
    assert MapReduce("thread", 3).np == 3


BREAKPOINT = """
sharedarray.set_debug({debug})

def work(item):
    breakpoint()
    return item + 1

print({pool}.map(work, [7]))
"""


@pytest.mark.parametrize(
    ("pool", "debug"),
    [
        ("MapReduce('thread', 2)", True),
        ("MapReduce(np=2)", True),
        ("MapReduce(np=0)", False),
        ("MapReduce('serial')", False),
    ],
)
def test_breakpoint_in_the_work_function(tmp_path, pool, debug):
    commands = "up\ndown\np item * 1000\nitem = 41\nc\n"
    printed = run_script(BREAKPOINT.format(pool=pool, debug=debug), tmp_path, stdin=commands)
    assert "7000" in printed
    assert "[42]" in printed


POST_MORTEM = """
import pdb
sharedarray.set_debug(True)

def work(item):
    stars = item * 3
    return 1 // (stars - 21)

try:
    MapReduce(BACKEND, 2).map(work, [1, 7])
except ZeroDivisionError:
    pdb.post_mortem()
"""


@each_backend
def test_post_mortem_is_in_the_work_function(tmp_path, backend):
    printed = run_script(
        f"BACKEND = {backend!r}" + POST_MORTEM, tmp_path, stdin="p stars * 1000\nq\n"
    )
    assert "21000" in printed
