"""Arrays in programs that were not forked from their owner: attached to by the owner's memfd."""

import pickle

import numpy as np
import pytest

from sharedarray import MapReduce
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.cache import release_cache
from sharedarray.memory.creation import arange, array, empty, full, zeros
from tests.memory.elsewhere import Program, facts
from tests.memory.support import Child, assert_same_memory, in_child, run_python

SMALL, MIDDLE, LARGE = 12, 40_000, 1 << 18
SIZES = pytest.mark.parametrize("n", [SMALL, MIDDLE, LARGE])  # slab; slot of a slab; segment


@pytest.fixture(scope="module")
def long_lived():
    with Program() as program:
        yield program


@pytest.fixture
def program(long_lived):
    yield long_lived
    long_lived.run("globals().clear()")


@pytest.fixture(scope="module")
def long_lived_third():
    with Program() as program:
        yield program


@pytest.fixture
def third(long_lived_third):
    yield long_lived_third
    long_lived_third.run("globals().clear()")


def place(a):
    block = registry.owner(a)
    return block.segment.id, block.offset


FACTS = "from tests.memory.elsewhere import facts; facts(a)"


# what arrives


def read_only(a):
    a.flags.writeable = False
    return a


VIEWS = {
    "as it is": lambda a: a,
    "reversed": lambda a: a[::-1],
    "strides of both signs": lambda a: a.reshape(-1, 4)[::-2, 1::2],
    "broadcast": lambda a: np.broadcast_to(a[:4], (3, 4), subok=True),
    "transposed": lambda a: a.reshape(2, -1).T,
    "diagonal": lambda a: a[:9].reshape(3, 3)[::-1].diagonal(),
    "byte-swapped": lambda a: a.view(a.dtype.newbyteorder()),
    "field": lambda a: a.view([("low", "i4"), ("high", "<i4")])["high"],
    "several fields": lambda a: a.view([("a", "i2"), ("b", "i2"), ("c", "i4")])[["a", "c"]],
    "records": lambda a: a.view((np.record, [("x", "f4"), ("y", ">U1")])),
    "unaligned": lambda a: a.view("u1")[3:-5].view("f8"),
    "times": lambda a: a.view("M8[25s]"),
    "text": lambda a: a.view("S4")[::3],
    "without dimensions": lambda a: a[5, ...],
    "without elements": lambda a: a[5:5],
    "without elements, of another shape": lambda a: a[:0].reshape(0, 7),
    "read-only": lambda a: read_only(a[1:]),
}


@SIZES
@pytest.mark.parametrize("name", VIEWS)
def test_another_program_has_the_same_view_of_the_same_memory(program, name, n):
    view = VIEWS[name](arange(float(n)))
    assert program.run(FACTS, a=view) == facts(view)


@SIZES
@pytest.mark.parametrize("shape", [(), 0, (0, 3), (1,) * 64])
def test_arrays_with_few_elements_or_none(program, shape, n):
    a = full(shape, n)
    assert program.run(FACTS, a=a) == facts(a)


@SIZES
def test_what_one_program_writes_the_other_reads(program, n):
    a = arange(float(n))
    program.run("a[3] = -7", a=a[::-2])
    assert a[::-2][3] == -7
    a[1] = 11
    assert program.run("a[-1]") == 11


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(program, protocol):
    a = arange(10)
    stream = pickle.dumps(a[::3], protocol)
    assert program.run("import pickle; pickle.loads(stream).tolist()", stream=stream) == [
        0,
        3,
        6,
        9,
    ]


def test_read_only_stays_read_only(program):
    with pytest.raises(ValueError, match="read-only"):
        program.run("a[0] = 1", a=read_only(zeros(5)))


@SIZES
def test_two_views_of_one_array_are_on_one_block(program, n):
    a = zeros(n)
    code = "from sharedarray.memory.registry import owner; owner(a) is owner(b)"
    assert program.run(code, a=a[1:], b=a[::-1])
    assert program.run("b[-1] = 5; c[0]", c=a) == 5


def test_results_are_private_there_too(program):
    a = zeros(5)
    types = program.run("[type(b).__name__ for b in (a, a[1:], a + 1, a.copy())]", a=a)
    assert types == ["SharedArray", "SharedArray", "ndarray", "ndarray"]


