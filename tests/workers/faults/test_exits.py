"""Fault table B: workers that leave oddly, and exceptions that travel badly."""

from __future__ import annotations

import pytest

from tests.workers.faults.scripts import WATCHES, run_fault

N_WORKERS = [1, 2, 5, 13]

# What an item raises -> the class of the reason.
RAISES = {
    "sys.exit(0)": "SystemExit",
    "sys.exit(1)": "SystemExit",
    "sys.exit(3)": "SystemExit",
    "sys.exit('msg')": "SystemExit",
    "sys.exit()": "SystemExit",
    "sys.exit((1, 2))": "SystemExit",
    "throw(KeyboardInterrupt())": "KeyboardInterrupt",
    "throw(GeneratorExit('g'))": "GeneratorExit",
    "throw(CustomBaseError('c'))": "CustomBaseError",
    "throw(StopIteration(3))": "StopIteration",
    "throw(asyncio.CancelledError())": "CancelledError",
    "throw(sharedarray.StopProcessGroup('s'))": "StopProcessGroup",
    "throw(MemoryError())": "MemoryError",
    "throw(BrokenPipeError(32, 'not ours'))": "BrokenPipeError",
    "throw(EOFError())": "EOFError",
    "throw(WorkerDied('not ours', 1, 2, 3, None, ()))": "WorkerDied",
    "throw(TimeoutError())": "TimeoutError",
    "throw(BaseExceptionGroup('many', [KeyboardInterrupt(), ValueError()]))": "BaseExceptionGroup",
}

RAISE = """
import asyncio

class CustomBaseError(BaseException):
    pass

def throw(error):
    raise error  # where it is thrown

def work(i):
    if i == k:
        fail()
    return i

fail = eval(f"lambda: {code}")
try:
    fail()
except BaseException as error:
    expected = error.args

pool = MapReduce(np=n_workers)
for k, chunksize in ((0, None), (50, 1), (99, None), (99, 100)):
    with clean():
        error = expect(WorkerException, lambda: pool.map(work, range(100), chunksize=chunksize))
        assert type(error.reason).__name__ == name, error
        assert error.__cause__ is error.reason
        assert repr(error.reason.args) == repr(expected), error.reason.args
        assert name in str(error)
        assert "in work" in error.traceback
        assert __file__ in error.traceback
        del error
check_reuse(pool)
"""


@pytest.mark.parametrize("code", RAISES)
def test_whatever_an_item_raises_is_the_reason(tmp_path, code):
    run_fault(RAISE, tmp_path, code=code, name=RAISES[code], n_workers=2)


@pytest.mark.parametrize("n_workers", N_WORKERS)
def test_an_exit_is_an_exception_with_any_number_of_workers(tmp_path, n_workers):
    run_fault(RAISE, tmp_path, code="sys.exit(0)", name="SystemExit", n_workers=n_workers)


@pytest.mark.parametrize("watch", WATCHES)
@pytest.mark.parametrize("code", [0, 1, 99, 255])
def test_to_leave_at_once_is_to_die_whatever_the_code(tmp_path, code, watch):
    source = """
for n_workers, k in ((1, 0), (2, 50), (5, 99), (13, 50), (13, 99)):
    pool = MapReduce(np=n_workers)
    for items in (range, lambda n: iter(range(n))):
        with clean():
            death = expect(WorkerDied, lambda: pool.map(
                lambda i: os._exit(code) if i == k else i, items(100)))
            check_death(death, exitcode=code, items=(k,))
check_reuse(pool)
"""
    run_fault(source, tmp_path, watch=watch, code=code)


@pytest.mark.parametrize("construct", ["critical", "ordered"])
@pytest.mark.parametrize("code", ["os._exit(0)", "sys.exit(0)"])
def test_who_leaves_within_a_construct_holds_up_nobody(tmp_path, construct, code):
    source = """
def work(i):
    with getattr(pool, construct):
        if i == 5:
            end()

end = eval(f"lambda: {code}")
pool = MapReduce(np=5)
error_class = WorkerDied if "_exit" in code else WorkerException
with clean():
    expect(error_class, lambda: pool.map(work, range(100), chunksize=1))
    assert pool.map(lambda i: i if i != 5 else -5, range(10))[5] == -5
    check_reuse(pool)
"""
    run_fault(source, tmp_path, construct=construct, code=code)


