from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from sharedarray import functions
from sharedarray.cli import commands
from sharedarray.cli import main as cli
from sharedarray.files import fromfile
from tests.cli.support import (
    ERROR,
    NO_RESERVATION,
    OLD,
    SMALL_FILES,
    assert_refused,
    contents,
    fail_with,
    has_limits,
    run,
    sample,
    written,
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), ["cannot read 'in.bin'", "Input/output error"]),
        (MemoryError("Unable to allocate\n8 bytes"), ["Unable to allocate 8 bytes"]),
        (MemoryError(), ["MemoryError"]),
        (RuntimeError("can't start new thread"), ["threads", "--workers"]),
    ],
)
def test_failure_while_reading(crowded, call, monkeypatch, error, words):
    monkeypatch.setattr(fromfile, "fromfile", fail_with(error))
    before = contents(crowded)

    done = call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert_refused(done, *words)
    assert contents(crowded) == before


def test_fault_of_the_program_is_not_hidden(crowded, monkeypatch):
    monkeypatch.setattr(fromfile, "fromfile", fail_with(RuntimeError("a fault")))
    before = contents(crowded)

    with pytest.raises(RuntimeError, match="a fault"):
        cli.main(["sort", "in.bin", "--dtype", "f8", "-o", "out.bin"])

    assert contents(crowded) == before


def test_file_that_shrinks_is_refused(crowded, call, monkeypatch):
    read = fromfile.fromfile

    def shrink_and_read(file, *args, **kwargs):
        os.truncate("in.bin", 80)
        return read(file, *args, **kwargs)

    monkeypatch.setattr(fromfile, "fromfile", shrink_and_read)

    done = call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert_refused(done, "'in.bin' became shorter")
    assert Path("out.bin").read_bytes() == OLD


@has_limits
@pytest.mark.parametrize("prelude", [SMALL_FILES, SMALL_FILES + NO_RESERVATION])
def test_no_room_for_the_output(crowded, prelude):
    written("in.bin", sample(10_000))
    before = contents(crowded)

    done = run("sort", "in.bin", "--dtype", "f8", "-o", "out.bin", prelude=prelude)

    assert_refused(done, "cannot write 'out.bin'", "File too large")
    assert contents(crowded) == before


@pytest.mark.parametrize(("module", "name"), [(commands, "preallocate"), (os, "fsync")])
def test_full_disk(crowded, call, monkeypatch, module, name):
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(module, name, fail_with(error))
    before = contents(crowded)

    done = call("argsort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert_refused(done, "cannot write 'out.bin'", "No space left")
    assert contents(crowded) == before


@pytest.mark.skipif(sys.platform == "win32", reason="the platform has no such signals")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signal_ends_it_and_leaves_nothing(crowded, name, code):
    # The signal comes where everything is written and nothing is renamed yet.
    prelude = f"os.fsync = lambda fd: os.kill(os.getpid(), signal.{name})"
    before = contents(crowded)

    done = run("sort", "in.bin", "--dtype", "f8", "-o", "out.bin", prelude=prelude)

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert contents(crowded) == before


@pytest.mark.skipif(sys.platform == "win32", reason="the platform has no such signals")
def test_nohup_is_respected(crowded):
    prelude = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGHUP)"
    )

    done = run("sort", "in.bin", "--dtype", "f8", "-o", "out.bin", prelude=prelude)

    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_in_this_process(crowded, call, monkeypatch):
    monkeypatch.setattr(functions, "argsort", fail_with(KeyboardInterrupt()))
    before = contents(crowded)

    done = call("argsort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert contents(crowded) == before


@pytest.mark.parametrize("args", [["info"], ["--help"], ["sum", "in.bin", "--dtype", "f8"]])
def test_nobody_reads_the_output(crowded, args):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*args, stdout=writer, env={"PYTHONUNBUFFERED": ""})
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the platform has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_cannot_be_printed(crowded, unbuffered):
    with Path("/dev/full").open("w") as full:
        done = run("info", stdout=full, env={"PYTHONUNBUFFERED": unbuffered})

    assert done.returncode == 2
    assert done.stderr == ERROR + "No space left on device\n"


def test_standard_output_is_closed(crowded):
    done = run("sum", "in.bin", "--dtype", "f8", prelude="sys.stdout = None")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_name_that_is_no_text(folder):
    a = written("in.bin", sample(10))
    os.rename(b"in.bin", b"\xff.bin")  # noqa: PTH104 - a name in bytes

    done = run("sort", b"\xff.bin", "--dtype", "f8", "-o", "out.bin")
    refused = run("sort", b"\xfe.bin", "--dtype", "f8", "-o", "out.bin")

    assert done.returncode == 0
    assert Path("out.bin").read_bytes() == np.sort(a).tobytes()
    assert_refused(refused, r"'\udcfe.bin'")
