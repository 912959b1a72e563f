"""Fault table B: exceptions that travel badly, or look odd."""

from __future__ import annotations

import pytest

from tests.workers.faults.scripts import run_fault

HELPERS = """
import pickle, socket

home = os.getpid()

def record(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = expect(WorkerException, call)
    return error, caught

def raise_error(i):
    if i == 5:
        raise make_error()  # the source line
    return i

def check_place(text):
    assert "Traceback (most recent call last):" in text, text
    assert f'File "{__file__}"' in text
    assert "in raise_error" in text
    assert "# the source line" in text

class Refusing(Exception):
    def __reduce__(self):
        raise RuntimeError("I stay here")

class ExitingInPickle(Exception):
    def __reduce__(self):
        sys.exit(3)

class NeedsTwo(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")

class NeedsName(Exception):
    def __init__(self, *, name):
        super().__init__(name)

class ExitingInUnpickle(Exception):
    def __reduce__(self):
        return sys.exit, (3,)

class ChangingClass(Exception):
    def __reduce__(self):
        return ValueError, ("another class",)

class NoException(Exception):
    def __reduce__(self):
        return str, ("no exception",)

def with_attribute(thing):
    error = ValueError("holds something")
    error.thing = thing
    return error

def nested(depth):
    thing = []
    for _ in range(depth):
        thing = [thing]
    return thing

def local_class():
    class Local(Exception):
        pass
    return Local("of a function")
"""

# The exception -> what its stand-in has to say.
LOST = {
    "Refusing('text')": "Refusing: text",
    "ExitingInPickle('text')": "ExitingInPickle: text",
    "NeedsTwo(1, 2)": "NeedsTwo: 1 and 2",
    "NeedsName(name='n')": "NeedsName: n",
    "ExitingInUnpickle('text')": "ExitingInUnpickle: text",
    "ChangingClass('text')": "ChangingClass: text",
    "NoException('text')": "NoException: text",
    "with_attribute(threading.Lock())": "ValueError: holds something",
    "with_attribute(socket.socket())": "ValueError: holds something",
    "with_attribute(lambda: 1)": "ValueError: holds something",
    "with_attribute(open(os.devnull))": "ValueError: holds something",
    "with_attribute(nested(100_000))": "ValueError: holds something",
    "ExceptionGroup('many', [NeedsTwo(1, 2)])": "ExceptionGroup: many",
    "local_class()": "Local: of a function",
}


@pytest.mark.parametrize("code", LOST)
def test_a_lost_exception_leaves_its_text(tmp_path, code):
    source = """
def make_error():
    return eval(code)

for n_workers in (1, 3):
    pool = MapReduce(np=n_workers)
    with clean():
        error, caught = record(lambda: pool.map(raise_error, range(100)))
        assert type(error.reason) is Exception, repr(error.reason)
        assert text in str(error.reason), error.reason
        assert text in str(error), error
        check_place(error.traceback)
        (warning,) = caught
        assert warning.category is sharedarray.LostExceptionType
        assert text.partition(":")[0] in str(warning.message)
        assert warning.filename == __file__, warning
        pickle.loads(pickle.dumps(error))
        del error, caught, warning
    with clean():  # with warnings as errors
        expect(sharedarray.LostExceptionType, lambda: pool.map(raise_error, range(100)))
check_reuse(pool)
"""
    run_fault(HELPERS + source, tmp_path, code=code, text=LOST[code])


