"""Fault table E: what is large, slow, many, or written where it does not belong."""

from __future__ import annotations

import os

import pytest

from sharedarray import machine
from tests.workers import support
from tests.workers.faults.scripts import run_fault

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

# large results


def test_large_results_of_all_workers_at_once_and_a_slow_reduce(tmp_path):
    script = """
NBYTES = 8 << 20

def peak():
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) * 1024

def work(i):
    return i, bytes([i]) * NBYTES

def reduce(i, data):
    time.sleep(0.005)  # the workers are faster
    assert data == bytes([i]) * NBYTES
    return i

with clean():
    before = peak()
    pool = MapReduce(np=8)
    assert pool.map(work, range(100), reduce) == list(range(100))
    # One result, what it is compared with, the one before, and the pickle's buffers.
    assert peak() - before < 5 * NBYTES, (peak() - before) / NBYTES
check_reuse(pool)
"""
    run_fault(script, tmp_path)


def test_large_results_of_all_workers_are_kept_as_they_are(tmp_path):
    script = """
with clean():
    pool = MapReduce(np=8)
    results = pool.map(lambda i: np.arange(i, i + (1 << 20)), range(24))
    for i, result in enumerate(results):
        assert np.array_equal(result, np.arange(i, i + (1 << 20))), i
check_reuse(pool)
"""
    run_fault(script, tmp_path)


def test_large_items_for_slow_workers(tmp_path):
    script = """
def work(data):
    time.sleep(0.005)  # the coordinator is faster
    return data[0], len(data), len(set(data))

with clean():
    pool = MapReduce(np=3)
    results = pool.map(work, (bytes([i]) * (4 << 20) for i in range(20)))
    assert results == [(i, 4 << 20, 1) for i in range(20)]
check_reuse(pool)
"""
    run_fault(script, tmp_path)


def test_large_items_and_large_results_at_once(tmp_path):
    script = """
with clean():
    pool = MapReduce(np=3)
    results = pool.imap(lambda data: data, (bytes([i]) * (3 << 20) for i in range(30)))
    assert [(data[0], len(data)) for data in results] == [(i, 3 << 20) for i in range(30)]
check_reuse(pool)
"""
    run_fault(script, tmp_path)


def test_result_beyond_4_gib(tmp_path):
    if os.environ.get("SHAREDARRAY_TEST_LARGE") != "1":
        pytest.skip("takes 8 GiB of memory: set SHAREDARRAY_TEST_LARGE=1")
    available = machine.available_memory() or 0
    if available < 20 << 30:
        pytest.skip(f"takes 8 GiB of memory, and {available >> 30} GiB of 20 are available")
    script = """
from tests.workers.faults.harness import *

n = (4 << 30) + 12_345

def work(i):
    array = np.zeros(n, "u1")
    array[[0, n // 2, -1]] = 1, 2, 3
    return array

with clean():
    pool = MapReduce(np=1)
    (result,) = pool.map(work, [0])
    assert result.shape == (n,)
    assert result[[0, n // 2, -1]].tolist() == [1, 2, 3]
    assert np.count_nonzero(result) == 3
    del result
check_reuse(pool)
"""
    support.run_script(script, tmp_path, limit=35)


def test_spool_is_a_file_where_there_is_no_memfd(tmp_path):
    script = """
def refuse(*_):
    raise PermissionError("seccomp")

with clean():
    os.memfd_create = refuse
    pool = MapReduce(np=2)
    results = pool.map(lambda i: np.full(1 << 18, i), range(20))
    assert [set(result.tolist()) for result in results] == [{i} for i in range(20)]
check_reuse(pool)
"""
    run_fault(script, tmp_path)


# what others write into our descriptors

VANDALS = {
    "a few bytes into everything": """
for number in range(3, 64):
    try:
        os.write(number, b"x" * 9)
    except OSError:
        pass
""",
    "garbage into the socket, and no end": "write(b'x' * 100); time.sleep(60)",
    "a little garbage, and no end": "write(b'x' * 9); time.sleep(60)",
    "a length beyond all memory": "write(header(0, 1 << 60)); time.sleep(60)",
    "a kind that is none": "write(header(77, 0)); time.sleep(60)",
    "another file in the place of the socket": "replace(os.open(os.devnull, os.O_RDWR))",
    "another file in the place of the socket, and no end": """
replace(os.open(os.devnull, os.O_RDWR))
time.sleep(60)
""",
    "another socket in the place of the socket": """
import socket
ours, theirs = socket.socketpair()
ours.close()
replace(theirs.detach())
""",
}


