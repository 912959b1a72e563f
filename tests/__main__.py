"""Run every check of the project, in order, and stop at the first that fails.

``python -m tests`` needs the packages of the extra ``test`` in its own environment, and leaves
nothing in the tree but the caches of its tools. ``python -m tests --coverage`` runs the tests
alone, measured, in twice the time, and prints which lines and branches they have not reached.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Three parts of the tests run beside each other: one computes, one mostly waits, and one has the
# engines of others behind the kernels, as their processes, threads and ways to pickle would stay.
COMPUTING = (
    "sharedarray",
    "sharedarray_ops",
    "asv_bench/report",
    "tests/functions",
    "tests/files",
)
KERNELS = ("tests/ops", "tests/memory", "tests/cli", "tests/cluster")
# A small class of each file of asv_bench/benchmarks, each case run once.
QUICK_BENCHMARKS = (
    r"^(background\.TrackCall|elementwise\.Elementwise.*'f8', 'exp'|fileio\.Fromfile.*'f8'"
    r"|mapreduce\.TrackDeath|memory\.TrackSmall|overhead\.TrackSmallCall|parallel\.TrackBlock"
    r"|pickling\.Pickle|reduction\.Sum.*'f8', 'random'|scaling\..*4000000, 'sum', '[12]'\)"
    r"|searching\.Digitize|selecting\.Take\..*'f8', 'random'|sorting\.Argsort.*'f8', 'random'"
    r"|sweep\..*\b10, 'f8', 'sum'|writing\.TrackFromiter.*2000000, 'range', 'all')"
)

# What forked workers run is measured by these files alone: a measurement that starts with a process
# and is saved at its end takes 40 ms, and the whole suite forks tens of thousands.
IN_WORKERS = ("tests/workers/test_processes.py", "tests/workers/test_predecessor.py")
WITH_WORKERS = """\
[run]
branch = true
source = sharedarray, sharedarray_ops
concurrency = thread
patch = fork, _exit
parallel = true
"""

Command = tuple[str, ...]  # a module with its arguments
Step = tuple[str, list[Command], Path]  # heading, what runs at the same time, and where


def plan(scratch: Path) -> Iterator[Step]:
    # asv writes its results beside its configuration, so it works on a copy. With an existing
    # environment it asks no version control for anything: a tree without git will do.
    bench = shutil.copytree(ROOT / "asv_bench", scratch / "asv_bench")
    here = f"existing:{sys.executable}"
    quick = ("--quick", "--dry-run", "--show-stderr", "--launch-method", "forkserver")
    quick += ("--bench", QUICK_BENCHMARKS)

    yield "ruff check", [("ruff", "check", ".")], ROOT
    yield "ruff format", [("ruff", "format", "--check", ".")], ROOT
    yield "mypy", [("mypy",)], ROOT
    yield "pytest", [("pytest", *part) for part in parts()], ROOT
    yield "asv machine", [("asv", "machine", "--yes")], bench
    yield "asv check", [("asv", "check", "-E", here)], bench
    yield "asv run, quick", [("asv", "run", *quick, "-E", here)], bench


def plan_coverage(scratch: Path) -> Iterator[Step]:
    rc = scratch / "coveragerc"
    rc.write_text(WITH_WORKERS)
    in_workers = ("coverage", "run", f"--rcfile={rc}", "-m", "pytest", *IN_WORKERS)
    tested = ("coverage", "run", "-m", "pytest")

    yield "pytest", [(*tested, *part) for part in parts()], ROOT
    yield "pytest, workers measured", [in_workers], ROOT
    yield "coverage: join workers", [("coverage", "combine", "--quiet")], ROOT
    yield "coverage: report", [("coverage", "report")], ROOT


def parts() -> list[Command]:
    """Return what pytest is to run in each of the processes that run beside each other."""
    return [COMPUTING, waiting(), KERNELS]


def waiting() -> Command:
    """Return all tests that are not among the computing ones."""
    tests = (ROOT / "tests").glob("**/test_*.py")
    found = sorted({"/".join(path.relative_to(ROOT).parts[:2]) for path in tests})
    return tuple(name for name in found if name not in (*COMPUTING, *KERNELS))


def environment(scratch: Path) -> dict[str, str]:
    return os.environ | {
        "COVERAGE_FILE": str(scratch / "coverage"),
        "PYTHONUNBUFFERED": "1",  # headings and output stay in order in a log
    }


def asv_environment(scratch: Path) -> dict[str, str]:
    # asv describes the machine in a file of the home directory: give it one of its own.
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    return environment(scratch) | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(step: Step, scratch: Path) -> bool:
    """Run the commands of a step; the first one prints at once, the others when it has ended."""
    heading, commands, folder = step
    running = []
    with ExitStack() as stack:
        for i, command in enumerate(commands):
            print(f"\n===== {heading}: {' '.join(command)}", flush=True)
            output = stack.enter_context(tempfile.TemporaryFile(dir=scratch)) if i else None
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=folder,
                env=asv_environment(scratch) if command[0] == "asv" else environment(scratch),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            running.append((process, output))
        for process, output in running:
            process.wait()
            if output is not None:
                output.seek(0)
                shutil.copyfileobj(output, sys.stdout.buffer)
                sys.stdout.flush()
    return all(process.returncode == 0 for process, _ in running)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--coverage", action="store_true", help="measure the tests, and no more")
    chosen = plan_coverage if parser.parse_args().coverage else plan
    outcome: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="sharedarray-tests-") as name:
        scratch = Path(name)
        for step in chosen(scratch):
            if "FAILED" in outcome.values():
                outcome[step[0]] = "not run"
            else:
                outcome[step[0]] = "passed" if run(step, scratch) else "FAILED"

    print("\n===== summary")
    for heading, result in outcome.items():
        print(f"{heading:<24}{result}")
    return 1 if "FAILED" in outcome.values() else 0


if __name__ == "__main__":
    sys.exit(main())
