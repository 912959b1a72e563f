import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sharedarray.memory import creation
from sharedarray.memory.array import SharedArray
from sharedarray.memory.registry import is_shared
from tests.memory.support import assert_like_numpy, same_outcome

LIKE = ["empty_like", "zeros_like", "ones_like", "full_like"]
ORDERS = ["C", "F", "K", "A"]


# like another array

LAYOUTS = {
    "C": lambda: np.arange(24.0).reshape(2, 3, 4),
    "F": lambda: np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "permuted": lambda: np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
    "reversed": lambda: np.arange(24.0).reshape(2, 3, 4)[::-1, :, ::-1],
    "strided": lambda: np.arange(24.0).reshape(2, 3, 4)[:, ::2, ::3],
    "broadcast": lambda: np.broadcast_to(np.arange(4.0), (2, 3, 4)),
    "zero size": lambda: np.empty((2, 0, 4)).transpose(2, 0, 1),
    "0-d": lambda: np.array(5.0),
    "ones in shape": lambda: np.ones((1, 3, 1)).transpose(2, 1, 0),
    "byte-swapped": lambda: np.arange(5, dtype=">i4"),
    "read-only": lambda: np.frombuffer(b"12345678", "i4"),
    "unaligned": lambda: np.frombuffer(b"123456789", "u1")[1:].view("i4"),
    "structured": lambda: np.zeros(3, [("a", "i4"), ("b", "f8", (2,))]),
    "text": lambda: np.array([["a", "bc"]]),
    "list": lambda: [[1, 2], [3, 4]],
    "scalar": lambda: 3.5,
    "masked": lambda: np.ma.masked_array([1, 2, 3], [0, 1, 0]),
    "memoryview": lambda: memoryview(b"abc"),
}


@pytest.fixture(params=LAYOUTS)
def source(request):
    return LAYOUTS[request.param]()


def plain_like(name, prototype, *args, **kwargs):
    """Return what NumPy gives for a prototype without its class."""
    is_array = isinstance(prototype, np.ndarray)
    return getattr(np, name)(np.asarray(prototype) if is_array else prototype, *args, **kwargs)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", LIKE)
def test_like(name, order, source):
    fill = (3,) if name == "full_like" else ()
    for dtype in (None, "i2"):
        if np.asarray(source).dtype.kind in "VU" and dtype is None and fill:
            continue
        expected = plain_like(name, source, *fill, dtype, order)
        made = getattr(creation, name)(source, *fill, dtype, order)
        assert_like_numpy(made, expected, has_values=name != "empty_like")


@pytest.mark.parametrize("name", LIKE)
def test_like_a_shared_array_or_another_shape(name):
    fill = (3,) if name == "full_like" else ()
    for prototype in (creation.ones((3, 4), "f4", "F"), creation.ones((3, 4))[::2].T):
        for options in (
            {},
            {"shape": 5},
            {"shape": (2, 2, 2)},
            {"subok": False},
            {"device": "cpu"},
        ):
            expected = plain_like(name, prototype, *fill, **options)
            made = getattr(creation, name)(prototype, *fill, **options)
            assert_like_numpy(made, expected, has_values=name != "empty_like")


@pytest.mark.parametrize("name", LIKE)
@pytest.mark.parametrize(
    "wrong",
    [{"order": "x"}, {"device": "gpu"}, {"shape": -1}, {"shape": 2.0}, {"dtype": "x"}],
    ids=str,
)
def test_like_bad_option(name, wrong):
    fill = (3,) if name == "full_like" else ()
    assert same_outcome(name, np.ones(3), *fill, **wrong) is None


# from data


@pytest.mark.parametrize("order", ORDERS)
def test_copy(order, source):
    made = creation.copy(source, order)
    assert_like_numpy(made, plain_like("copy", source, order))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [None, "f4", "c16", "S"])
@pytest.mark.parametrize("ndmin", [0, 4])
@pytest.mark.parametrize("copy", [True, None])
def test_array(source, dtype, order, ndmin, copy):
    if dtype is not None and np.asarray(source).dtype.kind in "VU":
        dtype = None
    if dtype == "S":
        source = np.asarray(source).astype("i4")
    # A private source must be copied, however `copy` is given.
    made = creation.array(source, dtype, order=order, ndmin=ndmin, copy=copy)
    expected = np.array(source, dtype, order=order, ndmin=ndmin)
    if copy or not isinstance(source, np.ndarray) or np.asarray(source).size == 0:
        assert_like_numpy(made, expected)
    else:
        np.testing.assert_array_equal(made, expected)
        assert_like_numpy(made, np.array(made.view(np.ndarray)))


