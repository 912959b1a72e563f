"""Named segments: made by every builder, attached to by name, listed and unlinked."""

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import creation, named, registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.cache import release_cache
from sharedarray.memory.registry import is_shared
from tests.memory.elsewhere import facts
from tests.memory.support import assert_like_numpy, in_child, run_python, steps

FACTS = "from tests.memory.elsewhere import facts; facts(sa.attach('x'))"

GRID = np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4))

# NumPy's function and ours get the same arguments.
BUILDERS = {
    "empty": ((3, 4), "f4", "F"),
    "zeros": ((3, 4), "f4"),
    "ones": ((3, 4), ">c8", "F"),
    "full": ((3, 4), 7),
    "empty_like": (GRID,),
    "zeros_like": (GRID,),
    "ones_like": (GRID,),
    "full_like": (GRID, 7),
    "copy": (GRID,),
    "array": (GRID,),
    "asarray": (GRID,),
    "arange": (2, 20, 3),
    "fromiter": (range(700), "f8"),
}


def sharing(a, b):
    return registry.owner(a) is registry.owner(b) and np.shares_memory(a, b)


def test_every_builder_is_here():
    assert set(BUILDERS) == set(creation.__all__) - {"attach"}


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_builder_makes_a_named_segment(folder, other, builder):
    args = BUILDERS[builder]
    expected = getattr(np, builder)(*args)
    a = getattr(sharedarray, builder)(*args, name="x")
    has_values = not builder.startswith("empty")
    assert_like_numpy(a, expected, has_values=has_values)
    assert not np.shares_memory(a, expected)
    if not has_values:
        assert not a.any()
    b = sharedarray.attach("x")
    assert_like_numpy(b, expected, has_values=has_values)
    assert sharing(a, b)
    assert other.run(FACTS) == facts(a)
    assert sharedarray.list_named() == ["x"]


def test_fromfile_makes_a_named_segment(folder, tmp_path):
    np.arange(10.0).tofile(tmp_path / "data")
    a = sharedarray.fromfile(tmp_path / "data", name="x")
    assert_like_numpy(a, np.arange(10.0))
    assert sharing(a, sharedarray.attach("x"))


@pytest.mark.parametrize("builder", ["array", "asarray", "copy"])
def test_shared_array_is_copied_under_a_name(folder, builder):
    a = sharedarray.arange(5)
    b = getattr(sharedarray, builder)(a, name="x")
    assert not np.shares_memory(a, b)
    assert b.tolist() == [0, 1, 2, 3, 4]
    assert sharedarray.list_named() == ["x"]
    c = sharedarray.array(b, copy=None, name="y")
    assert not np.shares_memory(b, c)


# layout

