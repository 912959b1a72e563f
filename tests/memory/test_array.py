import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from sharedarray.memory import array as array_module
from sharedarray.memory import registry
from sharedarray.memory.array import SharedArray, implements
from sharedarray.memory.creation import arange, array, full, ones, zeros
from sharedarray.memory.registry import is_shared
from tests.memory.support import in_child


@pytest.fixture
def dispatch(monkeypatch):
    """Give the test a table of its own."""
    monkeypatch.setattr(array_module, "DISPATCH", {})
    return array_module.DISPATCH


@pytest.fixture(autouse=True)
def numpy_alone(dispatch):
    """Test the class, not what the operations have registered."""


# construction


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), 3, (2, 3), (0, 4)])
def test_constructor_allocates(shape, order):
    a = SharedArray(shape, "i4", order)
    expected = np.empty(shape, "i4", order)
    assert (a.shape, a.strides, a.dtype) == (expected.shape, expected.strides, expected.dtype)
    assert is_shared(a)


def test_constructor_is_numpys_by_default():
    assert SharedArray(3).dtype == np.dtype(float)
    assert SharedArray(shape=3, dtype=None, order="F").dtype == np.dtype(float)
    for wrong in ((-1,), (2.5,), (3, "nonsense"), (3, float, "x"), ()):
        with pytest.raises((ValueError, TypeError)):
            SharedArray(*wrong)


def test_children_write_into_the_same_memory():
    a, b = zeros(5), zeros(1_000_000)

    def write():
        a[:] = 7
        b[::2] = 1

    in_child(write)
    assert a.tolist() == [7] * 5
    assert b.sum() == 500_000


@pytest.mark.parametrize("private", [np.ones(3), np.ones((2, 2))[1:], np.empty(0), np.array(1)])
def test_private_memory_cannot_be_viewed_as_shared(private):
    with pytest.raises(TypeError, match=r"sharedarray\.array\(a\)"):
        private.view(SharedArray)


def test_shared_memory_can_be_viewed_as_shared():
    a = arange(6)
    for plain in (np.asarray(a), np.asarray(a)[::-2], np.frombuffer(memoryview(a), a.dtype)):
        view = plain.view(SharedArray)
        assert type(view) is SharedArray
        assert registry.owner(view) is registry.owner(a)


def test_user_subclass():
    class Image(SharedArray):
        pass

    image = Image((3, 4))
    image[:] = 1
    assert type(image) is type(image[1:]) is type(image.T) is Image
    assert is_shared(image)
    for made in (image.copy(), image + 1, image[[0]], np.sort(image), image.astype("f4")):
        assert type(made) is np.ndarray


# indexing


