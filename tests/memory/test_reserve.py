"""reserve=True: all memory of an array at once, or MemoryError."""

import ctypes
import errno
import mmap
import os
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import creation, named, registry
from sharedarray.memory.cache import release_cache
from tests.memory.support import Child, assert_like_numpy, in_child, run_python

MIB = 1 << 20
LARGE = 4 * MIB + 12345
PROTOTYPE = np.zeros(LARGE, "u1")

BUILDERS = {
    "empty": (LARGE, "u1"),
    "zeros": (LARGE, "u1"),
    "ones": (LARGE, "u1"),
    "full": (LARGE, 7, "u1"),
    "empty_like": (PROTOTYPE,),
    "zeros_like": (PROTOTYPE,),
    "ones_like": (PROTOTYPE,),
    "full_like": (PROTOTYPE, 7),
    "copy": (PROTOTYPE,),
    "array": (PROTOTYPE,),
    "asarray": (PROTOTYPE,),
    "arange": (LARGE // 8,),
    "fromiter": (range(LARGE // 8), "f8"),
}
UNTOUCHED = ["empty", "zeros", "empty_like", "zeros_like"]

# Where the kernel refuses memfds, segments are anonymous.
MEMFDS = pytest.mark.parametrize("memfds", [True, False], ids=["memfd", "anonymous"])


@pytest.fixture(autouse=True)
def fresh_memory():
    release_cache()


@pytest.fixture
def choose_memfds(memfds, monkeypatch):
    def memfd_create(*args):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if not memfds:
        monkeypatch.setattr(os, "memfd_create", memfd_create)


def n_missing_pages(a):
    """Return how many pages of an array the kernel has no memory for yet."""
    libc = ctypes.CDLL(None, use_errno=True)
    start = registry.address_of(a)
    start -= start % mmap.PAGESIZE
    nbytes = registry.address_of(a) + a.nbytes - start
    pages = (ctypes.c_ubyte * -(-nbytes // mmap.PAGESIZE))()
    failed = libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(nbytes), pages)
    assert not failed, os.strerror(ctypes.get_errno())
    missing = sum(not page & 1 for page in pages)
    segment = registry.owner(a).segment
    if missing and segment.descriptor is not None:
        # mincore does not count the pages that posix_fallocate has made until they are touched.
        n_blocks = os.fstat(segment.descriptor).st_blocks
        block = registry.owner(a)
        touched = block[:: mmap.PAGESIZE].sum(), block[-1:].sum()
        assert len(touched) == 2
        missing = (os.fstat(segment.descriptor).st_blocks - n_blocks) * 512 // mmap.PAGESIZE
    return missing


def test_every_builder_is_here():
    assert set(BUILDERS) == set(creation.__all__) - {"attach"}


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
@pytest.mark.parametrize("builder", BUILDERS)
def test_every_builder_has_all_pages_at_once(builder):
    args = BUILDERS[builder]
    a = getattr(sharedarray, builder)(*args, reserve=True)
    assert n_missing_pages(a) == 0
    assert_like_numpy(a, getattr(np, builder)(*args), has_values=not builder.startswith("empty"))


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
@pytest.mark.parametrize("builder", UNTOUCHED)
def test_pages_come_at_the_first_touch_by_default(builder):
    a = getattr(sharedarray, builder)(*BUILDERS[builder])
    assert n_missing_pages(a) > LARGE // mmap.PAGESIZE // 2
    b = getattr(sharedarray, builder)(*BUILDERS[builder], reserve=False)
    assert n_missing_pages(b) > LARGE // mmap.PAGESIZE // 2


@pytest.mark.parametrize(
    "convert", [sharedarray.asarray, lambda a, **kw: sharedarray.array(a, copy=None, **kw)]
)
def test_shared_data_that_are_not_copied_have_all_pages_too(convert):
    a = sharedarray.empty(LARGE, "u1")
    assert convert(a, reserve=True) is a
    assert n_missing_pages(a) == 0


def test_fromfile_has_all_pages_at_once(tmp_path):
    PROTOTYPE.tofile(tmp_path / "data")
    a = sharedarray.fromfile(tmp_path / "data", "u1", reserve=True)
    assert n_missing_pages(a) == 0


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
@pytest.mark.parametrize("nbytes", [0, 1, 100, 5000, 64 << 10, (64 << 10) + 1, MIB])
def test_small_arrays_have_theirs_too_and_leave_the_others_as_they_are(nbytes):
    def child():  # which starts without slabs
        arrays = [sharedarray.full(nbytes, i, "u1") for i in range(5)]
        others = [sharedarray.empty(nbytes, "u1", reserve=True) for _ in range(3)]
        assert sum(map(n_missing_pages, others)) == 0
        for a in others:
            a[...] = 99
        return all((a == i).all() for i, a in enumerate(arrays))

    assert in_child(child)


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
def test_children_have_the_pages_too():
    a = sharedarray.zeros(LARGE, "u1", reserve=True)

    def child():
        assert n_missing_pages(a) == 0
        a[::1000] = 5
        yield int(a.sum())

    with Child(child) as other:
        assert other.step() == int(a.sum()) == 5 * len(range(0, LARGE, 1000))


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
@pytest.mark.parametrize("order", "CF")
def test_layout_and_zeros_are_the_same(order):
    a = sharedarray.zeros((1000, 3, 100), ">i4", order, reserve=True)
    assert_like_numpy(a, np.zeros((1000, 3, 100), ">i4", order))
    a[...] = 5
    del a
    a = sharedarray.zeros((1000, 3, 100), ">i4", order, reserve=True)
    assert_like_numpy(a, np.zeros((1000, 3, 100), ">i4", order))


def test_named_segments_have_all_pages_anyhow(folder):
    for reserve in (True, False):
        sharedarray.empty(LARGE, "u1", name=f"x{reserve}", reserve=reserve)
        assert Path(named.path_of(f"x{reserve}")).stat().st_blocks * 512 >= LARGE


# not enough memory


def spare(monkeypatch, nbytes):
    for module in ("segment", "allocator", "named"):
        path = f"sharedarray.memory.{module}.available_memory"
        monkeypatch.setattr(path, lambda: nbytes, raising=False)


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
@pytest.mark.parametrize("builder", BUILDERS)
def test_more_than_there_is_to_spare_is_a_memory_error(monkeypatch, builder):
    spare(monkeypatch, 2 * MIB)
    args = BUILDERS[builder]
    expected = getattr(np, builder)(*args)
    with pytest.raises(MemoryError) as caught:
        getattr(sharedarray, builder)(*args, reserve=True)
    for fact in (expected.nbytes, expected.shape, expected.dtype):
        assert str(fact) in str(caught.value)
    spare(monkeypatch, 1 << 40)
    a = getattr(sharedarray, builder)(*args, reserve=True)
    assert n_missing_pages(a) == 0


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
def test_kernel_that_does_not_say_what_is_to_spare_is_asked_for_it_all(monkeypatch):
    spare(monkeypatch, None)
    assert n_missing_pages(sharedarray.empty(LARGE, "u1", reserve=True)) == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
@pytest.mark.parametrize("n", [10, LARGE])
def test_kernel_that_refuses_is_a_memory_error(monkeypatch, number, n):
    def posix_fallocate(*args):
        raise OSError(number, os.strerror(number))

    neighbour = sharedarray.full(n, 3, "u1")
    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)
    with pytest.raises(MemoryError, match=rf"\({n},\) and data type uint8") as caught:
        sharedarray.zeros(n, "u1", reserve=True)
    chain = [caught.value, caught.value.__cause__, caught.value.__cause__.__cause__]
    assert chain[-1].errno == number
    del chain, caught
    assert (neighbour == 3).all()
    assert not sharedarray.zeros(n, "u1").any()
    monkeypatch.undo()
    assert n_missing_pages(sharedarray.zeros(n, "u1", reserve=True)) == 0


def test_name_is_free_where_there_was_no_space(folder, monkeypatch):
    def posix_fallocate(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)
    with pytest.raises(OSError, match="x"):
        sharedarray.zeros(LARGE, "u1", name="x", reserve=True)
    monkeypatch.undo()
    assert not list(folder.iterdir())
    assert not named.list_named()


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
def test_pages_that_are_there_already_are_not_asked_for_again(monkeypatch):
    a = sharedarray.full(LARGE, 1, "u1")
    where = registry.address_of(a)
    del a  # kept for the next one
    spare(monkeypatch, 2 * MIB)
    a = sharedarray.empty(LARGE, "u1", reserve=True)
    assert registry.address_of(a) == where
    assert n_missing_pages(a) == 0


def test_limit_of_address_space_is_a_memory_error():
    code = f"""
import sharedarray
for reserve in (True, False):
    try:
        sharedarray.zeros({800 * MIB}, "u1", reserve=reserve)
    except MemoryError as error:
        print("refused")
print(sharedarray.full({MIB}, 2, "u1", reserve=True).sum())
"""
    limit = "export OPENBLAS_NUM_THREADS=1 && ulimit -v 800000"
    assert run_python(code, shell_limits=limit).split() == ["refused", "refused", str(2 * MIB)]


# other arrays in the same segment


@MEMFDS
@pytest.mark.usefixtures("choose_memfds")
def test_nothing_is_written_to_the_arrays_of_others():
    # To write what is there is to undo what another process writes at the same moment.
    n = 64 << 10  # 16 to a slab

    def child():  # which starts without slabs
        others = [sharedarray.full(n, i, "u1") for i in range(3)]
        for a in others:
            start = ctypes.c_void_p(registry.address_of(a))
            failed = ctypes.CDLL(None).mprotect(start, ctypes.c_size_t(n), mmap.PROT_READ)
            assert not failed  # a write ends this process from here on
        mine = sharedarray.empty(n, "u1", reserve=True)
        assert registry.owner(mine).segment is registry.owner(others[0]).segment
        return n_missing_pages(mine)

    assert in_child(child) == 0