MEDDLING = """
import stat
from pickle import UnpicklingError
from sharedarray.workers import transport

def is_socket(number):
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False

def write(data):
    for number in filter(is_socket, range(3, 64)):
        os.write(number, data)

def header(kind, nbytes):
    start = b"shdarray" + bytes([kind])
    return start.ljust(transport._HEADER.size - 8, b"\\0") + nbytes.to_bytes(8, "little")

def replace(other):
    for number in filter(is_socket, range(3, 64)):
        if number != other:
            os.dup2(other, number)

def work(i):
    if i == 1:
        exec(vandal)
    return i
"""


@pytest.mark.parametrize("watch", ["pidfd", "no pidfd"])
@pytest.mark.parametrize("vandal", VANDALS.values(), ids=VANDALS)
def test_worker_that_meddles_with_our_descriptors_is_dead(tmp_path, vandal, watch):
    script = """
with clean():
    pool = MapReduce(np=2)
    death = expect(WorkerDied, lambda: pool.map(work, range(2), chunksize=1))
    assert "socket" in str(death) or "exit code 1" in str(death), death
check_reuse(pool)
"""
    run_fault(MEDDLING + script, tmp_path, vandal=vandal, watch=watch)


def test_frame_that_holds_no_pickle_is_an_error(tmp_path):
    script = """
vandal = "write(header(0, 9) + b'no pickle'); time.sleep(60)"
with clean():
    pool = MapReduce(np=2)
    error = expect(WorkerException, lambda: pool.map(work, range(2), chunksize=1))
    assert type(error.reason) is UnpicklingError
check_reuse(pool)
"""
    run_fault(MEDDLING + script, tmp_path)


# standard streams

STREAMS = {
    "stdout closed": "sys.stdout.close()",
    "descriptor 1 closed": "os.close(1)",
    "descriptor 0 closed": "os.close(0)",
    "all three closed": "os.closerange(0, 3)",
    "no streams": "sys.stdin = sys.stdout = sys.stderr = None",
    "stdout full": "full = os.open('/dev/full', os.O_WRONLY); os.dup2(full, 1); os.close(full)",
    "stdout a broken pipe": """
read, write = os.pipe()
os.close(read)
os.dup2(write, 1)
os.close(write)
""",
}


@pytest.mark.parametrize("np", [1, 3])
@pytest.mark.parametrize("spoil", STREAMS.values(), ids=STREAMS)
def test_standard_streams_of_the_coordinator_do_not_matter(tmp_path, spoil, np):
    script = f"""
from tests.workers.faults.harness import *

def open_streams():
    return [number for number in range(3) if Path(f"/proc/self/fd/{{number}}").is_symlink()]

def work(i):
    try:
        print("item", i)
    except (OSError, ValueError):
        pass
    return i, open_streams(), bytes(100_000)

saved = [os.dup(number) for number in range(3)]
sys.stdout = open(1, "w", closefd=False)  # with a buffer, and text in it
print("of the coordinator")
{spoil}
with clean():
    pool = MapReduce(np={np})
    results = pool.map(work, range(40))
    assert [i for i, _, _ in results] == list(range(40))
    assert all(data == bytes(100_000) for _, _, data in results)
    # What native code writes to a closed stream must not get into a pipe of ours.
    opened = [numbers for _, numbers, _ in results if numbers != open_streams()]
    assert not opened, opened[0]
check_reuse(pool)
for number in range(3):
    os.dup2(saved[number], number)
os.write(1, b"the end")
os._exit(0)
"""
    out, err, code = support.end_script(support.start_script(script, tmp_path))
    assert (code, err) == (0, ""), f"exit code {code}\n{out}\n{err}"
    assert out.endswith("the end")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_worker_may_close_its_standard_streams(tmp_path, number):
    script = """
from tests.workers.synchronization import Barrier

def work(i):
    if i < 2:  # one item for each worker
        both.wait()
        os.close(number)
    return i, bytes([i]) * 100_000

both = Barrier(2)
with clean():
    pool = MapReduce(np=2)
    results = pool.map(work, range(20), chunksize=1)
    assert results == [(i, bytes([i]) * 100_000) for i in range(20)]
check_reuse(pool)
"""
    run_fault(script, tmp_path, number=number)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_spool_never_takes_the_place_of_a_standard_stream(tmp_path, number):
    # 1. The worker closes a stream. 2. Its spool gets that number. 3. The next item writes to the
    # stream, as native code does, while the coordinator is reading the spool.
    script = """
from tests.workers.synchronization import Event

class Pause:
    def __reduce__(self):
        return pause, ()

def pause():
    if os.getpid() == coordinator:  # the worker, too, tries what it sends
        reading.set()
        assert written.wait()

def work(i):
    if i == 0:
        os.close(number)
        return Pause(), data
    assert reading.wait()
    try:
        os.write(number, b"x" * 1000)
    except OSError:
        pass
    written.set()

coordinator = os.getpid()
data = np.arange(1 << 18)
reading, written = Event(), Event()
with clean():
    pool = MapReduce(np=1)
    (_, result), _ = pool.map(work, range(2), chunksize=1)
    assert np.array_equal(result, data)
check_reuse(pool)
"""
    run_fault(script, tmp_path, number=number)


