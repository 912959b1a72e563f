import os
import pickle
import random
import sys

import numpy as np
import pytest

from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import array, zeros
from tests.memory.support import Child, assert_same_memory, in_child, run_python

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def assert_refused(stream, match):
    with pytest.raises(SharedArrayUnpickleError, match=match) as caught:
        pickle.loads(stream)
    assert "np.asarray(a)" in str(caught.value)


@pytest.mark.parametrize("n", [1, 5000, 500_000])
def test_freed_memory_is_refused_whoever_has_it_now(n):
    a = zeros(n, "u1")
    where = registry.address_of(a)
    stream = pickle.dumps(a)
    assert type(pickle.loads(stream)) is SharedArray
    del a
    assert_refused(stream, "freed")
    again = [zeros(n, "u1") for _ in range(3)]
    if n <= 5000:
        assert where in map(registry.address_of, again)
    assert_refused(stream, "freed")


def test_memory_of_another_program_is_refused():
    code = """
import pickle, sys
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory.creation import zeros
a = zeros(5)
try:
    pickle.loads(bytes.fromhex(sys.stdin.read() or STREAM))
except SharedArrayUnpickleError as error:
    print(error)
"""
    a = zeros(5)
    said = run_python(f"STREAM = {pickle.dumps(a).hex()!r}\n{code}")
    assert "another process tree" in said
    assert "np.asarray(a)" in said


def test_memory_allocated_after_the_fork_is_refused_on_the_other_side():
    older = zeros(5)

    def child():
        mine = zeros(5)
        yield pickle.dumps(mine)
        for stream in (parents, parents_slab):
            yield refusal(stream)
        yield float(mine.sum() + older.sum())

    def refusal(stream):
        try:
            pickle.loads(stream)
        except SharedArrayUnpickleError as error:
            return str(error)

    # The child cannot see what is assigned after the fork: it gets these by a pipe.
    to_child, from_parent = os.pipe()

    def child_reading():
        steps = child()
        yield next(steps)
        nonlocal parents, parents_slab
        with open(to_child, "rb") as stream:  # noqa: PTH123 - a descriptor
            parents, parents_slab = pickle.load(stream)
        yield from steps

    parents = parents_slab = b""
    with Child(child_reading) as other:
        assert_refused(other.step(), "forked apart")
        large, small = zeros(500_000), zeros(5)
        streams = pickle.dumps((pickle.dumps(large), pickle.dumps(small)))
        os.write(from_parent, streams)
        os.close(from_parent)
        assert "forked apart" in other.step()
        assert "forked apart" in other.step()
        assert other.step() == 0.0
    os.close(to_child)


GOOD = {
    "tree": 0,
    "segment_id": 1,
    "offset": 2,
    "serial": 3,
    "start": 4,
    "shape": 5,
    "strides": 6,
    "dtype": 7,
    "writeable": 8,
}

BAD = [
    ("tree", b"short"),
    ("tree", bytes(16)),
    ("tree", "text"),
    ("tree", None),
    ("segment_id", (1, 2)),
    ("segment_id", 5),
    ("segment_id", ()),
    ("segment_id", (1, 2, 3)),
    ("segment_id", ([], {})),
    ("offset", 2**70),
    ("offset", -64),
    ("offset", 0.0),
    ("offset", []),
    ("serial", 0),
    ("serial", None),
    ("start", -1),
    ("start", 1),
    ("start", 2**70),
    ("start", 0.0),
    ("start", True),
    ("shape", (5, 4)),
    ("shape", (-1, 4)),
    ("shape", (4,)),
    ("shape", [4, 4]),
    ("shape", (4.0, 4)),
    ("shape", (2**62, 2**62)),
    ("shape", (2**80, 1)),
    ("shape", (0, 2**80)),
    ("shape", None),
    ("strides", (33, 8)),
    ("strides", (-32, 8)),
    ("strides", (2**63, 8)),
    ("strides", (32,)),
    ("strides", (32, 8, 8)),
    ("strides", None),
    ("dtype", "O"),
    ("dtype", "|O8"),
    ("dtype", "<f16"),
    ("dtype", "<f7"),
    ("dtype", "f8,f8"),
    ("dtype", "<f9999999999"),
    ("dtype", "|V2147483647"),
    ("dtype", ""),
    ("dtype", None),
    ("dtype", np.dtype(object)),
    ("dtype", np.dtypes.StringDType()),
    ("dtype", 5),
    ("dtype", ()),
    ("dtype", ("<f4", (3,))),
    ("dtype", ("<f4", (-1,))),
    ("dtype", ("<f4", (2**40, 2**40))),
    ("dtype", ("<f4", 3)),
    ("dtype", (("a",), ("|O8",), (0,), (None,), 8, False, False)),
    ("dtype", (("a",), ("<f8",), (-8,), (None,), 8, False, False)),
    ("dtype", (("a",), ("<f8",), (8,), (None,), 8, False, False)),
    ("dtype", (("a",), ("<f8",), (2**70,), (None,), 8, False, False)),
    ("dtype", (("a",), ("<f8",), (0,), (None,), -8, False, False)),
    ("dtype", (("a",), ("<f8",), (0,), (None,), 2**70, False, False)),
    ("dtype", (("a", "a"), ("<f4", "<f4"), (0, 4), (None, None), 8, False, False)),
    ("dtype", (("a", "b"), ("<f4",), (0, 4), (None, None), 8, False, False)),
    ("dtype", ((5,), ("<f8",), (0,), (None,), 8, False, False)),
    ("dtype", (("a",), ("<f8",), (0,), ([],), 8, False, False)),
    ("dtype", (("a",), ("<f8",), 0, (None,), 8, False, False)),
    ("dtype", (None, None, None, None, None, None, None)),
    ("writeable", 1),
    ("writeable", None),
]


