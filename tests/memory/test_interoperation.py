"""Shared arrays in other libraries: the same memory where they take arrays, data in their files."""

import concurrent.futures
import copy
import ctypes
import io
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest

import sharedarray
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.registry import is_shared
from tests.memory.elsewhere import Program, facts, facts_then_negate
from tests.memory.support import ROOT, assert_same_memory, run_python

LARGE = 300_000  # float64, in a segment of its own
SIZES = pytest.mark.parametrize("n", [12, LARGE])


@pytest.fixture(scope="module")
def other():
    with Program() as program:
        yield program


def assert_zero_copy(view, a):
    assert type(view) is np.ndarray
    assert registry.address_of(view) == registry.address_of(a)
    assert (view.shape, view.strides, view.dtype) == (a.shape, a.strides, a.dtype)
    a[0] = 77
    assert view[0] == 77
    if view.flags.writeable:  # not from_dlpack's before NumPy 2.1
        view[0] = 78
        assert a[0] == 78


# memory


@SIZES
@pytest.mark.parametrize(
    "plain",
    [
        np.asarray,
        np.from_dlpack,
        lambda a: np.from_dlpack(a[::-1])[::-1],
        lambda a: np.asarray(memoryview(a)),
        lambda a: np.frombuffer(a),
        lambda a: np.ctypeslib.as_array(np.ctypeslib.as_ctypes(a)),
        lambda a: np.asarray(Interface(a.__array_interface__, a)),
    ],
    ids=["asarray", "dlpack", "dlpack, reversed", "memoryview", "buffer", "ctypes", "interface"],
)
def test_plain_array_is_the_same_memory_and_keeps_it(plain, n):
    a = sharedarray.arange(float(n))
    view = plain(a)
    assert_zero_copy(view, a)
    assert is_shared(view)
    assert type(view.view(SharedArray)) is SharedArray
    assert registry.owner(view) is registry.owner(a)
    del a
    others = [sharedarray.zeros(n) for _ in range(3)]
    assert not any(np.shares_memory(view, b) for b in others)
    assert view[1:].tolist() == list(range(1, n))


class Interface:
    def __init__(self, interface, owner):
        self.__array_interface__, self.owner = interface, owner


def test_dlpack_has_the_layout_and_may_copy():
    a = sharedarray.arange(12, dtype="i4").reshape(3, 4)[::2, ::-1]
    assert a.__dlpack_device__() == (1, 0)
    b = np.from_dlpack(a)
    assert (b.strides, b.tolist()) == (a.strides, a.tolist())
    assert b.base is not None
    copied = (
        np.from_dlpack(a, copy=True) if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else b + 0
    )
    assert not np.shares_memory(copied, a)


def test_memoryview_writes_to_it():
    a = sharedarray.zeros((2, 3), "i4")
    view = memoryview(a)
    assert (view.shape, view.format, view.nbytes) == ((2, 3), "i", 24)
    view[1, 2] = 5
    assert a[1, 2] == 5
    a.flags.writeable = False
    assert memoryview(a).readonly
    assert io.BytesIO(b"x" * 24).readinto(view.cast("B")) == 24
    assert bytes(a) == b"x" * 24


def test_pointer_of_ctypes_leads_to_it():
    a = sharedarray.zeros(5, "i4")
    pointer = a.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    pointer[3] = 9
    ctypes.memset(a.ctypes.data, 1, 4)
    assert a.tolist() == [0x01010101, 0, 0, 9, 0]


# copies and files


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_in_anything_are_private_or_the_same_object(copied):
    a = sharedarray.arange(5.0)
    holder = copied({"a": a, "again": a, "view": a[1:]})
    if copied is copy.deepcopy:
        assert holder["a"] is holder["again"]
        assert [type(b) for b in holder.values()] == [np.ndarray] * 3
        holder["a"][0] = holder["view"][0] = 9
        assert a.tolist() == [0, 1, 2, 3, 4]
    else:
        assert holder["a"] is a


