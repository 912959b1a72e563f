"""CPUs, memory and limits that this process has.

Each is read from the kernel and has a fallback: nothing here needs /proc or /sys.
"""

from __future__ import annotations

import functools
import math
import os
import re
import sys
from collections.abc import Iterator
from itertools import accumulate

import numpy as np

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

# Files of Linux, as attributes of the module: tests set them.
CGROUP_OF_PROCESS = "/proc/self/cgroup"
CGROUP_ROOT = "/sys/fs/cgroup"
MAX_MAP_COUNT = "/proc/sys/vm/max_map_count"
SHMEM_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
_PF_EXITING = 0x4  # a flag in /proc/<pid>/stat


def cpus() -> tuple[int, str]:
    """Return the smaller of the CPU affinity and the cgroup quota, and its name."""
    if hasattr(os, "sched_getaffinity"):
        allowed, source = len(os.sched_getaffinity(0)), "CPU affinity"
    else:
        allowed, source = os.cpu_count() or 1, "os.cpu_count"
    quota = _cgroup_cpus()
    return (quota, "cgroup quota") if quota is not None and quota < allowed else (allowed, source)


def total_memory() -> int:
    """Return the memory that this process may use.

    Returns
    -------
    int
        Bytes: the smaller of the physical memory and the cgroup limit.

    Raises
    ------
    NotImplementedError
        If the platform does not tell the size of its memory.

    Examples
    --------
    >>> import sharedarray
    >>> sharedarray.total_memory() > 0
    True
    """
    try:
        pages = os.sysconf("SC_PHYS_PAGES")
        if pages <= 0:
            raise OSError(f"SC_PHYS_PAGES is {pages}")
    except (AttributeError, ValueError, OSError) as error:
        message = f"the platform {sys.platform!r} does not tell the size of its memory"
        raise NotImplementedError(message) from error
    physical = pages * os.sysconf("SC_PAGE_SIZE")
    limits = _cgroup_numbers("memory", "memory.max", "memory.limit_in_bytes")
    return min([physical, *(limit for (limit,) in limits)])


def available_memory() -> int | None:
    """Return how many bytes are available without swapping; None if the kernel does not say."""
    _, found, rest = _read("/proc/meminfo").partition("MemAvailable:")
    return int(rest.split()[0]) * 1024 if found else None


@functools.cache
def host_id() -> str:
    """Return an id of this machine and of the processes that /proc shows; "" off Linux.

    Processes of the same user with the same id can reach each other's shared memory.
    """
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - to import pathlib takes 3 ms
    except OSError:
        return ""
    return boot and f"{boot} {space}"


def is_exiting(pid: int) -> bool:
    """Return whether the kernel is ending a process; False if it does not say.

    Meanwhile it closes the files of the process: to free one in memory takes a second for every few
    gibibytes.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return len(fields) > 6 and bool(int(fields[6]) & _PF_EXITING)


def oom_kills() -> int:
    """Return how many processes of this cgroup the out-of-memory killer has killed."""
    for line in _read(_memory_events()).splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill" and count.isdecimal():
            return int(count)
    return 0


@functools.cache
def _memory_events() -> str:
    """Return the file in which the cgroup (v2) of this process counts OOM kills."""
    for line in _read(CGROUP_OF_PROCESS).splitlines():
        if line.startswith("0::"):
            return f"{CGROUP_ROOT}/{line[3:]}/memory.events"
    return f"{CGROUP_ROOT}/memory.events"


def memory_size() -> str:
    """Return `total_memory` as text."""
    try:
        return f"{total_memory() / 2**30:.1f} GiB"
    except NotImplementedError:
        return "unknown"


def simd_features() -> str:
    """Return the SIMD features that NumPy uses on this CPU."""
    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return " ".join([*simd.get("baseline", []), *simd.get("found", [])]) or "none"


def shared_huge_pages() -> str:
    """Return the setting, which the file shows in brackets: ``always [never] force``."""
    _, _, rest = _read(SHMEM_HUGE_PAGES).partition("[")
    return rest.partition("]")[0] or "unknown"


def collapses() -> bool:
    """Return whether the kernel makes huge pages of shared memory on request (MADV_COLLAPSE).

    Linux 6.1 and later do, unless the setting is ``deny``.
    """
    if not sys.platform.startswith("linux") or shared_huge_pages() == "deny":
        return False
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return version is not None and tuple(map(int, version.groups())) >= (6, 1)


def open_files() -> str:
    """Return the limit of open file descriptors."""
    if resource is None:
        return "unknown"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{soft} (up to {hard} may be asked for)"


def memory_maps() -> str:
    """Return how many memory maps a process may have."""
    return _read(MAX_MAP_COUNT).strip() or "unknown"


@functools.cache  # 60 us of small files, and every operation asks
def _cgroup_cpus() -> int | None:
    """Return the CPU quota of the cgroups in CPUs, rounded up; read once."""
    limits = _cgroup_numbers("cpu", "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return min((math.ceil(quota / period) for quota, period in limits), default=None)


def _cgroup_numbers(controller: str, unified: str, *legacy: str) -> Iterator[tuple[int, ...]]:
    """Yield the limits of a controller in the cgroup of this process and in all around it.

    A limit is the numbers in the files `legacy` (cgroup v1, one each), or as many numbers in the
    file `unified` (v2). No limit ("max", -1, no such file) yields nothing.
    """
    # Without /proc, or in a container with a cgroup root of its own, "/" is right.
    lines = _read(CGROUP_OF_PROCESS).splitlines() or ["0::/", f"1:{controller}:/"]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            roots, files = [CGROUP_ROOT, f"{CGROUP_ROOT}/unified"], [unified]
        elif controller in controllers.split(","):
            roots = [f"{CGROUP_ROOT}/{controller}", f"{CGROUP_ROOT}/{controllers}"]
            files = list(legacy)
        else:
            continue
        folders = list(accumulate(filter(None, path.split("/")), "{}/{}".format, initial=""))
        for root in roots:
            for folder in folders:
                words = " ".join(_read(f"{root}{folder}/{file}") for file in files).split()
                numbers = tuple(int(word) for word in words if word.isdecimal() and int(word) > 0)
                if len(numbers) == len(words) == len(legacy):
                    yield numbers


def _read(path: str) -> str:
    """Return the text of a small file of the kernel, empty if it cannot be read."""
    try:
        # The import of pathlib takes 3 ms.
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""
