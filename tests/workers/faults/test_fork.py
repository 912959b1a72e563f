"""Fault table F: threads at the fork, and libraries that remember it."""

from __future__ import annotations

import os

import pytest

from tests.workers.faults.scripts import run_fault

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

# Threads of the script's own are what these tests are about.
IN_THREADS = """
from sharedarray import ForkInThreadsWarning
from tests.workers.synchronization import Barrier, Event, Semaphore
warnings.simplefilter("ignore", ForkInThreadsWarning)

def in_threads(*functions):
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
"""


def run_threads(body, tmp_path, **values):
    run_fault(IN_THREADS + body, tmp_path, **values)


# threads of the caller


def test_maps_in_a_thread_that_ends(tmp_path):
    script = """
def maps():
    for k in range(20):
        results.append(pool.map(lambda i: i * k, range(20)) == [i * k for i in range(20)])

pool, results = MapReduce(np=2), []
with clean():
    in_threads(maps)
    assert results == [True] * 20
check_reuse(pool)
"""
    run_threads(script, tmp_path)


def test_death_and_failure_in_a_thread(tmp_path):
    script = """
def run():
    died = expect(WorkerDied, lambda: pool.map(lambda i: os._exit(3), range(4)))
    failed = expect(WorkerException, lambda: pool.map(lambda i: 1 // 0, range(4)))
    results.append((died.exitcode, type(failed.reason)))

pool, results = MapReduce(np=2), []
with clean():
    in_threads(run)
    assert results == [(3, ZeroDivisionError)]
check_reuse(pool)
"""
    run_threads(script, tmp_path)


def test_death_in_one_pool_is_seen_though_another_pool_forks_at_the_same_time(tmp_path):
    # Its workers live on, whatever of the first pool's they have inherited.
    script = """
def run_deaths():
    start.wait()
    pool = MapReduce(np=2)
    died = expect(WorkerDied, lambda: pool.map(lambda i: os.kill(os.getpid(), 9), range(2)))
    assert died.signal == 9
    is_over.set()
    n_deaths.append(1)

def run_others():
    start.wait()
    results.append(MapReduce(np=2).map(lambda i: is_over.wait() and i, range(4)))

n_deaths, results = [], []
with clean():
    for _ in range(40):
        start, is_over = threading.Barrier(2), Event()
        in_threads(run_deaths, run_others)
    assert len(n_deaths) == 40
    assert results == [[0, 1, 2, 3]] * 40
    del is_over
"""
    run_threads(script, tmp_path)


def test_forks_of_two_pools_exclude_each_other(tmp_path):
    # Or a worker would inherit what the other pool has opened and not yet noted down.
    script = """
def fork():
    n_forking.append(1)
    most.append(len(n_forking))
    patience.wait(0.02)  # in vain: another one does not come
    pid = real_fork()
    n_forking.pop()
    return pid

real_fork, os.fork = os.fork, fork
n_forking, most, patience = [], [], threading.Event()
start, results = threading.Barrier(2), []

def run():
    start.wait(20)
    results.append(MapReduce(np=3).map(abs, range(6), chunksize=1))

with clean():
    in_threads(run, run)
    assert results == [list(range(6))] * 2
    assert most == [1] * 6
"""
    run_threads(script, tmp_path)


def test_one_pool_in_two_threads(tmp_path):
    script = """
def run(sign):
    start.wait(20)
    for _ in range(20):
        log = []
        assert pool.map(lambda i: sign * i, range(20), reduce=log.append) == [None] * 20
        assert sorted(log, key=abs) == [sign * i for i in range(20)]
        def work(i):
            with pool.ordered, pool.critical:
                pool.local.x = sign * i
            return pool.local.x
        assert pool.map(work, range(10)) == [sign * i for i in range(10)]
    n_runs.append(1)

pool, start, n_runs = MapReduce(np=2), threading.Barrier(2), []
with clean():
    in_threads(lambda: run(1), lambda: run(-1))
    assert len(n_runs) == 2
check_reuse(pool)
"""
    run_threads(script, tmp_path)


def test_map_of_the_same_pool_in_its_own_reduce_and_in_its_own_work(tmp_path):
    script = """
def total(i):
    return sum(pool.map(lambda j: i * j, range(4)))

with clean():
    pool = MapReduce(np=2)
    assert pool.map(abs, range(10), reduce=total) == [6 * i for i in range(10)]
    assert pool.map(total, range(10)) == [6 * i for i in range(10)]
    assert pool.map(total, range(5), reduce=total) == [36 * i for i in range(5)]
    assert list(pool.imap(total, iter(range(5)), reduce=total)) == [36 * i for i in range(5)]
check_reuse(pool)
"""
    run_fault(script, tmp_path)


# locks that other threads hold at the fork

HAMMERS = {
    "logging": ("logging.getLogger('parent').warning('x' * 100)", "log.warning('from %d', i)"),
    # Another module: its own lock cannot be released in a worker.
    "import": ("import_anew('colorsys')", "import_anew('quopri')"),
    "print": ("print('y' * 100)", "print('from', i, flush=True)"),
    "warnings": ("warn()", "warn()"),
    "allocation": ("sharedarray.zeros(100_000)", "sharedarray.zeros(100_000)"),
    "random": ("np.random.random(100)", "np.random.random(100)"),
}


