from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray_ops import ufuncs
from tests.ops.support import RecordingPool, around, assert_same_bits, canaries, each_pool

shapes = st.lists(st.integers(0, 40), max_size=4).map(tuple)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(ufuncs, "ALIGN", 16)
    monkeypatch.setattr(ufuncs, "buffer_size", lambda: 16)


@given(shapes, st.integers(1, 30), st.sampled_from([1, 2, 16]))
def test_tiles_cover_each_element_once(shape, n_tiles, align):
    count = np.zeros(shape, int)
    places = ufuncs.tiles_of(shape, n_tiles, align)
    for place in places:
        count[place] += 1
        assert count[place].size
    assert (count == 1).all()
    if shape and align > 1:
        for place in places:
            last = place[-1] if len(place) == len(shape) else slice(0, shape[-1])
            assert last.start % align == 0
            assert last.stop - last.start > 1 or shape[-1] == 1
    assert len(places) <= 2 * n_tiles * max(1, len(shape)) + prod(shape[:1])


def test_tiles_are_as_many_as_asked_for():
    assert len(ufuncs.tiles_of((1000,), 8, 16)) == 8
    assert len(ufuncs.tiles_of((3, 1000), 8, 16)) == 9
    assert len(ufuncs.tiles_of((1000, 3), 8, 16)) == 8
    assert ufuncs.tiles_of((33,), 8, 16) == [(slice(0, 16),), (slice(16, 33),)]


@st.composite
def arrays(draw, shape):
    """Draw an array of a shape, of any layout."""
    axes = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 1, 2, -1, 0])) for _ in shape]
    room = np.arange(prod(2 * n for n in shape), dtype=draw(st.sampled_from(["i8", "f4", "i2"])))
    a = room.reshape([2 * shape[i] for i in axes]).transpose(np.argsort(axes))
    parts = [a[tuple(slice(None, None, s or 1) for s in steps)][tuple(slice(n) for n in shape)]]
    for axis, step in enumerate(steps):
        if not step:
            parts.append(np.broadcast_to(parts[-1].take([0], axis), shape))
    return parts[-1]


@given(st.data())
def test_one_order(data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    operands = data.draw(st.lists(arrays(tuple(shape)), min_size=1, max_size=3))
    order = data.draw(st.sampled_from("KACF"))
    views = ufuncs.in_one_order(operands, order)
    assert len({v.shape for v in views}) == 1
    for view, a in zip(views, operands, strict=True):
        assert np.shares_memory(view, a)
        assert view.size == a.size
    # The same elements meet.
    together = [
        list(zip(*(x.ravel().tolist() for x in xs), strict=True)) for xs in (views, operands)
    ]
    assert sorted(together[0]) == sorted(together[1])
    # It is the order of NumPy's iterator.
    numpy_order = np.nditer(
        operands, ["external_loop", "buffered"], [["readonly"]] * len(operands), order=order,
        buffersize=1,
    )  # fmt: skip
    expected = [
        tuple(x.item() for x in ((xs,) if len(operands) == 1 else xs)) for xs in numpy_order
    ]
    assert together[0] == expected


@pytest.mark.parametrize("order", "KACF")
@given(data=st.data())
def test_layout_of_what_is_allocated(order, data):
    shape = tuple(data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=4)))
    a, b = data.draw(arrays(shape)), data.draw(arrays(shape))
    expected = np.add(a, b, order=order)
    result = ufuncs.allocated([a, b, None], [None, None, expected.dtype], order)
    assert result[0] is a
    assert result[1] is b
    assert result[2].strides == expected.strides
    assert result[2].dtype == expected.dtype
    assert type(result[2]) is np.ndarray


@each_pool
@pytest.mark.parametrize("n", around(16, 32, 160))
def test_apply(pool, n):
    a = np.linspace(0, 9, n)
    with canaries(n, "f8") as out:
        flags = ufuncs.apply(lambda x, o: np.exp(x, out=o), [a, out], "K", pool())
        assert flags == []
        assert_same_bits(out, np.exp(a))
    cube = np.random.default_rng(0).random((n, 2, 3))
    into = np.zeros((3, 2, n)).T
    ufuncs.apply(lambda x, o: np.sqrt(x, out=o), [cube, into], "K", pool())
    assert_same_bits(into, np.sqrt(cube))


@each_pool
def test_flags_once_and_in_order(pool):
    a = np.resize([0.0, 1e-310, 1.7e308, np.inf], 400)
    a[:100] = 1
    with np.errstate(all="raise"):
        flags = ufuncs.apply(lambda x, o: np.divide(x - x, x, out=o), [a, a.copy()], "K", pool())
        assert flags == [
            "Warning: invalid value encountered in divide\n",
            "Warning: invalid value encountered in subtract\n",
        ] or flags == [
            "Warning: invalid value encountered in subtract\n",
            "Warning: invalid value encountered in divide\n",
        ]
        kinds = ufuncs.apply(lambda x, o: np.divide(1.0, x, out=o), [a, a.copy()], "K", pool())
    assert [k.split()[1] for k in kinds] == ["divide", "overflow", "underflow"]


def test_buffer_of_numpy_is_not_cut(monkeypatch):
    monkeypatch.setattr(ufuncs, "buffer_size", lambda: 48)
    pool = RecordingPool(2)
    a = np.zeros(500)
    ufuncs.apply(lambda x, o: np.negative(x, out=o), [a, a.copy()], "K", pool)
    assert all(place[0].start % 48 == 0 for place in pool.maps[0])
    assert len(pool.maps[0]) == 8


@each_pool
@pytest.mark.parametrize("n", around(16, 32))
def test_assign_where(pool, n):
    rng = np.random.default_rng(n)
    mask = rng.random(n) < 0.4
    values = rng.random(np.count_nonzero(mask))
    expected = np.arange(float(n))
    with canaries(n, "f8") as out:
        out[:] = expected
        expected[mask] = values
        assert ufuncs.assign_where(out, mask, values, pool())
        assert_same_bits(out, expected)
        assert not ufuncs.assign_where(out, mask, np.zeros(values.size + 1), pool())
        assert_same_bits(out, expected)


def test_workers_that_are_processes():
    a = np.linspace(-1, 9, 1000)
    out = sharedarray.zeros(1000).view(np.ndarray)
    pool = sharedarray.MapReduce(np=3)
    flags = ufuncs.apply(lambda x, o: np.log(x, out=o), [a, out], "K", pool)
    assert flags == ["Warning: invalid value encountered in log\n"]
    with np.errstate(invalid="ignore"):
        assert_same_bits(out, np.log(a))
    assert ufuncs.assign_where(out, a < 0, np.zeros(np.count_nonzero(a < 0)), pool)
    assert (out[a < 0] == 0).all()
