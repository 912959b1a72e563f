"""Mutated pickles: a clean error, or an array within the block that was pickled."""

import contextlib
import pickle
import random
import resource

import numpy as np
import pytest

from sharedarray import forks
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import array, zeros
from tests.memory.support import Child, in_child

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
N_CASES = 10_000  # for each of the two ways to mutate

VALUES = [
    *(0, 1, -1, 2, 7, 8, 63, 64, 2**31, -(2**31), 2**63 - 1, 2**63, 2**64, -(2**70), 3.5, True),
    *(None, "", "<f8", "<i2", "|S3", "O", b"", b"x" * 16, (), (1,), (2, 3), (0, 0), [], {}),
    *("self", (1, 0, 2**20, 64), (1, 2, 3, 4, 5)),
]


@pytest.fixture
def arrays():
    """Return arrays of this process and of another one, which a child has to attach to."""

    def child():
        mine = [array(np.arange(60.0)), array(np.arange(500_000.0)).reshape(5, -1)]
        yield [pickle.dumps(a) for a in mine]

    plain = array(np.arange(60.0)).reshape(3, 4, 5)
    structured = zeros((4, 3), [("a", "i4", (2,)), ("b", "S3")])
    with Child(child) as other:
        small, large = map(pickle.loads, other.step())
        yield [plain, plain[::-1, ::2], structured, structured["a"], small[::-2], large[:, 1::7]]


def known(a):
    block = registry.owner(a)
    return block.segment.id, block.serial


def mutated_reference(rng, value):
    """Return a value with something in it changed."""
    if isinstance(value, tuple) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        new = mutated_reference(rng, value[place])
        return (*value[:place], new, *value[place + 1 :])
    if type(value) is int and rng.random() < 0.6:
        return value + rng.choice([-1, 1, 8, -8, 64, -64, 1 << rng.randrange(70)])
    return rng.choice(VALUES)


def limit_memory():
    """Let a damaged pickle that asks for the memory of the whole machine fail."""
    with open("/proc/self/statm") as file:  # noqa: PTH123 - one line, in every forked child
        n_bytes = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes + (256 << 20), resource.RLIM_INFINITY))


def test_mutated_references_give_clean_errors_and_nothing_outside_the_block(arrays):
    loaders = [(a.__reduce__(), known(a)) for a in arrays]
    blocks = {block for _, block in loaders}
    arrays.clear()  # what is gone here has to be attached to

    def child():
        limit_memory()
        rng = random.Random(1)
        n_loaded = n_attached = 0
        for _ in range(N_CASES):
            (load, reference), block = rng.choice(loaders)
            for _ in range(rng.randrange(1, 4)):
                reference = mutated_reference(rng, reference)
            try:
                loaded = load(*reference) if isinstance(reference, tuple) else None
            except SharedArrayUnpickleError:
                continue
            if loaded is not None:
                n_loaded += 1
                n_attached += registry.owner(loaded).segment.id[0] != forks.process_token()
                assert_inside(loaded, blocks)
                assert known(loaded) == block
        return n_loaded, n_attached

    n_loaded, n_attached = in_child(child)
    assert N_CASES // 50 < n_loaded < N_CASES
    assert n_attached > N_CASES // 100


def test_mutated_streams_give_clean_errors_and_nothing_outside_the_block(arrays):
    streams = [pickle.dumps(a, protocol) for protocol in PROTOCOLS for a in arrays]
    blocks = {known(a) for a in arrays}
    arrays.clear()

    def child():
        limit_memory()
        rng = random.Random(2)
        n_refused = n_loaded = 0
        for _ in range(N_CASES):
            stream = bytearray(rng.choice(streams))
            for _ in range(rng.randrange(1, 9)):
                stream[rng.randrange(len(stream))] = rng.randrange(256)
            try:
                loaded = pickle.loads(bytes(stream))
            except Exception as error:  # pickle itself has any kind for a damaged stream
                n_refused += isinstance(error, SharedArrayUnpickleError)
                continue
            if isinstance(loaded, SharedArray):
                n_loaded += 1
                assert_inside(loaded, blocks)
        return n_refused, n_loaded

    n_refused, n_loaded = in_child(child)
    assert n_refused > N_CASES // 50
    assert n_loaded > N_CASES // 100


def test_numbers_of_any_length_give_clean_errors():
    # Python refuses to write an integer of more than 4300 digits as text, in a message too.
    a = zeros((4, 4))
    load, reference = a.__reduce__()
    for value in (10**5000, -(10**5000)):
        for wrong in huge_numbers_in(reference, value):
            with contextlib.suppress(SharedArrayUnpickleError):
                assert load(*wrong) is not None
    del a
    for value in (10**5000, -(10**5000)):
        for wrong in huge_numbers_in(reference, value):
            with pytest.raises(SharedArrayUnpickleError):
                load(*wrong)


def huge_numbers_in(value, number):
    """Yield a value with each integer in it replaced by the number, one at a time."""
    if type(value) is int:
        yield number
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            for new in huge_numbers_in(part, number):
                yield (*value[:place], new, *value[place + 1 :])


def assert_inside(loaded, blocks):
    block = registry.owner(loaded)
    assert (block.segment.id, block.serial) in blocks
    if loaded.nbytes:
        low, high = np.lib.array_utils.byte_bounds(loaded)
        start = registry.address_of(block)
        assert start <= low
        assert high <= start + block.nbytes
        if loaded.size < 10**6:  # with strides of 0 there may be any number of elements
            loaded.tobytes()
