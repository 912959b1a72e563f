"""Fault table D: what the system has no room for, or refuses. Memory of arrays: `tests/memory`."""

from __future__ import annotations

import errno
import os

import pytest

from tests.workers.faults.scripts import run_fault
from tests.workers.support import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

# fork

ERRORS = {errno.EAGAIN: "BlockingIOError", errno.ENOMEM: "MemoryError", errno.ENOSYS: "OSError"}


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_fork_that_fails_for_any_of_the_workers(tmp_path, number):
    source = """
def fork():
    global n_left
    n_left -= 1
    if n_left == 0:
        raise OSError(number, os.strerror(number))
    return real()

real, os.fork = os.fork, fork
n_workers = 5
pool = MapReduce(np=n_workers)
for k in (1, 2, 3, n_workers):
    for run in (
        lambda: pool.map(lambda i: time.sleep(60), range(100)),
        lambda: pool.map(lambda i: time.sleep(60), iter(range(100))),
        lambda: next(pool.imap(lambda i: time.sleep(60), range(100))),
    ):
        n_left = k
        with clean():
            failure = expect(error, run)
            cause = failure.__cause__ if error is MemoryError else failure
            assert cause.errno == number
            failure = cause = None
        n_left = 0
        check_reuse(pool)
"""
    run_fault(f"error = {ERRORS[number]}\n" + source, tmp_path, number=number)


def test_limit_of_processes(tmp_path):
    if os.getuid() != 0:
        pytest.skip("counts all processes of a user: root can be one that has no others")
    source = """
import resource
from contextlib import suppress

def n_tasks():
    # Processes and threads of this user.
    n = 0
    for p in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            n += len(os.listdir(p / "task")) if p.stat().st_uid == uid else 0
    return n

def limit(n):
    resource.setrlimit(resource.RLIMIT_NPROC, (n, hard))

pool = MapReduce(np=5)
check_reuse(pool)  # imports what the user may not read
uid = 20_000 + os.getpid() % 10_000  # for root there is no limit
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # or its part of /proc would stay root's
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
assert n_tasks() >= 1
for k in (0, 1, 4):
    with clean():
        limit(n_tasks() + k)
        failure = expect(BlockingIOError, lambda: pool.map(lambda i: time.sleep(60), range(9)))
        assert failure.errno == number
        failure = None
        limit(soft)
    check_reuse(pool)
with clean():
    limit(n_tasks() + 5)
    assert pool.map(abs, range(9)) == list(range(9))  # or the rest would prove nothing
"""
    run_fault("import ctypes\nPR_SET_DUMPABLE = 4\n" + source, tmp_path, number=errno.EAGAIN)


# descriptors


@pytest.mark.parametrize("call", ["map", "map of an iterator", "imap"])
def test_limit_of_descriptors_at_any_of_them(tmp_path, call):
    source = """
import resource

RUNS = {
    "map": lambda: pool.map(work, range(100), reduce=check_result),
    "map of an iterator": lambda: pool.map(work, iter(range(100)), reduce=check_result),
    "imap": lambda: list(pool.imap(work, range(100), reduce=check_result)),
}

def work(i):
    return i, bytes([i]) * 100_000  # through a spool, whose descriptor the coordinator receives

def check_result(i, data):
    assert data == bytes([i]) * 100_000
    return i

def n_used():
    # The next number that is free, since the limit is one of numbers.
    number = os.dup(0)
    os.close(number)
    return number

pool = MapReduce(np=3)
check_reuse(pool)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
n_failures = n_before = 0
for room in range(40):
    with clean():
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_used() + room, hard))
        try:
            result, failure = RUNS[call](), None
        except OSError as error:
            failure = error.errno
        except WorkerException as error:
            # Spools are made in the workers.
            assert isinstance(error.reason, OSError), error
            failure = error.reason.errno
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if failure is None:
        assert result == list(range(100))
        break
    assert failure == number, failure
    check_reuse(pool)
assert 10 < room < 39, room  # descriptors of a map of three workers
"""
    run_fault(source, tmp_path, call=call, number=errno.EMFILE)


def test_numbers_of_descriptors_beyond_what_select_takes(tmp_path):
    source = """
import resource

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard != resource.RLIM_INFINITY and hard < 2000:
    sys.exit()
resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 5000 else 5000, hard))
many = [os.dup(0) for _ in range(1500)]
pool = MapReduce(np=3)
with clean():
    assert pool.map(lambda i: bytes([i]) * 100_000, range(100), len) == [100_000] * 100
    assert expect(WorkerDied, lambda: pool.map(lambda i: os._exit(3), range(9))).exitcode == 3
check_reuse(pool)
"""
    run_fault(source, tmp_path)


def test_hundreds_of_workers(tmp_path):
    # More than a poll takes on the stack, and with the soft limit that users have.
    source = """
import resource

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
with clean():
    pool = MapReduce(np=150)
    assert pool.map(lambda i: i, range(300)) == list(range(300))
    death = expect(WorkerDied, lambda: pool.map(
        lambda i: time.sleep(60) if i < 149 else os._exit(3), range(150), chunksize=1), within=10)
    assert death.exitcode == 3
check_reuse(pool)
"""
    run_fault(source, tmp_path)


# memory


