import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import SharedArray
from sharedarray.functions import ufuncs
from tests.functions.ufunc_support import LEAST, N, assert_same, noted, shared, small_ufuncs
from tests.ops.support import assert_same_bits, sample, strided, unaligned, unchanged

DTYPES = ["?", "i1", "u2", "i4", "u8", "i8", "f2", "f4", "f8", "g", "F", "D"]
DTYPES += [">f8", ">i4", "m8[s]", "M8[s]"]


@pytest.fixture
def parallel(monkeypatch):
    with small_ufuncs(monkeypatch) as calls:
        yield calls


def values(n, dtype, seed=0):
    rng = np.random.default_rng([n, seed])
    kind = np.dtype(dtype).kind
    with np.errstate(all="ignore"):
        if kind == "c":
            return (rng.normal(0, 9, n) + 1j * rng.normal(0, 9, n)).astype(dtype)
        if np.dtype(dtype).char == "g":
            return rng.lognormal(0, 9, n).astype(dtype)
        if kind in "iu":
            return rng.integers(0, 60, n).astype(dtype)
        return sample("specials", n, dtype, seed) if seed % 2 else sample("bits", n, dtype, seed)


@pytest.mark.parametrize("ufunc", ufuncs.MIN_SIZE, ids=lambda ufunc: ufunc.__name__)
def test_every_ufunc_of_every_dtype(parallel, ufunc):
    n_parallel = 0
    for dtype in DTYPES:
        private = [values(N, dtype, seed) for seed in range(ufunc.nin)]
        operands = [shared(a) for a in private]
        n_before = len(parallel)
        with np.errstate(all="ignore"), unchanged(*operands):
            expected, warned = noted(lambda ops=private: ufunc(*ops))
            result, also = noted(lambda ops=operands: ufunc(*ops))
        assert [w[:2] for w in also] == [w[:2] for w in warned]
        assert_same(result, expected)
        n_parallel += len(parallel) > n_before
    assert n_parallel


@pytest.mark.parametrize("n", [0, 1, 2, LEAST - 1, LEAST, LEAST + 1, 15, 16, 17, 97, 193, 1025])
def test_sizes(parallel, n):
    a = values(n, "f8")
    for call in (np.exp, np.isnan, lambda x: x + x, lambda x: x * 2, np.modf, lambda x: -x):
        with np.errstate(all="ignore"):
            assert_same(call(shared(a)), call(a))
    assert len(parallel) == (6 if n >= LEAST else 0)


