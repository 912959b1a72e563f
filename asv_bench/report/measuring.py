"""One benchmark of a folder as asv knows it, run in a process of its own, as asv does.

::

    command                                    child, the leader of a session
    -------                                    ------------------------------
    measure(case) -- python -m this module --> import the class, setup, method, teardown
    wait, the child unreaped                   stdout: {"value": 7.9, ...} or {"skipped": "why"}
    kill what is left of the session  <------- end

Guarantees
    All that a benchmark has started is killed when `measure` ends, also where that is by Ctrl-C,
    which does not reach another session. A benchmark that fails, is killed or takes too long costs
    its own value only.

Assumptions
    Linux. A benchmark starts no session of its own.

No two benchmarks are in one process: none has the memory, the workers and the caches of another.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import sharedarray

__all__ = ["Outcome", "measure"]

# Seconds, for a class that says nothing else; the default of asv.
TIMEOUT = 60
# Where this module, and the package that is measured, are imported from.
PACKAGES = [Path(file).resolve().parent.parent for file in (__file__, sharedarray.__file__)]


class Outcome(NamedTuple):
    """What came of a benchmark.

    Attributes
    ----------
    value : float or None
        The measured value, None where there is none.
    why : str
        Why there is none, in one line.
    is_failure : bool
        Whether it failed; a benchmark that does not apply here is none.
    spread : float or None
        By which part of the value another measurement may differ, where the benchmark says it.
    """

    value: float | None
    why: str = ""
    is_failure: bool = False
    spread: float | None = None


def measure(
    folder: Path, benchmark: str, params: Mapping[str, Any], env: Mapping[str, str]
) -> Outcome:
    """Run one benchmark.

    Parameters
    ----------
    folder : Path
        What holds the package ``benchmarks``.
    benchmark : str
        ``module.Class.track_method``.
    params : mapping
        A value for each of the class's ``param_names``.
    env : mapping
        The environment of the process that runs it.

    Returns
    -------
    Outcome
        Its value, or why there is none.
    """
    packages = [str(folder), *map(str, PACKAGES), env.get("PYTHONPATH", "")]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "report.measuring",
                benchmark,
                repr(dict(params)),
            ],
            env={**env, "PYTHONPATH": os.pathsep.join(filter(None, packages))},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        finally:
            # The child is not reaped yet, so the number of its session is nobody else's.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return _outcome(process.returncode, _lines(out), _lines(err))


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()


def _outcome(returncode: int, out: list[str], err: list[str]) -> Outcome:
    """Return what an ended child has to say."""
    if returncode == -signal.SIGALRM:
        return Outcome(None, "it took longer than its timeout", True)
    if returncode < 0:
        hint = ": is there too little memory?" if returncode == -signal.SIGKILL else ""
        return Outcome(None, f"ended by {signal.Signals(-returncode).name}{hint}", True)
    if returncode or not out:
        return Outcome(None, err[-1] if err else f"exit code {returncode}", True)
    said: dict[str, Any] = json.loads(out[-1])  # before it, a benchmark may have printed
    return Outcome(said.get("value"), said.get("skipped", ""), spread=said.get("spread"))


def _run(benchmark: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Run one benchmark in this process, as asv does."""
    module, cls, method = benchmark.split(".")
    instance = getattr(importlib.import_module(f"benchmarks.{module}"), cls)()
    values = [params[name] for name in getattr(instance, "param_names", ())]
    # The default action, which ends the process also where it hangs in a call of C.
    signal.alarm(int(getattr(instance, "timeout", TIMEOUT)))
    try:
        getattr(instance, "setup", _nothing)(*values)
        value = getattr(instance, method)(*values)
    except NotImplementedError as error:  # asv's way to skip parameters
        return {"skipped": str(error)}
    finally:
        getattr(instance, "teardown", _nothing)(*values)
    return {"value": float(value), "spread": getattr(value, "spread", None)}


def _nothing(*values: object) -> None:
    """Stand in for a setup or teardown that a class does not have."""


def _main() -> None:
    said = _run(sys.argv[1], ast.literal_eval(sys.argv[2]))
    print("\n" + json.dumps(said))


if __name__ == "__main__":
    _main()
