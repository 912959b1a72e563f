"""What workers of other packages' pools return, and what they are given."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

import sharedarray
from sharedarray import forks
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import array as array_module
from sharedarray.memory import registry
from sharedarray.memory.array import load, load_or_copy
from tests.conftest import SHM, shared_files
from tests.memory.support import ROOT, Child, assert_same_memory, in_child

SECONDS = 20
# The pools, as a call that runs `work` on `items`, and the modules that they need.
POOLS = {
    "Pool": "with context.Pool(2) as pool: found = pool.map(work, items)",
    "Pool, short-lived workers": "with context.Pool(2, maxtasksperchild=1) as pool: "
    "found = list(pool.imap(work, items))",
    "ProcessPoolExecutor": "with ProcessPoolExecutor(2, mp_context=context) as pool: "
    "found = list(pool.map(work, items))",
    "loky": "import loky\nwith loky.ProcessPoolExecutor(2) as pool: "
    "found = list(pool.map(work, items))",
    "joblib": "import joblib\nfound = joblib.Parallel(2)(map(joblib.delayed(work), items))\n"
    "joblib.externals.loky.get_reusable_executor().shutdown(wait=True)",
    "joblib, multiprocessing": "import joblib\nfound = joblib.Parallel(2, "
    "backend='multiprocessing')(map(joblib.delayed(work), items))",
    "mpire": "import mpire\nwith mpire.WorkerPool(2, start_method=METHOD) as pool:\n"
    "    found = list(pool.imap(work, [(item,) for item in items]))",
    "mpire, dill": "import mpire\nwith mpire.WorkerPool(2, start_method=METHOD, use_dill=True) "
    "as pool:\n    found = list(pool.imap(work, [(item,) for item in items]))",
    "pathos": "from pathos.multiprocessing import ProcessPool\npool = ProcessPool(2)\n"
    "found = pool.map(work, items); pool.close(); pool.join(); pool.clear()",
    "multiprocess": "import multiprocess\n"
    "with multiprocess.get_context(METHOD).Pool(2) as pool: found = pool.map(work, items)",
}
OWN_METHOD = ("loky", "joblib", "joblib, multiprocessing", "pathos")  # they choose it themselves
CASES = [
    (how, method)
    for how in POOLS
    for method in (("fork",) if how in OWN_METHOD else ("fork", "spawn", "forkserver"))
]
CODE = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import sharedarray
from tests.memory.test_other_pools import SIZES, WORK, check, make

if __name__ == "__main__":
    METHOD = {method!r}
    context = multiprocessing.get_context(METHOD)
    for name in {names}:
        work, items = WORK[name]
        items = items()
        {pool}
        check(name, items, found)
    print("done")
"""

SIZES = [0, 1, (64 << 10) + 1, 1 << 20, 8 << 20]
kept = []


def make(n):
    a = sharedarray.full(n, n % 251, "u1")
    assert_is_sent_with_data(a)
    return a


def assert_is_sent_with_data(a):
    assert a.__reduce__()[0] is load_or_copy


def make_and_keep(n):
    kept.append(make(n))
    return {"a": [kept[-1]]}


def make_view(n):
    return make(n)[::-2]


def add_one(a):
    a += 1
    return a


def arguments():
    return [sharedarray.zeros(n, "u1") for n in SIZES]


WORK = {
    "make": (make, lambda: SIZES),
    "keep": (make_and_keep, lambda: SIZES),
    "view": (make_view, lambda: SIZES),
    "argument": (add_one, arguments),
}


