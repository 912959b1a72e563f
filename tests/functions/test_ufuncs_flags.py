"""NumPy's warnings: once, in its words, at the line of the caller, for any number of workers."""

import io
import operator
import warnings

import numpy as np
import pytest

import sharedarray
from sharedarray.memory.protocols import report
from tests.functions.ufunc_support import N, noted, small_ufuncs
from tests.ops.support import assert_same_bits


@pytest.fixture
def parallel(monkeypatch):
    with small_ufuncs(monkeypatch) as calls:
        yield calls


SIZES = pytest.mark.parametrize("n", [1, 7, N])


def of(n, *values):
    return np.resize(np.array(values), n)


CALLS = {
    "divide": (lambda a: a / 0.0, [1.0]),
    "invalid": (lambda a: a - a, [np.inf]),
    "both": (lambda a: a / 0, [1.0, 0.0]),
    "overflow": (lambda a: np.exp(a), [1e3]),
    "underflow": (lambda a: np.exp(a), [-740.0]),
    "all": (lambda a: 1e-200 / a, [0.0, 1e-300, 1e300, np.inf]),
    "integers": (lambda a: a // 0, [1]),
    "cast": (lambda a: a + 1e300, [np.float32(1)]),
    "scalar": (lambda a: np.subtract(a, 1e300, dtype="f4", casting="unsafe"), [1.0]),
    "cast to compare": (lambda a: a < 1e300, [np.float32(1)]),
    "comparison": (lambda a: a < 1, [np.nan]),
    "log": (np.log, [0.0, -1.0]),
    "two results": (lambda a: np.divmod(a, 0), [1.0]),
}


@SIZES
@pytest.mark.parametrize("mode", ["warn", "ignore", "raise"])
@pytest.mark.parametrize("name", CALLS)
def test_as_numpy(parallel, name, mode, n):
    call, values = CALLS[name]
    private = of(n, *values)
    with np.errstate(all=mode):
        expected, wanted = noted(lambda: call(private))
        shared = sharedarray.array(private)
        result, warned = noted(lambda: call(shared))
    assert [w[:2] for w in warned] == [w[:2] for w in wanted]
    if isinstance(expected, tuple) and isinstance(expected[0], type):
        assert result == expected
    else:
        np.testing.assert_array_equal(result, expected)


@SIZES
def test_line_is_that_of_the_caller(parallel, n):
    a = sharedarray.array(of(n, 0.0))
    calls = [lambda: 1 / a, lambda: np.log(a), lambda: np.add.reduce(a + np.inf) - np.inf]
    with np.errstate(all="warn"):
        for call in calls:
            _, warned = noted(call)
            assert [w[2:] for w in warned] == [(__file__, call.__code__.co_firstlineno)]


def test_same_line_warns_once_by_default_and_other_lines_again(parallel):
    a = sharedarray.zeros(N)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            1 / a
        1 / a
    assert len(caught) == 2


@SIZES
def test_in_place_is_done_once(parallel, n):
    for op, value, operand in ((operator.iadd, 1e308, 1e308), (operator.itruediv, 1.0, 0.0)):
        for mode in ("warn", "ignore", "raise", "call"):
            a = sharedarray.full(n, value)
            expected = np.full(n, value)
            for x in (a, expected):
                with np.errstate(all=mode, call=lambda *args: None):
                    noted(lambda x=x, f=op, y=operand: f(x, y))
            assert_same_bits(a, expected)


@SIZES
def test_warning_as_error(parallel, n):
    a = sharedarray.zeros(n)
    with pytest.raises(RuntimeWarning, match="divide by zero encountered in divide"):
        1 / a
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="in divide"):
        1 / a


@SIZES
def test_callbacks(parallel, n, capsys):
    private = of(n, 0.0, 1e-310)
    for a in (private, sharedarray.array(private)):
        calls, log = [], io.StringIO()
        with np.errstate(all="call", call=lambda *args, to=calls: to.append(args)):
            1 / a
        with np.errstate(all="log", call=log):
            1 / a
        if a is private:
            expected = calls, log.getvalue()
    assert (calls, log.getvalue()) == expected
    for mode in ("call", "log"):
        errors = []
        for a in (private, sharedarray.array(private)):
            with np.errstate(all=mode, call=None), pytest.raises(NameError) as caught:
                1 / a
            errors.append(str(caught.value))
        assert errors[0] == errors[1]
    with np.errstate(all="print"):
        1 / sharedarray.array(private)
    assert "Warning: divide by zero encountered in divide\n" in capsys.readouterr().err


def test_report_of_nothing():
    report([], 1)


def test_settings_of_the_caller_hold_for_functions_of_python(parallel):
    a = sharedarray.zeros(N)
    seen = []
    function = np.frompyfunc(lambda x: seen.append(np.geterr()) or x, 1, 1)
    with np.errstate(all="raise"):
        function(a)
    assert seen[0] == dict.fromkeys(("divide", "over", "under", "invalid"), "raise")
