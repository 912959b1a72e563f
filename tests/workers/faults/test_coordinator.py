"""Fault table C: what goes wrong in the coordinator, and around it. Signals: `test_signals`."""

from __future__ import annotations

import os
import sys

import pytest

from tests.workers.faults.scripts import run_fault
from tests.workers.support import end_script, run_script, start_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

# exceptions of reduce and of iterators

# SystemExit and KeyboardInterrupt end a program; WorkerException and StopIteration could be taken
# for something else on their way.
RAISES = """
class Own(BaseException):
    pass

EXCEPTIONS = [
    ValueError("its own"), KeyboardInterrupt("no signal"), SystemExit(3), GeneratorExit(),
    StopIteration(5), WorkerException(ValueError(), "text"), Own("a BaseException"),
]

def check_same(error, function):
    caught = expect(type(error), function, within=1)
    assert caught is error
    error.__traceback__ = None  # or its frames would live on
"""


def test_exception_of_reduce_comes_out_as_it_is(tmp_path):
    source = """
def reduce(i):
    n_reduced.append(i)
    if len(n_reduced) == k:
        raise error

for error in EXCEPTIONS:
    for n_workers, k in (1, 1), (3, 50):
        pool, n_reduced = MapReduce(np=n_workers), []
        with clean():
            check_same(error, lambda: pool.map(lambda i: i, range(1_000_000), reduce))
            assert len(n_reduced) == k
    check_reuse(pool)
"""
    run_fault(RAISES + source, tmp_path)


def test_exception_of_reduce_does_not_wait_for_items_that_run(tmp_path):
    source = """
def reduce(i):
    raise error

def work(i):
    if i:
        time.sleep(60)
    return i

error = Own()
for items in range(100), iter(range(100)):
    with clean():
        pool = MapReduce(np=3)
        check_same(error, lambda: pool.map(work, items, reduce))
    check_reuse(pool)
"""
    run_fault(RAISES + source, tmp_path)


def test_exception_of_an_iterator_comes_out_as_it_is(tmp_path):
    source = """
class Items:
    # Not a generator: Python itself replaces a StopIteration that is raised in one.
    def __init__(self, n):
        self.n = n
    def __iter__(self):
        return self
    def __next__(self):
        if not self.n:
            raise error
        self.n -= 1
        return self.n

for error in EXCEPTIONS:
    for n_workers, n, chunksize in (1, 0, 1), (2, 3, 1), (2, 3, 2), (2, 100, None):
        pool = MapReduce(np=n_workers)
        run = lambda: pool.map(lambda i: i, Items(n), chunksize=chunksize)
        with clean():
            if isinstance(error, StopIteration):
                assert run() == list(reversed(range(n)))
            else:
                check_same(error, run)
    check_reuse(pool)
"""
    run_fault(RAISES + source, tmp_path)


def test_exception_of_an_iterator_does_not_wait_for_items_that_run(tmp_path):
    source = """
def items():
    yield from range(3)
    raise error

error = Own()
with clean():
    pool = MapReduce(np=2)
    check_same(error, lambda: pool.map(lambda i: time.sleep(60), items()))
check_reuse(pool)
"""
    run_fault(RAISES + source, tmp_path)


# sequences that do not keep their word

SEQUENCES = {
    "an infinite generator": """
def items():
    i = 0
    while True:
        n_taken.append(i)
        yield i
        i += 1

def reduce(i):
    if i == 300:
        raise EOFError

n_taken = []
run = lambda: expect(EOFError, lambda: pool.map(lambda i: i, items(), reduce))
def check():
    assert len(n_taken) < 400, len(n_taken)
    n_taken.clear()
""",
    "an item that cannot be had": """
class Items:
    def __len__(self):
        return 100
    def __getitem__(self, i):
        if i == 50:
            raise LookupError("not this one")
        return i

run = lambda: reasons.append(expect(WorkerException, lambda: pool.map(abs, Items())).reason)
reasons = []
def check():
    assert type(reasons.pop()) is LookupError
""",
    "a process that ends where an item is had": """
class Items(list):
    def __getitem__(self, i):
        os._exit(7)

run = lambda: deaths.append(expect(WorkerDied, lambda: pool.map(abs, Items([1, 2]))))
deaths = []
def check():
    assert deaths.pop().exitcode == 7
""",
    "a sequence that grows": """
items = [1] * 10

def reduce(i):
    items.append(1)

def run():
    n = len(items)
    assert pool.map(abs, items, reduce) == [None] * n
def check():
    items[:] = [1] * 10
""",
    "a sequence that shrinks": """
items = list(range(10))

def run():
    assert pool.map(abs, items, lambda i: items.clear() or i) == list(range(10))
def check():
    items[:] = range(10)
""",
    "a length that raises": """
class Items(list):
    def __len__(self):
        raise MemoryError

run = lambda: expect(MemoryError, lambda: pool.map(abs, Items([1, 2])))
def check():
    pass
""",
    "a length beyond the items": """
class Items(list):
    def __len__(self):
        return 20

run = lambda: reasons.append(expect(WorkerException, lambda: pool.map(abs, Items([1]))).reason)
reasons = []
def check():
    assert type(reasons.pop()) is IndexError
""",
    "an iterator that cannot be had": """
class Items:
    def __iter__(self):
        raise EOFError

run = lambda: expect(EOFError, lambda: pool.map(abs, Items()))
def check():
    pass
""",
    "no items at all": """
run = lambda: expect(TypeError, lambda: pool.map(abs, 5))
def check():
    pass
""",
}


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_odd_sequences(tmp_path, sequence):
    source = """
for n_workers in 1, 3:
    with clean():
        pool = MapReduce(np=n_workers)
        run()
        check()
    check_reuse(pool)
"""
    run_fault(SEQUENCES[sequence] + source, tmp_path)