DTYPES = [
    *("?", "i1", ">u2", "i8", "f2", ">f4", "f8", "g", "c8", ">c16", "S5", "U3", ">U3", "V7"),
    *("M8", "M8[ns]", ">M8[25s]", "m8[D]", "S0", "V0"),
    [("a", "i4"), ("b", ">f8", (2, 3))],
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    {"names": ["a", "b"], "formats": ["f8", "i2"], "offsets": [8, 20], "itemsize": 24},
    {"names": ["x"], "formats": ["f4"], "titles": ["a title"], "offsets": [2], "itemsize": 7},
    [("nested", [("x", "i1"), ("y", ">c16")], (2,)), ("day", "M8[D]")],
    [("\u00e9", "i4")],
    [],
]
# The format of NumPy's files has no words for these.
STRANGE_DTYPES = [
    {"names": ["b", "a"], "formats": ["i2", "f8"], "offsets": [8, 0], "itemsize": 24},
    {"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2]},
    (np.record, [("a", "i4"), ("b", "S3")]),
    (np.int32, {"low": ("i2", 0), "high": ("i2", 2)}),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", "CF")
def test_every_dtype_comes_back(folder, dtype, order):
    check_layout((3, 4), dtype, order)


@pytest.mark.parametrize("dtype", STRANGE_DTYPES, ids=str)
def test_strange_dtype_comes_back_or_is_refused(folder, dtype):
    try:
        sharedarray.empty(3, dtype, name="x")
    except TypeError:
        assert not list(folder.iterdir())
    else:
        sharedarray.unlink("x")
        check_layout((3, 4), dtype, "C")


@pytest.mark.parametrize(
    "shape", [(), 0, (5, 0), (0, 2**40), 1, (1, 1), (7,), (2, 3, 4), (1,) * 64, 10**6]
)
@pytest.mark.parametrize("order", "CF")
def test_every_shape_comes_back(folder, shape, order):
    check_layout(shape, ">i2", order)


def check_layout(shape, dtype, order):
    a = sharedarray.empty(shape, dtype, order, name="x")
    raw = np.random.default_rng(3).integers(0, 2, a.nbytes, "u1")
    registry.owner(a)[: a.nbytes] = raw
    del a  # so that there is nothing but the file
    expected = np.empty(shape, dtype, order)
    b = sharedarray.attach("x")
    assert (b.shape, b.dtype, b.dtype.type) == (expected.shape, expected.dtype, expected.dtype.type)
    assert not b.size or steps(b) == steps(expected)
    assert b.flags.c_contiguous == expected.flags.c_contiguous
    assert b.flags.f_contiguous == expected.flags.f_contiguous
    assert b.flags.aligned
    assert registry.address_of(b) % 64 == 0
    assert registry.owner(b)[: b.nbytes].tobytes() == raw.tobytes()
    assert type(b) is SharedArray
    assert is_shared(b)


def test_order_that_is_neither_becomes_row_major(folder):
    private = np.ones((2, 3, 4)).transpose(1, 2, 0)
    a = sharedarray.empty_like(private, name="x")
    assert a.strides == sharedarray.attach("x").strides == (64, 16, 8)


def test_an_array_of_one_column_is_of_both_orders(folder):
    a = sharedarray.zeros((5, 1), order="F", name="x")
    for b in (a, sharedarray.attach("x")):
        assert b.flags.c_contiguous
        assert b.flags.f_contiguous


def test_numpy_maps_the_file(folder):
    a = sharedarray.array(GRID, name="x")
    path = Path(named.path_of("x"))
    mapped = np.load(path, mmap_mode="r+")
    assert mapped.flags.f_contiguous
    assert mapped.dtype == a.dtype
    np.testing.assert_array_equal(mapped, a)
    mapped[1, 2] = 99
    assert a[1, 2] == 99
    a[0, 0] = 77
    assert mapped[0, 0] == 77
    np.testing.assert_array_equal(np.load(path), a)


# life


def test_segments_are_in_dev_shm_under_the_user():
    code = "from sharedarray.memory import named; print(named.FOLDER, named.path_of('x'))"
    assert run_python(code) == f"/dev/shm /dev/shm/sharedarray-{os.geteuid()}-x\n"


def test_real_folder(real_folder):
    name = f"test-{os.getpid()}"
    code = f"import sharedarray; a = sharedarray.attach({name!r}); a[1] = 5; print(a[0])"
    a = sharedarray.full(3, 7, name=name)
    try:
        assert name in sharedarray.list_named()
        assert run_python(code) == "7\n"
        assert a.tolist() == [7, 5, 7]
    finally:
        sharedarray.unlink(name)
    assert name not in sharedarray.list_named()


def test_name_outlives_the_arrays_on_it(folder, other):
    a = sharedarray.arange(5, name="x")
    del a
    gc.collect()
    assert other.run("sa.attach('x').tolist()") == [0, 1, 2, 3, 4]
    assert sharedarray.attach("x").tolist() == [0, 1, 2, 3, 4]


def test_attaching_again_is_the_same_memory_at_the_same_place(folder):
    a = sharedarray.arange(5, name="x")
    b, c = sharedarray.attach("x"), sharedarray.attach("x")
    assert registry.address_of(a) == registry.address_of(b) == registry.address_of(c)
    assert registry.owner(b) is registry.owner(c) is registry.owner(a)


def test_unlinked_segment_is_used_on_and_its_name_is_free(folder, other):
    a = sharedarray.zeros(5, int, name="x")
    other.run("b = sa.attach('x')")
    sharedarray.unlink("x")
    assert sharedarray.list_named() == []
    with pytest.raises(FileNotFoundError):
        sharedarray.attach("x")
    new = sharedarray.full(5, 9, name="x")
    other.run("b[1] = 4")
    a[2] = 6
    assert other.run("b.tolist()") == a.tolist() == [0, 4, 6, 0, 0]
    assert other.run("sa.attach('x').tolist()") == new.tolist() == [9] * 5
    assert other.run("sa.unlink('x'); sa.list_named()") == []
    assert new.tolist() == [9] * 5


def test_memory_of_a_named_array_is_not_used_for_another(folder):
    a = sharedarray.full(10**6, 1, "u1", name="x")
    where = registry.owner(a).segment.id
    del a
    others = [sharedarray.zeros(10**6, "u1") for _ in range(3)]
    assert where not in [registry.owner(b).segment.id for b in others]
    assert sharedarray.attach("x").all()


def test_list_has_all_of_this_user_and_no_others(folder):
    for name in ("b", "a", "0.c", "a" * 200, "x-y+z_1."):
        sharedarray.zeros(1, name=name)
    user = os.geteuid()
    strangers = ["plain", f"sharedarray-{user}1-q", f"sharedarray-{user}", "sharedarray--q"]
    for name in [*strangers, f"xsharedarray-{user}-q"]:
        (folder / name).touch(0o600)
    assert sharedarray.list_named() == sorted(["b", "a", "0.c", "a" * 200, "x-y+z_1."])


def test_list_has_only_what_can_be_unlinked(folder):
    prefix = f"sharedarray-{os.geteuid()}-"
    (folder / prefix).touch(0o600)
    for name in ("no name", ".hidden", "-", "a" * 201):
        (folder / f"{prefix}{name}").touch(0o600)
    (folder / f"{prefix}folder").mkdir()
    (folder / f"{prefix}link").symlink_to("somewhere")
    for name in sharedarray.list_named():
        sharedarray.unlink(name)
    assert sharedarray.list_named() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_list_has_nothing_of_another_user(folder):
    sharedarray.zeros(1, name="mine")
    sharedarray.zeros(1, name="given-away")
    os.chown(named.path_of("given-away"), 65534, -1)
    assert sharedarray.list_named() == ["mine"]


def test_without_the_folder_there_are_no_names(folder, monkeypatch):
    monkeypatch.setattr(named, "FOLDER", str(folder / "missing"))
    assert sharedarray.list_named() == []
    for call in (sharedarray.attach, sharedarray.unlink):
        with pytest.raises(FileNotFoundError):
            call("x")
    with pytest.raises(OSError, match="missing"):
        sharedarray.zeros(3, name="x")


def test_nothing_stays_open_or_mapped(folder):
    def mappings():
        return Path("/proc/self/maps").read_text().count(str(folder))

    release_cache()  # what earlier tests have left there
    n_descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as in tests/conftest.py
    a = sharedarray.zeros(10**6, name="kept")
    assert mappings() == 1
    for i in range(50):
        b = sharedarray.full(10**5, i, name="x")
        segment = registry.owner(b).segment.id
        c = sharedarray.attach("x")
        assert sharing(b, c)
        sharedarray.unlink("x")
        del b, c
        assert registry.find_id(segment) is None
        with pytest.raises(FileExistsError):
            sharedarray.zeros(3, name="kept")
    del a
    release_cache()
    assert mappings() == 0
    assert len(os.listdir("/proc/self/fd")) == n_descriptors  # noqa: PTH208


def test_array_holds_no_descriptor_but_what_mmap_keeps(folder):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    arrays = [sharedarray.zeros(3, name=f"x{i}") for i in range(10)]
    arrays += [sharedarray.attach(f"x{i}") for i in range(10)]
    n_kept = len(os.listdir("/proc/self/fd")) - before  # noqa: PTH208
    assert n_kept == (0 if sys.version_info >= (3, 13) else 10)


def test_views_and_results_are_as_of_any_shared_array(folder):
    a = sharedarray.arange(6.0, name="x")
    assert type(a[1:].reshape(5, 1).T) is SharedArray
    assert type(a + 1) is type(a.copy()) is np.ndarray
    assert in_child(lambda: float(a[1:].sum())) == 15
    in_child(lambda: a.__setitem__(slice(2), 9))
    assert a.tolist() == [9, 9, 2, 3, 4, 5]
