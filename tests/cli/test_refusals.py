from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sharedarray import machine
from sharedarray.files import fromfile
from tests.cli.support import (
    OLD,
    assert_refused,
    contents,
    has_fifo,
    obeys_permissions,
    run,
)

BAD_INPUTS = [
    (["nowhere.bin"], ["'nowhere.bin'", "No such file"]),
    (["a_folder"], ["'a_folder'", "directory"]),
    (["loop.bin"], ["'loop.bin'", "symbolic links"]),
    (["line\nbreak.bin"], [r"'line\nbreak.bin'", "No such file"]),
    (["in.bin", "--offset", "1"], ["799", "multiple", "8 bytes of float64"]),
    (["in.bin", "--dtype", "i8,i1"], ["800", "multiple", "9 bytes"]),
    (["in.bin", "--count", "101"], ["100 elements", "101"]),
    (["in.bin", "--offset", "792", "--count", "2"], ["1 elements", "from byte 792"]),
    (["in.bin", "--offset", "801"], ["offset 801", "800 bytes"]),
    (["in.bin", "--offset", "9" * 30], ["beyond the end"]),
    (["in.bin", "--offset", "-8"], ["--offset", "'-8'", "0 or more"]),
    (["in.bin", "--count", "-1"], ["--count", "'-1'", "0 or more"]),
    (["in.bin", "--dtype", "f99"], ["--dtype", "'f99'"]),
    (["in.bin", "--dtype", "bogus["], ["--dtype", "'bogus['"]),
    (["in.bin", "--dtype", "O"], ["'O'", "objects"]),
    (["in.bin", "--dtype", "i4,O"], ["'i4,O'", "objects"]),
    (["in.bin", "--dtype", "S0"], ["'S0'"]),
    (["in.bin", "--dtype", "(2,)f8"], ["'(2,)f8'", "single"]),
    (["in.bin", "--workers", "-1"], ["--workers", "'-1'"]),
    (["in.bin", "--workers", "two"], ["--workers", "'two'"]),
    (["in.bin", "--workers", "100000"], ["--workers", "'100000'", "4096"]),
    (["in.bin", "--bogus"], ["--bogus"]),
]


@pytest.mark.parametrize("command", ["argsort", "sort", "sum"])
@pytest.mark.parametrize(("args", "words"), BAD_INPUTS)
def test_bad_input_is_refused(crowded, call, command, args, words):
    output = [] if command == "sum" else ["-o", "out.bin"]
    before = contents(crowded)

    done = call(command, "--dtype", "f8", *args, *output)

    assert_refused(done, *words)
    assert contents(crowded) == before


BAD_OUTPUTS = [
    (["-o", "nowhere/out.bin"], ["'nowhere/out.bin'", "No such file"]),
    (["-o", "a_folder"], ["'a_folder'", "directory"]),
    (["-o", "new_folder/"], ["'new_folder/'"]),
    (["-o", "in.bin/out.bin"], ["Not a directory"]),
    (["-o", "loop.bin"], ["'loop.bin'", "symbolic links"]),
    (["-o", "x" * 300], ["name too long"]),
    (["-o", ""], ["''"]),
    (["-o", "in.bin", "--count", "5"], ["'in.bin'", "input"]),
    (["-o", "in.bin", "--offset", "8"], ["'in.bin'", "input"]),
    ([], ["required", "--output"]),
]


@pytest.mark.parametrize("command", ["argsort", "sort"])
@pytest.mark.parametrize(("args", "words"), BAD_OUTPUTS)
def test_bad_output_is_refused_before_the_work(crowded, call, monkeypatch, command, args, words):
    monkeypatch.setattr(fromfile, "fromfile", None)  # to call it raises
    before = contents(crowded)

    done = call(command, "in.bin", "--dtype", "f8", *args)

    assert_refused(done, *words)
    assert contents(crowded) == before


@pytest.mark.parametrize(
    "args",
    [
        ["sort", "nowhere.bin", "--dtype", "f8", "-o", "out.bin"],
        ["sort", "in.bin", "--dtype", "f99", "-o", "out.bin"],
        ["argsort", "in.bin", "--dtype", "i8,i1", "-o", "out.bin"],
        ["argsort", "in.bin", "--dtype", "f8", "-o", "nowhere/out.bin"],
        ["sum", "in.bin", "--dtype", "S8"],
        ["demo", "--count", "1" + "0" * 15],
        ["bogus"],
    ],
)
def test_process_ends_with_the_code_and_the_line(crowded, args):
    before = contents(crowded)

    assert_refused(run(*args))

    assert contents(crowded) == before


def test_argsort_onto_the_input_is_refused(crowded, call):
    Path("link.bin").symlink_to("in.bin")
    before = contents(crowded)

    for name in ("in.bin", "link.bin"):
        done = call("argsort", "in.bin", "--dtype", "f8", "-o", name)
        assert_refused(done, "it is the input")

    assert contents(crowded) == before


@pytest.mark.parametrize("dtype", ["S8", "M8[s]", "f4,i4"])
def test_sum_of_what_has_none_is_refused(crowded, call, dtype):
    assert_refused(call("sum", "in.bin", "--dtype", dtype), "cannot be summed")


@obeys_permissions
def test_permissions_are_obeyed(crowded, call):
    Path("secret.bin").touch(0)
    Path("fixed.bin").touch(0o400)
    Path("a_folder").chmod(0o500)

    assert_refused(call("sum", "secret.bin", "--dtype", "f8"), "Permission denied")
    for output in ("fixed.bin", "a_folder/out.bin"):
        done = call("sort", "in.bin", "--dtype", "f8", "-o", output)
        assert_refused(done, "Permission denied")


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied")])
def test_file_that_does_not_open_is_refused(crowded, call, monkeypatch, error):
    opened = Path.open

    def refuse(path, *args, **kwargs):
        if path.name == "in.bin":
            raise error
        return opened(path, *args, **kwargs)  # what the machine has is read from files, too

    monkeypatch.setattr(Path, "open", refuse)

    assert_refused(call("sum", "in.bin", "--dtype", "f8"), "'in.bin': Permission denied")
    done = call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin")
    assert_refused(done, "'in.bin': Permission denied")


@has_fifo
def test_fifo_is_neither_input_nor_output(crowded):
    os.mkfifo("fifo")

    assert_refused(run("sum", "fifo", "--dtype", "f8"), "not a regular file")
    done = run("sort", "in.bin", "--dtype", "f8", "-o", "fifo")

    assert_refused(done, "not a regular file")
    assert stat.S_ISFIFO(Path("fifo").stat().st_mode)


def test_more_than_the_memory_is_refused(crowded, call, monkeypatch):
    monkeypatch.setattr(machine, "total_memory", lambda: 1000)

    assert call("sort", "in.bin", "--dtype", "f8", "-o", "new.bin").returncode == 0
    done = call("argsort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert_refused(done, "memory", "--offset")
    assert Path("out.bin").read_bytes() == OLD


def test_platform_that_does_not_tell_its_memory(crowded, call, monkeypatch):
    def silent():
        raise NotImplementedError

    monkeypatch.setattr(machine, "total_memory", silent)

    assert call("sum", "in.bin", "--dtype", "f8").returncode == 0
