"""Fault table A: workers that die on the way from a result to the coordinator, or after it."""

from __future__ import annotations

import pytest

from tests.workers.faults.scripts import WATCHES, run_fault

# Each has the process die when a part of the result is written. `Tattle` would tell of its
# unpickling in the coordinator; a worker may try it.
HALF_WAY = {
    "in the pickle of a small result": "return [Tattle(), Kill()]",
    "in the pickle of a large result": "return [Tattle(), np.ones(8 << 20), Kill()]",  # 64 MiB
    "between large results": "return [np.ones(1 << 20), Kill(), np.ones(1 << 20)]",
    "in the frame of a small result": """
    def send_half(socket, data):
        socket.send(bytes(data)[: len(data) // 2])
        os.kill(os.getpid(), 9)
    socket.socket.sendall = send_half
    return Tattle()
""",
    "in the header of a small result": """
    def send_a_bit(socket, data):
        socket.send(bytes(data)[:5])
        os.kill(os.getpid(), 9)
    socket.socket.sendall = send_a_bit
    return Tattle()
""",
    "before the frame of a large result": """
    socket.send_fds = lambda *args: os.kill(os.getpid(), 9)
    return [Tattle(), np.ones(8 << 20)]
""",
    "in the frame of a large result": """
    def send_half(end, buffers, descriptors):
        sendmsg(end, [buffers[0][:5]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
            np.array(descriptors, "i").tobytes())])
        os.kill(os.getpid(), 9)
    sendmsg, socket.send_fds = socket.socket.sendmsg, send_half
    return [Tattle(), np.ones(8 << 20)]
""",
    "by a thread, while it writes": """
    def kill_when_written():
        wait_until(lambda: any(
            "sharedarray-spool" in str(link.readlink()) and link.stat().st_size > 1 << 16
            for link in Path("/proc/self/fd").iterdir() if link.is_symlink()))
        os.kill(os.getpid(), 9)
    def write_slowly(file, data, write=os.write):
        time.sleep(0.001)
        return write(file, data[: 1 << 16])
    os.write = write_slowly
    threading.Thread(target=kill_when_written).start()
    return [Tattle(), np.ones(8 << 20)]
""",
}

KILL_HALF_WAY = """
import socket

home = os.getpid()

def tattle():
    if os.getpid() == home:
        print("part of a result was unpickled")

class Tattle:
    def __reduce__(self):
        return tattle, ()

class Kill:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

def work(i):
    if i == 50:
        return half_way()
    return i

for n_workers, chunksize in ((1, 1), (3, 1), (3, 20)):
    pool = MapReduce(np=n_workers)
    with clean():
        death = expect(WorkerDied, lambda: pool.map(work, range(100), chunksize=chunksize))
        check_death(death, exitcode=-9)
        check_reuse(pool)
"""


@pytest.mark.parametrize("phase", HALF_WAY)
def test_part_of_a_result_is_not_unpickled(tmp_path, phase):
    source = f"def half_way():\n    {HALF_WAY[phase]}\n{KILL_HALF_WAY}"
    run_fault(source, tmp_path)


@pytest.mark.parametrize("watch", WATCHES)
def test_killed_while_the_coordinator_is_slow_to_take_a_large_result(tmp_path, watch):
    source = """
def work(i):
    if i == 2:
        wait_until(lambda: busy[0])
        os.kill(os.getpid(), 9)
    return np.full(1 << 20, i)

def reduce(result):
    busy[0] = 1
    assert (result == result[0]).all()
    taken.append(int(result[0]))
    wait_until(lambda: len(taken) > 1 or "Z" in map(state_of, children()))

taken, busy = [], sharedarray.zeros(1, int)
pool = MapReduce(np=3)
with clean():
    check_death(
        expect(WorkerDied, lambda: pool.map(work, range(10), reduce, chunksize=1)), exitcode=-9)
    assert len(set(taken)) == len(taken)
    check_reuse(pool)
"""
    run_fault(source, tmp_path, watch=watch)


# How large the results of items are, and how many a worker can have sent before the second
# is received.
AHEAD = [("1", 50), ("100_000", 2), ("100_000 if i == 1 else 1", 50)]


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize(("size", "last"), AHEAD)
def test_what_a_dead_worker_has_sent_comes_before_the_news_of_its_death(
    tmp_path, size, last, watch
):
    source = """
def work(i):
    if i == last:
        os.kill(os.getpid(), 9)
    return np.full(size(i), i)

def take(result):
    assert result.tolist() == size(len(taken)) * [len(taken)]
    taken.append(result)
    wait_until(lambda: "Z" in map(state_of, children()) or not children())

size = eval(f"lambda i: {size}")
taken = []
pool = MapReduce(np=1)
with clean():
    death = expect(WorkerDied, lambda: pool.map(work, range(100), take, chunksize=1))
    check_death(death, rank=0, exitcode=-9, items=(last,))
    assert len(taken) == last
    taken.clear()
    check_reuse(pool)
"""
    run_fault(source, tmp_path, watch=watch, size=size, last=last)


# After the last result: in a destructor, which the worker runs when its work is done.
LATE = """
class Bomb:
    def __del__(self):
        if os.getpid() != home:
            wait_until(lambda: taken[0] == n_items)
            exec(end)

def work(i):
    if not here[pool.local.rank]:
        pool.local.bomb = Bomb()
    here[pool.local.rank] = 1
    wait_until(here.all)
    return size * [i]

def take(*result):
    taken[0] += 1
    return result

home, n_items = os.getpid(), 20
"""

ENDS = {"os.kill(os.getpid(), 9)": "SIGKILL", "os._exit(7)": "exit code 7"}


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("end", ENDS)
def test_a_death_after_the_last_result_is_a_warning(tmp_path, end, watch):
    source = """
for n_workers, size in ((1, 1), (2, 1), (5, 1), (2, 100_000)):
    pool = MapReduce(np=n_workers)
    for call in (
        lambda: pool.map(work, range(n_items), take, chunksize=1),
        lambda: pool.map(work, range(n_items), take, chunksize=n_items // n_workers),
        lambda: list(pool.imap(work, range(n_items), take, chunksize=1)),
        lambda: pool.map(work, iter(range(n_items)), take),
    ):
        taken, here = sharedarray.zeros(1, int), sharedarray.zeros(n_workers, int)
        with clean(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            began = time.monotonic()
            assert call() == [(size * [i],) for i in range(n_items)]
            check_fast(began)
            (warning,) = caught
            assert warning.category is RuntimeWarning
            assert what in str(warning.message), warning.message
            assert warning.filename == __file__
check_reuse(pool)
"""
    run_fault(LATE + source, tmp_path, watch=watch, end=end, what=ENDS[end])


def test_the_warning_as_an_error_leaves_nothing_behind(tmp_path):
    source = """
n_workers, size, taken, here = 3, 1, sharedarray.zeros(1, int), sharedarray.zeros(3, int)
pool = MapReduce(np=n_workers)
with clean():
    expect(RuntimeWarning, lambda: pool.map(work, range(n_items), take, chunksize=1))
    check_reuse(pool)
"""
    run_fault(LATE + source, tmp_path, end="os.kill(os.getpid(), 9)")