LAYOUTS = {
    "C": lambda a: a.copy(),
    "F": lambda a: np.asfortranarray(a),
    "middle axis first": lambda a: np.ascontiguousarray(a.transpose(1, 0, 2)).transpose(1, 0, 2),
    "rows": lambda a: np.repeat(a, 2, 0)[::2],
    "columns": lambda a: np.repeat(a, 3, 2)[..., ::3],
    "planes": lambda a: np.repeat(a, 2, 1)[:, ::2],
    "backwards": lambda a: a[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "one axis backwards": lambda a: a[:, ::-1].copy()[:, ::-1],
    "unaligned": lambda a: unaligned(a.reshape(-1)).reshape(a.shape),
    "foreign bytes": lambda a: a.astype(a.dtype.newbyteorder()),
}


@pytest.mark.parametrize("order", ["K", "A", "C", "F"])
@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_layouts(parallel, first, second, order):
    for shape in ((5, 9, 11), (3, 1, 170), (2, 130, 2)):
        a = values(np.prod(shape), "f8").reshape(shape)
        b = values(np.prod(shape), "f8", 1).reshape(shape)
        x, y = LAYOUTS[first](a), LAYOUTS[second](b)
        with np.errstate(all="ignore"):
            expected = np.arctan2(x, y, order=order)
            assert_same(np.arctan2(shared(x), shared(y), order=order), expected)
            out = LAYOUTS[second](np.zeros(shape))
            into = shared(out)
            assert np.arctan2(shared(x), y, out=into, order=order) is into
            assert_same_bits(into, np.arctan2(x, y, out=out, order=order))
    assert len(parallel) == 6


@pytest.mark.parametrize(
    "shapes",
    [
        ((N,), ()),
        ((N,), (1,)),
        ((20, 30), (30,)),
        ((20, 30), (20, 1)),
        ((20, 1), (1, 30)),
        ((1, 400), (3, 1)),
        ((7, 1, 30), (5, 1)),
    ],
)
def test_broadcasting(parallel, shapes):
    a, b = (values(int(np.prod(s)), "f8", i).reshape(s) for i, s in enumerate(shapes))
    for x, y in ((a, b), (b, a), (a.T, b.T)) if a.ndim == b.ndim else ((a, b), (b, a)):
        with np.errstate(all="ignore"):
            assert_same(np.arctan2(shared(x), y), np.arctan2(x, y))
            assert_same(np.arctan2(x, shared(y)), np.arctan2(x, y))
    assert parallel


SCALARS = [2, 2.0, True, 1.5, np.float32(3), np.int8(3), np.array(2.0), np.float64(0.5)]


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", "f8", "D"])
def test_scalars(parallel, scalar, dtype):
    a = values(N, dtype, 1)
    for op in (operator.add, operator.truediv, operator.pow, operator.lt, operator.eq):
        with np.errstate(all="ignore"):
            for call in (lambda x, op=op: op(x, scalar), lambda x, op=op: op(scalar, x)):
                if isinstance(scalar, np.ndarray) and scalar.dtype.kind == "O":
                    continue
                expected, _ = noted(lambda call=call: call(a))
                assert_same(noted(lambda call=call: call(shared(a)))[0], expected)
    assert len(parallel) == 10


IN_PLACE = [
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv,
    operator.ipow, operator.imod, operator.iand, operator.ior, operator.ixor, operator.ilshift,
]  # fmt: skip


@pytest.mark.parametrize("op", IN_PLACE)
@pytest.mark.parametrize("dtype", ["i4", "f8", "f4"])
def test_in_place(parallel, op, dtype):
    for other in (values(N, dtype, 1), 3, values(N, "i1", 1)):
        expected = values(N, dtype)
        a = shared(expected)
        before = a
        with np.errstate(all="ignore"):
            wanted, _ = noted(lambda x=expected, y=other: op(x, y))
            result, _ = noted(lambda x=a, y=other: op(x, y))
        if isinstance(wanted, tuple):
            assert result == wanted
        else:
            assert result is before
        assert_same_bits(a, expected)


def test_operands_that_overlap_the_output(parallel):
    expected = values(N, "i8", 1)
    a = shared(expected)
    calls = [
        lambda x: np.add(x[1:], x[:-1], out=x[1:]),
        lambda x: np.add(x[:-1], x[1:], out=x[1:]),
        lambda x: np.multiply(x, x[::-1], out=x),
        lambda x: np.add(x, x, out=x),
        lambda x: np.add(x, x[:1], out=x),
        lambda x: np.square(x[::2], out=x[: (N + 1) // 2]),
        lambda x: np.divmod(x, 7, out=(x, x)),
        lambda x: np.add(x, 1, out=x, where=x.view("?")[::8]),
    ]
    for call in calls:
        call(expected)
        call(a)
        assert_same_bits(a, expected)


def test_elements_in_one_place_are_not_shared_out(parallel):
    room = np.lib.stride_tricks.as_strided(sharedarray.zeros(N), (N - 9, 10), (8, 8))
    np.add(room, 1, out=room.view(SharedArray))
    assert not parallel


def test_outputs(parallel):
    a = values(N, "f8", 1)
    x = shared(a)
    for dtype in ("f8", "f4", ">f8", "D", "g"):
        expected, out, private = np.zeros(N, dtype), sharedarray.zeros(N, dtype), np.zeros(N, dtype)
        with np.errstate(all="ignore"):
            np.sqrt(a, out=expected, casting="same_kind")
            assert np.sqrt(x, out=out) is out
            assert np.sqrt(x, out=private) is private
            assert np.sqrt(a, out=(out,)) is out
        assert len(parallel) == 3
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(private, expected)
        parallel.clear()
    grown, wanted = sharedarray.zeros((3, N)), np.zeros((3, N))
    with np.errstate(all="ignore"):
        assert np.sqrt(a, grown) is grown
        np.sqrt(a, wanted)
    assert_same_bits(grown, wanted)


def test_several_outputs(parallel):
    a = values(N, "f8", 1)
    x, first = shared(a), sharedarray.zeros(N)
    with np.errstate(all="ignore"):
        for ufunc, args in ((np.modf, ()), (np.frexp, ()), (np.divmod, (3,))):
            expected = ufunc(a, *args)
            assert_same(ufunc(x, *args), expected)
            results = ufunc(x, *args, out=(first, None))
            assert results[0] is first
            assert_same_bits(first, expected[0])
            assert_same(results[1], expected[1])
    assert len(parallel) == 6


def test_where(parallel):
    a, b = values(N, "f8"), values(N, "f8", 1)
    mask = np.random.default_rng(0).random(N) < 0.5
    for m in (mask, shared(mask), mask[:1], np.broadcast_to(mask, (4, N)), True, np.True_, [True]):
        expected = np.full(np.broadcast_shapes(np.shape(m), (N,)), 7.0)
        out = shared(expected)
        with np.errstate(all="ignore"):
            np.add(a, b, out=expected, where=m)
            assert np.add(shared(a), b, out=out, where=m) is out
        assert_same_bits(out, expected)
    assert len(parallel) >= 5


def test_mask_alone_is_shared(parallel):
    a, mask = np.arange(float(N)), np.arange(N) % 3 == 0
    out = np.add(a, a, out=np.zeros(N), where=shared(mask))
    assert type(out) is np.ndarray
    assert_same_bits(out, np.where(mask, 2 * a, 0))
    result = np.add(a, a, out=None, where=shared(mask))  # does not warn
    assert_same_bits(result[mask], 2 * a[mask])
    assert np.add.reduce(a, where=shared(mask)) == a[mask].sum()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"dtype": "f4"},
        {"dtype": "f4", "casting": "unsafe"},
        {"dtype": "i4", "casting": "unsafe"},
        {"signature": "ff->f", "casting": "same_kind"},
        {"sig": "dd->d"},
        {"sig": (None, None, "f8")},
        {"casting": "no"},
        {"casting": "equiv"},
        {"order": "F", "subok": False},
        {"order": "q"},
        {"dtype": "U"},
        {"nonsense": 1},
        {"axis": 0},
        {"where": 2.5},
        {"out": 3},
        {"out": np.zeros(3)},
        {"out": np.zeros((1, N - 1))},
        {"out": np.zeros(N, "i4")},
        {"out": (np.zeros(N), None)},
        {"sig": "xx->x"},
    ],
    ids=str,
)
def test_options_and_errors(parallel, kwargs):
    a, b = values(N, "f8", 1), values(N, "i4", 1)
    with np.errstate(all="ignore"):
        expected, _ = noted(lambda: np.subtract(a, b, **kwargs))
        result, _ = noted(lambda: np.subtract(shared(a), b, **kwargs))
        assert_same(result, expected)