def test_files_of_numpy_hold_the_data(tmp_path):
    for a in (sharedarray.arange(6.0), sharedarray.arange(6.0).reshape(2, 3).T[::-1]):
        np.save(tmp_path / "a.npy", a)
        np.savez(tmp_path / "a.npz", a=a, b=[a])
        np.savez_compressed(tmp_path / "c.npz", a)
        np.savetxt(tmp_path / "a.txt", a)
        a.tofile(tmp_path / "a.bin")
        expected = a.copy()
        a[...] = -1
        del a
        with np.load(tmp_path / "a.npz") as both, np.load(tmp_path / "c.npz") as packed:
            loaded = [np.load(tmp_path / "a.npy"), both["a"], both["b"][0], packed["arr_0"]]
        loaded.append(np.loadtxt(tmp_path / "a.txt"))
        loaded.append(np.fromfile(tmp_path / "a.bin").reshape(expected.shape))
        for b in loaded:
            assert type(b) is np.ndarray
            np.testing.assert_array_equal(b, expected)


def test_object_array_in_a_file_refers_to_the_memory_and_says_so(tmp_path):
    a = sharedarray.arange(5)
    holder = np.empty(1, object)
    holder[0] = a
    np.save(tmp_path / "a.npy", holder, allow_pickle=True)
    assert_same_memory(np.load(tmp_path / "a.npy", allow_pickle=True)[0], a)
    holder[0] = None
    del a
    with pytest.raises((SharedArrayUnpickleError, pickle.UnpicklingError)) as caught:
        np.load(tmp_path / "a.npy", allow_pickle=True)
    assert "np.asarray(a)" in f"{caught.value} {caught.value.__cause__}"


def dump_pickle(path, a):
    with path.open("wb") as file:
        pickle.dump({"a": [a, a[::2]]}, file)


def load_pickle(path):
    with path.open("rb") as file:
        return pickle.load(file)["a"]


@SIZES
def test_pickle_in_a_file_is_the_memory_or_an_error_and_never_other_data(tmp_path, other, n):
    dump, load = dump_pickle, load_pickle
    path = tmp_path / "file"
    a = sharedarray.arange(float(n))
    dump(path, a)
    for loaded, view in zip(load(path), (a, a[::2]), strict=True):
        assert_same_memory(loaded, view)
    del a, loaded, view
    new = [sharedarray.full(n, -1.0) for _ in range(3)]  # very likely at the same place
    with pytest.raises(SharedArrayUnpickleError, match=r"np\.asarray\(a\)"):
        load(path)
    code = "from tests.memory.test_interoperation import load_pickle as load; load(path)"
    with pytest.raises(SharedArrayUnpickleError, match=r"np\.asarray\(a\)"):
        other.run(code, path=path)
    del new
    plain = [np.arange(float(n)), np.arange(0.0, n, 2)]
    dump(path, np.asarray(sharedarray.copy(plain[0])))
    for loaded, expected in zip(load(path), plain, strict=True):
        assert type(loaded) is np.ndarray
        np.testing.assert_array_equal(loaded, expected)


def test_file_of_a_program_that_is_gone_is_an_error(tmp_path):
    path = tmp_path / "file"
    with Program() as program:
        program.run(
            "from tests.memory.test_interoperation import dump_pickle as dump\n"
            f"import sharedarray; a = sharedarray.arange({LARGE}.0); dump(path, a)",
            path=path,
        )
    mine = sharedarray.full(LARGE, -1.0)
    with pytest.raises(SharedArrayUnpickleError, match="gone"):
        load_pickle(path)
    assert (mine == -1).all()


# pools of processes

POOLS = """
import concurrent.futures, multiprocessing, sharedarray as sa
from tests.memory.elsewhere import facts, facts_then_negate

views = [sa.arange(12.0), sa.arange(12.0)[::-2], sa.arange(300_000.0).reshape(2, -1).T]
expected = [facts(a) for a in views]
context = multiprocessing.get_context(METHOD)
if HOW == "Pool":
    with context.Pool(2) as pool:
        found = pool.map(facts_then_negate, views)
        later = pool.map(facts, [sa.arange(5), sa.arange(300_000)]) if METHOD == "spawn" else []
        pool.close()
        pool.join()
else:
    with concurrent.futures.ProcessPoolExecutor(2, context) as executor:
        found = list(executor.map(facts_then_negate, views))
        later = []
print(found == expected, [float(a.sum()) < 0 for a in views], len(later))
"""