def check(name, items, found):
    """Raise unless the results of a pool are right."""
    if name == "keep":
        found = [value["a"][0] for value in found]
    if name == "argument":
        for a, b in zip(items, found, strict=True):
            assert_same_memory(b, a)
            assert (a == 1).all()
        return
    for n, a in zip(items, found, strict=True):
        assert type(a) is sharedarray.SharedArray
        assert registry.is_shared(a)
        assert a.shape == ((n,) if name != "view" else ((n + 1) // 2,))
        assert (np.asarray(a) == n % 251).all()
        a[...] = 5  # its memory stays


def need(how):
    for name in how.split(", "):
        module = {"dill": "multiprocess"}.get(name, name)
        if module in ("loky", "joblib", "mpire", "pathos", "multiprocess"):
            pytest.importorskip(module)


@pytest.mark.parametrize(("how", "method"), CASES)
def test_results_come_back_and_arguments_are_the_same_memory(how, method, tmp_path):
    need(how)
    script = tmp_path / "script.py"  # what is started by spawn imports it
    pool = POOLS[how].replace("\n", "\n        ")
    script.write_text(CODE.format(method=method, names=list(WORK), pool=pool))
    done = subprocess.run(  # other packages' resource trackers are at times noisy at the end
        [sys.executable, script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=SECONDS * 3,  # four maps, on a machine that may be busy
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert "Exception ignored" not in done.stderr


def test_nothing_is_left_when_a_pool_is_terminated_with_results_on_the_way():
    # What would be left, the fixture of all tests looks for: descriptors, children, /dev/shm.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.imap(make_and_keep, [1 << 20, *[8 << 20] * 20])
        found = [next(results)]
    pool.join()
    check("keep", [1 << 20], found)


KILLED = """
import multiprocessing, os, signal
from tests.memory.test_other_pools import make_and_keep
with multiprocessing.get_context("fork").Pool(2) as pool:
    next(pool.imap(make_and_keep, [1 << 20, *[8 << 20] * 20]))
    print("ready", flush=True)
    os.killpg(0, signal.SIGKILL)
"""


@pytest.mark.skipif(not SHM.is_dir(), reason="the platform has no /dev/shm")
def test_nothing_is_left_when_program_and_workers_are_killed():
    before = set(shared_files())
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        cwd=ROOT,
        capture_output=True,
        timeout=SECONDS,
        start_new_session=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"ready\n"), done.stderr
    new = set(shared_files()) - before
    assert not new


# which arrays go with their data


def test_what_a_child_has_made_goes_with_its_data():
    inherited = sharedarray.arange(5)

    def ways():
        named = sharedarray.full(3, 1.0, name="test-of-a-child")
        try:
            arrays = (sharedarray.zeros(3), sharedarray.zeros(1 << 18), inherited, named)
            return [a.__reduce__()[0].__name__ for a in arrays]
        finally:
            sharedarray.unlink("test-of-a-child")

    assert in_child(ways) == ["load_or_copy", "load_or_copy", "load", "load"]
    assert inherited.__reduce__()[0] is load


@pytest.mark.parametrize("name", forks._STARTERS)
def test_process_that_was_started_for_a_pool_is_a_child(name, monkeypatch):
    assert not forks.is_child()
    module = type(sys)(name)
    monkeypatch.setitem(sys.modules, name, module)
    assert not forks.is_child()
    module._parent_process = None
    assert not forks.is_child()
    module._parent_process = object()
    assert forks.is_child()


def test_modules_of_pools_are_those_that_exist():
    assert hasattr(importlib.import_module(forks._STARTERS[0]), "_parent_process")
    if importlib.util.find_spec("multiprocess"):
        assert hasattr(importlib.import_module(forks._STARTERS[1]), "_parent_process")


@pytest.mark.parametrize("n", [3, 1 << 18])
def test_array_of_a_child_is_the_same_memory_while_it_has_it(n):
    def work():
        a = sharedarray.zeros(n)
        yield pickle.dumps(a)
        yield a[1]
        del a
        yield

    with Child(work) as child:
        stream = child.step()
        loaded = pickle.loads(stream)
        loaded[1] = 7
        assert child.step() == 7
        child.step()
        assert loaded[1] == 7


@pytest.mark.parametrize("n", [0, 3, (64 << 10) // 8 + 1, 1 << 18])
def test_array_of_a_child_that_is_gone_is_a_copy(n):
    stream = in_child(lambda: pickle.dumps(sharedarray.full(n, 3.0)[::-1]))
    first, second = pickle.loads(stream), pickle.loads(stream)
    assert not np.shares_memory(first, second)
    for loaded in (first, second):
        assert type(loaded) is sharedarray.SharedArray
        assert (loaded.shape, loaded.dtype) == ((n,), "f8")
        assert (loaded == 3).all()


def test_flags_of_a_copy():
    def work():
        a = sharedarray.arange(3)
        a.flags.writeable = False
        return pickle.dumps(a)

    assert not pickle.loads(in_child(work)).flags.writeable


def test_child_of_a_child_has_the_same_memory():
    def work():
        a = sharedarray.zeros(3)
        stream = pickle.dumps(a)
        in_child(lambda: pickle.loads(stream).fill(5))
        return a.tolist()

    assert in_child(work) == [5, 5, 5]


def test_damaged_reference_is_an_error_in_spite_of_its_data():
    a = sharedarray.zeros(3)
    _, reference = a.__reduce__()
    with pytest.raises(SharedArrayUnpickleError, match="damaged"):
        load_or_copy((*reference[:5], (4000,), *reference[6:]), np.zeros(3))


def test_where_descriptors_are_scarce_it_is_a_copy(monkeypatch):
    def work():
        a = sharedarray.zeros(1 << 18)
        yield pickle.dumps(a)
        yield a[0]

    monkeypatch.setattr(array_module, "has_descriptor_to_spare", lambda: False)
    inherited = sharedarray.zeros(3)
    assert load_or_copy(inherited.__reduce__()[1], np.ones(3)) is not None
    with Child(work) as child:
        pickle.loads(child.step())[0] = 7
        assert child.step() == 0
    assert_same_memory(load_or_copy(inherited.__reduce__()[1], np.ones(3)), inherited)


def test_arrays_that_outlive_the_modules_end_in_silence(monkeypatch):
    # As where dill refers to `__main__`, whose arrays then die after the globals of `forks`.
    monkeypatch.setattr(forks, "_last_foreign", None)
    monkeypatch.setattr(forks, "_ongoing", None)
    assert forks.unseen_since(0) is False
