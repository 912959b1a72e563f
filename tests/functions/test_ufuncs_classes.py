"""Other classes beside SharedArrays: each keeps its own behaviour."""

import operator

import numpy as np
import pytest

import sharedarray
from sharedarray import SharedArray
from sharedarray.memory.registry import is_shared
from tests.functions.ufunc_support import N, small_ufuncs
from tests.ops.support import assert_same_bits


@pytest.fixture
def parallel(monkeypatch):
    with small_ufuncs(monkeypatch) as calls:
        yield calls


SIZES = pytest.mark.parametrize("n", [3, N])


class Quantity(np.ndarray):
    """As astropy's: takes the values out of its own class, and lets ndarray's method do the rest.

    What it gives is a Quantity, but for comparisons.
    """

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        inputs = [x.view(np.ndarray) if isinstance(x, Quantity) else x for x in inputs]
        if out is not None:
            kwargs["out"] = tuple(x.view(np.ndarray) if isinstance(x, Quantity) else x for x in out)
        result = super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        if result is NotImplemented or not isinstance(result, np.ndarray):
            return result
        if out is not None:
            return out[0]
        return result if result.dtype == bool else result.view(Quantity)


class Refuses:
    __array_ufunc__ = None

    def __radd__(self, other):
        return "mine"


class Duck:
    def __init__(self):
        self.seen = []

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        self.seen.append((ufunc, method, [type(x) for x in inputs], kwargs))
        return "duck"


class Unwilling:
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return NotImplemented


class Kept(np.ndarray):
    """A subclass that changes nothing."""


@SIZES
def test_quantities(parallel, n):
    values = np.arange(float(n))
    a, q = sharedarray.array(values), (values + 1).view(Quantity)
    for result in (a * q, q * a, np.multiply(a, q), np.multiply(q, a)):
        assert type(result) is Quantity
        assert_same_bits(result, values * (values + 1))
    assert type(a < q) is np.ndarray
    out = sharedarray.zeros(n)
    assert np.add(q, q, out=out) is out
    assert_same_bits(out, 2 * (values + 1))
    q += a
    assert_same_bits(q, 2 * values + 1)
    a += q
    assert type(a) is SharedArray
    assert_same_bits(a, 3 * values + 1)


@SIZES
def test_classes_that_refuse_or_take_over(parallel, n):
    a = sharedarray.zeros(n)
    assert a + Refuses() == "mine"
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.add(a, Refuses())
    duck = Duck()
    assert a + duck == np.add(duck, a) == np.add.outer(a, duck) == "duck"
    assert [seen[:2] for seen in duck.seen] == [
        (np.add, "__call__"), (np.add, "__call__"), (np.add, "outer"),
    ]  # fmt: skip
    assert np.add(a, a, out=duck, where=a > 0) == "duck"
    for call in (lambda: a + Unwilling(), lambda: Unwilling() + a, lambda: np.add(Unwilling(), a)):
        with pytest.raises(TypeError):
            call()
    assert not parallel or len(parallel) == 1  # the comparison


@SIZES
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
def test_subclasses_without_a_protocol_of_their_own(parallel, n, tmp_path):
    values = np.arange(float(n))
    a = sharedarray.array(values)
    masked = np.ma.masked_equal(values, 2)
    mapped = np.memmap(tmp_path / "mapped", "f8", "w+", shape=n)
    mapped[:] = values
    others = [masked, np.asmatrix(values), values.view(Kept), mapped, values.view(np.recarray)]
    for op in (operator.add, operator.sub, operator.lt, np.arctan2):
        for other in others:
            for mine, theirs in ((op(a, other), op(values, other)), (op(other, a),) * 2):
                assert type(mine) is type(theirs)
                np.testing.assert_array_equal(mine, theirs)
    assert (masked + a).count() == n - 1
    assert np.add(a, 1, out=mapped) is mapped


@SIZES
def test_masked_arrays_on_shared_memory(parallel, n):
    a = sharedarray.arange(float(n))
    m = np.ma.masked_array(a, mask=np.arange(n) % 2 == 0)
    assert (m + 1).sum() == sum(i + 1 for i in range(1, n, 2))
    assert (np.ma.sqrt(m) >= 0).all()
    m += 1
    assert is_shared(a)


@SIZES
def test_subclasses_of_ours(parallel, n):
    class Mine(SharedArray):
        pass

    a = sharedarray.arange(float(n)).view(Mine)
    assert type(a + 1) is np.ndarray
    b = a
    b += 1
    assert b is a
    out = sharedarray.zeros(n).view(Mine)
    assert np.add(a, a, out=out) is out
    assert_same_bits(out, 2 * np.arange(1.0, n + 1))


@SIZES
def test_results_are_private_and_plain(parallel, n):
    a = sharedarray.arange(float(n))
    for result in (a + 1, 1 - a, -a, a < 2, np.exp(-a), a + a.reshape(-1, 1)[:2], *np.modf(a)):
        assert type(result) is np.ndarray
        assert not is_shared(result)
        assert result.flags.owndata
    assert type(np.add.reduce(a)) is np.float64
    assert type(a[0] + 1) is np.float64
    assert type(sharedarray.array(2.0) + 1) is np.float64


def test_objects_and_strings_go_to_numpy(parallel):
    a = sharedarray.arange(N)
    objects = np.arange(N).astype(object)
    assert ((a + objects) == 2 * np.arange(N)).all()
    assert (np.char.add(sharedarray.full(N, b"a"), b"b") == b"ab").all()
    names = sharedarray.full(N, "x")
    assert (names == "x").all()
    assert np.add(a, [1] * N).sum() == a.sum() + N
    parallel.clear()
    assert list(a + objects) == list(2 * np.arange(N))
    assert not parallel
