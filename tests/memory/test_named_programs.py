"""Named segments in several programs, workers and children; their pickles."""

import contextlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import named, registry
from sharedarray.memory.array import SharedArray
from tests.memory.elsewhere import Program, facts
from tests.memory.support import ROOT, Child, assert_same_memory, in_child, run_python

LOAD = "b = pickle.loads(stream)"
VIEWS = {
    "as it is": lambda a: a,
    "reversed": lambda a: a[::-1],
    "columns": lambda a: a.reshape(-1, 4)[::-2, 1::2],
    "broadcast": lambda a: np.broadcast_to(a[:4], (3, 4), subok=True),
    "bytes": lambda a: a.view("u1")[3:-5],
    "byte-swapped": lambda a: a.view(">f8"),
    "one element": lambda a: a[5, ...],
    "none": lambda a: a[3:3],
}


# pickles


@pytest.mark.parametrize("view", VIEWS)
def test_pickle_leads_other_programs_there_by_name(folder, other, view):
    a = VIEWS[view](sharedarray.arange(12.0, name="x"))
    assert other.run("from tests.memory.elsewhere import facts; facts(a)", a=a) == facts(a)
    if a.size and a.flags.writeable:
        other.run("a[...] = 7")
        assert (a == 7).all()


def test_pickle_holds_the_name_and_no_data(folder):
    a = sharedarray.zeros(10**5, name="a-name")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        stream = pickle.dumps(a, protocol)
        assert len(stream) < 300
        assert b"a-name" in stream
        assert_same_memory(pickle.loads(stream), a)


def test_pickle_is_loaded_when_its_maker_is_gone(folder, other):
    code = "pickle.dumps(sa.arange(6.0, name='x')[::2])"
    with Program() as maker:
        maker.run("import pickle, sharedarray as sa; from sharedarray.memory import named")
        stream = maker.run(f"named.FOLDER = f; {code}", f=str(folder))
    assert other.run(f"{LOAD}; b.tolist()", stream=stream) == [0, 2, 4]
    loaded = pickle.loads(stream)
    loaded[1] = 9
    assert other.run("b.tolist()") == [0, 9, 4]


def test_pickle_of_an_unlinked_segment_is_for_those_who_have_it(folder, other):
    a = sharedarray.arange(5, name="x")
    stream = pickle.dumps(a)
    other.run(LOAD, stream=stream)
    sharedarray.unlink("x")
    assert_same_memory(pickle.loads(stream), a)
    assert other.run("pickle.loads(stream).tolist()", stream=stream) == [0, 1, 2, 3, 4]
    other.run("del b")
    with pytest.raises(SharedArrayUnpickleError, match=r"no segment of the name.*np\.asarray"):
        other.run(LOAD, stream=stream)
    del a
    with pytest.raises(SharedArrayUnpickleError, match="no segment of the name"):
        pickle.loads(stream)


@pytest.mark.parametrize("is_alive", [True, False])
def test_pickle_never_leads_to_another_segment_of_the_same_name(folder, other, is_alive):
    a = sharedarray.arange(5, name="x")
    stream = pickle.dumps(a)
    sharedarray.unlink("x")
    if not is_alive:
        del a
    new = sharedarray.full(5, 9, name="x")
    with pytest.raises(SharedArrayUnpickleError, match="another segment's"):
        other.run(LOAD, stream=stream)
    if not is_alive:
        with pytest.raises(SharedArrayUnpickleError, match="another segment's"):
            pickle.loads(stream)
    assert other.run(f"{LOAD}; b.tolist()", stream=pickle.dumps(new)) == [9] * 5


def test_pickle_is_refused_where_the_file_is_not_to_be_trusted(folder, other):
    stream = pickle.dumps(sharedarray.arange(5, name="x"))
    path = Path(named.path_of("x"))
    path.chmod(0o644)
    with pytest.raises(SharedArrayUnpickleError, match="open to others"):
        other.run(LOAD, stream=stream)
    path.chmod(0o600)
    os.truncate(path, 130)
    with pytest.raises(SharedArrayUnpickleError, match="shorter"):
        other.run(LOAD, stream=stream)
    path.write_bytes(b"\x93NUMPY\x02\x00\x10\x00\x00\x00{'descr': '<f8',")
    with pytest.raises(SharedArrayUnpickleError):
        other.run(LOAD, stream=stream)


@pytest.mark.parametrize("name", ["../x", "", "y", b"x", 5, None, ("x",)])
def test_forged_name_is_refused(folder, name):
    a = sharedarray.arange(5, name="x")
    sharedarray.arange(5, name="y")
    load, reference = a.__reduce__()
    assert reference[-1] == "x"
    del a
    with pytest.raises(SharedArrayUnpickleError):
        load(*reference[:-1], name)
    forged = [((0, 0), *reference[2:4]), (reference[1], 64, 1), (reference[1], 0, 2)]
    for parts in forged:
        with pytest.raises(SharedArrayUnpickleError):
            load(reference[0], *parts, *reference[4:])


