"""`critical`, `ordered` and `local` where there is no worker, and where a map ends around them."""

from __future__ import annotations

import itertools
import sys
import threading
import time

import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import each_backend, reason_of
from tests.workers.synchronization import Barrier, Event, Log, Semaphore

# where there is no worker


CONSTRUCTS = {
    "critical": lambda pool: pool.critical.__enter__(),
    "ordered": lambda pool: pool.ordered.__enter__(),
    "local": lambda pool: pool.local.rank,
    "local attribute": lambda pool: pool.local.x,
    "local setting": lambda pool: setattr(pool.local, "x", 1),
    "local deleting": lambda pool: delattr(pool.local, "x"),
    "local rng": lambda pool: pool.local.rng,
    "tls": lambda pool: pool.tls.rank,
}
constructs = pytest.mark.parametrize("use", CONSTRUCTS.values(), ids=CONSTRUCTS)


@constructs
def test_outside_of_a_map(pool, use):
    with pytest.raises(RuntimeError, match=r"critical|ordered|local"):
        use(pool)
    with pool:
        pool.map(abs, [1])
        with pytest.raises(RuntimeError):
            use(pool)
    with pytest.raises(RuntimeError):
        use(pool)


@constructs
def test_in_reduce(pool, use):
    # reduce runs in the coordinator, which is no worker, on any backend.
    with pytest.raises(RuntimeError):
        pool.map(abs, [1], reduce=lambda _: use(pool))


@constructs
def test_in_the_generator(pool, use):
    def generate():
        yield from range(20)
        use(pool)

    with pytest.raises(RuntimeError) as caught:
        pool.map(abs, generate())
    assert not isinstance(caught.value, WorkerException)


@constructs
@each_backend
def test_in_a_map_of_another_pool(pool, backend, use):
    other = MapReduce(backend, 2)
    assert isinstance(reason_of(other, lambda _: use(pool), [1]), RuntimeError)


@constructs
def test_in_a_thread_that_an_item_has_started(pool, use):
    def work(_):
        def run():
            try:
                use(pool)
            except RuntimeError:
                refused.append(1)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(10)

    refused = Log()
    pool.map(work, [1])
    # A build without the GIL starts threads in a copy of the context: there it is a worker's own.
    assert list(refused) == [1] or getattr(sys.flags, "thread_inherit_context", False)


# no hang


@each_backend
@pytest.mark.parametrize("waiting_in", ["critical", "ordered"])
def test_failure_while_the_others_wait(backend, waiting_in):
    """The first item holds what the others want, and fails."""
    all_here, swallowed = Barrier(3), Event()

    def work(i):
        if i == 0:
            with getattr(pool, waiting_in):
                all_here.wait()
                time.sleep(0.02)  # so that the others do wait; if not yet, the more is tested
                raise ValueError("the first")
        all_here.wait()
        try:
            with getattr(pool, waiting_in):
                pass
        except Exception:
            swallowed.set()

    pool = MapReduce(backend, 3)
    reason = reason_of(pool, work, range(3), chunksize=1)
    assert str(reason) == "the first"
    assert not swallowed.is_set()
    assert pool.map(abs, [-1] * 10) == [1] * 10


@each_backend
def test_failure_of_an_item_outside_while_the_others_wait_for_its_turn(backend):
    others = Semaphore()

    def work(i):
        if i == 0:
            for _ in range(2):
                others.acquire()
            raise ValueError("the first")
        others.release()
        with pool.ordered:
            pass

    pool = MapReduce(backend, 3)
    assert str(reason_of(pool, work, range(30), chunksize=1)) == "the first"


@each_backend
def test_exception_of_reduce_while_workers_wait(backend):
    waiting = Semaphore()

    def work(i):
        if i == 0:
            return i
        if i == 1:
            return given_up.wait()
        waiting.release()
        with pool.ordered:
            return i

    def reduce(_):
        for _ in range(2):
            waiting.acquire()
        given_up.set()
        raise ValueError("by reduce")

    given_up = Event()
    pool = MapReduce(backend, 3)
    with pytest.raises(ValueError, match="by reduce"):
        pool.map(work, range(10), reduce, chunksize=1)


@each_backend
def test_exception_of_the_generator_while_workers_wait(backend):
    def generate():
        yield from range(3)
        raise ValueError("by generator")

    def work(_):
        with pool.critical:
            pass
        with pool.ordered:
            pass

    pool = MapReduce(backend, 3)
    for _ in range(20):
        with pytest.raises(ValueError, match="by generator"):
            pool.map(work, generate())


@each_backend
def test_stubborn_items_do_not_hang(backend):
    """Items that catch everything are ended at their end."""

    def work(i):
        for _ in itertools.count():
            try:
                with pool.ordered:
                    if i == 3:
                        raise ValueError
                return
            except RuntimeError:
                return
            except BaseException:
                if i == 3:
                    raise

    pool = MapReduce(backend, 3)
    assert isinstance(reason_of(pool, work, range(100), chunksize=1), (ValueError, RuntimeError))