def test_children_of_an_attached_program_have_it_too(program):
    a = zeros(5)
    code = "from tests.memory.support import in_child; in_child(lambda: a.__setitem__(2, 9))"
    program.run(code, a=a)
    assert a.tolist() == [0, 0, 9, 0, 0]


CONTEXTS = """
import concurrent.futures, multiprocessing, sys
from sharedarray.memory.creation import arange, zeros
from tests.memory.elsewhere import facts, facts_then_negate, put

views = [arange(12.0), arange(12.0)[::-2], arange(300_000.0).reshape(2, -1).T, zeros((0, 3))]
expected = [facts(a) for a in views]
context = multiprocessing.get_context(METHOD)
if HOW == "Process":
    queue = context.SimpleQueue()
    process = context.Process(target=put, args=(queue, views[1]))
    process.start()
    found, expected = [queue.get()], [expected[1]]
    process.join()
    views = [views[1]]
elif HOW == "Pool":
    with context.Pool(1) as pool:
        found = pool.map(facts_then_negate, views)
else:
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        found = list(executor.map(facts_then_negate, views))
print(found == expected, all((a <= 0).all() for a in views), float(views[0].sum()) < 0)
"""


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("spawn", "Process"),
        ("forkserver", "Process"),
        ("spawn", "Pool"),
        ("spawn", "ProcessPoolExecutor"),
        ("forkserver", "ProcessPoolExecutor"),
    ],
)
def test_children_that_multiprocessing_starts_anew_attach(method, how):
    code = f"METHOD, HOW = {method!r}, {how!r}\n{CONTEXTS}"
    assert run_python(code).split() == ["True", "True", "True"]


# pickles of other processes


@SIZES
def test_attached_program_passes_it_on(program, third, n):
    a = arange(float(n))
    stream = program.run("import pickle; pickle.dumps(a[::-1])", a=a)
    third.run("import pickle; b = pickle.loads(stream); b[0] = 77", stream=stream)
    assert a[-1] == 77
    assert_same_memory(pickle.loads(stream), a[::-1])


@SIZES
def test_attached_program_passes_it_on_when_the_owner_is_gone(program, third, n):
    with Program() as owner:
        stream = owner.run(
            f"import pickle, sharedarray; a = sharedarray.arange({n}); pickle.dumps(a)"
        )
        program.run("import pickle; b = pickle.loads(stream)", stream=stream)
    passed_on = program.run("pickle.dumps(b)")
    assert third.run("import pickle; b = pickle.loads(s); int(b[-1])", s=passed_on) == n - 1
    program.run("b[:] = 5")
    assert third.run("int(b.sum())") == 5 * n
    with pytest.raises(SharedArrayUnpickleError, match="gone"):
        pickle.loads(stream)


@SIZES
def test_forked_child_of_the_owner_pickles_it(program, n):
    inherited = arange(float(n))

    def child():
        mine = full(n, 3.0)
        yield pickle.dumps(inherited), pickle.dumps(mine)
        yield inherited[0], mine[0]

    with Child(child) as other:
        streams = other.step()
        code = "import pickle; a, b = map(pickle.loads, streams); a[0] = b[0] = 99"
        program.run(code, streams=streams)
        assert inherited[0] == 99
        assert other.step() == (99, 99)
    assert program.run("(a[-1], b[-1])") == (n - 1, 3)  # the child is gone
    assert_same_memory(pickle.loads(streams[0]), inherited)
    assert (pickle.loads(streams[1]) == 3).all()  # the data, as they were when it was pickled


# the end of an array


@SIZES
def test_freed_array_is_refused_and_its_place_is_used_again(program, n):
    a = zeros(n)
    stream, where = pickle.dumps(a), place(a)
    del a
    code = "import pickle; pickle.loads(stream)"
    with pytest.raises(SharedArrayUnpickleError, match="freed"):
        program.run(code, stream=stream)
    again = full(n, 4.0)
    assert place(again) == where
    with pytest.raises(SharedArrayUnpickleError, match="freed"):
        program.run(code, stream=stream)
    del again
    release_cache()
    with pytest.raises(SharedArrayUnpickleError, match="freed"):
        program.run(code, stream=stream)


