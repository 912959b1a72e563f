"""What cannot be attached to: a clear error, never a crash or other data."""

import errno
import fcntl
import os
import pickle
import threading

import pytest

from sharedarray.descriptor import Descriptor
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import allocator, cache, references, registry
from sharedarray.memory.allocator import allocate
from sharedarray.memory.creation import full, zeros
from sharedarray.memory.segment import SEALS, Segment, total_nbytes
from tests.memory.elsewhere import Program
from tests.memory.support import Child, in_child, run_python

LARGE = 1 << 18
SIZES = pytest.mark.parametrize("n", [12, LARGE])
LOAD = "import pickle; pickle.loads(stream)"


@pytest.fixture(scope="module")
def owner():
    """Return a program with two arrays, from which this process loads."""
    with Program() as program:
        program.run("import sharedarray, pickle")
        program.run("a, b = sharedarray.arange(12.0), sharedarray.arange(262144.0)")
        yield program


def reference_of(owner, name):
    return owner.run(f"{name}.__reduce__()[1]")


def load_with_origin(reference, origin):
    load, _ = zeros(1).__reduce__()
    return load(*reference[:9], origin)


# forged origins


@pytest.mark.parametrize("name", ["a", "b"])
def test_forged_origin_is_refused(owner, name):
    reference = reference_of(owner, name)
    good = pid, number, nbytes, step = reference[9]
    assert load_with_origin(reference, good)[1] == 1
    forged = [
        *[(other, number, nbytes, step) for other in (0, 1, -1, 2**22 + 1, 2**31, 2**70)],
        (os.getpid(), number, nbytes, step),
        (os.getppid(), number, nbytes, step),
        *[(pid, other, nbytes, step) for other in (0, 1, 2, -1, number + 7, 2**31, 2**70)],
        *[(pid, number, other, step) for other in (0, 1, -1, nbytes - 1, nbytes * 2, 2**62, 2**70)],
        *[(pid, number, nbytes, other) for other in (0, -1, step + 1, nbytes * 2, 2**62, 2**70)],
        *[(pid, number, nbytes - 8, other) for other in (1, step)],
    ]
    for origin in forged:
        with pytest.raises(SharedArrayUnpickleError, match=r"cannot be reached|damaged"):
            load_with_origin(reference, origin)
    assert load_with_origin(reference, good)[1] == 1


def forged_lengths(nbytes, step):
    """Yield other lengths of a segment whose mapping is just as long."""
    total = total_nbytes(nbytes, step)
    for n_blocks in range(1, 200):
        longest = total - 9 * n_blocks
        for length in range(longest - 7, longest + 1):
            lengths = length, length // n_blocks
            if lengths != (nbytes, step) and total_nbytes(*lengths) == total:
                yield lengths