def test_errors_come_before_any_work(parallel):
    a = sharedarray.ones(N, "i4")
    with pytest.raises(np._core._exceptions._UFuncOutputCastingError):
        a += 0.5
    with pytest.raises(ValueError, match="broadcast"):
        a + np.ones(N - 1)
    with pytest.raises(OverflowError):
        a + 2**40
    a.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        a += 1
    assert (a == 1).all()
    with pytest.raises(ValueError, match="negative integer powers"):
        a ** sharedarray.full(N, -1)


METHODS = [
    lambda a: np.add.reduce(a),
    lambda a: np.add.reduce(a, axis=1, keepdims=True),
    lambda a: np.maximum.accumulate(a, axis=1),
    lambda a: np.add.reduceat(a, [0, 3, 5]),
    lambda a: np.multiply.outer(a[0], a[1:3]),
    lambda a: np.subtract.outer(a, np.arange(3)),
    lambda a: np.subtract.outer(a.T, a[::2, ::3]),
    lambda a: np.multiply.outer(2, a),
    lambda a: np.multiply.outer(a, [1, 2]),
    lambda a: a @ a.T,
]


@pytest.mark.parametrize("call", METHODS)
def test_methods(parallel, call):
    a = np.random.default_rng(0).random((30, 20))
    assert_same(call(shared(a)), call(a))


