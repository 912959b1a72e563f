"""What measured times depend on: versions, the machine, and what else runs on it."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from sharedarray import config, machine

__all__ = ["OtherLoad", "heading"]


def heading(version: str) -> str:
    """Return two lines that say where and with what something is measured.

    Parameters
    ----------
    version : str
        Of this package.

    Returns
    -------
    str
        Date, versions and workers; CPU, memory, system, and the setting for huge pages.
    """
    return (
        f"{date.today().isoformat()}, {version}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}, workers: {config.get_num_workers()}\n"
        f"{_cpu()}, {machine.cpus()[0]} CPUs, {machine.memory_size()}, "
        f"{platform.system()} {platform.release()}, "
        f"huge pages in shared memory: {machine.shared_huge_pages()}"
    )


class OtherLoad:
    """How much of the CPUs other programs take, from now on."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._before = _seconds_of_others()

    def cpus(self) -> float:
        """Return the mean number of CPUs that they have kept busy.

        Returns
        -------
        float
            What the system was busy beyond this process and the children that it has waited for;
            0 where there is no ``/proc/stat``.
        """
        seconds = _seconds_of_others() - self._before
        return max(0.0, seconds / (perf_counter() - self._began))


def _seconds_of_others() -> float:
    """Return the CPU time that was not ours, since some moment in the past."""
    try:
        total, *lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return 0.0
    n_cpus = sum(re.match(r"cpu\d", line) is not None for line in lines)
    # The system measures how long CPUs are idle. How long they are busy it samples at its ticks,
    # which is wrong by 10 per cent of a turn of some tenths of a second.
    idle = sum(map(int, total.split()[4:6])) / os.sysconf("SC_CLK_TCK")
    return n_cpus * perf_counter() - idle - process_time() - sum(os.times()[2:4])


def _cpu() -> str:
    """Return what the CPU calls itself."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
