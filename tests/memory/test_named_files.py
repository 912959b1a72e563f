"""Files that are none of a named segment, and file systems without space for one."""

import ast
import errno
import os
import random
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

import sharedarray
from sharedarray.memory import named, registry
from tests.memory.support import ROOT, in_child

# other files


def header(**facts):
    """Return the start of a file that says of the array in it what it is told to."""
    text = repr({"descr": "<f8", "fortran_order": False, "shape": (3,)} | facts)
    padded = text.ljust(115) + "\n"
    return b"\x93NUMPY\x02\x00" + len(padded).to_bytes(4, "little") + padded.encode("latin1")


DATA = bytes(24)
assert ast.literal_eval(header()[12:].decode())["shape"] == (3,)

GARBAGE = {
    "nothing": b"",
    "zeros": bytes(1000),
    "text": b"name,value\n" * 50,
    "only the magic": b"\x93NUMPY\x02\x00",
    "another version": header()[:6] + b"\x01\x00" + header()[8:] + DATA,
    "an unknown version": header()[:6] + b"\x09\x00" + header()[8:] + DATA,
    "no data": header(),
    "too little data": header() + DATA[1:],
    "a huge header": header()[:8] + b"\xff\xff\xff\x7f" + header()[12:] + DATA,
    "an open bracket": header().replace(b"(3,)", b"(3, ") + DATA,
    "code": header().replace(b"(3,)", b"f( )") + DATA,
    "a negative length": header(shape=(-1,)) + DATA,
    "a negative length of bytes": header(descr="|u1", shape=(-1,)) + DATA,
    "negative lengths": header(shape=(-1, -3)) + DATA,
    "a huge length": header(shape=(2**62,)) + DATA,
    "lengths that cannot be counted": header(shape=(2**40, 2**40)) + DATA,
    "lengths of which one is zero": header(shape=(2**62, 2**62, 0)) + DATA,
    "a length that is none": header(shape=(1.5,)) + DATA,
    "too many lengths": header(shape=(1,) * 70) + DATA,
    "no dtype": header(descr="x9") + DATA,
    "no dtype at all": header(descr=None) + DATA,
    "Python objects": header(descr="|O", shape=(2,)) + DATA,
    "fields with Python objects": header(descr=[("a", "<i8"), ("b", "|O")], shape=(1,)) + DATA,
    "fields that are none": header(descr=[("a",)]) + DATA,
    "an order that is none": header(fortran_order=3) + DATA,
    "another word": header(more=1) + DATA,
}


def attached(content):
    """Return what attaching to a file gives: an array's bytes, or the class of an exception."""
    path = Path(named.path_of("x"))
    path.touch(0o600)
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            a = sharedarray.attach("x")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if a.dtype.hasobject:
        return "Python objects"
    block = registry.owner(a)
    assert a.nbytes <= block.nbytes <= len(content)
    return a.tobytes() if a.size < 10**6 else b""


@pytest.mark.parametrize("what", GARBAGE)
def test_file_of_something_else_is_refused(folder, what):
    assert in_child(lambda: attached(header() + DATA)) == DATA
    assert str(in_child(lambda: attached(GARBAGE[what]))).startswith("ValueError: ")


def test_damaged_file_gives_a_clean_error_or_what_is_in_it(folder):
    whole = header(descr=[("a", "<i4"), ("b", ">f4")]) + DATA

    def child():
        rng = random.Random(3)
        found = set()
        for _ in range(1500):
            damaged = bytearray(whole)
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(100)] = rng.choice(b"()[]{}<>|',:0123456789OfiSUVM-\n\0x")
            found.add(str(attached(damaged)).partition(":")[0][:12])
        return {kind for kind in found if not kind.startswith("b'")}

    assert in_child(child) == {"ValueError"}


def test_shortened_file_is_refused_at_any_length(folder):
    def child():
        sharedarray.arange(1000, name="x")
        path = Path(named.path_of("x"))
        content = path.read_bytes()
        lengths = [*range(140), 4096, len(content) - 1]
        return {str(attached(content[:n])).partition(":")[0] for n in lengths}

    assert in_child(child) == {"ValueError"}


def test_saved_file_of_numpy_may_be_attached_if_it_is_of_that_version(folder):
    path = Path(named.path_of("x"))
    path.touch(0o600)
    with path.open("wb") as file:
        npy.write_array(file, np.arange(5), version=(2, 0))
    assert sharedarray.attach("x").tolist() == [0, 1, 2, 3, 4]


# no space


def no_space(number):
    def posix_fallocate(*args):
        raise OSError(number, os.strerror(number))

    return posix_fallocate


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM])
def test_space_that_is_refused_is_an_error_and_leaves_nothing(folder, monkeypatch, number):
    monkeypatch.setattr(os, "posix_fallocate", no_space(number))
    for builder in (sharedarray.empty, sharedarray.zeros, sharedarray.ones):
        with pytest.raises((OSError, MemoryError)) as caught:
            builder(10**6, name="x")
        if isinstance(caught.value, OSError):
            assert caught.value.errno == number
    assert not list(folder.iterdir())
    monkeypatch.undo()


def test_impossible_size_is_an_error_at_once(folder):
    for shape in (2**44, (2**40, 2**10), 2**59):
        with pytest.raises((OSError, MemoryError)):
            sharedarray.empty(shape, name="x")
    assert not list(folder.iterdir())


def test_limit_of_file_sizes_is_an_error(folder):
    def child():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5))
        try:
            sharedarray.zeros(10**6, "u1", name="x")
        except OSError as error:
            return error.errno
        return None

    assert in_child(child) == errno.EFBIG
    assert not list(folder.iterdir())


def test_more_than_the_machine_has_to_spare_is_not_taken(folder, monkeypatch):
    # /dev/shm may be as large as the memory: to fill it up ends in the out-of-memory killer.
    def spared():
        return 1 << 20

    for module in ("config", "machine", "memory.segment", "memory.allocator", "memory.named"):
        path = f"sharedarray.{module}.available_memory"
        monkeypatch.setattr(path, spared, raising=False)
    with pytest.raises((MemoryError, OSError)):
        sharedarray.empty(2 << 20, "u1", name="x")
    assert not list(folder.iterdir())


FULL = """
import errno, sharedarray as sa
from sharedarray.memory import named
named.FOLDER = FOLDER
a = sa.full(500_000, 7, "u1", name="a")
for name in ("b", "c"):
    try:
        sa.full(900_000, 9, "u1", name=name)
    except OSError as error:
        assert error.errno == errno.ENOSPC and error.filename.endswith(name), error
assert sa.list_named() == ["a"] and (a == 7).all()
a[:] = 8
sa.unlink("a")
assert (a == 8).all()
del a
b = sa.full(900_000, 9, "u1", name="b")
assert (sa.attach("b") == 9).all()
print("done")
"""


def test_full_file_system_is_an_error_at_creation(tmp_path):
    mount = 'mount -t tmpfs -o size=1m none "$0" && exec "$1" -W error -c "$2"'
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    try:
        subprocess.run([*namespace, "mount -t tmpfs none /mnt"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no namespace of its own to mount a file system in: {error}")
    code = f"FOLDER = {str(tmp_path)!r}\n{FULL}"
    done = subprocess.run(
        [*namespace, mount, tmp_path, sys.executable, code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