# What ends the work or does not -> the exception that the map raises.
ENDS = {
    "5": None,
    "1 // 0": "WorkerException",
    "sys.exit(3)": "WorkerException",
    "throw(KeyboardInterrupt())": "WorkerException",
    "throw(GeneratorExit())": "WorkerException",
    "throw(sharedarray.StopProcessGroup())": "WorkerException",
    "lambda: 1": "WorkerException",
    "threading.Lock()": "WorkerException",
    "os._exit(0)": "WorkerDied",
    "os.kill(os.getpid(), 9)": "WorkerDied",
    "os.kill(os.getpid(), signal.SIGINT)": "WorkerDied",
    "os.kill(os.getpid(), signal.SIGTERM)": "WorkerDied",
    "deeper(5)": "WorkerException",
}


@pytest.mark.parametrize("code", ENDS)
def test_no_worker_runs_what_comes_after_the_map(tmp_path, code):
    source = """
import atexit, contextlib, gc, tempfile

def note(text):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {text}\\n")

class Noting:
    def __del__(self):
        note("dropped")

def throw(error):
    raise error

def deeper(i):
    return deeper(i + 1)

def work(i):
    return end() if i == 5 else i

end = eval(f"lambda: {code}")

def run():
    yield from () if call == "map" else pool.imap(work, range(10))
    if call == "map":
        pool.map(work, range(10))

def caller():
    dropped = Noting()
    caught = None
    with tempfile.NamedTemporaryFile() as file, contextlib.ExitStack() as stack:
        stack.callback(note, "stack")
        try:
            list(run())
            note("after")
        except BaseException as error:
            caught = type(error).__name__
            note("except")
        else:
            note("else")
        finally:
            note("finally")
        assert Path(file.name).exists()
    assert caught == name, caught

Path(log).touch()
atexit.register(note, "exit")
signal.signal(signal.SIGTERM, lambda *args: note("handler"))
signal.signal(signal.SIGINT, lambda *args: note("handler"))
# Nothing of what is in buffers may be written twice.
kept = open(log + ".buffered", "w")
kept.write("once")
pool = MapReduce(np=3)
for call in ("map", "imap"):
    caller()
gc.collect()
kept.close()
assert Path(log + ".buffered").read_text() == "once"
lines = Path(log).read_text().splitlines()
words = ["after", "else"] if name is None else ["except"]
words += ["finally", "stack", "dropped"]
# When the garbage is collected does not matter.
assert sorted(lines) == sorted(f"{os.getpid()} {word}" for word in 2 * words), lines
atexit.unregister(note)
"""
    log = str(tmp_path / "log")
    run_fault(source, tmp_path, code=code, name=ENDS[code], log=log)


@pytest.mark.parametrize("error", ["RuntimeError", "KeyboardInterrupt"])
def test_a_fault_of_the_pool_itself_lets_no_worker_out(tmp_path, error):
    source = """
from sharedarray.workers.transport import WorkerEnd

def throw(*args):
    raise eval(error)

def work(i):
    if i == 5:
        WorkerEnd.send = WorkerEnd.end = throw

log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
with clean():
    try:
        death = expect(WorkerDied, lambda: MapReduce(np=1).map(work, range(10)))
    finally:
        os.write(log, b"after ")
    check_death(death, exitcode=1)
os.close(log)
"""
    log = tmp_path / "log"
    run_fault(source, tmp_path, error=error, log=str(log), stderr=error)
    assert log.read_text() == "after "


def test_what_is_in_buffers_is_written_once_and_what_workers_print_is_not_lost(tmp_path):
    source = """
def work(i):
    print(f"item {i}", end=" ")
    print(f"error of {i}", end=" ", file=sys.stderr)

out, err = Path(folder, "out"), Path(folder, "err")
sys.stdout, sys.stderr = open(out, "w"), open(err, "w")
print("before", end=" ")
MapReduce(np=3).map(work, range(20))
print("after", end=" ")
for stream in (sys.stdout, sys.stderr):
    stream.close()
sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
text = out.read_text()
assert (text.count("before"), text.count("after")) == (1, 1), text
assert text.startswith("before "), text
assert all(text.count(f"item {i} ") == 1 for i in range(20)), text
assert all(err.read_text().count(f"error of {i} ") == 1 for i in range(20))
"""
    run_fault(source, tmp_path, folder=str(tmp_path))