INDICES = [
    *(0, -1, slice(1, None), slice(None, None, -2), ..., None, (), (0, 1), (slice(None), 1)),
    *([0, 1], [[0], [1]], ([0, 1], [1, 0]), (slice(None), [0, 1]), [True, False, True], True),
    *(np.array([1, 2]), np.array(1), np.int8(1), ([0], 1), (None, [0, 1]), [], False, (0, 1, 2)),
    *(np.ones((3, 4), bool), 7, "field", 1.5, (slice(None), slice(None), None)),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_gives_views_or_private_arrays(index):
    data = np.arange(12.0).reshape(3, 4)
    a = array(data)
    for shared, private in ((a, data), (a[1:], data[1:]), (a.T[::-1], data.T[::-1])):
        try:
            expected = private[index]
        except Exception as error:
            with pytest.raises(type(error)):
                shared[index]
            continue
        made = shared[index]
        is_view = isinstance(expected, np.ndarray) and np.may_share_memory(expected, data)
        assert type(made) is (SharedArray if is_view else type(expected))
        np.testing.assert_array_equal(made, expected)


def test_fields_are_views():
    a = zeros(3, [("x", "f8"), ("y", "i4")])
    assert type(a["x"]) is SharedArray
    a["x"] = 5
    assert a[1]["x"] == 5
    assert type(a[["x", "y"]]) is SharedArray


def test_iteration_gives_views():
    rows = list(zeros((3, 2)))
    assert [type(row) for row in rows] == [SharedArray] * 3
    assert all(map(is_shared, rows))


# ufuncs


def test_results_of_ufuncs_are_private_and_scalars_are_scalars():
    a = ones((2, 3))
    for made in (a + 1, 1 + a, a + a, a + np.ones(3), -a, a == a, np.sin(a), a @ a.T, abs(a)):
        assert type(made) is np.ndarray
        assert not is_shared(made)
    for made in (np.add.reduce(a), np.add.accumulate(a), np.multiply.outer(a, a), *divmod(a, 2)):
        assert type(made) is np.ndarray
    assert type(np.add.reduce(a, axis=None)) is np.float64
    assert type(array(2.0) + 1) is np.float64
    assert type(np.sqrt(array(2.0))) is np.float64


def test_in_place_and_out_keep_the_array():
    a = b = ones((2, 3))
    a += 1
    a *= np.ones(3)
    assert a is b
    assert a.tolist() == [[2.0] * 3] * 2
    assert np.add(1, 2, out=a) is a
    plain = np.zeros((2, 3))
    assert np.add(a, 1, out=plain) is plain
    quotient, rest = zeros((2, 3)), np.zeros((2, 3))
    made = np.divmod(a, 2, out=(quotient, rest))
    assert made[0] is quotient
    assert made[1] is rest
    np.add.at(a, (0, 0), 10)
    assert a[0, 0] == 13


def test_wrapping_judges_the_memory():
    a = ones(3)
    assert a.__array_wrap__(a) is a
    assert type(a.__array_wrap__(np.ones(3))) is np.ndarray
    assert type(a.__array_wrap__(np.array(a, subok=True))) is np.ndarray
    assert type(a.__array_wrap__(np.asarray(a)[1:])) is SharedArray
    assert type(a.__array_wrap__(np.array(1.0), None, True)) is np.float64
    assert type(a.__array_wrap__(np.array(1.0), None, False)) is np.ndarray


def test_plain_array_sets_the_class_of_a_mixed_result():
    class Loud(np.ndarray):
        pass

    loud = np.ones(3).view(Loud)
    assert type(ones(3) + loud) is Loud
    assert type(loud + ones(3)) is Loud


# functions


def test_flat_reads_and_writes_the_memory():
    a = arange(6).reshape(2, 3)
    a.flat[1] = 50
    assert a[0, 1] == 50
    a.flat = [7, 8]
    assert a.tolist() == [[7, 8, 7], [8, 7, 8]]
    assert type(a.flat[:]) is type(a.flat[[0, 1]]) is np.ndarray


def test_imag_can_be_set():
    a = zeros(3, complex)
    a.imag = 5
    a.imag[0] = 1
    assert a.tolist() == [1j, 5j, 5j]
    assert type(zeros(3).imag) is np.ndarray


def test_results_own_their_memory():
    a = ones((3, 4))
    for made in (a.copy(), a.flatten(), a.repeat(2), a.clip(0, 1)):
        assert made.flags.owndata


def test_containers_of_results():
    a = array([[2.0, 1], [1, 3]])
    svd = np.linalg.svd(a)
    assert type(svd).__name__ == "SVDResult"
    assert [type(part) for part in svd] == [np.ndarray] * 3
    assert [type(part) for part in np.split(a, 2)] == [SharedArray] * 2
    assert [type(part) for part in np.nonzero(a)] == [np.ndarray] * 2
    unique = np.unique_counts(a)
    assert type(unique.values) is np.ndarray


def test_masked_arrays_work():
    a = array([1.0, 2, 3])
    masked = np.ma.masked_array(a, [0, 1, 0])
    assert (masked + 1).tolist() == [2, None, 4]
    assert masked.sum() == 4
    assert type(masked.data) is np.ndarray
    assert type((masked * 2).data) is np.ndarray
    masked[0] = 9
    assert a[0] == 9


def test_strided_and_broadcast_views_keep_the_class_where_they_may():
    a = arange(6)
    assert type(as_strided(a, (2,), (8,), subok=True)) is SharedArray
    assert type(np.broadcast_to(a, (2, 6), subok=True)) is SharedArray
    assert type(np.lib.stride_tricks.sliding_window_view(a, 2, subok=True)) is SharedArray


# the table


def test_functions_and_methods_come_from_the_table(dispatch):
    calls = []

    @implements(np.sort, np.ndarray.sort)
    def sort(*args, **kwargs):
        calls.append((args, kwargs))
        return "sorted"

    assert dispatch == {np.sort: sort, np.ndarray.sort: sort}
    a, view = array([3, 1, 2]), array([3, 1, 2])[1:]
    assert np.sort(a) == a.sort() == np.sort(view, 0, kind="stable") == "sorted"
    assert a.sort(-1, kind=None, descending=True) == "sorted"
    assert all(args[0] is given for (args, _), given in zip(calls, (a, a, view, a), strict=True))
    assert [(args[1:], kwargs) for args, kwargs in calls] == [
        ((), {}),
        ((), {}),
        ((0,), {"kind": "stable"}),
        ((-1,), {"kind": None, "descending": True}),
    ]
    assert np.sort(np.array([2, 1])).tolist() == [1, 2]


@pytest.mark.parametrize("name", ["sort", "argsort", "sum", "min", "max", "mean", "take", "cumsum"])
def test_every_method_of_an_operation_can_be_taken_over(dispatch, name):
    dispatch[getattr(np.ndarray, name)] = lambda a, *args, **kwargs: (type(a), args, kwargs)
    assert getattr(ones(3), name)(1, axis=2) == (SharedArray, (1,), {"axis": 2})


def test_without_an_entry_numpys_own_runs():
    a = array([3, 1, 2])
    assert a.argsort().tolist() == np.argsort(a).tolist() == [1, 2, 0]
    assert a.sum() == np.sum(a) == 6
    assert np.sort(a).tolist() == [1, 2, 3]
    assert a.sort() is None
    assert a.tolist() == [1, 2, 3]
    assert type(a.sum()) is np.int64


def test_what_a_table_entry_returns_is_left_alone(dispatch):
    result = full(3, 7)
    dispatch[np.sort] = lambda a: result
    assert np.sort(ones(3)) is result


class Duck:
    def __array_function__(self, func, types, args, kwargs):
        return "duck"


class OtherArray(np.ndarray):
    def __array_function__(self, func, types, args, kwargs):
        return "other"


def test_other_classes_with_a_protocol_are_asked(dispatch):
    dispatch[np.searchsorted] = lambda *args: "ours"
    a = arange(3)
    memmap = np.ones(2).view(np.memmap)
    assert np.searchsorted(a, [1]) == np.searchsorted([1], a) == "ours"
    assert np.searchsorted(a, np.ones(2)) == np.searchsorted(a, memmap) == "ours"
    assert np.searchsorted(a, Duck()) == np.searchsorted(Duck(), a) == "duck"
    assert np.searchsorted(a, np.ones(2).view(OtherArray)) == "other"
    assert np.searchsorted(np.ma.masked_array([1, 2]), a).tolist() == [0, 0, 1]


def test_functions_without_an_entry_ask_other_classes_too():
    assert np.concatenate((arange(3), Duck())) == "duck"
    with pytest.raises(TypeError, match="no implementation found"):
        np.concatenate((arange(3), NotInterested()))


class NotInterested:
    def __array_function__(self, func, types, args, kwargs):
        return NotImplemented
