from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from tests.cli.support import (
    NO_RESERVATION,
    OLD,
    contents,
    run,
    sample,
    written,
)


def test_output_is_written_beside_and_renamed(folder, call, monkeypatch):
    a = written("in.bin", sample(1000))
    Path("out.bin").write_bytes(OLD)
    seen = {}

    def look(fd):
        seen.update(contents(folder), new=os.pread(fd, 1 << 20, 0))

    monkeypatch.setattr(os, "fsync", look)

    assert call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin").returncode == 0

    assert seen.pop("out.bin") == OLD
    assert seen.pop("in.bin") == a.tobytes()
    assert seen == {"new": np.sort(a).tobytes()}  # which has no name yet
    assert contents(folder) == {"in.bin": a.tobytes(), "out.bin": np.sort(a).tobytes()}


def test_sort_onto_the_input(folder, call):
    a = written("in.bin", sample(1000))

    assert call("sort", "in.bin", "--dtype", "f8", "-o", "in.bin").returncode == 0

    assert contents(folder) == {"in.bin": np.sort(a).tobytes()}


def test_new_output_has_the_mode_of_a_new_file(folder, call):
    written("in.bin", sample(10))
    before = os.umask(0o027)
    try:
        call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin")
        Path("as_open_does.bin").touch()
    finally:
        os.umask(before)

    mode = Path("out.bin").stat().st_mode
    assert mode == Path("as_open_does.bin").stat().st_mode
    assert stat.S_IMODE(mode) == 0o640


def test_old_output_keeps_its_mode(folder, call):
    written("in.bin", sample(10))
    Path("out.bin").touch()
    Path("out.bin").chmod(0o604)

    assert call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin").returncode == 0

    assert stat.S_IMODE(Path("out.bin").stat().st_mode) == 0o604


def test_link_stays_a_link(folder, call):
    a = written("in.bin", sample(10))
    Path("there").mkdir()
    Path("out.bin").symlink_to("there/real.bin")

    assert call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin").returncode == 0

    assert Path("out.bin").is_symlink()
    assert contents(folder / "there") == {"real.bin": np.sort(a).tobytes()}


def test_file_system_that_cannot_reserve(folder):
    a = written("in.bin", sample(1000))

    done = run("sort", "in.bin", "--dtype", "f8", "-o", "out.bin", prelude=NO_RESERVATION)

    assert (done.returncode, done.stderr) == (0, "")
    assert Path("out.bin").read_bytes() == np.sort(a).tobytes()