def test_memory_that_runs_out_in_a_worker_is_a_failure_of_its_item(tmp_path):
    source = """
import resource

def work(i):
    if i == 5:
        limit = 1 << 40
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return bytes(1 << 41)
    return i

pool = MapReduce(np=2)
with clean():
    assert type(expect(WorkerException, lambda: pool.map(work, range(9))).reason) is MemoryError
check_reuse(pool)
"""
    run_fault(source, tmp_path)


def test_memory_that_runs_out_in_the_coordinator(tmp_path):
    # Where pages for the workers' words, or for a result, cannot be had.
    source = """
import mmap

def refuse(*args, **kwargs):
    raise OSError(number, os.strerror(number))

class Large:
    # Takes its memory where it is unpickled for the second time: not in the worker's own trial.
    def __reduce__(self):
        return build, (os.getpid(),)

def build(pid):
    if os.getpid() != pid:
        raise MemoryError("no room for it")

pool = MapReduce(np=2)
with clean():
    real, mmap.mmap = mmap.mmap, refuse
    failure = expect(MemoryError, lambda: pool.map(abs, range(9)))
    failure = None
    mmap.mmap = real
    failure = expect(WorkerException, lambda: pool.map(lambda i: Large(), range(9)))
    assert type(failure.reason) is MemoryError
    failure = None
check_reuse(pool)
"""
    run_fault(source, tmp_path, number=errno.ENOMEM)


# what a kernel, a container or a sandbox refuses

BASIS = """
n = 1 << 16
shared = sharedarray.zeros(n)

def work(i):
    with pool.ordered, pool.critical:
        shared[i] = i
    return i, np.full(n, i)  # through a spool

def check_everything(pool):
    globals()["pool"] = pool
    results = pool.map(work, range(20))
    assert [i for i, _ in results] == list(range(20))
    assert all((array == i).all() for i, array in results)
    assert (shared[:20] == range(20)).all()
    assert pool.map(abs, iter(range(-20, 0))) == list(range(20, 0, -1))
    assert list(pool.imap(lambda i: i, range(20))) == list(range(20))
    death = expect(WorkerDied, lambda: pool.map(lambda i: i == 5 and os._exit(3), range(20)))
    assert death.exitcode == 3
    failure = expect(WorkerException, lambda: pool.map(lambda i: 1 // i, range(20)))
    assert type(failure.reason) is ZeroDivisionError

"""
REFUSALS = {
    **{
        f"memfd_create: {errno.errorcode[number]}": f"""
def memfd_create(*args):
    raise OSError({number}, os.strerror({number}))
os.memfd_create = memfd_create
"""
        for number in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL)
    },
    "no memfd_create": "del os.memfd_create",
    "no eventfd": "del os.eventfd, os.EFD_CLOEXEC",
    "no pidfd_open": "del os.pidfd_open",
    "pidfd_open: ENOSYS": """
def pidfd_open(*args):
    raise OSError(38, os.strerror(38))
os.pidfd_open = pidfd_open
""",
    "no semaphores": """
import _multiprocessing
def refuse(*args):
    raise OSError(38, os.strerror(38))
_multiprocessing.SemLock = refuse
sys.modules["multiprocessing.synchronize"] = None
""",
    "fcntl": """
import fcntl
def refuse(*args):
    raise PermissionError("fcntl")
fcntl.fcntl = refuse
""",
    "no /proc": """
import builtins, io

def hide(module, name):
    real = getattr(module, name)
    def hiding(path=".", *args, **kwargs):
        if is_hidden and not isinstance(path, int) and os.fspath(path).startswith("/proc"):
            raise FileNotFoundError(2, os.strerror(2), path)
        return real(path, *args, **kwargs)
    setattr(module, name, hiding)

is_hidden = True
for module, name in (os, "open"), (os, "listdir"), (os, "readlink"), (io, "open"):
    hide(module, name)
builtins.open = io.open
""",
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_are_none_of_the_users_business(tmp_path, refusal):
    check = """
pool = MapReduce(np=3)
check_everything(pool)
assert sharedarray.cpu_count() >= 1
assert sharedarray.total_memory() > 1 << 20
is_hidden = False
assert not children()
"""
    run_fault(REFUSALS[refusal] + BASIS + check, tmp_path)


def test_no_files_of_dev_shm_and_no_semaphores(tmp_path):
    source = """
opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
pool = MapReduce(np=3)
pool.map(lambda i: np.full(1 << 16, i), range(9))
assert not [path for path in opened if "/dev/shm" in str(path)], opened
assert not [name for name in sys.modules if "multiprocessing" in name]
"""
    run_fault(source, tmp_path)


def test_a_container_without_dev_shm_and_proc(tmp_path):
    if os.getuid() != 0:
        pytest.skip("takes root")
    source = """
import ctypes
from tests.workers.faults.harness import *

CLONE_NEWNS, MS_REC_PRIVATE, MNT_DETACH = 0x20000, 0x44000, 2
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
    print("the system does not allow it")
    sys.exit()
libc.umount2(b"/dev/shm", MNT_DETACH)
libc.umount2(b"/proc", MNT_DETACH)
assert not os.path.exists("/proc/self")
"""
    check = """
pool = MapReduce(np=3)
check_everything(pool)
assert sharedarray.cpu_count() >= 1
assert sharedarray.total_memory() > 1 << 20
print("right")
"""
    out = run_script(source + BASIS + check, tmp_path)
    if out == "the system does not allow it\n":
        pytest.skip("takes mount namespaces")
    assert out == "right\n"