@given(
    npst.arrays(
        npst.scalar_dtypes(), npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    ),
    st.data(),
)
def test_copies_have_numpys_layout(a, data):
    a = a.transpose(data.draw(st.permutations(range(a.ndim))))
    index = data.draw(npst.basic_indices(a.shape, allow_newaxis=True))
    a = np.asarray(a[index])
    for order in ORDERS:
        assert_like_numpy(creation.copy(a, order), np.copy(a, order))
        assert_like_numpy(creation.array(a, order=order), np.array(a, order=order))
        assert_like_numpy(
            creation.empty_like(a, order=order), np.empty_like(a, order=order), has_values=False
        )


def test_source_stays_as_it_was():
    a = creation.arange(5)
    for call in (creation.copy, creation.array):
        made = call(a)
        made[:] = 9
        assert a.tolist() == [0, 1, 2, 3, 4]
        assert not np.shares_memory(a, made)


def test_asarray_gives_a_matching_array_itself():
    for a in (creation.ones((2, 3)), creation.ones((2, 3))[:, ::2], creation.zeros(())):
        assert creation.asarray(a) is a
        assert creation.asarray(a, a.dtype) is a
        assert creation.asarray(a, copy=False) is a
        assert creation.array(a, copy=None) is a
        assert creation.array(a, copy=False) is a
        assert creation.asarray(a, copy=True) is not a


def test_asarray_gives_views_of_shared_memory():
    a = creation.arange(6.0).reshape(2, 3)
    for other in (np.asarray(a), np.asarray(a)[:, ::-1], memoryview(a)):
        made = creation.asarray(other, copy=False)
        assert type(made) is SharedArray
        assert np.shares_memory(made, a)
        np.testing.assert_array_equal(made, other)
    made = creation.array(a, copy=None, ndmin=4)
    assert made.shape == (1, 1, 2, 3)
    assert np.shares_memory(made, a)


@pytest.mark.parametrize("order", ["C", "F", "K", "A", None])
@pytest.mark.parametrize("dtype", [None, "f8", "f4"])
@pytest.mark.parametrize("copy", [True, None, False, 0, 1])
def test_asarray_copies_a_shared_array_when_numpy_does(order, dtype, copy):
    for a in (creation.arange(6.0).reshape(2, 3), creation.arange(6.0).reshape(3, 2).T):
        plain = np.asarray(a)
        try:
            expected = np.asarray(plain, dtype, order, copy=copy)
        except ValueError:
            with pytest.raises(ValueError, match="Unable to avoid copy"):
                creation.asarray(a, dtype, order, copy=copy)
            continue
        made = creation.asarray(a, dtype, order, copy=copy)
        assert np.shares_memory(made, a) == np.shares_memory(expected, plain)
        assert_like_numpy(made, expected)


def test_read_only_shared_array_stays_read_only():
    a = creation.ones(3)
    a.flags.writeable = False
    assert creation.asarray(a) is a
    assert not creation.asarray(np.asarray(a)).flags.writeable
    assert creation.copy(a).flags.writeable


def test_private_data_cannot_be_shared_without_a_copy():
    for source in (np.ones(3), [1, 2], 5, b"abc"):
        for call in (creation.array, creation.asarray):
            with pytest.raises(ValueError, match="Unable to avoid copy"):
                call(source, copy=False)


def test_private_array_of_our_class_is_copied():
    private = np.array(creation.arange(3), subok=True)
    made = creation.asarray(private)
    assert made is not private
    assert is_shared(made)


@pytest.mark.parametrize(
    "wrong",
    [{"order": "x"}, {"ndmin": 65}, {"dtype": "x"}, {"dtype": "i1"}, {"like": 3}, {"k": 1}],
    ids=str,
)
def test_array_bad_option(wrong):
    assert same_outcome("array", [1, 300], **wrong) is None


def test_ragged_data():
    assert same_outcome("array", [[1, 2], [3]]) is None


def test_ndmax_where_numpy_has_it():
    try:
        np.array([[1]], ndmax=3)
    except TypeError:
        pytest.skip("NumPy before 2.4")
    assert same_outcome("array", [[1, 2], [3, 4]], ndmax=3) is not None
    assert same_outcome("array", [[1, 2], [3, 4]], ndmax=1) is None
