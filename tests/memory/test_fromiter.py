import os
import re
import sys
from itertools import count as counting
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import SharedArray
from sharedarray.memory import fromiter as module
from sharedarray.memory import pages, registry
from sharedarray.memory.fromiter import fromiter
from tests.ops.support import assert_same_bits, outcome

CHUNK_NBYTES = 64  # bytes: 8 numbers of 8 bytes
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129, 1009]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_NBYTES", CHUNK_NBYTES)
    monkeypatch.setattr(module, "FIRST_NBYTES", 2 * CHUNK_NBYTES)
    monkeypatch.setattr(module, "STEP_NBYTES", 4096)
    monkeypatch.setattr(module, "TRIMMED_NBYTES", 2000)
    return monkeypatch


class Consumed:
    """An iterator that counts how often it is asked, and may fail."""

    def __init__(self, n, fail_at=None, error=None, item=float):
        self.n, self.fail_at, self.item = n, fail_at, item
        self.error = error or RuntimeError("mine")
        self.n_calls = 0

    def __iter__(self):
        return self

    def __next__(self):
        i, self.n_calls = self.n_calls, self.n_calls + 1
        if i == self.fail_at:
            raise self.error
        if i >= self.n:
            raise StopIteration
        return self.item(i)


def judged(call):
    """Return what a call did, with the text of its exception."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


def check(make, dtype, *args, **kwargs):
    """Compare NumPy and us, what has been consumed included; `make` makes an iterable anew."""
    theirs, ours = make(), make()
    expected = judged(lambda: np.fromiter(theirs, dtype, *args, **kwargs))
    result = judged(lambda: fromiter(ours, dtype, *args, **kwargs))
    if isinstance(expected, tuple):
        assert result == expected
    else:
        assert type(result) is SharedArray
        assert result.flags.c_contiguous
        assert result.flags.writeable
        assert_same_bits(result, expected)
    if isinstance(ours, Consumed):
        assert ours.n_calls == theirs.n_calls


@pytest.mark.parametrize("n", SIZES)
def test_sizes(small, n):
    for make in (
        lambda: Consumed(n),
        lambda: range(n),
        lambda: list(range(n)),
        lambda: tuple(range(n)),
        lambda: dict.fromkeys(range(n)),
        lambda: (i for i in range(n)),
        lambda: np.arange(n),
        lambda: iter(range(n)),
    ):
        check(make, "f8")
        for wanted in (0, 1, 8, n - 1, n, n + 1, 2 * n + 50, -1, -2, -7):
            check(make, "f8", wanted)
    check(lambda: iter(range(n)), float, count=n)
    check(lambda: range(n), None)


@pytest.mark.parametrize(
    ("dtype", "item"),
    [
        ("u1", lambda i: i % 256),
        (">i2", int),
        ("?", lambda i: i % 3),
        ("c16", lambda i: i * 1j),
        ("S3", lambda i: b"%d" % i),
        ("U5", str),
        ("M8[s]", lambda i: np.datetime64(i, "s")),
        ("V4", lambda i: np.void(b"%04d" % i)),
        ("i4,f8", lambda i: (i, i / 2)),
        ([("a", "u1"), ("b", "(2,)f4")], lambda i: (i % 256, (i, -i))),
        ("(2,)i4", lambda i: (i, -i)),
        ("(2,3)>f4", lambda i: i),
        ("S300", lambda i: b"%d" % i),
        ("(50,)f8", lambda i: i),
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [0, 3, 40, 200])
def test_dtypes(small, dtype, item, n):
    for wanted in (-1, n, n // 2, n + 3):
        check(lambda: Consumed(n, item=item), dtype, wanted)


@given(n=st.integers(0, 300), wanted=st.integers(-2, 320), fail_at=st.integers(0, 400))
def test_any_end(n, wanted, fail_at):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_NBYTES", CHUNK_NBYTES)
        patch.setattr(module, "FIRST_NBYTES", CHUNK_NBYTES)
        patch.setattr(module, "GROWTH", 2)
        check(lambda: Consumed(n, fail_at), "f8", wanted)


@pytest.mark.parametrize("fail_at", [0, 7, 8, 9, 100])
@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyboardInterrupt])
def test_the_exception_of_the_iterator_comes_out_as_it_is(small, fail_at, kind):
    for wanted in (-1, 1000):
        error = kind("iterator too short")  # a text like NumPy's own
        with pytest.raises(kind) as caught:
            fromiter(Consumed(2000, fail_at, error), "f8", wanted, name="test-fromiter")
        assert caught.value is error
        assert "test-fromiter" not in sharedarray.list_named()


def test_items_that_do_not_fit(small):
    for position in (0, 20, 100):
        values = [0.5] * position + ["x"] + [1.0] * 100
        for make in (lambda v=values: v, lambda v=values: iter(v)):
            check(make, "f8")
            check(make, "f8", 150)
    check(lambda: [10**400], "f8")
    check(lambda: [300] * 9, "u1")
    check(lambda: [(1, 2, 3)] * 9, "i4,i4")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((3, "f8"), {}),
        ((None, "f8"), {}),
        (([1], "nonsense"), {}),
        (([1], "S"), {}),
        (([1], "U", 5), {}),
        (([1], "V0", 0), {}),
        (([1], "(0,)i4"), {}),
        (([1], "f8", None), {}),
        (([1], "f8", 1.0), {}),
        (([1], "f8", "1"), {}),
        (([1], "f8", 2**70), {}),
        (([1], "f8"), {"nothing": 1}),
        (([1],), {}),
        (([1], "f8"), {"like": 3}),
    ],
    ids=str,
)
def test_arguments_are_judged_like_numpy(args, kwargs):
    expected = outcome(lambda: np.fromiter(*args, **kwargs))
    assert expected[0] == "raised"
    assert outcome(lambda: fromiter(*args, **kwargs)) == expected


@pytest.mark.parametrize("dtype", [object, "i4,O", np.dtypes.StringDType()], ids=str)
def test_objects_are_refused_before_an_item_is_taken(dtype):
    iterator = Consumed(5)
    with pytest.raises(TypeError, match="cannot be in shared memory"):
        fromiter(iterator, dtype)
    assert iterator.n_calls == 0


def test_what_the_machine_does_not_have(small):
    iterator = Consumed(5)
    with pytest.raises(MemoryError):
        fromiter(iterator, "f8", 10**15)
    assert iterator.n_calls == 0


def test_like_another_package():
    class Foreign:
        def __array_function__(self, func, types, args, kwargs):
            return func.__name__, args

    assert fromiter([1], int, like=Foreign()) == ("fromiter", ([1], int, -1))
    assert fromiter([1], int, like=np.arange(2)).tolist() == [1]
    with pytest.raises(TypeError, match="name"):
        fromiter([1], int, like=Foreign(), name="test-fromiter")


@pytest.mark.parametrize("n", [0, 3, 100])
@pytest.mark.parametrize("wanted", [False, True])
def test_named_and_reserved(small, n, wanted):
    for kwargs in ({"name": "test-fromiter"}, {"reserve": True}):
        result = fromiter(Consumed(n), "f8", n if wanted else -1, **kwargs)
        assert_same_bits(result, np.arange(float(n)))
        if "name" in kwargs:
            assert_same_bits(sharedarray.attach("test-fromiter"), np.arange(float(n)))
            sharedarray.unlink("test-fromiter")


def test_too_few_items_leave_no_name(small):
    with pytest.raises(ValueError, match="Expected 1000 but iterator had only 100 items"):
        fromiter(Consumed(100), "f8", 1000, name="test-fromiter")
    assert "test-fromiter" not in sharedarray.list_named()


def test_a_list_that_shrinks_meanwhile(small):
    values = [0.0] * 100

    class Shrinking:
        def __float__(self):
            del values[50:]
            return 1.0

    values[10] = Shrinking()
    assert fromiter(values, "f8").tolist() == [0.0] * 10 + [1.0] + [0.0] * 39


def test_the_iterator_may_make_arrays_itself(small):
    def nested(n):
        for i in range(n):
            yield fromiter((i for _ in range(20)), "f8").sum()

    assert fromiter(nested(100), "f8").tolist() == [20.0 * i for i in range(100)]


def test_the_real_sizes():
    n = 9_000_000  # beyond what the first array has room for
    assert n * 8 > module.FIRST_NBYTES
    assert_same_bits(fromiter(iter(range(n)), "f8"), np.arange(float(n)))


def test_growing_where_addresses_are_scarce(small):
    new_array = module._new_array
    refused = []

    def scarce(n_items, *args):
        if n_items > 300:
            refused.append(n_items)
            if len(refused) % 2:
                raise MemoryError
        return new_array(n_items, *args)

    small.setattr(module, "_new_array", scarce)
    check(lambda: Consumed(1009), "f8")
    assert refused


@pytest.mark.parametrize("n", [20_000, 131_071, 131_072])
def test_small_results_keep_no_room(n):
    """What has room for 64 MiB has a descriptor, of which there are few."""
    result = fromiter((i for i in range(n)), "i8")
    assert_same_bits(result, np.arange(n))
    is_small = result.nbytes < module.TRIMMED_NBYTES
    assert (registry.owner(result).segment.nbytes < module.FIRST_NBYTES) is is_small


def resident_kib():
    """Return how much shared memory this process has touched."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"RssShmem:\s+(\d+)", text)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory in use")
