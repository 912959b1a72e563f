from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sharedarray import __main__ as cli
from sharedarray import config, demo, functions, machine
from sharedarray.memory import array as shared_array

ROOT = Path(__file__).resolve().parent.parent
ERROR = "python -m sharedarray: error: "
OLD = b"what was there before"

is_root = hasattr(os, "geteuid") and os.geteuid() == 0
obeys_permissions = pytest.mark.skipif(is_root, reason="root may read and write everything")
has_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the platform has no FIFOs")
has_limits = pytest.mark.skipif(machine.resource is None, reason="the platform has no rlimits")

# Runs the program in a process of its own, after a prelude that prepares the process.
DRIVER = """
import errno, os, runpy, signal, sys
{prelude}
sys.argv = ["sharedarray", *sys.argv[1:]]
runpy.run_module("sharedarray", run_name="__main__", alter_sys=True)
"""
NO_RESERVATION = """
def refuse(*args):
    raise OSError(errno.EOPNOTSUPP, "no such thing")
os.posix_fallocate = refuse
"""
SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
"""


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch):
    for name in config.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys):
    """Return what runs a command in this process: code, standard output, standard error."""

    def call(*args):
        try:
            code = cli.main([str(arg) for arg in args])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    return call


def run(*args, prelude=None, **kwargs):
    """Run a command in a process of its own."""
    how = ["-m", "sharedarray"] if prelude is None else ["-c", DRIVER.format(prelude=prelude)]
    # A measurement of coverage in the child would start things of its own.
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    env |= {"PYTHONPATH": str(ROOT)} | kwargs.pop("env", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs
    command = [sys.executable, *how, *map(os.fspath, args)]
    return subprocess.run(command, env=env, timeout=60, text=True, check=False, **streams)


def sample(n=200_000, dtype="f8"):
    """Return values with ties, in no order."""
    return np.random.default_rng(1).integers(0, 100, n).astype(dtype)


def written(name, a):
    a.tofile(name)
    return a


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_refused(done, *words):
    """Check the exit code and the one line that says why."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(ERROR)
    assert done.stderr.endswith("\n")
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


# what the commands do


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


# the output takes its place at the end, and only then


def test_output_is_written_beside_and_renamed(folder, call, monkeypatch):
    a = written("in.bin", sample(1000))
    Path("out.bin").write_bytes(OLD)
    seen = {}
    monkeypatch.setattr(os, "fsync", lambda fd: seen.update(contents(folder)))

    assert call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin").returncode == 0

    assert seen.pop("out.bin") == OLD
    assert seen.pop("in.bin") == a.tobytes()
    assert [*seen.values()] == [np.sort(a).tobytes()]
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


# what they refuse

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


@pytest.fixture
def crowded(folder):
    """Stand in a folder with a good input, an old output and things that are neither."""
    written("in.bin", sample(100))
    Path("out.bin").write_bytes(OLD)
    Path("a_folder").mkdir()
    Path("loop.bin").symlink_to("loop.bin")
    return folder


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
    monkeypatch.setattr(functions, "fromfile", None)  # to call it raises
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
    def refuse(*args, **kwargs):
        raise error

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
    monkeypatch.setattr(config, "total_memory", lambda: 1000)

    assert call("sort", "in.bin", "--dtype", "f8", "-o", "new.bin").returncode == 0
    done = call("argsort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert_refused(done, "memory", "--offset")
    assert Path("out.bin").read_bytes() == OLD


def test_platform_that_does_not_tell_its_memory(crowded, call, monkeypatch):
    def silent():
        raise NotImplementedError

    monkeypatch.setattr(config, "total_memory", silent)

    assert call("sum", "in.bin", "--dtype", "f8").returncode == 0


# what goes wrong on the way


def fail_with(error):
    def fail(*args, **kwargs):
        raise error

    return fail


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
    monkeypatch.setattr(functions, "fromfile", fail_with(error))
    before = contents(crowded)

    done = call("sort", "in.bin", "--dtype", "f8", "-o", "out.bin")

    assert_refused(done, *words)
    assert contents(crowded) == before


def test_fault_of_the_program_is_not_hidden(crowded, monkeypatch):
    monkeypatch.setattr(functions, "fromfile", fail_with(RuntimeError("a fault")))
    before = contents(crowded)

    with pytest.raises(RuntimeError, match="a fault"):
        cli.main(["sort", "in.bin", "--dtype", "f8", "-o", "out.bin"])

    assert contents(crowded) == before


def test_file_that_shrinks_is_refused(crowded, call, monkeypatch):
    read = functions.fromfile

    def shrink_and_read(file, *args, **kwargs):
        os.truncate("in.bin", 80)
        return read(file, *args, **kwargs)

    monkeypatch.setattr(functions, "fromfile", shrink_and_read)

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


@pytest.mark.parametrize("name", ["posix_fallocate", "fsync"])
def test_full_disk(crowded, call, monkeypatch, name):
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, name, fail_with(error), raising=False)
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


# the program


def test_no_command_shows_the_help(call):
    done = call()

    assert (done.returncode, done.stdout) == (2, "")
    for command in ("argsort", "sort", "sum", "demo", "info"):
        assert f"\n    {command} " in done.stderr


@pytest.mark.parametrize("command", ["argsort", "sort", "sum", "demo", "info"])
def test_help_of_a_command(call, command):
    done = call(command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert "--workers" in done.stdout


def test_version(call, monkeypatch):
    monkeypatch.setattr(cli.metadata, "version", {"sharedarray-toolkit": "1.2.3"}.__getitem__)
    assert call("--version").stdout == "sharedarray 1.2.3\n"

    monkeypatch.setattr(cli.metadata, "version", fail_with(cli.metadata.PackageNotFoundError()))
    assert call("--version").stdout == "sharedarray, not installed\n"


def test_info(call, monkeypatch, tmp_path):
    setting = tmp_path / "shmem_enabled"
    setting.write_text("always within_size advise [never] deny force\n")
    monkeypatch.setattr(machine, "SHMEM_HUGE_PAGES", setting)

    done = call("info", "-w", 3)

    assert (done.returncode, done.stderr) == (0, "")
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.splitlines()[1:])
    assert facts["NumPy"] == np.__version__
    assert facts["workers"] == "3 (from num_workers)"
    assert facts["SIMD features"]
    assert facts["shared huge pages"] == "never"
    assert f"echo advise | sudo tee {setting}" in facts["huge pages cost"]


def test_malformed_variable_is_one_line(crowded):
    done = run("sum", "in.bin", "--dtype", "f8", env={"OMP_NUM_THREADS": "many"})

    assert done.returncode == 0
    assert done.stderr.startswith("python -m sharedarray: warning: ")
    assert "OMP_NUM_THREADS='many'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# demo


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
        monkeypatch.setattr(functions, operation, nudged(getattr(functions, operation)))

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
