from __future__ import annotations

import re
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest

from sharedarray import functions
from sharedarray.cli import demo
from sharedarray.files import fromfile
from sharedarray.memory import array as shared_array
from tests.cli.support import (
    SMALL_FILES,
    assert_refused,
    has_limits,
    run,
    sample,
)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Let temporary files be made in a folder of their own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def table(done):
    """Return the rows of the table: operation -> the other columns."""
    lines = done.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("operation"))
    return {name: rest for name, *rest in map(str.split, lines[start + 1 : start + 5])}


def test_demo(tmp_path):
    done = run("demo", "--count", "300000", "-w", "2", env={"TMPDIR": str(tmp_path)})

    assert (done.returncode, done.stderr) == (0, "")
    assert "300,000 float64 (0.00 GB), workers: 2, NumPy " + np.__version__ in done.stdout
    assert "Best of 3 runs" in done.stdout
    assert [*table(done)] == ["fromfile", "argsort", "sort", "sum"]
    for of_numpy, ours, ratio, is_equal in table(done).values():
        assert is_equal == "yes"
        assert float(of_numpy) >= 0 <= float(ours)
        assert re.fullmatch(r"\d+\.\dx", ratio)
    assert not [*tmp_path.iterdir()]


def nudged(function):
    """Return a function whose results are off by the least there is."""

    def wrong(*args, **kwargs):
        result = function(*args, **kwargs)
        last = result[-1:] if isinstance(result, np.ndarray) else np.atleast_1d(result)
        last = np.nextafter(last, 2)
        if isinstance(result, np.ndarray):
            result[-1:] = last
            return result
        return last[0]

    return wrong


@pytest.mark.parametrize("operation", ["fromfile", "argsort", "sort", "sum"])
def test_demo_finds_a_wrong_result(scratch, call, monkeypatch, operation):
    if operation == "argsort":
        monkeypatch.setattr(functions, "argsort", lambda a: np.argsort(a)[::-1])
    elif operation == "sort":
        monkeypatch.setitem(shared_array.DISPATCH, np.ndarray.sort, lambda a: None)
    else:
        home = fromfile if operation == "fromfile" else functions
        monkeypatch.setattr(home, operation, nudged(getattr(home, operation)))

    done = call("demo", "--count", 1000, "--repeat", 1)

    assert (done.returncode, done.stderr) == (1, "")
    assert {name: row[-1] for name, row in table(done).items() if row[-1] != "yes"} == {
        operation: "NO"
    }


def test_demo_counts_the_best_of_turns(monkeypatch):
    events = []
    times = iter([5.0, 2.0, 4.0, 1.0, 6.0, 3.0])

    def timed(function):
        return function(), next(times)

    def named(name):
        return lambda: events.append(name)

    monkeypatch.setattr(demo, "_timed", timed)
    operation = demo.Operation(
        "work", named("numpy"), named("ours"), lambda *results: len(events) != 6, named("prepare")
    )

    row = demo.compare(operation, 3)

    assert events == ["prepare", "numpy", "ours"] * 3
    assert row == ("work", 4.0, 1.0, False)  # wrong in the second run, right in the last


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--count", "0"], ["--count", "1 or more"]),
        (["--repeat", "0"], ["--repeat", "1 or more"]),
        (["--count", "2e7"], ["--count"]),
        (["--count", "1" + "0" * 15], ["memory", "--count"]),
    ],
)
def test_demo_refuses(scratch, call, args, words):
    assert_refused(call("demo", *args), *words)


def test_demo_needs_room_for_its_file(scratch, call, monkeypatch):
    monkeypatch.setattr(demo.shutil, "disk_usage", lambda path: SimpleNamespace(free=799))

    assert_refused(call("demo", "--count", 100), "free", "TMPDIR", str(scratch))
    assert call("demo", "--count", 99, "--repeat", 1).returncode == 0


@has_limits
def test_demo_finds_the_disk_full(tmp_path):
    env = {"TMPDIR": str(tmp_path)}

    done = run("demo", "--count", "10000", prelude=SMALL_FILES, env=env)

    assert_refused(done, "cannot write a sample", str(tmp_path), "File too large")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("expected", "result", "verdict"),
    [
        (np.float64(0.1), np.float64(0.1), True),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), True),
        (np.array([0.0]), np.array([-0.0]), False),
        (np.float64(1), np.float32(1), False),
        (np.zeros(3), np.zeros(4), False),
    ],
)
def test_same_bits(expected, result, verdict):
    assert demo.same_bits(expected, result) is verdict


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_stable_argsort_is_recognised(monkeypatch, block):
    monkeypatch.setattr(demo, "BLOCK", block)
    a = sample(50)
    a[:20] = 7
    order = np.argsort(a, kind="stable")
    assert demo.is_stable_argsort(a, order)

    for i in range(order.size - 1):
        wrong = order.copy()
        wrong[[i, i + 1]] = wrong[[i + 1, i]]
        assert not demo.is_stable_argsort(a, wrong)
        wrong[i] = wrong[i + 1]
        assert not demo.is_stable_argsort(a, wrong)
    assert not demo.is_stable_argsort(a, order[:-1])
    assert not demo.is_stable_argsort(a, order.astype("i4"))
    assert not demo.is_stable_argsort(a, order - 1)
    assert not demo.is_stable_argsort(a, order + 1)