def test_pickle_reaches_nothing_outside_the_array(folder):
    a = sharedarray.zeros(5, name="x")
    load, reference = a.__reduce__()
    for start in (-8, -64, 8, 4096):
        with pytest.raises(SharedArrayUnpickleError, match="not within"):
            load(*reference[:4], start, *reference[5:])


# several programs

WRITE = """
import sys, sharedarray as sa
from sharedarray.memory import named
named.FOLDER, rank, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
a = sa.attach("x")
print("ready", flush=True)
sys.stdin.read()
for i in range(20_000):
    a[i % 7 :: 7][rank::n] += 1
print(type(a).__name__, a.flags.f_contiguous, a.shape)
"""

RACE = """
import sys, sharedarray as sa
from sharedarray.memory import named
named.FOLDER, rank = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
for i in range(100):
    try:
        sa.full(2000, rank, name=f"x{i}")
        print(i)
    except FileExistsError:
        assert sa.attach(f"x{i}").shape == (2000,)
"""


def run_programs(n, code, folder):
    """Return what each of `n` programs prints that are let go at the same moment."""
    with contextlib.ExitStack() as stack:
        programs = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-W", "error", "-c", code, folder, str(rank), str(n)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for rank in range(n)
        ]
        assert [program.stdout.readline() for program in programs] == ["ready\n"] * n
        for program in programs:
            program.stdin.close()
        printed = [program.stdout.read() for program in programs]
    assert [program.returncode for program in programs] == [0] * n
    return printed


def test_unrelated_programs_write_into_one_segment_at_once(folder):
    a = sharedarray.zeros(7 * 3 * 50, "i8", name="x")
    printed = run_programs(3, WRITE, folder)
    assert printed == [f"SharedArray True {a.shape}\n"] * 3
    expected = np.zeros(7, "i8")
    for i in range(7):
        expected[i] = len(range(i, 20_000, 7))
    np.testing.assert_array_equal(a, np.tile(expected, 150))


def test_each_name_goes_to_one_of_the_programs_that_race_for_it(folder):
    won = [list(map(int, text.split())) for text in run_programs(3, RACE, folder)]
    assert sorted(i for numbers in won for i in numbers) == list(range(100))
    for rank, numbers in enumerate(won):
        assert all((sharedarray.attach(f"x{i}") == rank).all() for i in numbers)
    assert len(sharedarray.list_named()) == len(list(folder.iterdir())) == 100


# forks and workers


def test_forked_children_have_it_at_the_same_address(folder):
    a = sharedarray.zeros(5, name="x")

    def child():
        inherited = sharedarray.attach("x")
        inherited[1] = 4
        yield registry.address_of(inherited)
        sharedarray.unlink("x")
        sharedarray.full(5, 9, name="x")
        yield a.tolist()

    with Child(child) as other:
        assert other.step() == registry.address_of(a)
        a[2] = 6
        assert other.step() == [0, 4, 6, 0, 0]
    assert a.tolist() == [0, 4, 6, 0, 0]
    assert sharedarray.attach("x").tolist() == [9] * 5


def test_what_a_child_has_made_is_there_when_it_is_gone(folder):
    in_child(lambda: sharedarray.arange(4, name="x").sum())
    assert sharedarray.attach("x").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("backend", ["process", "thread", "serial"])
def test_workers_fill_a_named_array(folder, backend):
    a = sharedarray.zeros((20, 1000), "i4", name="x")

    def fill(i):
        a[i] = i
        return a[i, ::-1]

    with sharedarray.MapReduce(backend, np=3) as pool:
        rows = pool.map(fill, range(20))
    np.testing.assert_array_equal(a, np.arange(20)[:, None] + np.zeros(1000))
    for i, row in enumerate(rows):
        assert_same_memory(row, a[i, ::-1])
    np.testing.assert_array_equal(sharedarray.attach("x"), a)


def test_workers_attach_by_name_and_make_named_arrays(folder):
    a = sharedarray.arange(10, name="x")

    def work(i):
        sharedarray.attach("x")[i] += 100
        return sharedarray.full(1000, i, name=f"made-{i}")

    with sharedarray.MapReduce(np=2) as pool:
        made = pool.map(work, range(10))
    assert a.tolist() == list(range(100, 110))
    for i, b in enumerate(made):
        assert type(b) is SharedArray
        assert (b == i).all()
        assert_same_memory(sharedarray.attach(f"made-{i}"), b)


CHILDREN = """
import sharedarray
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tests.memory.elsewhere import facts, facts_then_negate
a = sharedarray.attach(NAME)
expected = facts(a[::2])
with ProcessPoolExecutor(1, get_context(METHOD)) as executor:
    assert executor.submit(facts_then_negate, a[::2]).result() == expected
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_of_multiprocessing_have_it(real_folder, method):
    name = f"test-{os.getpid()}"  # in the real folder, which these children know
    a = sharedarray.arange(1, 6, name=name)
    try:
        run_python(f"NAME, METHOD = {name!r}, {method!r}\n{CHILDREN}")
        assert a.tolist() == [-1, 2, -3, 4, -5]
    finally:
        sharedarray.unlink(name)