# the application's own children


@pytest.mark.parametrize("outcome", ["[1, 2]", "WorkerDied"])
def test_children_of_the_application_stay_its_own(tmp_path, outcome):
    source = """
import subprocess

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(4)
    return pid

def work(i):
    if outcome == "WorkerDied":
        os._exit(0)
    return -i

ended, going_on = subprocess.Popen(["false"]), subprocess.Popen(["cat"], stdin=subprocess.PIPE)
pid = fork()
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a zombie, and nobody else's business
with clean():
    for np_ in 1, 2:
        pool = MapReduce(np=np_)
        if outcome == "WorkerDied":
            expect(WorkerDied, lambda: pool.map(work, [-1, -2]))
        else:
            assert pool.map(work, [-1, -2]) == [1, 2]
    check_reuse(pool)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
assert ended.wait() == 1
going_on.communicate()
assert going_on.returncode == 0
"""
    run_fault(source, tmp_path, outcome=outcome)


# asyncio

ASYNCIO = """
import asyncio

def body():
    {}

async def main():
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        loop.add_signal_handler(number, heard.append, number)
    body()
    for _ in range(5):
        await asyncio.sleep(0.01)  # what has come through the wake-up descriptor is heard here
    heard_of_workers = [number for number in heard if number != signal.SIGCHLD]
    assert not heard_of_workers, heard_of_workers
    os.kill(os.getpid(), signal.SIGUSR1)
    while signal.SIGUSR1 not in heard:  # the loop hears of its own signals still
        await asyncio.sleep(0.001)

heard = []
pool = MapReduce(np=2)
asyncio.run(main())
check_reuse(pool)
"""


def test_event_loop_hears_nothing_of_signals_of_workers(tmp_path):
    source = ASYNCIO.format("""
    death = expect(WorkerDied, lambda: pool.map(
        lambda i: os.kill(os.getpid(), signal.SIGTERM), range(2)))
    assert death.signal == signal.SIGTERM  # the handler of the application is not the worker's
""")
    run_fault(source, tmp_path)


def test_event_loop_hears_nothing_of_what_workers_handle_themselves(tmp_path):
    source = ASYNCIO.format("""
    def work(i):
        own = []
        inherited = signal.signal(signal.SIGUSR1, lambda *_: own.append(i))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signal.signal(signal.SIGUSR1, inherited) and inherited is signal.SIG_DFL
        return own

    assert pool.map(work, range(20)) == [[i] for i in range(20)]
""")
    run_fault(source, tmp_path)


def test_map_in_a_task_and_event_loops_in_workers(tmp_path):
    source = """
import asyncio

async def sleep(i):
    await asyncio.sleep(0.001)
    return i * i

async def in_task():
    return pool.map(lambda i: i * i, range(10))

async def main():
    with clean():
        tasks = [asyncio.create_task(in_task()) for _ in range(3)]
        return [await task for task in tasks]

pool = MapReduce(np=2)
squares = [i * i for i in range(10)]
assert asyncio.run(main()) == [squares] * 3
with clean():
    assert pool.map(lambda i: asyncio.run(sleep(i)), range(10)) == squares
"""
    run_fault(source, tmp_path)


# the end of the interpreter


@pytest.mark.parametrize("when", ["atexit", "__del__ of a global", "finalize", "after a failure"])
def test_a_map_at_the_end_of_the_interpreter_is_right_or_refused(tmp_path, when):
    # From 3.12 on, Python refuses to fork then. Modules may be gone when the last objects die.
    source = f"""
import atexit, weakref

def run():
    try:
        print("result", MapReduce(np=2).map(abs, [-1, 2]), flush=True)
    except RuntimeError as error:
        print("refused", error, flush=True)
    os.write(1, b"end of the run\\n")

class Dying:
    def __del__(self, run=run):
        run()

when = {when!r}
dying = Dying() if when == "__del__ of a global" else None
anchor = Dying.__new__(type("Anchor", (), {{}}))
if when in ("atexit", "after a failure"):
    atexit.register(run)
if when == "finalize":
    weakref.finalize(anchor, run)
if when == "after a failure":
    try:
        MapReduce(np=2).map(lambda i: 1 // 0, range(2))
    except WorkerException:
        pass
sys.exit(5)
"""
    out, err, code = end_script(start_script(source, tmp_path), limit=10)
    assert (code, err) == (5, ""), f"exit code {code}\n{out}\n{err}"
    result, end = out.splitlines()
    assert end == "end of the run"
    may_be_refused = sys.version_info >= (3, 12) or when == "__del__ of a global"
    assert result == "result [1, 2]" or (may_be_refused and "refused" in result)


def test_an_iterator_of_results_that_is_left_open_does_not_hold_up_the_end(tmp_path):
    source = """
from tests.workers.faults.harness import children
results = MapReduce(np=2).imap(lambda i: i if i < 2 else time.sleep(60), range(100))
assert [next(results), next(results)] == [0, 1]
print(*children())
"""
    workers = run_script(source, tmp_path, limit=10).split()
    assert len(workers) == 2
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)  # noqa: PTH110