@pytest.mark.parametrize("gives_back", [True, False])
@pytest.mark.parametrize("kwargs", [{}, {"reserve": True}], ids=str)
def test_memory_at_no_time_exceeds_the_result(monkeypatch, kwargs, gives_back):
    """With the pages of the outgrown array kept, which is the twin, it is exceeded."""
    step = 1 << 20
    monkeypatch.setattr(module, "FIRST_NBYTES", 8 * step)
    monkeypatch.setattr(module, "STEP_NBYTES", step)
    if not gives_back:
        monkeypatch.setattr(pages, "give_back", lambda part: None)
    fill, seen = pages.fill, []

    def watched(target, values):
        fill(target, values)
        seen.append(resident_kib())

    monkeypatch.setattr(pages, "fill", watched)
    sharedarray.release_cache()
    before = resident_kib()
    result = fromiter((i for i in range(17 * step // 8)), "i8", **kwargs)
    assert result.nbytes == 17 * step
    assert seen
    used = (max(seen) - before) << 10
    most = (result.nbytes if kwargs else 8 * step) + 3 * step
    assert (used <= most) is gives_back
    assert_same_bits(result, np.arange(result.size))


def test_without_a_way_to_give_pages_back(small):
    small.setattr(pages, "madvise", lambda: None)
    check(lambda: Consumed(1009), "f8")


def test_what_follows_is_left_to_the_caller(small):
    numbers = counting()
    assert fromiter(numbers, int, 100).tolist() == list(range(100))
    assert next(numbers) == 100


def test_results_travel_and_are_freed(small):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number only
    for _ in range(20):
        fromiter(Consumed(3000), "f8")
    sharedarray.release_cache()
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208
