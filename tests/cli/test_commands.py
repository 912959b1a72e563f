from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sharedarray import config, machine
from tests.cli.support import (
    contents,
    run,
    sample,
    written,
)


def test_argsort_writes_the_stable_order(folder):
    a = written("in.bin", sample())

    done = run("argsort", "in.bin", "--dtype", "f8", "-o", "order.npy", "-w", "2")

    assert (done.returncode, done.stderr) == (0, "")
    order = np.load("order.npy")
    assert order.dtype == np.intp
    assert np.array_equal(order, np.argsort(a, kind="stable"))
    assert "200,000 elements of float64, 0.002 GB, workers: 2" in done.stdout
    for step in ("read", "argsort", "write"):
        assert re.search(rf"^{step} +\d+\.\d+ s +\d+\.\d+ GB/s$", done.stdout, re.MULTILINE)
    assert sorted(contents(folder)) == ["in.bin", "order.npy"]


def test_sort_writes_the_bytes_in_order(folder):
    a = written("in.bin", sample(300_000))

    done = run("sort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert (done.returncode, done.stderr) == (0, "")
    assert Path("out.bin").read_bytes() == np.sort(a).tobytes()
    assert sorted(contents(folder)) == ["in.bin", "out.bin"]


def test_sum_prints_all_digits(folder):
    a = written("in.bin", sample(600_000) / 7)

    done = run("sum", "in.bin", "--dtype", "f8")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split() == ["result", str(np.sum(a))]
    assert contents(folder) == {"in.bin": a.tobytes()}


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "<i2", ">i4", "f2", "f4", ">f8", "M8[s]", "S3", "c16"]
)
def test_any_dtype(folder, call, dtype):
    a = written("in.bin", sample(1000, "i8").astype(dtype))

    assert call("argsort", "in.bin", "--dtype", dtype, "-o", "order.npy").returncode == 0
    assert call("sort", "in.bin", "--dtype", dtype, "-o", "out.bin").returncode == 0

    assert np.array_equal(np.load("order.npy"), np.argsort(a, kind="stable"))
    assert Path("out.bin").read_bytes() == np.sort(a).tobytes()


@pytest.mark.parametrize("dtype", ["?", "i1", ">u4", "f2", "f4", "c8", "m8[s]"])
def test_sum_of_any_dtype_that_has_one(folder, call, dtype):
    a = written("in.bin", sample(1000, "i8").astype(dtype))

    done = call("sum", "in.bin", "--dtype", dtype)

    assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["result", str(np.sum(a))]


def test_offset_and_count(folder, call):
    a = sample(1000)
    Path("in.bin").write_bytes(b"head\n" + a.tobytes() + b"tail")
    part = ("--dtype", "f8", "--offset", 5, "--count", 1000)

    assert call("argsort", "in.bin", *part, "-o", "order.npy").returncode == 0
    assert call("sort", "in.bin", *part, "-o", "out.bin").returncode == 0
    total = call("sum", "in.bin", *part).stdout

    assert np.array_equal(np.load("order.npy"), np.argsort(a, kind="stable"))
    assert Path("out.bin").read_bytes() == np.sort(a).tobytes()
    assert total.split()[-1] == str(np.sum(a))


def test_nothing_to_do(folder, call):
    Path("in.bin").touch()

    assert call("argsort", "in.bin", "--dtype", "f8", "-o", "order.npy").returncode == 0
    assert call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin").returncode == 0

    assert np.load("order.npy").shape == (0,)
    assert Path("out.bin").read_bytes() == b""
    assert call("sum", "in.bin", "--dtype", "f8").stdout.split()[-1] == "0.0"


@pytest.mark.parametrize("workers", [0, 1, 2, 3, 7])
def test_workers_change_nothing_but_the_report(folder, call, workers):
    a = written("in.bin", sample(300_000))

    done = call("argsort", "in.bin", "--dtype", "f8", "-o", "order.npy", "--workers", workers)

    assert f"workers: {workers}\n" in done.stdout
    assert np.array_equal(np.load("order.npy"), np.argsort(a, kind="stable"))
    assert config.get_num_workers() == config.cpu_count() == machine.cpus()[0]
