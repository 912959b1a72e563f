import inspect
import time

import numpy as np
import pytest

from sharedarray.memory import creation, pages, registry, segment
from sharedarray.memory.array import SharedArray
from sharedarray.memory.registry import is_shared
from tests.memory.support import assert_like_numpy, same_outcome

NAMES = creation.__all__
BY_SHAPE = ["empty", "zeros", "ones", "full"]
LIKE = ["empty_like", "zeros_like", "ones_like", "full_like"]

ORDERS = ["C", "F", "K", "A"]
PLAIN_DTYPES = [
    "?",
    "i1",
    ">i2",
    "u4",
    "f2",
    "f8",
    ">f8",
    "c16",
    "g",
    "S3",
    "U2",
    "M8[s]",
    "m8",
    "V5",
]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("arange", "attach")])
def test_signature_is_numpys_and_name_and_reserve(name):
    try:
        expected = inspect.signature(getattr(np, name))
    except ValueError:
        pytest.skip("this NumPy does not tell")
    *ours, named, reserve = inspect.signature(getattr(creation, name)).parameters.values()
    numpys = expected.parameters.values()
    has_ndmax = any(p.name == "ndmax" for p in numpys)
    assert [(p.name, p.kind, p.default) for p in ours if p.name != "ndmax" or has_ndmax] == [
        (p.name, p.kind, p.default) for p in numpys
    ]
    assert (named.name, named.kind, named.default) == ("name", named.KEYWORD_ONLY, None)
    assert (reserve.name, reserve.kind, reserve.default) == ("reserve", named.KEYWORD_ONLY, False)


def test_docstring_says_from_which_size_on_it_is_parallel():
    assert (
        f"In parallel from {pages.MIN_PARALLEL_NBYTES >> 20} MiB on, in fresh memory from "
        f"{pages._MIN_PARALLEL_FRESH_NBYTES >> 20} MiB on."
    ) in creation.full.__doc__


# by shape


def by_shape(name, shape, *args, **kwargs):
    fill = (3,) if name == "full" else ()
    return same_outcome(name, shape, *fill, *args, **kwargs)


@pytest.mark.parametrize("name", BY_SHAPE)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [None, float, *PLAIN_DTYPES[:10], "(2,)f4", np.dtypes.Int32DType])
@pytest.mark.parametrize(
    "shape", [(), 0, 5, (3, 4), [2, 3], (5, 0), (0, 2**40), np.int8(3)], ids=str
)
def test_by_shape(name, shape, dtype, order):
    assert by_shape(name, shape, dtype, order) is not None


@pytest.mark.parametrize(
    "dtype", ["S", "U", "S0", "V0", "V", "M8", [("a", "i4"), ("b", "S2")]], ids=str
)
@pytest.mark.parametrize("name", ["empty", "zeros"])
def test_flexible_and_structured_dtypes(name, dtype):
    assert same_outcome(name, (2, 3), dtype) is not None


@pytest.mark.parametrize("name", BY_SHAPE)
@pytest.mark.parametrize(
    "shape",
    [-1, (2, -1), 2.0, (2, 3.0), "ab", None, (1,) * 65, (2**62, 2**62), 2**70, (0, 2**62, 2**62)],
    ids=str,
)
def test_bad_shape(name, shape):
    same_outcome(name, shape, *([1] if name == "full" else []))


@pytest.mark.parametrize("name", BY_SHAPE)
@pytest.mark.parametrize(
    "wrong",
    [
        {"order": "K"},
        {"order": "x"},
        {"device": "gpu"},
        {"dtype": "nonsense"},
        {"like": 5},
        {"k": 1},
    ],
    ids=str,
)
def test_bad_option(name, wrong):
    assert by_shape(name, 3, **wrong) is None


@pytest.mark.parametrize("name", BY_SHAPE)
def test_good_options(name):
    assert by_shape(name, 3, device="cpu", like=np.ones(2)) is not None
    assert by_shape(name, 3, order=None) is not None


@pytest.mark.parametrize(
    ("shape", "value", "dtype"),
    [
        (3, 7, None),
        (3, 7.5, None),
        (3, 7.5, int),
        (3, True, None),
        (3, "text", None),
        (3, "text", "U2"),
        (3, b"x", None),
        ((2, 3), [1, 2, 3], None),
        ((2, 3), [1, 2], None),
        ((2, 3), np.ones((4, 2, 3)), None),
        (3, 300, np.uint8),
        (3, -1, np.uint8),
        (3, np.datetime64("2020-01-01"), None),
        (3, np.float32(1), None),
        (3, 1 + 2j, None),
        (3, np.nan, "f4"),
        (3, (1, 2.0), [("a", "i4"), ("b", "f8")]),
    ],
    ids=str,
)
def test_full(shape, value, dtype):
    same_outcome("full", shape, value, dtype)


def test_full_of_a_shared_array():
    made = creation.full((2, 3), creation.arange(3))
    assert_like_numpy(made, np.full((2, 3), np.arange(3)))


def test_zeros_are_zero_where_another_array_was():
    for n in (1, 100, 8192, 8193, 1 << 18):
        a = creation.full(n, 7.0)
        where = registry.address_of(a)
        del a
        made = creation.zeros(n)
        if n <= 8192:
            assert registry.address_of(made) == where
        assert not made.any()


