"""How the tests of the fault tables write their scripts, and what these scripts use to wait."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sharedarray import WorkerDied
from tests.workers.clock import naps

__all__ = ["check_death", "run_fault", "state_of", "wait_until"]

# How a coordinator hears of a death: by the kernel's pidfd, and where there is none.
WATCHES = {"pidfd": "", "no pidfd": "del os.pidfd_open"}

LONGEST_WAIT = 5  # seconds, for what comes at once
LIMIT = 30  # seconds, for a script that hangs: some take 10 on a busy machine


def run_fault(
    body: str, tmp_path: Path, *, watch: str = "pidfd", stderr: str = "", **values: Any
) -> None:
    """Run a script that has to come to its end once, with all the checks in it.

    `values` are its variables. `stderr` is a line that has to be there; else nothing may be.
    """
    from tests.workers import support  # with pytest: half of the time that a script takes to start

    source = "\n".join(
        [
            "from tests.workers.faults.harness import *",
            "from tests.workers.faults.scripts import *",
            WATCHES[watch],
            *(f"{name} = {value!r}" for name, value in values.items()),
            body,
            "print('end of the script', flush=True)",
        ]
    )
    out, err, code = support.end_script(support.start_script(source, tmp_path), limit=LIMIT)
    # What is late once may have met with a machine that stood still; then it is in time twice.
    for _ in range(2 if "TooLate" in err else 0):
        out, err, code = support.end_script(support.start_script(source, tmp_path), limit=LIMIT)
        if "TooLate" in err:
            break
    is_silent = stderr in err if stderr else not err
    assert (code, is_silent) == (0, True), f"exit code {code}\n{out}\n{err}"
    # A worker that gets out of the pool would print it too.
    assert out == "end of the script\n"


def wait_until(condition: Callable[[], Any]) -> None:
    """Look again and again until something holds that cannot be waited for."""
    assert any(condition() for _ in naps(LONGEST_WAIT)), "waited in vain"


def state_of(pid: int) -> str:
    """Return the state of a process: R, S, T, Z ...; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def check_death(
    death: BaseException,
    *,
    rank: int | None = None,
    pid: int | None = None,
    exitcode: int | None = None,
    items: tuple[int, ...] | None = None,
    by_pool: bool = False,
) -> None:
    """Assert that an exception, and a pickled copy of it, tell what has happened to a worker.

    Where the pool has ended it (`by_pool`), the text says why, and nothing of signals.
    """
    copy = pickle.loads(pickle.dumps(death))
    for error in (death, copy):
        assert type(error) is WorkerDied
        assert rank in (error.rank, None), (rank, error.rank)
        assert pid in (error.pid, None), (pid, error.pid)
        assert items in (error.items, None), (items, error.items)
        assert exitcode in (error.exitcode, None), (exitcode, error.exitcode)
        assert error.signal == (-error.exitcode if error.exitcode < 0 else None), error.signal
        text = str(error)
        assert f"worker {error.rank} (pid {error.pid})" in text
        assert all(f"item {item}" in text for item in error.items), text
        if by_pool:
            assert "was ended, because" in text, text
            continue
        if error.exitcode >= 0:
            assert f"exit code {error.exitcode}" in text
        elif error.signal in list(signal.Signals):
            assert signal.Signals(error.signal).name in text
        if error.signal == signal.SIGKILL:
            assert "out of memory" in text or "out-of-memory" in text
    assert str(copy) == str(death)
    assert type(copy.reason) is type(death.reason)
    assert death.pid != os.getpid()
