"""Names and users that named segments refuse."""

import contextlib
import errno
import os
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import named
from tests.memory.support import Child, in_child

IS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY = 65534

BAD_NAMES = ["", ".", "..", "a/b", "/x", "../x", "-x", ".x", "+x", "a b", "\u00e9", "x\n", "x\0"]
BAD_NAMES += ["a" * 201, "*", "x;y"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: sharedarray.full(3, [1, 2], name="half"),
        lambda: sharedarray.full(3, "x", dtype=float, name="half"),
        lambda: sharedarray.full_like(np.zeros(3), [1, 2], name="half"),
    ],
)
def test_name_of_an_array_that_cannot_be_filled_is_free(folder, make):
    with pytest.raises(ValueError, match=r"broadcast|convert"):
        make()
    assert sharedarray.list_named() == []
    assert sharedarray.full(3, 1, name="half").tolist() == [1, 1, 1]
    sharedarray.unlink("half")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_text_that_is_no_name_is_refused(folder, name):
    builders = [lambda name: sharedarray.zeros(3, name=name), sharedarray.attach]
    for call in [*builders, sharedarray.unlink]:
        with pytest.raises(ValueError, match="no name for a segment"):
            call(name)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", [5, b"x", 2.5, ["x"], True, Path("x")])
def test_what_is_no_text_is_refused(folder, name):
    for call in (lambda name: sharedarray.full(3, 1, name=name), *CALLS):
        with pytest.raises(TypeError, match="must be a str"):
            call(name)
    assert not list(folder.iterdir())


CALLS = [sharedarray.attach, sharedarray.unlink]


@pytest.mark.parametrize("call", CALLS)
def test_missing_name_is_told(folder, call):
    with pytest.raises(TypeError):
        call(None)
    with pytest.raises(FileNotFoundError, match="no segment of the name 'x'") as caught:
        call("x")
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == named.path_of("x")


@pytest.mark.parametrize("dtype", [object, np.dtypes.StringDType(), [("a", "f8"), ("b", object)]])
def test_python_objects_are_refused(folder, dtype):
    with pytest.raises(TypeError, match="cannot be in shared memory"):
        sharedarray.zeros(3, dtype, name="x")
    assert not list(folder.iterdir())


# taken names


def test_taken_name_is_refused_and_what_is_there_stays(folder):
    a = sharedarray.arange(5, name="x")
    with pytest.raises(FileExistsError, match="attach to it, or unlink it") as caught:
        sharedarray.zeros(10**6, name="x")
    assert caught.value.errno == errno.EEXIST
    assert caught.value.filename == named.path_of("x")
    assert sharedarray.attach("x").tolist() == a.tolist() == [0, 1, 2, 3, 4]
    assert len(list(folder.iterdir())) == 1


def no_space(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_taken_name_is_told_also_where_there_is_no_space_for_another(folder, monkeypatch):
    sharedarray.arange(5, name="x")
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(FileExistsError):
        sharedarray.zeros(10**6, name="x")


def test_one_of_the_processes_that_race_for_a_name_gets_it(folder):
    def racer(rank):
        def work():
            os.close(start_write)
            os.read(start_read, 1)  # until all other ends are closed
            yield attempt(rank)

        return work

    def attempt(rank):
        try:
            sharedarray.full(50_000, rank, name="x")
        except FileExistsError:
            return sharedarray.attach("x").shape == (50_000,)
        return "won"

    for _ in range(10):
        start_read, start_write = os.pipe()
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(Child(racer(rank))) for rank in range(4)]
            os.close(start_write)
            outcomes = [child.step() for child in children]
        os.close(start_read)
        assert sorted(outcomes, key=str) == [True, True, True, "won"]
        assert (sharedarray.attach("x") == outcomes.index("won")).all()
        assert len(list(folder.iterdir())) == 1
        sharedarray.unlink("x")


# rights


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_only_the_user_may_open_it_whatever_the_umask(folder, umask):
    def make():
        os.umask(umask)
        sharedarray.zeros(3, name="x")

    in_child(make)
    assert Path(named.path_of("x")).stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_segment_that_is_open_to_others_is_refused(folder, mode):
    sharedarray.zeros(3, name="x")
    Path(named.path_of("x")).chmod(mode)
    with pytest.raises(PermissionError, match="open to others"):
        sharedarray.attach("x")
    assert len(list(folder.iterdir())) == 1
    Path(named.path_of("x")).chmod(0o600)
    assert sharedarray.attach("x").shape == (3,)


@IS_ROOT
def test_segment_of_another_user_is_refused(folder):
    a = sharedarray.zeros(3, name="x")
    os.chown(named.path_of("x"), NOBODY, -1)
    with pytest.raises(PermissionError, match="another user"):
        sharedarray.attach("x")
    with pytest.raises(FileExistsError):
        sharedarray.zeros(3, name="x")
    assert a.tolist() == [0, 0, 0]


@IS_ROOT
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_another_user_is_refused(folder, mode):
    sharedarray.zeros(3, name="x")
    (folder / f"sharedarray-{NOBODY}-x").hardlink_to(named.path_of("x"))
    Path(named.path_of("x")).chmod(mode)
    for path in (folder, folder.parent):
        path.chmod(0o755)

    def child():
        os.setuid(NOBODY)
        return [outcome(call) for call in CALLS]

    def outcome(call):
        try:
            return call("x")
        except OSError as error:
            return type(error)

    assert in_child(child) == [PermissionError, PermissionError]
    assert len(list(folder.iterdir())) == 2


def test_two_users_may_have_a_segment_of_one_name(folder, monkeypatch):
    sharedarray.full(3, 5, name="x")
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert sharedarray.list_named() == []
    with pytest.raises(FileNotFoundError):
        sharedarray.attach("x")


def test_symbolic_link_is_not_followed(folder):
    sharedarray.arange(5, name="target")
    link = Path(named.path_of("x"))
    link.symlink_to(named.path_of("target"))
    with pytest.raises(OSError, match=r"symbolic link.*x"):
        sharedarray.attach("x")
    with pytest.raises(FileExistsError):
        sharedarray.zeros(5, name="x")
    sharedarray.unlink("x")
    assert sharedarray.attach("target").tolist() == [0, 1, 2, 3, 4]
    link.symlink_to(folder / "nowhere")
    with pytest.raises(FileExistsError):
        sharedarray.zeros(5, name="x")
    with pytest.raises(OSError, match="x"):
        sharedarray.attach("x")
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=lambda make: make.__name__)
def test_what_is_no_file_is_refused(folder, make):
    make(Path(named.path_of("x")), 0o600)
    with pytest.raises(OSError, match="x"):
        sharedarray.attach("x")
    with pytest.raises(FileExistsError):
        sharedarray.zeros(5, name="x")
