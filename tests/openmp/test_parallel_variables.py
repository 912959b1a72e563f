"""Private, Shared and Reduction: NumPy's fold in the order of the ranks is the oracle."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sharedarray
from sharedarray.openmp.parallel import Parallel, Private, Reduction, Shared
from tests.workers.support import BACKENDS

UFUNCS = [
    np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logical_and, np.logical_or,
    np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.gcd, np.hypot, np.logaddexp,
]  # fmt: skip
VALUES = {
    "?": [True, True, False],
    "u1": [1, 200, 255, 0],
    "i4": [-3, 2**30, 5, 0],
    "f4": [0.1, -2.5, np.inf, 3.0],
    "f8": [0.1, np.nan, -np.inf, 1e308],
    "c16": [1 + 2j, 0.5j],
    "M8[s]": [10, 3, 7],
    "m8[D]": [10, -3, 7],
}


def reduced(ufunc, first, values, backend="thread"):
    """Combine a list of values, one for each rank."""

    def body(p):
        p.var.x = ufunc(p.var.x, values[p.rank])

    p = Parallel(Reduction(ufunc, x=first), num_threads=len(values), backend=backend)
    p.run(body)
    return p.var.x


def agrees(ufunc, dtype):
    """Whether NumPy has the ufunc for the dtype, with a result that goes back into it."""
    one = np.ones((), dtype)
    try:
        with np.errstate(all="ignore"):
            return np.can_cast(ufunc(one, one).dtype, one.dtype, "same_kind")
    except TypeError:
        return False


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, for NaN and overflow
@pytest.mark.parametrize("dtype", VALUES)
@pytest.mark.parametrize("ufunc", UFUNCS)
def test_reduction_is_the_fold_with_dtype_and_shape_kept(ufunc, dtype):
    values = np.array(VALUES[dtype]).astype(dtype)
    arrays = [np.resize(np.roll(values, k), (2, 3)) for k in range(4)]
    if not agrees(ufunc, dtype):
        with pytest.raises(TypeError):
            Reduction(ufunc, x=arrays[0])
        return
    for first, rest in ((values[0], values[1:]), (arrays[0], arrays[1:])):
        expected = reduce(ufunc, rest, first)
        found = reduced(ufunc, first, rest)

        assert (found.dtype, found.shape) == (first.dtype, first.shape)
        assert isinstance(found, np.generic if first.ndim == 0 else np.ndarray)
        np.testing.assert_array_equal(found, np.asarray(expected).astype(first.dtype))


@given(
    st.sampled_from([np.add, np.multiply, np.maximum, np.fmin, np.bitwise_and]),
    hnp.arrays(np.int64, st.tuples(st.integers(2, 5), st.integers(0, 3))),
)
def test_reduction_of_any_integers(ufunc, values):
    first, rest = values[0], list(values[1:])
    np.testing.assert_array_equal(reduced(ufunc, first, rest), reduce(ufunc, rest, first))


@pytest.mark.parametrize("backend", BACKENDS)
def test_floats_are_added_in_the_order_of_the_ranks(backend):
    values = [1e16, 1.0, -1e16, 1.0, 1e-3]
    for _ in range(5):
        assert reduced(np.add, 0.0, values, backend) == reduce(np.add, values, 0.0)


def test_large_reduction():
    with Parallel(Reduction(np.add, h=np.zeros(300_001)), num_threads=3) as p:
        p.var.h += np.arange(300_001)
        p.var.h[p.rank] += 1
    expected = 3.0 * np.arange(300_001)
    expected[:3] += 1
    np.testing.assert_array_equal(p.var.h, expected)
    assert type(p.var.h) is np.ndarray


def test_ranks_start_from_the_identity_and_the_value_counts_once():
    seen = sharedarray.zeros((2, 3), int)
    with Parallel(Reduction(np.add, a=5), Reduction(np.multiply, b=5), num_threads=2) as p:
        seen[p.rank] = (p.var.a, p.var.b, 1)
    assert seen.tolist() == [[0, 1, 1]] * 2
    assert (p.var.a, p.var.b) == (5, 5)


def test_reduction_with_a_ufunc_of_ones_own():
    union = np.frompyfunc(lambda a, b: a | b, 2, 1, identity=0)
    assert reduced(union, 8, [1, 2]) == 11


@pytest.mark.parametrize(
    ("ufunc", "value", "error"),
    [
        (np.subtract, 0, ValueError),
        (np.exp, 0.0, ValueError),
        (np.divmod, 0, ValueError),
        (np.matmul, np.eye(2), RuntimeError),
        (sum, 0, TypeError),
        (np.logaddexp, 0, TypeError),  # gives floats
        (np.add, "text", TypeError),
        (np.add, np.datetime64(0, "s"), TypeError),
        (np.maximum, {}, TypeError),
    ],
)
def test_what_cannot_be_reduced(ufunc, value, error):
    with pytest.raises(error):
        Reduction(ufunc, x=value)


@pytest.mark.parametrize("kind", ["shared", "reduction"])
def test_an_assignment_keeps_dtype_and_shape(kind):
    variable = Shared(x=[1, 2]) if kind == "shared" else Reduction(np.add, x=[1, 2])
    with Parallel(variable, num_threads=0) as p:
        with pytest.raises(TypeError, match="same_kind"):
            p.var.x = 0.5
        with pytest.raises(ValueError, match="broadcast"):
            p.var.x = [1, 2, 3]
        p.var.x = 7
        assert p.var.x.tolist() == [7, 7]
        assert p.var.x.dtype == np.int64


def test_names():
    with pytest.raises(TypeError, match="more than once: x"):
        Parallel(Private(x=1), Shared(x=1))
    with pytest.raises(TypeError, match="Private, Shared or Reduction"):
        Parallel(3)
    # Names that the package uses itself are the user's all the same.
    variables = Private(self=1, ufunc=2, __places=3), Reduction(np.add, ufunc=4, self=5)
    with Parallel(variables[0], Shared(_place=6), num_threads=0) as p:
        assert sorted(dir(p.var)) == ["__places", "_place", "self", "ufunc"]
        with pytest.raises(AttributeError, match="declare it with Private"):
            p.var.other = 1
        assert not hasattr(p.var, "other")


@pytest.mark.parametrize("value", [object(), np.array([None])])
def test_what_cannot_be_shared_raises_before_any_fork(fork_calls, value):
    with pytest.raises(TypeError), Parallel(Shared(x=value), num_threads=2):
        pytest.fail("the body runs")
    assert fork_calls == []


def test_what_cannot_be_copied_raises_before_the_body():
    ran = sharedarray.zeros(1, int)
    with pytest.raises(TypeError), Parallel(Private(x=(i for i in ())), num_threads=2):
        ran[0] += 1
    assert ran[0] == 0
