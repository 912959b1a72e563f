"""Limits of the machine: a clear error at once, or memory that does without."""

import os
import subprocess
import sys

import pytest

from sharedarray.machine import available_memory
from tests.memory.support import ROOT, run_python

GIB = 1 << 30
# A mount namespace of its own, in which /dev/shm has one mebibyte.
SMALL_SHM = "mount -t tmpfs -o size=1m tmpfs /dev/shm"


@pytest.fixture(scope="module")
def in_small_shm():
    def run(command, **variables):
        return subprocess.run(
            ["unshare", "-m", "bash", "-c", f"{SMALL_SHM} && {command}"],
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def run_code(code):
        done = run(f'exec {sys.executable} -W error -c "$CODE"', CODE=code)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    try:
        may_mount = run("true").returncode == 0
    except OSError:
        may_mount = False
    if not may_mount:
        pytest.skip("to mount a small /dev/shm takes root and unshare")
    return run_code


def test_thousands_of_arrays_of_all_sizes_under_a_low_limit_of_descriptors():
    code = """
import sharedarray
sizes = [1, 1000, 20_000, 1 << 17]
arrays = [sharedarray.full(sizes[n % 4], float(n)) for n in range(10_000) if n % 4 != 3 or n < 2000]
values = [float(a[0]) for a in arrays]
pool = sharedarray.MapReduce(np=2)
print(pool.map(lambda i: float(arrays[i][-1]), range(len(arrays))) == values)
pool.map(lambda i: arrays[i].fill(-values[i]), range(len(arrays)))
print([float(a[-1]) for a in arrays] == [-value for value in values])
del arrays[::2]
arrays += [sharedarray.full(1 << 17, 1.0) for _ in range(300)]
print([float(a[-1]) for a in arrays[:-300]] == [-value for value in values[1::2]])
"""
    assert run_python(code, shell_limits="ulimit -n 256").split() == ["True"] * 3


@pytest.mark.skipif(
    (available_memory() or 0) < 4 * GIB, reason="the mappings take half a gibibyte of the kernel's"
)
def test_more_mappings_than_the_kernel_allows_is_a_memory_error_and_freed_ones_make_room():
    code = """
from pathlib import Path
import sharedarray
from sharedarray.memory.segment import Segment
limit = int(Path("/proc/sys/vm/max_map_count").read_text())
arrays = []
try:
    if limit <= 70_000:
        while len(arrays) < limit:
            arrays.append(Segment(4096))
    said = "max_map_count"
except MemoryError as error:
    del arrays[-3000:]
    said = str(error)
print("max_map_count" in said)
again = [sharedarray.ones(1 << 20, "u1") for _ in range(100)]
print(all(a.all() for a in again))
"""
    assert run_python(code, timeout=120).split() == ["True", "True"]


def test_arrays_do_not_depend_on_the_size_of_dev_shm(in_small_shm):
    code = """
import sharedarray
a = sharedarray.full(8 << 20, 7.0)
b = [sharedarray.full(20_000, float(n)) for n in range(100)]
print(float(a.sum()) == 7 * a.size, all((c == n).all() for n, c in enumerate(b)))
made = sharedarray.MapReduce(np=2).map(lambda i: sharedarray.full(1 << 18, i), range(4))
print(all((c == n).all() for n, c in enumerate(made)))
print(sharedarray.MapReduce(np=2).map(lambda i: len(bytes(4 << 20)), range(3)) == [4 << 20] * 3)
"""
    assert in_small_shm(code) == ["True"] * 4


def test_named_array_without_space_for_it_is_an_error_and_leaves_no_name(in_small_shm):
    code = """
import errno, os
import sharedarray
try:
    sharedarray.zeros(2 << 20, "u1", name="too-large")
except OSError as error:
    print(error.errno == errno.ENOSPC)
print(sharedarray.list_named() == os.listdir("/dev/shm") == [])
a = sharedarray.full(1 << 16, 7.0, name="fits")
print(bool((sharedarray.attach("fits") == 7).all()), sharedarray.list_named() == ["fits"])
b = []
try:
    while True:
        b.append(sharedarray.ones(4096, name=f"b{len(b)}"))
except OSError as error:
    print(error.errno == errno.ENOSPC)
print(all(c.all() for c in b), len(sharedarray.list_named()) == 1 + len(b))
"""
    assert in_small_shm(code) == ["True"] * 7
