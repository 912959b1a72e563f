"""Progress in bytes: of files, by any pool, at a bounded cost."""

from __future__ import annotations

import os
import sys
import types

import pytest

from sharedarray import MapReduce
from sharedarray.files import progress
from sharedarray.files.fromfile import fromfile
from sharedarray.files.progress import MAX_REPORTS, reporting_bytes
from tests.files.fromfile_support import DATA
from tests.functions.support import Untouched
from tests.ops.support import BarePool, RecordingPool, assert_same_bits


def assert_told(told, n_bytes):
    assert told == sorted(set(told)), "counts grow"
    assert told[-1:] == ([n_bytes] if n_bytes else [])
    assert len(told) <= MAX_REPORTS + 1


@pytest.mark.parametrize("n_bytes", [0, 1, 255, 256, 257, 10_007, 1 << 40])
@pytest.mark.parametrize("n_steps", [1, 7, 256, 5000])
def test_few_reports_whatever_the_number_of_steps(n_bytes, n_steps):
    told = []
    with reporting_bytes(told.append, n_bytes) as reports:
        for i in range(n_steps):
            reports.add(n_bytes * (i + 1) // n_steps - n_bytes * i // n_steps)
    assert_told(told, n_bytes)
    assert len(told) >= min(n_bytes, n_steps, MAX_REPORTS) // 2


def test_what_came_less_than_expected_is_told_at_the_end():
    told = []
    with reporting_bytes(told.append, 1 << 30) as reports:
        reports.add(5)
        assert told == []
    assert told == [5]


def test_of_unknown_size(monkeypatch):
    monkeypatch.setattr(progress, "REPORT_NBYTES", 100)
    told = []
    with reporting_bytes(told.append, None) as reports:
        for _ in range(1003):
            reports.add(1)
    assert told == [*range(100, 1001, 100), 1003]


def test_nothing_is_told_of_what_failed():
    told = []

    def fail():
        with reporting_bytes(told.append, 1 << 30) as reports:
            reports.add(5)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert told == []


@pytest.mark.parametrize("backend", ["thread", "process"])
@pytest.mark.parametrize("np", [0, 2])
def test_of_a_file(small, data, backend, np):
    told = []
    pool = MapReduce(backend, np)
    result = fromfile(data, "u1", 4000, pool=pool, progress=told.append)
    assert_same_bits(result, fromfile(data, "u1", 4000))
    assert_told(told, 4000)
    assert len(told) > 30, "a report for each of 63 chunks, or for several that came at once"


def test_a_pool_of_another_kind_tells_at_its_end(small, data):
    for pool in (BarePool(), RecordingPool(2)):
        told = []
        assert_same_bits(
            fromfile(data, "u1", pool=pool, progress=told.append), fromfile(data, "u1")
        )
        assert_told(told, len(DATA))


def test_of_what_numpy_reads(data):
    told = []
    fromfile(data, "f8", progress=told.append)
    data.write_bytes(b"1 2 3")
    fromfile(data, "f8", sep=" ", progress=told.append)
    fromfile(data, "f8", 0, progress=told.append)
    assert told == [len(DATA) // 8 * 8, 24]


def test_exception_of_the_callable_ends_the_reading(small, data):
    error = KeyError("no bar")
    told, read, preadv = [], [], os.preadv

    def report(n_bytes):
        told.append(n_bytes)
        raise error

    def counting(descriptor, buffers, offset):
        read.append(offset)
        return preadv(descriptor, buffers, offset)

    small.setattr(os, "preadv", counting)
    for backend in ("serial", "thread"):
        with data.open("rb") as file:
            with pytest.raises(KeyError) as caught:
                fromfile(file, "u1", pool=MapReduce(backend, np=2), progress=report)
            assert file.tell() == 0
        assert caught.value is error
        if backend == "serial":
            assert told == [64]
            assert read == [0]


@pytest.mark.parametrize("progress", [1, "bar", []])
def test_what_cannot_report(small, data, progress):
    for count in (3, 4000):
        with pytest.raises(TypeError, match="progress"):
            fromfile(data, "u1", count, pool=Untouched(), progress=progress)


class Bar:
    """What is needed of `tqdm.auto.tqdm`, which counts in steps."""

    made: list[Bar]

    def __init__(self, *, total, unit, unit_scale, unit_divisor):
        self.total, self.unit = total, unit
        self.n = 0
        self.is_open = True
        self.made.append(self)

    def update(self, n):
        assert self.is_open
        self.n += n

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.is_open = False


def test_bar(small, data, monkeypatch):
    package, auto = types.ModuleType("tqdm"), types.ModuleType("tqdm.auto")
    package.auto = auto
    auto.tqdm = type("tqdm", (Bar,), {"made": []})
    monkeypatch.setitem(sys.modules, "tqdm", package)
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)

    fromfile(data, "i2", progress=True, pool=MapReduce(np=2))

    (bar,) = auto.tqdm.made
    assert (bar.total, bar.n, bar.unit, bar.is_open) == (4098, 4098, "B", False)


def test_bar_without_tqdm_names_what_to_install(small, data, monkeypatch):
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install.*\[progress\]"):
        fromfile(data, "u1", pool=Untouched(), progress=True)