@pytest.mark.parametrize(("field", "value"), BAD, ids=str)
def test_wrong_field_is_refused(field, value):
    a = zeros((4, 4))
    load, reference = a.__reduce__()
    assert_same_memory(load(*reference), a)
    wrong = list(reference)
    wrong[GOOD[field]] = value
    with pytest.raises(SharedArrayUnpickleError):
        load(*wrong)


@pytest.mark.parametrize("length", [0, 8, 10])
def test_wrong_number_of_fields_is_refused(length):
    a = zeros(3)
    load, reference = a.__reduce__()
    with pytest.raises(SharedArrayUnpickleError, match="damaged"):
        load(*(reference * 2)[:length])


def test_deep_dtype_is_refused():
    a = zeros(3)
    load, reference = a.__reduce__()
    spec = "<f8"
    for _ in range(sys.getrecursionlimit() + 100):
        spec = (spec, (1,))
    with pytest.raises(SharedArrayUnpickleError, match="dtype"):
        load(*reference[:7], spec, True)


def test_negative_length_is_not_taken_for_the_rest_of_the_block():
    a = zeros(10)
    load, reference = a[5:].__reduce__()
    with pytest.raises(SharedArrayUnpickleError, match="damaged"):
        load(*reference[:5], (-1,), *reference[6:])


def test_reference_to_part_of_a_block_stays_in_it():
    neighbours = [zeros(8) for _ in range(3)]
    load, reference = neighbours[1].__reduce__()
    inside = list(reference)
    inside[4:7] = 56, (8,), (-8,)
    assert load(*inside).shape == (8,)
    for start, strides in [(48, -8), (56, -9), (8, 8), (0, 9)]:
        outside = list(reference)
        outside[4:7] = start, (8,), (strides,)
        with pytest.raises(SharedArrayUnpickleError):
            load(*outside)


VALUES = [
    *(0, 1, -1, 2, 7, 8, 63, 64, 2**31, -(2**31), 2**63 - 1, 2**63, 2**64, -(2**70), 3.5, True),
    *(None, "", "<f8", "<i2", "|S3", "O", b"", b"x" * 16, (), (1,), (2, 3), (0, 0), [], {}),
]


def mutated_reference(rng, value):
    """Return a value with something in it changed."""
    if isinstance(value, tuple) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        new = mutated_reference(rng, value[place])
        return (*value[:place], new, *value[place + 1 :])
    if type(value) is int and rng.random() < 0.6:
        return value + rng.choice([-1, 1, 8, -8, 64, -64, 1 << rng.randrange(70)])
    return rng.choice(VALUES)


def test_mutated_references_give_clean_errors_and_nothing_outside_the_block():
    plain = array(np.arange(60.0)).reshape(3, 4, 5)
    structured = zeros((4, 3), [("a", "i4", (2,)), ("b", "S3")])
    loaders = [view.__reduce__() for view in (plain, plain[::-1, ::2], structured, structured["a"])]
    blocks = {registry.owner(plain).serial, registry.owner(structured).serial}

    def child():
        rng = random.Random(1)
        n_loaded = 0
        for _ in range(2000):
            load, reference = rng.choice(loaders)
            for _ in range(rng.randrange(1, 4)):
                reference = mutated_reference(rng, reference)
            try:
                loaded = load(*reference) if isinstance(reference, tuple) else None
            except SharedArrayUnpickleError:
                continue
            if loaded is not None:
                n_loaded += 1
                assert_inside(loaded, blocks)
        return n_loaded

    assert 50 < in_child(child) < 1900


def test_mutated_streams_give_clean_errors_and_nothing_outside_the_block():
    a = array(np.arange(60.0)).reshape(3, 4, 5)
    streams = [pickle.dumps(a[::-1, ::2], protocol) for protocol in PROTOCOLS]
    blocks = {registry.owner(a).serial}

    def child():
        rng = random.Random(2)
        n_refused = 0
        for _ in range(2000):
            stream = bytearray(rng.choice(streams))
            for _ in range(rng.randrange(1, 9)):
                stream[rng.randrange(len(stream))] = rng.randrange(256)
            try:
                loaded = pickle.loads(bytes(stream))
            except Exception as error:  # pickle itself has any kind for a damaged stream
                n_refused += isinstance(error, SharedArrayUnpickleError)
                continue
            if isinstance(loaded, np.ndarray):
                assert_inside(loaded, blocks)
        return n_refused

    assert in_child(child) > 50


def assert_inside(loaded, blocks):
    block = registry.owner(loaded)
    assert block.serial in blocks
    if loaded.nbytes:
        low, high = np.lib.array_utils.byte_bounds(loaded)
        start = registry.address_of(block)
        assert start <= low
        assert high <= start + block.nbytes
        if loaded.size < 10**6:  # with strides of 0 there may be any number of elements
            loaded.tobytes()
