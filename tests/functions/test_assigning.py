import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from tests.functions.ufunc_support import LEAST, N, noted, shared, small_ufuncs
from tests.ops.support import assert_same_bits, unchanged

SHAPE = (20, 30)


@pytest.fixture
def parallel(monkeypatch):
    with small_ufuncs(monkeypatch) as calls:
        yield calls


def both(call, data):
    """Do the same to a private and a shared array; compare what came of it."""
    private, a = data.copy(), shared(data)
    expected, wanted = noted(lambda: call(private))
    result, warned = noted(lambda: call(a))
    assert result == expected
    # With the line, since it is the same function.
    assert warned == wanted
    assert_same_bits(a, private)


KEYS = {
    "ellipsis": ...,
    "all": slice(None),
    "rows": slice(3, 17),
    "every second": slice(None, None, 2),
    "backwards": slice(None, None, -1),
    "columns": (slice(None), slice(2, 25)),
    "one column": (slice(None), 3),
    "new axis": (None, ...),
    "row": 4,
    "rows by number": [1, 3, 5] * 4,
    "rows by array": np.arange(0, 20, 2),
    "mask": np.arange(600).reshape(SHAPE) % 3 == 0,
    "mask of rows": np.arange(20) % 3 == 0,
    "mask in a tuple": (np.arange(600).reshape(SHAPE) % 3 == 0,),
    "empty mask": np.zeros(SHAPE, bool),
    "bad mask": np.zeros((20, 29), bool),
    "too many": (0, 0, 0),
    "beyond": 20,
    "element": (3, 4),
    "True": True,
}
VALUES = {
    "int": 3,
    "float": 2.5,
    "huge": 1e300,
    "nan": float("nan"),
    "out of range": 2**40,
    "complex": 1j,
    "none": None,
    "text": "5",
    "f4": np.float32(1.25),
    "0-d": np.array(7, "i2"),
    "column": np.arange(20.0)[:, None],
    "one": np.array([[[9]]]),
    "list": [1.0] * 30,
    "bad list": [1.0, 2.0],
    "bool": True,
}


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "D", "?", "S3"])
@pytest.mark.parametrize("key", KEYS)
def test_scalars_and_small_values(parallel, key, dtype):
    data = np.arange(600).reshape(SHAPE).astype(dtype)
    for value in VALUES.values():
        both(lambda a, value=value: a.__setitem__(KEYS[key], value), data)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "i8", ">f8", "D", "?"])
@pytest.mark.parametrize("other", ["f8", "i2", ">i4", "D", "f4", "M8[s]"])
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_arrays(parallel, dtype, other):
    with np.errstate(all="ignore"):
        data = np.arange(600).reshape(SHAPE).astype(dtype)
        values = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(other)
    mask = values.astype("i8") % 3 == 0
    for source in (values, np.asfortranarray(values), shared(values), values[::-1, ::-1]):
        with np.errstate(all="ignore"), unchanged(source):
            for call in (
                lambda a, b=source: a.__setitem__(..., b),
                lambda a, b=source: a.__setitem__(slice(None, None, 2), b[:10]),
                lambda a, b=source: a.__setitem__((slice(None), slice(5)), b[:, 7:12]),
                lambda a, b=source: a.__setitem__(mask, b[mask]),
                lambda a, b=source: np.copyto(a, b),
                lambda a, b=source: np.copyto(a, b, casting="unsafe"),
                lambda a, b=source: np.copyto(a, b, where=mask),
                lambda a, b=source: np.copyto(a, b[0], "safe", mask[:, :1]),
            ):
                check(call, data)


def check(call, data):
    """Like `both`, without the warnings: those of complex numbers name NumPy's caller."""
    private, a = data.copy(), shared(data)
    expected, result = noted(lambda: call(private))[0], noted(lambda: call(a))[0]
    assert result == expected
    assert_same_bits(a, private)