@pytest.mark.parametrize("how", ["Pool", "ProcessPoolExecutor"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_the_standard_library_have_the_same_memory(method, how):
    printed = run_python(f"METHOD, HOW = {method!r}, {how!r}\n{POOLS}")
    later = 2 if (method, how) == ("spawn", "Pool") else 0
    assert printed == f"True [True, True, True] {later}\n"


@SIZES
def test_forked_pool_that_is_older_than_the_array_has_it(n):
    # Its workers have no such memory by the fork: they attach.
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(len, ((),))
        a = sharedarray.arange(float(n))
        assert pool.apply(facts_then_negate, (a[::-1],))[:2] == facts(a[::-1])[:2]
        assert a[1] == -1
        made = pool.apply(sharedarray.asarray, (a[:3],))
        assert_same_memory(made, a[:3])
        pool.close()
        pool.join()


def test_threads_have_the_same_objects():
    a = sharedarray.zeros(100)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        for i in executor.map(lambda i: a.__setitem__(i, i) or i, range(100)):
            assert a[i] == i


# other libraries


@SIZES
def test_joblib_workers_write_to_it(n):
    pytest.importorskip("joblib")
    code = f"""
import joblib, sharedarray as sa
from tests.memory.elsewhere import facts, facts_then_negate
a = sa.arange({n}.0)
parts = [a[:5], a[5:8], a[8:][::-1]]
expected = [facts(part) for part in parts]
found = joblib.Parallel(n_jobs=2)(joblib.delayed(facts_then_negate)(part) for part in parts)
assert found == expected
assert (a <= 0).all() and a[-1] == 1 - {n}
types = joblib.Parallel(n_jobs=2)(joblib.delayed(type)(b) for b in (a + 1, a.copy()))
print({{cls.__name__ for cls in types}} <= {{"memmap", "ndarray"}})
joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
"""
    done = subprocess.run(  # loky's own resource tracker is at times noisy at the end
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_numexpr_reads_and_writes_it():
    numexpr = pytest.importorskip("numexpr")
    a = sharedarray.arange(float(LARGE))
    out = sharedarray.zeros(LARGE)
    result = numexpr.evaluate("2 * a + 1", {"a": a}, out=out)
    assert result is out
    np.testing.assert_array_equal(out, 2 * np.arange(LARGE) + 1)
    private = numexpr.evaluate("a + a", {"a": a})
    assert not isinstance(private, SharedArray)
    np.testing.assert_array_equal(private, 2.0 * np.arange(LARGE))


def test_polars_reads_it():
    polars = pytest.importorskip("polars")
    a = sharedarray.arange(LARGE)
    series = polars.Series(a)
    assert series.sum() == sum(range(LARGE))
    frame = polars.DataFrame({"a": a, "b": a[::-1]})
    assert frame["b"][0] == LARGE - 1
    back = series.to_numpy()
    assert not isinstance(back, SharedArray)
    np.testing.assert_array_equal(back, a)


def test_pyarrow_has_the_same_memory():
    pyarrow = pytest.importorskip("pyarrow")
    a = sharedarray.arange(1000)
    column = pyarrow.array(a)
    a[3] = 77
    assert column[3].as_py() == 77
    back = column.to_numpy()
    assert registry.address_of(back) == registry.address_of(a)
    assert type(back) is np.ndarray
    del a
    assert column[999].as_py() == 999


def test_torch_has_the_same_memory():
    torch = pytest.importorskip("torch")
    a = sharedarray.arange(1000.0)
    for tensor in (torch.from_numpy(a), torch.from_dlpack(a), torch.as_tensor(a)):
        tensor[3] += 100
        assert tensor.data_ptr() == registry.address_of(a)
    assert a[3] == 303
    del a
    assert tensor[999] == 999


def test_numba_compiles_for_it():
    numba = pytest.importorskip("numba")

    @numba.njit
    def double(a):
        for i in range(a.shape[0]):
            a[i] *= 2
        return a[1:]

    a = sharedarray.arange(5.0)
    result = double(a)
    assert a.tolist() == [0, 2, 4, 6, 8]
    assert np.shares_memory(result, a)
    assert isinstance(result, np.ndarray)
