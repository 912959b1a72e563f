import errno
import fcntl
import gc
import mmap
import os
import stat
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from sharedarray.memory import registry, segment
from sharedarray.memory.segment import Segment, total_nbytes
from tests.memory.support import in_child, run_python

MIB = 1 << 20
F_SEAL_EXEC = 0x20
PER_SEGMENT = 1 if sys.version_info >= (3, 13) else 2  # mmap keeps a duplicate
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def memfds():
    """Return the descriptors of this process that lead to a segment."""
    gc.collect()  # what an earlier test has left in a cycle must not go in between
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            if str(path.readlink()).startswith("/memfd:sharedarray"):
                found.add(int(path.name))
        except FileNotFoundError:  # the descriptor of the listing itself
            pass
    return found


def new_memfd(nbytes=MIB):
    before = memfds()
    made = Segment(nbytes)
    new = memfds() - before
    assert made.descriptor in new
    assert len(new) == PER_SEGMENT
    return made, made.descriptor


def mapping_of(made):
    base = made.bytes
    while isinstance(base, np.ndarray):
        base = base.base
    return base.obj


# the descriptor


def test_large_segment_has_a_private_sealed_descriptor():
    made, descriptor = new_memfd()
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
    assert made.nbytes == MIB
    assert os.fstat(descriptor).st_size == total_nbytes(MIB, MIB)
    assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
    for size in (0, 2 * MIB):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_descriptor_is_not_executable_where_the_kernel_can_say_so():
    try:
        probe = os.memfd_create("probe", segment._MFD_NOEXEC_SEAL)
    except OSError:
        pytest.skip("kernel before 6.3")
    os.close(probe)
    made, descriptor = new_memfd()
    assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & F_SEAL_EXEC
    assert made.nbytes == MIB


def test_descriptor_goes_with_the_segment():
    before = memfds()
    made = [Segment(MIB) for _ in range(5)]
    assert len(memfds() - before) == PER_SEGMENT * len(made)
    n_counted = len(segment._with_descriptor)
    del made
    assert memfds() == before
    assert n_counted - len(segment._with_descriptor) == 5


@pytest.mark.parametrize("nbytes", [1, 64 << 10, MIB - 16])
def test_segment_of_any_size_has_a_descriptor(nbytes):
    made, descriptor = new_memfd(nbytes)
    assert os.fstat(descriptor).st_size == total_nbytes(nbytes, nbytes)
    assert made.nbytes == nbytes


def refuse_with(code, calls):
    def memfd_create(name, flags=0):
        calls.append(flags)
        raise OSError(code, os.strerror(code))

    return memfd_create


@pytest.mark.parametrize("code", ["ENOSYS", "EPERM", "EACCES", "EMFILE", "ENFILE", "ENOMEM"])
def test_refused_memfd_falls_back_to_anonymous_memory_at_once(monkeypatch, code):
    calls = []
    monkeypatch.setattr(os, "memfd_create", refuse_with(getattr(errno, code), calls))
    assert_works_without_descriptor()
    assert len(calls) == 1


def test_unknown_flag_is_left_out_and_nothing_else(monkeypatch):
    real = os.memfd_create
    calls = []

    def memfd_create(name, flags=0):
        calls.append(flags)
        if flags & segment._MFD_NOEXEC_SEAL:
            raise OSError(errno.EINVAL, "unknown flag")
        return real(name, flags)

    monkeypatch.setattr(os, "memfd_create", memfd_create)
    made, descriptor = new_memfd()
    assert made.nbytes == MIB
    assert calls[1] == calls[0] & ~segment._MFD_NOEXEC_SEAL
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
    assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS


def test_memfd_that_knows_no_flags_falls_back(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "memfd_create", refuse_with(errno.EINVAL, calls))
    assert_works_without_descriptor()
    assert len(calls) == 2