def test_other_lengths_of_the_same_sum_are_refused(owner):
    # Wherever the numbers of the blocks are looked for, there is the right one.
    owner.run("c = sharedarray.zeros(262144, 'u8'); number = c.__reduce__()[1][3]; c[:] = number")
    reference = reference_of(owner, "c")
    pid, number, nbytes, step = reference[9]
    forged = list(forged_lengths(nbytes, step))
    assert forged
    for lengths in forged:
        for offset in {0, lengths[1], lengths[0] // lengths[1] * lengths[1]}:
            wrong = *reference[:2], offset, *reference[3:9]
            with pytest.raises(SharedArrayUnpickleError):
                load_with_origin(wrong, (pid, number, *lengths))
    assert owner.run("bool((c == number).all())")
    assert load_with_origin(reference, reference[9])[1] == reference[3]


def test_forged_descriptor_of_something_else_is_not_opened(owner, tmp_path):
    reference = reference_of(owner, "a")
    *_, nbytes, step = reference[9]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def child():
        opened = os.open(fifo, os.O_RDWR), os.memfd_create("sharedarray")
        yield os.getpid(), opened

    with Child(child) as other:
        pid, numbers = other.step()
        for number in numbers:
            with pytest.raises(SharedArrayUnpickleError, match="freed"):
                load_with_origin(reference, (pid, number, nbytes, step))


@pytest.mark.parametrize("fault", ["no seals", "some seals", "too short", "too long"])
def test_memfd_of_the_right_name_that_is_no_segment_is_refused(fault):
    reference = zeros(LARGE).__reduce__()[1]
    _, number, nbytes, step = reference[9]
    name = os.readlink(f"/proc/self/fd/{number}").removeprefix("/memfd:").split()[0]  # noqa: PTH115
    cache.release_cache()
    length = total_nbytes(nbytes, step) + {"too short": -1, "too long": 1}.get(fault, 0)

    def child():
        forged = os.memfd_create(name, os.MFD_ALLOW_SEALING)
        os.ftruncate(forged, length)
        os.pwrite(forged, reference[3].to_bytes(8, "little"), nbytes)
        if fault != "no seals":
            seals = SEALS & ~fcntl.F_SEAL_SHRINK if fault == "some seals" else SEALS
            fcntl.fcntl(forged, fcntl.F_ADD_SEALS, seals)
        yield os.getpid(), forged

    with Child(child) as other:
        origin = (*other.step(), nbytes, step)
        with pytest.raises(SharedArrayUnpickleError, match="seal" if "seal" in fault else "length"):
            load_with_origin(reference, origin)
    assert registry.find_id(reference[1]) is None


def test_descriptor_that_is_no_memfd_is_refused(tmp_path):
    with open(tmp_path / "file", "w+b") as file:  # noqa: PTH123 - for its descriptor
        file.truncate(total_nbytes(4096, 4096))
        with pytest.raises(references.Unreachable):
            references.adopt((11, 12), 0, 1, (4096, 4096), Descriptor(os.dup(file.fileno())))


# users that may not, processes that cannot


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@SIZES
def test_another_user_is_refused(n):
    a = full(n, 7.0)
    with Program() as program:
        assert program.run("a[0]", a=a) == 7  # whatever it needs of NumPy is imported
        program.run("del a; import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)")
        with pytest.raises(SharedArrayUnpickleError, match=r"another user.*np\.asarray\(a\)"):
            program.run(LOAD, stream=pickle.dumps(a))


def test_kernel_that_refuses_the_way_to_a_descriptor_is_another_user(owner, monkeypatch):
    reference = reference_of(owner, "a")

    def refuse(*args):
        raise PermissionError(errno.EACCES, "refused")

    for module, name in ((os, "readlink"), (os, "open")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refuse)
            with pytest.raises(SharedArrayUnpickleError, match="another user"):
                load_with_origin(reference, reference[9])
    assert load_with_origin(reference, reference[9])[1] == 1


@SIZES
@pytest.mark.parametrize("n_spare", [0, 1, 2, 3])
def test_no_descriptor_left_is_a_clear_error(n, n_spare):
    a = full(n, 7.0)
    with Program() as program:
        program.run("import os, resource, pickle")
        code = f"""
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
lowest = os.dup(0); os.close(lowest)
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + {n_spare}, hard))
try:
    a = pickle.loads(stream)
    said = ""
except pickle.UnpicklingError as error:
    said = f"{{type(error).__name__}}: {{error}}"
finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
said
"""
        said = program.run(code, stream=pickle.dumps(a))
        if n_spare < 1:
            assert said
        if said:
            assert said.startswith("SharedArrayUnpickleError: ")
            assert "Too many open files" in said
            assert "np.asarray(a)" in said
        program.run("a = pickle.loads(stream)")
        assert program.run("float(a.sum())") == 7 * n


def test_no_mapping_left_is_a_clear_error(owner, monkeypatch):
    reference = reference_of(owner, "a")

    def refuse(*args, **kwargs):
        raise OSError(errno.ENOMEM, "no room for another mapping")

    with monkeypatch.context() as patch:
        patch.setattr("mmap.mmap", refuse)
        with pytest.raises(SharedArrayUnpickleError, match="no room for another mapping"):
            load_with_origin(reference, reference[9])
    assert load_with_origin(reference, reference[9])[1] == 1


@SIZES
def test_array_without_a_memfd_is_refused_by_other_programs_and_not_by_children(
    owner, monkeypatch, n
):
    def refuse(*args):
        raise OSError(errno.ENOSYS, "refused")

    monkeypatch.setattr(os, "memfd_create", refuse)
    monkeypatch.setattr(allocator, "_size_classes", allocator._new_size_classes())
    cache.release_cache()
    a = full(n, 7.0)
    stream = pickle.dumps(a)
    with pytest.raises(SharedArrayUnpickleError, match=r"no descriptor.*np\.asarray\(a\)"):
        owner.run(LOAD, stream=stream)
    assert in_child(lambda: float(pickle.loads(stream).sum())) == 7 * n


def test_arrays_beyond_half_of_the_descriptors_are_reached_by_other_programs():
    code = """
import pickle
import sharedarray
from tests.memory.elsewhere import Program
arrays = [sharedarray.full(1 << 17, n) for n in range(100)]
with Program() as program:
    program.run("import pickle")
    code = "import pickle; int(pickle.loads(stream)[-1])"
    answers = [program.run(code, stream=pickle.dumps(a)) for a in arrays]
print(answers == list(range(100)))
"""
    assert run_python(code, shell_limits="ulimit -n 64").split() == ["True"]


def test_array_without_descriptor_is_refused_by_other_programs():
    code = """
import os
import pickle
import sharedarray
from tests.memory.elsewhere import Program
from tests.memory.support import in_child
arrays = [sharedarray.full(1 << 17, n) for n in range(10)]
del os.memfd_create
arrays += [sharedarray.full(1 << 17, n) for n in range(10, 20)]
with Program() as program:
    program.run("import pickle")
    answers = []
    for a in arrays:
        try:
            answers.append(program.run("int(pickle.loads(stream)[-1])", stream=pickle.dumps(a)))
        except sharedarray.SharedArrayUnpickleError as error:
            answers.append("no descriptor" in str(error))
known = [n for n, answer in enumerate(answers) if answer is not True]
print(known == list(range(len(known))), answers[: len(known)] == known, len(known) == 10)
streams = list(map(pickle.dumps, arrays))
print(in_child(lambda: [int(pickle.loads(s)[-1]) for s in streams]) == list(range(20)))
"""
    assert run_python(code).split() == ["True"] * 4


# at the same time


class Racing:
    """The serials of a segment, of which the owner changes one between two looks."""

    def __init__(self, serials, later):
        self.looks = [*serials]
        self.later = later

    def __getitem__(self, position):
        if len(self.looks) == 1:
            self.later()
        return self.looks.pop(0)


def test_array_that_is_freed_while_another_program_attaches_is_refused_and_lost():
    # 1. the other looks: alive; 2. it sets the mark; 3. the owner frees; 4. the other looks again.
    segment = Segment(4096)
    registry.register(segment)
    marks = []
    segment.serials = Racing([5, 0], lambda: marks.append(segment.is_seen[0]))
    with pytest.raises(references.Unreachable, match="freed"):
        references.adopt(segment.id, 0, 5, (4096, 4096), Descriptor(os.dup(0)))
    assert marks == [1]


def test_dead_array_gets_no_mark():
    segment = Segment(4096)
    registry.register(segment)
    segment.serials[0] = 6
    with pytest.raises(references.Unreachable, match="freed"):
        references.adopt(segment.id, 0, 5, (4096, 4096), Descriptor(os.dup(0)))
    assert segment.is_seen[0] == 0


@pytest.mark.parametrize("nbytes", [100, 312 << 10, 3 << 20])
def test_place_that_was_marked_after_it_was_freed_is_not_used_again(nbytes):
    # 1. the other looks: alive; 2. the owner frees; 3. the other sets the mark.
    block = allocate(nbytes)
    segment, offset = block.segment, block.offset
    del block
    segment.is_seen[offset // segment.step] = 1
    again = [allocate(nbytes) for _ in range(5)]
    assert (segment.id, offset) not in [(b.segment.id, b.offset) for b in again]


def test_threads_attach_at_the_same_time(owner):
    references = [reference_of(owner, "a"), reference_of(owner, "b")]
    loaded, start = [], threading.Barrier(4)

    def work():
        start.wait()
        for number in range(200):
            reference = references[number % 2]
            a = load_with_origin(reference, reference[9])
            loaded.append(a[5])
            del a

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == [5.0] * 800


def test_mapped_block_dies_in_one_thread_while_another_one_attaches(owner):
    # The callback of a dead block may come after a new block has taken its place.
    reference = reference_of(owner, "a")
    a = load_with_origin(reference, reference[9])
    block = registry.owner(a)
    segment, offset = block.segment, block.offset
    old = segment.leases[offset]
    del a, block
    assert offset not in segment.leases
    again = load_with_origin(reference, reference[9])
    allocator._released(old)
    assert registry.owner(load_with_origin(reference, reference[9])) is registry.owner(again)