@pytest.mark.parametrize(("hammer", "use"), HAMMERS.values(), ids=HAMMERS)
def test_workers_use_what_another_thread_has_locked_at_the_fork(tmp_path, hammer, use):
    script = """
import importlib, logging

sys.setswitchinterval(1e-4)
sys.stdout.flush()
real, sys.stdout = sys.stdout, open(os.devnull, "w")  # with a buffer, and a lock
logging.basicConfig(stream=sys.stdout)
log = logging.getLogger("worker")

def import_anew(name):
    sys.modules.pop(name, None)
    try:
        importlib.import_module(name)
    except KeyError:  # another thread is doing the same
        pass

def warn():
    with warnings.catch_warnings():
        warnings.warn_explicit("often", UserWarning, "file", 1, registry={})

def beat():
    run = compile(hammer, "hammer", "exec")
    while not done.is_set():
        exec(run)
        n_beats[0] += 1

def work(i):
    exec(use)
    return i

n_beats = [0]
done = threading.Event()
pool = MapReduce(np=2)
warnings.simplefilter("ignore", UserWarning)
threads = [threading.Thread(target=beat, daemon=True) for _ in range(2)]
with clean():
    for thread in threads:
        thread.start()
    wait_until(lambda: n_beats[0])
    for _ in range(40):
        assert pool.map(work, range(4)) == [0, 1, 2, 3]
    done.set()
    for thread in threads:
        thread.join(20)
assert n_beats[0] > 100, n_beats
sys.stdout.close()
sys.stdout = real
"""
    run_threads(script, tmp_path, hammer=hammer, use=use)


def test_ctrl_c_ends_a_map_whose_worker_waits_for_a_lock_of_the_parent(tmp_path):
    script = """
def hold():
    with lock:
        is_held.set()
        done.wait(20)

def work(i):
    if i == 0:
        wait_until(lambda: state_of(os.getppid()) == "S")  # all workers are forked
        os.kill(os.getppid(), signal.SIGINT)
    with lock:
        return i

lock, is_held, done = threading.Lock(), threading.Event(), threading.Event()
holder = threading.Thread(target=hold, name="the holder", daemon=True)
holder.start()
assert is_held.wait(20)
pool = MapReduce(np=2)
with clean():
    expect(KeyboardInterrupt, lambda: pool.map(work, range(4)))
done.set()
holder.join(20)
check_reuse(pool)
"""
    run_threads(script, tmp_path)


# libraries


def test_blas_in_the_parent_in_workers_and_in_the_parent_again(tmp_path):
    script = """
a = np.random.default_rng(0).random((600, 600))
expected = a @ a
assert "OMP_NUM_THREADS" not in os.environ
with clean():
    pool = MapReduce(np=4)
    began = time.monotonic()
    for _ in range(2):
        for result in pool.map(lambda _: a @ a, range(8)):
            np.testing.assert_allclose(result, expected)
        np.testing.assert_allclose(a @ a, expected)
    check_fast(began, within=10)
check_reuse(pool)
"""
    run_fault(script, tmp_path)


def test_random_numbers_of_workers_are_their_own_and_repeatable(tmp_path):
    script = """
from tests.workers.synchronization import Barrier

def draw(pool):
    def work(i):
        all_here.wait()  # one item for each worker
        return pool.local.rank, tuple(np.random.randint(0, 1 << 30, 4)), np.random.random()
    return dict((rank, rest) for rank, *rest in pool.map(work, range(4), chunksize=1))

all_here = Barrier(4)
with clean():
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    pool = MapReduce(np=4, seed=1)
    first, second = draw(pool), draw(pool)
    assert np.random.get_state()[1].tolist() == before
    draws = [str(x) for drawn in (first, second) for x in drawn.values()]
    assert len(set(draws)) == 8, "workers draw the same numbers"
    again = MapReduce(np=4, seed=1)
    assert [draw(again), draw(again)] == [first, second]
    assert not set(map(str, draw(MapReduce(np=4, seed=2)).values())) & set(draws)
    unseeded = [draw(MapReduce(np=4)) for _ in range(2)]
    assert unseeded[0] != unseeded[1]
check_reuse(pool)
"""
    run_fault(script, tmp_path)


def test_generator_of_an_item_depends_on_the_seed_and_the_item_alone(tmp_path):
    script = """
def draw(n_workers, seed, **options):
    pool = MapReduce(np=n_workers, seed=seed)
    return pool.map(lambda i: pool.local.rng.random(3).tolist(), range(30), **options)

with clean():
    expected = draw(0, 7)
    assert len({str(x) for x in expected}) == 30
    for n_workers in 1, 2, 5:
        for chunksize in None, 1, 7:
            assert draw(n_workers, 7, chunksize=chunksize) == expected
    assert draw(2, 8) != expected
"""
    run_fault(script, tmp_path)