def test_empty_shows_nothing_but_what_this_process_left():
    for n in (100, 1 << 18):
        a = creation.full(n, 7.0)
        del a
        assert set(np.unique(creation.empty(n))) <= {0.0, 7.0}


# objects

OBJECTS = [object, "O", [("a", "i4"), ("b", "O")], ([("x", "O")], (2,)), np.dtypes.StringDType()]


@pytest.mark.parametrize("dtype", OBJECTS, ids=str)
def test_objects_are_refused_before_anything_is_allocated(monkeypatch, dtype):
    def fail(*args, **kwargs):
        raise AssertionError("allocated")

    monkeypatch.setattr("sharedarray.memory.array.allocate", fail)
    held = np.empty(2, dtype)
    calls = [
        lambda: SharedArray(3, dtype),
        lambda: creation.empty(10**13, dtype),  # NumPy would write None to every element
        lambda: creation.zeros(3, dtype),
        lambda: creation.ones(3, dtype),
        lambda: creation.full(3, held[0], dtype),
        lambda: creation.empty_like(held),
        lambda: creation.zeros_like(held),
        lambda: creation.ones_like(held),
        lambda: creation.full_like(held, held[0]),
        lambda: creation.full_like(np.ones(3), held[0], dtype),
        lambda: creation.copy(held),
        lambda: creation.array(held),
        lambda: creation.asarray(held),
        lambda: creation.array([1], dtype),
        lambda: creation.asarray([1], dtype),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="shared memory"):
            call()


def test_objects_are_refused_where_they_are_found():
    for call in (creation.copy, creation.array, creation.asarray, creation.empty_like):
        with pytest.raises(TypeError, match="shared memory"):
            call([None, object()])
    with pytest.raises(TypeError, match="shared memory"):
        creation.full(3, object())
    with pytest.raises(TypeError, match="shared memory"):
        creation.arange(3, dtype=object)
    with pytest.raises(TypeError, match="shared memory"):
        creation.arange(0, 3, 1, object)


# sizes


@pytest.mark.parametrize("exponent", [45, 50, 55, 59])
@pytest.mark.parametrize("name", ["empty", "zeros"])
def test_impossible_size_is_refused_at_once(name, exponent):
    began = time.process_time()
    with pytest.raises(MemoryError) as caught:
        getattr(creation, name)((2, 2 ** (exponent - 1)), "f8")
    assert time.process_time() - began < 0.1
    for part in (f"(2, {2 ** (exponent - 1)})", "float64", "Unable to allocate", "iB"):
        assert part in str(caught.value)


def test_size_that_only_we_refuse_says_what_was_wanted(monkeypatch):
    monkeypatch.setattr(segment, "total_memory", lambda: 2**26)
    with pytest.raises(MemoryError) as caught:
        creation.zeros((3, 2**24), "f4")
    for part in ("Unable to allocate", "0.188 GiB", "(3, 16777216)", "float32", str(2**26)):
        assert part in str(caught.value)


# arange


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((5,), {}),
        ((), {"stop": 5}),
        ((2, 5), {}),
        ((5, None), {}),
        ((2, 11, 3), {}),
        ((0, 1, 0.1), {}),
        ((10, 0, -3), {"dtype": "i2"}),
        ((0, 5, 1, "f4"), {}),
        ((np.datetime64("2020-01-01"), np.datetime64("2020-01-05")), {}),
        ((5, 2), {}),
        ((3,), {"like": np.ones(2), "device": "cpu"}),
        ((), {}),
        ((0, 5, 0), {}),
        ((2**70,), {}),
        ((5,), {"dtype": "S3"}),
        ((5,), {"device": "gpu"}),
        ((5,), {"like": 3}),
        (("a",), {}),
    ],
    ids=str,
)
def test_arange(args, kwargs):
    same_outcome("arange", *args, **kwargs)


# another package's arrays


class Duck:
    def __array_function__(self, func, types, args, kwargs):
        return func.__name__, len(args), sorted(kwargs)


def test_arrays_of_another_package_are_left_to_numpy():
    duck = Duck()
    for name, args in [
        *((name, (3,)) for name in ("empty", "zeros", "ones", "arange")),
        *((name, ([1],)) for name in ("array", "asarray")),
        ("full", (3, 1)),
    ]:
        expected = getattr(np, name)(*args, like=duck)
        assert getattr(creation, name)(*args, like=duck)[0] == expected[0] == name
    for name in [*LIKE, "copy"]:
        fill = (3,) if name == "full_like" else ()
        assert getattr(creation, name)(duck, *fill)[0] == name


@pytest.mark.parametrize("option", [{"name": "x"}, {"reserve": True}], ids=str)
@pytest.mark.parametrize("name", sorted({*creation.__all__} - {"attach"}))
def test_arrays_of_another_package_have_no_options_of_ours(name, option):
    fill = (3,) if name in ("full", "full_like") else ()
    args = (Duck(), *fill) if name in (*LIKE, "copy") else (3, *fill)
    args = ([3], float) if name == "fromiter" else args
    like = {} if name in (*LIKE, "copy") else {"like": Duck()}
    with pytest.raises(TypeError, match=f"numpy.{name} .* no name= or reserve="):
        getattr(creation, name)(*args, **like, **option)


def test_like_a_shared_array_is_ours():
    a = creation.ones(2)
    assert is_shared(creation.zeros(3, like=a))
    assert is_shared(creation.arange(3, like=a))