# numbers


def test_numbers_of_workers_and_items(tmp_path):
    script = """
forks = []
fork = os.fork
def counting():
    forks.append(1)
    return fork()
os.fork = counting

def n_forks(np, sequence):
    forks.clear()
    assert MapReduce(np=np).map(lambda i: -i, sequence) == [-i for i in sequence]
    return len(forks)

with clean():
    for np_, n_items, n_expected in [
        (0, 0, 0), (0, 5, 0), (1, 0, 0), (10_000, 0, 0),
        (1, 1, 1), (2, 1, 1), (10_000, 1, 1), (10_000, 3, 3), (3, 3, 3), (3, 100, 3), (1, 100, 1),
    ]:
        assert n_forks(np_, range(n_items)) == n_expected, (np_, n_items)
    forks.clear()
    for bad, error in [(-1, ValueError), (-10_000, ValueError), (2.0, TypeError),
                       ("2", TypeError), ([], TypeError), (1j, TypeError)]:
        expect(error, lambda: MapReduce(np=bad).map(abs, [1]))
    assert MapReduce(np=2).map(abs, iter(())) == []
    forks.clear()
    assert list(MapReduce(np=2).imap(abs, [])) == []
    assert not forks
"""
    run_fault(script, tmp_path)


def test_exceptions_and_odd_values_are_results(tmp_path):
    script = """
VALUES = [
    None, ValueError("a value"), KeyboardInterrupt(), SystemExit(3), StopIteration(4), ValueError,
    WorkerException(ValueError("inner"), "text"), WorkerDied("it died", 0, 1, 2, None, (3,)),
    NotImplemented, Ellipsis, (), (None,), (ValueError("in a tuple"),), [[]], float("inf"), b"", "",
]
with clean():
    for n_workers in 1, 2, 5:
        pool = MapReduce(np=n_workers)
        for results in (
            pool.map(lambda i: VALUES[i], range(len(VALUES))),
            list(pool.imap(lambda value: value, VALUES)),
            pool.map(lambda value: value, iter(VALUES)),
            pool.map(lambda i: VALUES[i], range(len(VALUES)), reduce=lambda *x: x[0] if x else ()),
        ):
            assert len(results) == len(VALUES)
            for result, value in zip(results[:10], VALUES[:10]):
                assert type(result) is type(value), (result, value)
                assert getattr(result, "args", None) == getattr(value, "args", None) or (
                    isinstance(value, WorkerException)), (result, value)
"""
    run_fault(script, tmp_path)


def test_a_million_trivial_items(tmp_path):
    script = """
n = 1_000_000
with clean():
    pool = MapReduce(np=4)
    assert pool.map(lambda i: i ^ 5, range(n)) == [i ^ 5 for i in range(n)]
check_reuse(pool)
"""
    run_fault(script, tmp_path)
