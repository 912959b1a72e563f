"""Fault table B: results that do not travel, or do harm on the way."""

from __future__ import annotations

import pytest

from tests.workers.faults.scripts import run_fault

HELPERS = """
import pickle, socket, tempfile

home = os.getpid()
K = 37  # the item with the bad result

def fails_in_coordinator():
    if os.getpid() == home:
        raise LookupError("not here")

def exits_in_coordinator():
    if os.getpid() == home:
        sys.exit(3)

class Reduced:
    '''Pickles by a call of `pickled`, unpickles by a call of `unpickled`.'''
    def __init__(self, pickled=lambda: None, unpickled=int):
        self.pickled, self.unpickled = pickled, unpickled
    def __reduce__(self):
        self.pickled()
        return self.unpickled, ()

def throw(error):
    raise error

def throw_lookup_error():
    throw(LookupError("not anywhere"))

def leave():
    os._exit(7)

def nested(make, depth):
    thing = 7
    for _ in range(depth):
        thing = make(thing)
    return thing

class Node:
    def __init__(self, next):
        self.next = next

def work(i):
    if i == K:
        result = bad()
        return [np.ones(1 << 20), result] if is_large else result
    return i

def each_way():
    global is_large
    for n_workers in (1, 3):
        for chunksize in (None, 25):
            for is_large in (False, True):
                pool = MapReduce(np=n_workers)
                with clean():
                    yield lambda: pool.map(work, range(100), chunksize=chunksize)
    check_reuse(pool)
"""

# The result -> the reasons, one of them.
UNPICKLABLE = {
    "lambda: 1": "PicklingError AttributeError",
    "(x for x in range(3))": "TypeError",
    "sys.stdin": "TypeError",
    "threading.Lock()": "TypeError PicklingError",
    "kept": "TypeError",  # a socket
    "sys._getframe()": "TypeError PicklingError",
    "(1, [2, {3: threading.Lock()}])": "TypeError PicklingError",
    "Reduced(throw_lookup_error)": "LookupError",
    "Reduced(lambda: throw(KeyboardInterrupt()))": "KeyboardInterrupt",
    "Reduced(lambda: throw(GeneratorExit()))": "GeneratorExit",
    "Reduced(lambda: throw(sharedarray.StopProcessGroup()))": "StopProcessGroup",
    "Reduced(lambda: throw(BrokenPipeError()))": "BrokenPipeError",
    "Reduced(lambda: sys.exit(3))": "SystemExit",
    "Reduced(unpickled=throw_lookup_error)": "LookupError",
    "Reduced(unpickled=sys.exit)": "SystemExit",
    "nested(lambda x: [x], 100_000)": "RecursionError",
    "nested(lambda x: (x,), 100_000)": "RecursionError",
    "nested(lambda x: {1: x}, 100_000)": "RecursionError",
    "nested(Node, 100_000)": "RecursionError",
}


@pytest.mark.parametrize("code", UNPICKLABLE)
def test_a_result_that_does_not_travel_is_an_exception_that_names_its_item(tmp_path, code):
    source = """
kept = socket.socket()
bad = eval(f"lambda: {code}")
for run in each_way():
    error = expect(WorkerException, run)
    assert type(error.reason).__name__ in reasons, error
    assert error.__cause__ is error.reason
    assert f"item {K} " in str(error), error
    del error
kept.close()
"""
    run_fault(HELPERS + source, tmp_path, code=code, reasons=UNPICKLABLE[code].split())


# What happens while a worker pickles its result, or tries to unpickle it -> its exit code.
DEADLY = {
    "Reduced(leave)": 7,
    "Reduced(unpickled=leave)": 7,
    "Reduced(os.abort)": -6,
    "Reduced(faulthandler._sigsegv)": -11,
    "Reduced(lambda: os.kill(os.getpid(), 9))": -9,
    "Reduced(lambda: os._exit(0))": 0,
}


@pytest.mark.parametrize("code", DEADLY)
def test_a_result_that_ends_the_worker_on_its_way_is_a_death(tmp_path, code):
    source = """
import faulthandler

faulthandler.disable()
bad = eval(f"lambda: {code}")
for run in each_way():
    check_death(expect(WorkerDied, run), exitcode=exitcode)
"""
    run_fault(HELPERS + source, tmp_path, code=code, exitcode=DEADLY[code])


@pytest.mark.parametrize(
    ("function", "reason"),
    [("fails_in_coordinator", "LookupError"), ("exits_in_coordinator", "SystemExit")],
)
def test_a_result_that_does_harm_in_the_coordinator_only_is_an_exception(
    tmp_path, function, reason
):
    source = """
bad = lambda: Reduced(unpickled=globals()[function])
for run in each_way():
    error = expect(WorkerException, run)
    assert type(error.reason).__name__ == reason
    assert f"in {function}" in error.traceback
    del error
"""
    run_fault(HELPERS + source, tmp_path, function=function, reason=reason)


def test_the_worst_result_does_not_keep_the_others_at_work(tmp_path):
    source = """
def work(i):
    if i == 0:
        return lambda: 1
    time.sleep(60)

for n_workers in (2, 5, 13):
    pool = MapReduce(np=n_workers)
    with clean():
        expect(WorkerException, lambda: pool.map(work, range(100), chunksize=1))
        check_reuse(pool)
"""
    run_fault(source, tmp_path)


def test_a_result_that_holds_itself_arrives(tmp_path):
    source = """
def work(i):
    holder = [i]
    holder.append(holder)
    return holder

for holder in MapReduce(np=2).map(work, range(10)):
    assert holder[1] is holder
"""
    run_fault(source, tmp_path)


@pytest.mark.parametrize("kind", ["(x,)", "[x]", "{1: x}"])
def test_a_result_is_as_deep_as_pickle_can_have_it(tmp_path, kind):
    source = """
make = eval(f"lambda x: {kind}")

def depth(thing):
    n = 0
    while thing != 7 if isinstance(thing, int) else True:
        thing = thing[1] if isinstance(thing, dict) else thing[0]
        n += 1
    return n

for limit in (1000, 20_000):
    sys.setrecursionlimit(limit)
    for n in (10, 100, 300, 1000, 3000):
        try:
            pickle.loads(pickle.dumps(nested(make, 2 * n), 5))
        except RecursionError:
            continue  # twice as deep, since the worker has some frames
        (result,) = MapReduce(np=1).map(lambda i: nested(make, n), [1])
        assert depth(result) == n
        del result
"""
    run_fault(HELPERS + source, tmp_path, kind=kind)