@SIZES
@pytest.mark.parametrize("is_attached", [False, True])
def test_attached_array_outlives_its_owners_and_no_other_comes_in_its_place(
    program, n, is_attached
):
    a = full(n, 7.0)
    where = place(a)
    program.run("kept = a" if is_attached else "None", **({"a": a} if is_attached else {}))
    del a
    new = [full(n, 1.0) for _ in range(5)]
    assert (where in map(place, new)) is not is_attached
    if is_attached:
        assert program.run("float(kept.min()), float(kept.max())") == (7, 7)
        program.run("kept[:] = 9")
    assert all((b == 1).all() for b in new)


def test_neighbours_of_an_attached_array_are_used_again(program):
    arrays = [empty(SMALL) for _ in range(5)]
    places = list(map(place, arrays))
    program.run("a[0]", a=arrays[2])
    arrays.clear()
    again = [empty(SMALL) for _ in range(50)]
    assert set(places) - set(map(place, again)) == {places[2]}


@SIZES
def test_attached_program_that_lets_go_frees_nothing_of_the_owner(program, n):
    a = full(n, 7.0)
    for _ in range(3):
        program.run("del a", a=a)
    new = full(n, 1.0)
    assert place(new) != place(a)
    assert (a == 7).all()
    # It takes nothing for itself either.
    theirs = program.run(f"import sharedarray; b = sharedarray.full({n}, 2.0); b")
    assert place(theirs) != place(a)
    assert (a == 7).all()


@SIZES
def test_children_of_the_owner_that_let_go_free_nothing_of_it(program, n):
    holder = [full(n, 7.0)]
    assert in_child(holder.clear) is None
    MapReduce(np=2).map(lambda _: holder.clear(), range(2))
    assert program.run("float(a.sum())", a=holder[0]) == 7 * n


@SIZES
def test_memory_is_zero_after_an_attached_array(program, n):
    a = full(n, 7.0)
    program.run("a[0]", a=a)
    del a
    b, c = zeros(n), zeros(n)
    assert not b.any()
    assert not c.any()


def test_nothing_stays_of_what_was_attached(program):
    a, b = full(LARGE, 1.0), full(SMALL, 1.0)
    code = """
import os
from pathlib import Path
n_maps = Path("/proc/self/maps").read_text().count("memfd:sharedarray")
n_maps, len(os.listdir("/proc/self/fd"))
"""
    before = program.run(code)
    program.run("None", a=a, b=b)
    assert program.run(code) > before
    for _ in range(50):
        program.run("del a, b", a=a, b=b)
    assert program.run(code) == before


def test_memory_that_others_have_seen_is_not_kept(program):
    a = full(LARGE, 1.0)
    segment = registry.owner(a).segment.id
    program.run("del a", a=a)
    del a
    assert registry.find_id(segment) is None


@SIZES
def test_owner_that_is_gone(n):
    with Program() as owner:
        stream = owner.run(
            f"import pickle, sharedarray; a = sharedarray.full({n}, 6); pickle.dumps(a)"
        )
        loaded = pickle.loads(stream)
        assert type(loaded) is SharedArray
    assert (loaded == 6).all()
    assert_same_memory(pickle.loads(stream), loaded)  # this process has it
    del loaded
    with pytest.raises(SharedArrayUnpickleError, match=r"gone.*np\.asarray\(a\)"):
        pickle.loads(stream)


def test_pickle_in_a_file_is_none_of_data(program, tmp_path):
    a = array([1.0, 2.0])
    file = tmp_path / "a.pickle"
    file.write_bytes(pickle.dumps({"shared": a}))
    (tmp_path / "b.pickle").write_bytes(pickle.dumps({"private": np.asarray(a)}))
    del a
    code = "import pickle, pathlib; pickle.loads(pathlib.Path(file).read_bytes())"
    with pytest.raises(SharedArrayUnpickleError):
        program.run(code, file=str(file))
    loaded = program.run(code, file=str(tmp_path / "b.pickle"))
    np.testing.assert_array_equal(loaded["private"], [1.0, 2.0])