def test_what_is_parallel(parallel):
    a, values = sharedarray.zeros(N), np.arange(float(N))
    mask = values % 2 == 0
    calls = [
        lambda: a.__setitem__(..., 1),
        lambda: a.__setitem__(slice(None), values),
        lambda: a.__setitem__(slice(LEAST), 2.0),
        lambda: a.__setitem__(mask, 3),
        lambda: a.__setitem__(sharedarray.array(mask), values[mask]),
        lambda: a.fill(4),
        lambda: np.copyto(a, values),
        lambda: np.copyto(a, 0, where=mask),
    ]
    for n, call in enumerate(calls, 1):
        call()
        assert len(parallel) == n
    for call in (
        lambda: a.__setitem__(slice(LEAST - 1), 2.0),
        lambda: a.__setitem__(slice(1, None), a[:-1]),
        lambda: a.__setitem__(0, 2.0),
        lambda: a.fill(np.array(3.0)),
    ):
        call()
    assert len(parallel) == len(calls)


def test_overlap_and_own_mask(parallel):
    data = np.arange(float(N))
    for call in (
        lambda a: a.__setitem__(slice(1, None), a[:-1]),
        lambda a: a.__setitem__(..., a[::-1]),
        lambda a: a.__setitem__(slice(None), a),
        lambda a: a.__setitem__(a > 5, a[a > 5] * 2),
        lambda a: np.copyto(a[1:], a[:-1]),
        lambda a: np.copyto(a, a[3]),
    ):
        both(call, data)
    flags = data % 3 == 0
    both(lambda a: a.__setitem__(a, False), flags)
    both(lambda a: a.__setitem__(~a, a[~a]), flags)


@pytest.mark.parametrize("n_values", [-1, 1])
def test_wrong_number_of_values_changes_nothing(parallel, n_values):
    data = np.arange(float(N))
    mask = data % 3 == 0
    values = np.zeros(np.count_nonzero(mask) + n_values)
    both(lambda a: a.__setitem__(mask, values), data)


@pytest.mark.parametrize("n", [0, 1, LEAST - 1, LEAST, LEAST + 1, N])
@pytest.mark.parametrize("dtype", ["f4", "i1", "S2"])
def test_fill(parallel, n, dtype):
    for value in (0, 7, 1.5, 300, 1e300, float("nan"), np.float64(2), "ab", [1], np.array(5), None):
        both(lambda a, value=value: a.fill(value), np.zeros(n, dtype))


def test_read_only(parallel):
    def locked(a):
        a.flags.writeable = False
        return a

    data = np.zeros(N)
    both(lambda a: locked(a).__setitem__(..., 1), data)
    both(lambda a: locked(a).__setitem__(data == 0, 1), data)
    both(lambda a: locked(a).fill(1), data)
    both(lambda a: np.copyto(locked(a), 1), data)


def test_bad_arguments_of_copyto(parallel):
    data = np.zeros(N, "i4")
    for args, kwargs in (
        ((2.5,), {}),
        ((np.zeros(N),), {}),
        ((np.zeros(N),), {"casting": "x"}),
        ((np.zeros(3),), {}),
        ((1,), {"where": np.zeros(3, bool)}),
        ((1,), {"where": 2.5}),
        ((1, "no", True, 1), {}),
        ((), {}),
        ((2**40,), {}),
    ):
        both(lambda a, args=args, kwargs=kwargs: np.copyto(a, *args, **kwargs), data)
    private = np.zeros(N)
    np.copyto(private, sharedarray.ones(N), where=sharedarray.ones(N, bool))
    assert private.all()


@given(st.data())
def test_any_slices(data):
    shape = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3))
    index = st.slices(40) | st.integers(-3, 3) | st.just(...) | st.none()
    key = tuple(data.draw(st.lists(index, max_size=4)))
    values = data.draw(
        st.sampled_from([1, np.float32(2), np.arange(30.0), np.arange(6).reshape(6, 1)])
    )
    with pytest.MonkeyPatch.context() as patch, small_ufuncs(patch):
        check(lambda a: a.__setitem__(key, values), np.zeros(shape))