KEPT = {
    "a cause": """
def make_error():
    error = KeyError("the effect")
    error.__cause__ = NeedsTwo("the cause", 2)
    return error

def check(error):
    assert type(error.reason) is KeyError
    assert "the cause and 2" in error.traceback
    assert "direct cause" in error.traceback
""",
    "a context": """
def make_error():
    try:
        1 // 0
    except ZeroDivisionError:
        return_later = KeyError("the effect")
        return_later.__context__ = sys.exception() if hasattr(sys, "exception") else None
        return return_later

def check(error):
    assert type(error.reason) is KeyError
    assert "ZeroDivisionError" in error.traceback
""",
    "notes": """
def make_error():
    error = ValueError("v")
    error.add_note("look at the sky")
    return error

def check(error):
    assert error.reason.__notes__ == ["look at the sky"]
    assert "look at the sky" in error.traceback
    assert "look at the sky" in str(error)
""",
    "a group": """
def make_error():
    return ExceptionGroup("many", [ValueError("first"), ExceptionGroup("in", [OSError(2, "gone")])])

def check(error):
    assert type(error.reason) is ExceptionGroup
    assert error.reason.exceptions[0].args == ("first",)
    assert "ValueError: first" in error.traceback
    assert "gone" in error.traceback
""",
    "attributes": """
class Rich(Exception):
    pass

def make_error():
    error = Rich("r")
    error.array = np.arange(1_000_000)
    return error

def check(error):
    assert type(error.reason) is Rich
    assert (error.reason.array == np.arange(1_000_000)).all()
""",
    "a shared array": """
def make_error():
    shared[:] = 7
    return ValueError(shared)

def check(error):
    assert (error.reason.args[0] == 7).all()
    assert (shared == 7).all()

shared = sharedarray.zeros(5)
""",
    "100 MB of text": """
def make_error():
    return ValueError("x" * 100_000_000)

def check(error):
    assert error.reason.args == ("x" * 100_000_000,)
""",
    "a text that cannot be made": """
class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")
    __repr__ = __str__

def make_error():
    return Unprintable()

def check(error):
    assert type(error.reason) is Unprintable
    assert "Unprintable" in str(error)
    assert "Unprintable" in error.traceback
""",
    "a text that makes the process exit": """
class Unprintable(Exception):
    def __str__(self):
        sys.exit(7)
    __repr__ = __str__

def make_error():
    return Unprintable()

def check(error):
    assert type(error.reason) is Unprintable
    assert "Unprintable" in str(error)
    assert "Unprintable" in error.traceback
""",
    "a chain of 10,000": """
def make_error():
    error = ValueError("the last one")
    for i in range(10_000):
        error, error.__cause__ = ValueError(i), error
    return error

def check(error):
    assert "the last one" in error.traceback
""",
    "a deep recursion": """
def deeper(i):
    return deeper(i + 1)

def make_error():
    sys.setrecursionlimit(10_000)
    deeper(0)

def check(error):
    assert type(error.reason) is RecursionError
    assert len(error.traceback) < 100_000
    assert "in deeper" in error.traceback
""",
}


@pytest.mark.parametrize("what", KEPT)
def test_an_odd_exception_arrives_with_its_class_and_its_place(tmp_path, what):
    source = """
for n_workers in (1, 3):
    pool = MapReduce(np=n_workers)
    with clean():
        error = expect(WorkerException, lambda: pool.map(raise_error, range(100)), within=10)
        assert error.reason is error.__cause__
        check_place(error.traceback)
        check(error)
        del error
    check_reuse(pool)
"""
    run_fault(HELPERS + KEPT[what] + source, tmp_path)


def test_an_exception_that_is_lost_and_has_no_text_is_told_by_its_class(tmp_path):
    source = """
class Unprintable(Refusing):
    def __str__(self):
        raise RuntimeError("no text")
    __repr__ = __str__

make_error = Unprintable
with clean():
    error, caught = record(lambda: MapReduce(np=2).map(raise_error, range(10)))
    assert type(error.reason) is Exception
    assert "Unprintable" in str(error.reason)
    assert "unprintable" in str(error.reason) or "str() failed" in str(error.reason)
    check_place(error.traceback)
    (warning,) = caught
    assert warning.category is sharedarray.LostExceptionType
    del error
"""
    run_fault(HELPERS + source, tmp_path)