def test_platform_without_memfd_falls_back(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert_works_without_descriptor()


def test_platform_without_resource_and_fcntl_falls_back(monkeypatch):
    monkeypatch.setattr(segment, "resource", None)
    monkeypatch.setattr(segment, "fcntl", None)
    assert_works_without_descriptor()


@pytest.mark.parametrize("function", ["fchmod", "ftruncate"])
def test_memfd_that_cannot_be_set_up_is_closed_and_not_used(monkeypatch, function):
    def refuse(*args):
        raise OSError(errno.EFBIG, "refused")

    monkeypatch.setattr(os, function, refuse)
    assert_works_without_descriptor()


def assert_works_without_descriptor():
    before = memfds()
    made = Segment(MIB)
    assert memfds() == before

    def write():
        made.bytes[-1] = 7

    in_child(write)
    assert made.bytes[-1] == 7
    assert made.bytes[:-1].max() == 0


def test_at_most_half_of_the_allowed_descriptors_are_kept():
    code = """
import os
from sharedarray.memory.segment import Segment
count = lambda: sum(os.path.realpath("/proc/self/fd/" + fd).startswith("/memfd:")
                    for fd in os.listdir("/proc/self/fd"))
made = [Segment(1 << 20) for _ in range(100)]
for number, segment in enumerate(made):
    segment.bytes[:] = number
assert all((segment.bytes == number).all() for number, segment in enumerate(made))
first = count()
del made[:20]
made += [Segment(1 << 20) for _ in range(20)]
second = count()
del made, segment
print(first, second, count())
"""
    assert run_python(code, shell_limits="ulimit -n 64").split() == ["32", "32", "0"]


def test_slabs_have_up_to_three_quarters_of_the_descriptors():
    code = """
from sharedarray.memory.segment import Segment, is_short_of_descriptors
said = [is_short_of_descriptors()]
made = [Segment(1 << 20) for _ in range(40)]
said.append(is_short_of_descriptors())
made += [Segment(1 << 20, 64) for _ in range(40)]
print(*said, PER * sum(each.descriptor is not None for each in made))
"""
    code = f"PER = {PER_SEGMENT}{code}"
    assert run_python(code, shell_limits="ulimit -n 64").split() == ["False", "True", "48"]


def test_limit_on_the_size_of_files_is_none_on_arrays():
    # A memfd is a file to RLIMIT_FSIZE; anonymous memory is not.
    code = """
from sharedarray.memory.segment import Segment
made = Segment(4 << 20)
made.bytes[:] = 7
print(made.descriptor, int(made.bytes.min()))
"""
    assert run_python(code, shell_limits="ulimit -f 100").split() == ["None", "7"]


# what it notes about its blocks


@pytest.mark.parametrize(("nbytes", "step"), [(1, 1), (13, 13), (MIB, 64), (1000, 100)])
def test_a_segment_notes_serial_and_mark_of_each_block_behind_its_bytes(nbytes, step):
    made = Segment(nbytes, step)
    n_blocks = nbytes // step
    assert len(made.serials) == len(made.is_seen) == n_blocks
    made.bytes[:] = 0xAA
    assert not any(made.serials)
    assert not any(made.is_seen)

    def note():
        for position in range(n_blocks):
            made.serials[position] = 2**64 - 1 - position
            made.is_seen[position] = position % 2

    in_child(note)
    assert list(made.serials) == [2**64 - 1 - position for position in range(n_blocks)]
    assert list(made.is_seen) == [position % 2 for position in range(n_blocks)]
    assert (made.bytes == 0xAA).all()


# the mapping


def test_memory_is_zero_and_shared_with_children():
    for nbytes in (1, 4097, MIB, 3 * MIB):
        made = Segment(nbytes)
        assert made.bytes.shape == (nbytes,)
        assert not made.bytes.any()

        def write(made=made):
            made.bytes[::-1][0] = 5
            return made.address

        assert in_child(write) == made.address == made.bytes.ctypes.data
        assert made.bytes[-1] == 5


def test_mapping_cannot_be_closed_under_an_array():
    made = Segment(4096)
    with pytest.raises(BufferError):
        mapping_of(made).close()


def test_mapping_goes_with_the_last_reference_to_the_bytes():
    made = Segment(MIB)
    mapping = weakref.ref(mapping_of(made))
    view = made.bytes[5:10]
    del made
    assert mapping() is not None
    view[:] = 1
    del view
    assert mapping() is None


def test_registry_forgets_a_segment_before_it_is_unmapped():
    made = Segment(MIB)
    registry.register(made)
    address, known_as = made.address, made.id
    assert registry.find(address) is made
    seen = []

    def look():
        seen.append((registry.find(address), registry.find_id(known_as)))

    weakref.finalize(made.bytes, look)  # the bytes still hold the mapping when this runs
    del made
    assert seen == [(None, None)]


def test_huge_pages_are_asked_for_from_two_mebibytes(monkeypatch):
    asked = []

    class Mapping(mmap.mmap):
        def madvise(self, option):
            asked.append(option)
            raise OSError(errno.EINVAL, "a kernel without huge pages")

    monkeypatch.setattr(mmap, "mmap", Mapping)
    Segment(2 * MIB - 16)
    Segment(2 * MIB)
    assert asked == [mmap.MADV_HUGEPAGE]


def test_ids_are_unique_over_processes():
    ids = [Segment(1).id for _ in range(3)]
    ids += in_child(lambda: [Segment(1).id for _ in range(3)])
    ids += in_child(lambda: [Segment(1).id for _ in range(3)])
    assert len(set(ids)) == 9


# too large


@pytest.mark.parametrize("exponent", [40, 50, 62, 63, 64, 70])
def test_impossible_size_is_refused_at_once(exponent):
    before = memfds()
    began = time.process_time()
    with pytest.raises(MemoryError, match=str(2**exponent)):
        Segment(2**exponent)
    assert time.process_time() - began < 0.1
    assert memfds() == before


def test_more_than_the_machine_has_is_refused(monkeypatch):
    monkeypatch.setattr(segment, "total_memory", lambda: 70 * MIB)
    with pytest.raises(MemoryError):
        Segment(70 * MIB + 1)
    assert Segment(70 * MIB).nbytes == 70 * MIB


def test_machine_of_unknown_size_leaves_it_to_the_kernel(monkeypatch):
    def unknown():
        raise NotImplementedError

    monkeypatch.setattr(segment, "total_memory", unknown)
    assert Segment(70 * MIB).nbytes == 70 * MIB
    with pytest.raises(MemoryError):
        Segment(2**70)


@pytest.mark.parametrize(("code", "expected"), [("ENOMEM", MemoryError), ("EPERM", OSError)])
def test_kernel_that_refuses_a_mapping(monkeypatch, code, expected):
    def refuse(*args):
        raise OSError(getattr(errno, code), "refused")

    monkeypatch.setattr(mmap, "mmap", refuse)
    for nbytes in (4096, MIB):
        with pytest.raises(expected):
            Segment(nbytes)


# many and often


def test_nothing_stays_of_a_thousand_segments():
    code = """
import os
from pathlib import Path
from sharedarray.memory.segment import Segment
def state():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    lines = Path("/proc/self/maps").read_text().count("memfd:sharedarray")
    return pages * 4096 / 2**20, lines, len(os.listdir("/proc/self/fd"))
def use(n):
    for _ in range(n):
        Segment(10_000_000).bytes[::4096] = 1
use(10)
rss, *before = state()
use(1000)
rss_after, *after = state()
print(before == after, before[0], rss_after - rss < 20)
kept = Segment(10_000_000); kept.bytes[::4096] = 1
print(state()[1] - before[0], state()[0] - rss > 5)
"""
    assert run_python(code).split() == ["True", "0", "True", "1", "True"]