def test_outer_is_parallel_and_at_is_not(parallel):
    a = shared(np.arange(40.0))
    np.multiply.outer(a, a)
    assert len(parallel) == 1
    out = sharedarray.zeros((40, 40))
    assert np.add.outer(a, a, out=out) is out
    assert_same_bits(out, np.add.outer(np.arange(40.0), np.arange(40.0)))
    ones = sharedarray.zeros(N)
    np.add.at(ones, sharedarray.array([3, 3, 5]), 1)
    assert (ones[3], ones[5], len(parallel)) == (2, 1, 2)


def test_clip(parallel):
    a = values(N, "f4", 1)
    for args in ((0, 5), (None, 3), (2, None), (np.float64(1), 2), (values(N, "f4"), 100)):
        with np.errstate(all="ignore"):
            expected = np.clip(a, *args)
            assert_same(np.clip(shared(a), *args), expected)
            assert_same(shared(a).clip(*args), expected)
            out = sharedarray.empty(N, expected.dtype)
            assert np.clip(shared(a), *args, out=out) is out
            assert_same_bits(out, expected)
    assert len(parallel) == 15


@given(st.data())
def test_any_operands(data):
    ndim = data.draw(st.integers(1, 3))
    shape = data.draw(st.lists(st.integers(1, 24), min_size=ndim, max_size=ndim))

    def operand(dtype):
        own = [data.draw(st.sampled_from([n, n, n, 1])) for n in shape]
        axes = data.draw(st.permutations(range(ndim)))
        steps = [data.draw(st.sampled_from([1, 1, 2, -1])) for _ in own]
        a = values(int(np.prod([n * 2 for n in own])), dtype, data.draw(st.integers(0, 3)))
        a = a.reshape([own[i] * 2 for i in axes]).transpose(np.argsort(axes))
        return a[tuple(slice(None, None, s) for s in steps)][tuple(slice(n) for n in own)]

    dtypes = st.sampled_from(["f8", "f4", "i4", ">f8"])
    x, y = operand(data.draw(dtypes)), operand(data.draw(dtypes))
    ufunc = data.draw(st.sampled_from([np.add, np.arctan2, np.minimum, np.less, np.hypot]))
    order = data.draw(st.sampled_from("KACF"))
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        with small_ufuncs(patch):
            result = ufunc(shared(x), shared(y), order=order)
        expected = ufunc(x, y, order=order)
    if expected.dtype.kind == "f":  # which of two NaN it is depends on where NumPy's buffers end
        result[np.isnan(result)] = expected[np.isnan(expected)] = np.nan
    assert_same(result, expected)


def test_strided_lines(parallel):
    a = values(N, "f8", 1)
    with np.errstate(all="ignore"):
        for view in (strided(a, 2), strided(a, -1), strided(a, -3)):
            assert_same(np.exp(shared(view)), np.exp(view))
            assert_same(np.add(shared(view), view), view + view)


def test_in_workers_of_any_pool():
    a = sharedarray.arange(300_000.0)
    out = sharedarray.zeros(300_000)

    def work(i):
        np.sqrt(a[i::3], out=out[i::3])
        return float(np.exp(-a).sum())

    for backend in ("process", "thread", "serial"):
        out[...] = 0
        sums = sharedarray.MapReduce(backend, np=3).map(work, range(3))
        assert sums == [np.exp(-np.arange(300_000.0)).sum()] * 3
        assert_same_bits(out, np.sqrt(np.arange(300_000.0)))
