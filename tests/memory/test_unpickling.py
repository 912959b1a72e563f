import os
import pickle
import sys

import numpy as np
import pytest

from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import zeros
from sharedarray.memory.registry import is_shared
from tests.memory.support import Child, assert_same_memory, run_python

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def assert_refused(stream, match):
    with pytest.raises(SharedArrayUnpickleError, match=match) as caught:
        pickle.loads(stream)
    assert "np.asarray(a)" in str(caught.value)


@pytest.mark.parametrize("n", [1, 5000, 500_000, 2_000_000])
def test_freed_memory_is_refused_whoever_has_it_now(n):
    a = zeros(n, "u1")
    where = registry.address_of(a)
    stream = pickle.dumps(a)
    assert type(pickle.loads(stream)) is SharedArray
    del a
    assert_refused(stream, "freed")
    again = [zeros(n, "u1") for _ in range(3)]
    assert where in map(registry.address_of, again)
    assert_refused(stream, "freed")


def test_memory_without_descriptor_is_refused_outside_of_the_tree_that_has_it(monkeypatch):
    code = """
import pickle
from sharedarray.errors import SharedArrayUnpickleError
try:
    pickle.loads(STREAM)
except SharedArrayUnpickleError as error:
    print(error)
"""
    monkeypatch.delattr(os, "memfd_create")
    a = zeros(10_000_000, "u1")
    said = run_python(f"STREAM = {pickle.dumps(a)!r}\n{code}")
    assert "another tree of processes" in said
    assert "no descriptor" in said
    assert "np.asarray(a)" in said


@pytest.mark.parametrize("n", [5, 500_000])
def test_memory_allocated_after_the_fork_is_attached_on_the_other_side(n):
    older = zeros(n)

    def child():
        mine = zeros(n)
        yield pickle.dumps(mine)
        with open(to_child, "rb") as file:  # noqa: PTH123 - a descriptor
            loaded = pickle.load(file)
        loaded[-1] = 3
        yield type(loaded) is SharedArray and is_shared(loaded)
        yield float(mine.sum() + older.sum())

    to_child, from_parent = os.pipe()  # the child cannot see what is assigned after the fork
    with Child(child) as other:
        theirs = pickle.loads(other.step())
        assert_same_memory(pickle.loads(pickle.dumps(theirs)), theirs)
        theirs[-1] = 2
        ours = zeros(n)
        os.write(from_parent, pickle.dumps(ours))
        os.close(from_parent)
        assert other.step() is True
        assert ours[-1] == 3
        assert other.step() == 2.0
    os.close(to_child)
    assert theirs[-1] == 2


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
    "origin": 9,
}

BAD = [
    ("tree", b"short"),
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
    ("origin", 5),
    ("origin", ()),
    ("origin", (1, 2, 3)),
    ("origin", (1, 2, 3, 4, 5)),
    ("origin", [1, 2, 3, 4]),
    ("origin", (1, 2, 3, 4.0)),
    ("origin", (True, 2, 3, 4)),
    ("origin", ("self", 2, 3, 4)),
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


@pytest.mark.parametrize("length", [0, 8, 9, 11])
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
        load(*reference[:7], spec, *reference[8:])


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
