import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sharedarray_ops.files.replacing import place_of, replacing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["nameless", "named"])
def ways(request, monkeypatch):
    """Do it with nameless files, and where the file system has none."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("the platform has no nameless files")
    return request.param


def put(path, content, then=lambda: None):
    with replacing(place_of(path)) as descriptor:
        os.write(descriptor, content)
        then()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_and_old_files(ways, tmp_path):
    for path in (tmp_path / "x", str(tmp_path / "x"), os.fsencode(tmp_path / "y")):
        for content in (b"old", b"new", b""):
            put(os.fspath(path), content)
            assert Path(os.fsdecode(path)).read_bytes() == content
    assert names(tmp_path) == ["x", "y"]


def test_the_old_file_is_there_until_the_end(ways, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with replacing(os.fspath(path)) as descriptor:
            os.write(descriptor, b"new")
            assert path.read_bytes() == b"old"
            assert len(names(tmp_path)) == (1 if ways == "nameless" else 2)
        assert path.read_bytes() == b"new"
        assert reader.read() == b"old"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [b"old", None])
def test_on_an_error_nothing_has_happened(ways, tmp_path, error, before):
    path = tmp_path / "x"
    if before is not None:
        path.write_bytes(before)

    def fail():
        raise error

    with pytest.raises(error):
        put(os.fspath(path), b"new", fail)
    assert names(tmp_path) == ([] if before is None else ["x"])
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("call", ["link", "replace", "fchmod"])
def test_an_error_at_the_end(ways, tmp_path, monkeypatch, call):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def failing(*args, **kwargs):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, call, failing)
    if (call, ways) == ("link", "named"):
        put(os.fspath(path), b"new")
        return
    with pytest.raises(OSError, match="broken"):
        put(os.fspath(path), b"new")
    assert names(tmp_path) == ["x"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_file_systems_without_nameless_files(tmp_path, monkeypatch, code):
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("the platform has no nameless files")
    open_file = os.open

    def refusing(path, flags, *args, **kwargs):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code))
        return open_file(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    put(os.fspath(tmp_path / "x"), b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o660])
def test_the_mode_stays(ways, tmp_path, mode):
    path = tmp_path / "x"
    path.touch()
    path.chmod(mode)
    put(os.fspath(path), b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_the_umask(ways, tmp_path):
    (tmp_path / "x").touch()
    put(os.fspath(tmp_path / "y"), b"new")
    assert (tmp_path / "y").stat().st_mode == (tmp_path / "x").stat().st_mode


def test_another_group_does_not_get_the_rights_of_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.touch()
    path.chmod(0o664)
    fstat = os.fstat

    def of_another(descriptor):
        fields = list(fstat(descriptor))
        fields[5] += 1  # the group
        return os.stat_result(fields)

    def forbidden(*args):
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "fstat", of_another)
    monkeypatch.setattr(os, "fchown", forbidden)
    put(os.fspath(path), b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_symbolic_links_are_followed(ways, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    for name, target in {"a": "file", "b": "a", "c": "folder/new"}.items():
        (tmp_path / name).symlink_to(target)
        put(os.fspath(tmp_path / name), name.encode())
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_bytes() == name.encode()
    assert (tmp_path / "file").read_bytes() == b"b"
    assert names(tmp_path / "folder") == ["new"]


def test_what_is_opened_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for path in ("/dev/null", tmp_path / "fifo", tmp_path / "link", tmp_path, "", f"{tmp_path}/x/"):
        assert place_of(os.fspath(path)) is None
    descriptor = os.memfd_create("x")
    assert place_of(f"/proc/self/fd/{descriptor}") is None
    os.close(descriptor)
    with (tmp_path / "gone").open("wb") as file:
        path = f"/proc/self/fd/{file.fileno()}"
        assert place_of(path) == os.fspath(tmp_path / "gone")
        (tmp_path / "gone").unlink()
        assert place_of(path) is None


def test_links_that_lead_to_themselves(tmp_path):
    (tmp_path / "x").symlink_to("x")
    with pytest.raises(OSError, match="symbolic links"):
        place_of(os.fspath(tmp_path / "x"))


def test_a_folder_that_is_not_there(ways, tmp_path):
    path = os.fspath(tmp_path / "no" / "x")
    with pytest.raises(FileNotFoundError) as caught:
        put(path, b"new")
    assert caught.value.filename == path


def test_a_folder_that_disappears(ways, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FileNotFoundError):
        put(os.fspath(folder / "x"), b"new", lambda: shutil.rmtree(folder))
    assert not folder.exists()


def test_a_folder_that_may_not_be_written_to(ways, tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    open_file = os.open

    def refusing(path, flags, *args, **kwargs):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_file(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(PermissionError, match=r"r\+b") as caught:
        put(os.fspath(path), b"new")
    assert caught.value.filename == os.fspath(path)


def test_a_file_that_may_not_be_written_to(ways, tmp_path, monkeypatch):
    """Renaming needs no right to the file itself: it is asked for, as opening would."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    if os.geteuid():
        path.chmod(0o400)
    else:  # nothing is forbidden to root
        open_file = os.open

        def refusing(name, flags, *args, **kwargs):
            if name == os.fspath(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
            return open_file(name, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(PermissionError):
        put(os.fspath(path), b"new")
    assert path.read_bytes() == b"old"


def test_names_of_the_greatest_length(ways, tmp_path):
    put(os.fspath(tmp_path / ("x" * 255)), b"new")
    assert names(tmp_path) == ["x" * 255]


KILLED = """
import os, signal, sys
from sharedarray_ops.files.replacing import replacing
if sys.argv[2] == "named":
    del os.O_TMPFILE
with replacing(sys.argv[1]) as descriptor:
    os.write(descriptor, b"new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_the_old_file(ways, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, path, ways], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    left = [name for name in names(tmp_path) if name != "x"]
    assert len(left) == (0 if ways == "nameless" else 1)
    assert all(name.startswith(".sharedarray-") and name.endswith(".tmp") for name in left)
