import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sharedarray import MapReduce
from sharedarray.errors import WorkerDied
from sharedarray.files.tofile import tofile
from tests.files.writing_support import DATA, names, old_file_stays, small_files
from tests.functions.support import Untouched
from tests.ops.support import POOLS, outcome

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def small():
    with small_files() as patch:
        yield patch


@pytest.mark.parametrize(
    "kwargs",
    [
        {"sep": None},
        {"sep": b""},
        {"sep": 0},
        {"format": 3},
        {"sep": ",", "format": 3},
        {"sep": ",", "format": "%d %d"},
        {"nothing": 1},
    ],
    ids=str,
)
def test_arguments_are_judged_like_numpy(small, tmp_path, kwargs):
    expected = outcome(lambda: DATA.tofile(tmp_path / "x", **kwargs))
    assert expected[0] == "raised"
    (tmp_path / "x").unlink(missing_ok=True)
    with old_file_stays(tmp_path) as path:
        assert outcome(lambda: tofile(DATA, path, pool=Untouched(), **kwargs)) == expected


@pytest.mark.parametrize("dtype", [object, "i4,O", np.dtypes.StringDType()], ids=str)
def test_objects(tmp_path, dtype):
    with old_file_stays(tmp_path) as path:
        expected = outcome(lambda: np.zeros(2, dtype).tofile(os.devnull))
        assert outcome(lambda: tofile(np.zeros(2, dtype), path)) == expected == ("raised", OSError)


def test_what_is_refused_before_any_work(small, tmp_path):
    with old_file_stays(tmp_path) as path:
        for kwargs in ({"pool": 3}, {"progress": 3}):
            with pytest.raises(TypeError):
                tofile(DATA, path, **kwargs)
        with pytest.raises(TypeError, match="masked"):
            tofile(np.ma.array([1, 2], mask=[0, 1]), path)


def test_paths_that_cannot_be(small, tmp_path):
    for path in (tmp_path, "", "nul\0", tmp_path / "no" / "x", f"{tmp_path}/x/"):
        expected = outcome(lambda p=path: DATA.tofile(p))
        assert expected[0] == "raised"
        assert outcome(lambda p=path: tofile(DATA, p)) == expected
    assert names(tmp_path) == []


@pytest.mark.parametrize("pool", ["bare", "thread-2", "serial-3"])
@pytest.mark.parametrize("step", [1, 2])
def test_an_error_in_the_middle(small, tmp_path, pool, step):
    pwrite, n_left = os.pwrite, [5]

    def failing(descriptor, part, offset):
        n_left[0] -= 1
        if n_left[0] < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pwrite(descriptor, part, offset)

    small.setattr(os, "pwrite", failing)
    with old_file_stays(tmp_path) as path, pytest.raises(OSError, match="Input/output") as caught:
        tofile(DATA[::step], path, pool=POOLS[pool]())
    assert caught.value.errno == errno.EIO


def test_a_limit_on_the_size_of_files(small, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with old_file_stays(tmp_path) as path:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            with pytest.raises(OSError, match="too large") as caught:
                tofile(np.zeros(1 << 21, "u1"), path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device(small):
    for n in (5, 4000):
        with pytest.raises(OSError, match="No space"):
            tofile(DATA[:n], "/dev/full")


FULL = """
import errno, os, sys
import numpy as np
from sharedarray.files import tofile as module
from sharedarray.files.tofile import tofile
from sharedarray_ops.files import writing

folder, way = sys.argv[1:]
path = folder + "/x"
np.zeros(1 << 20, "u1").tofile(path)
if way == "no fallocate":
    writing._fallocate = lambda: None
module.MIN_TOFILE = 1 << 20
for a in (np.ones(8 << 20, "u1"), np.ones(16 << 20, "u1")[::2]):
    try:
        tofile(a, path)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        assert way == "no fallocate" or str(a.nbytes) in str(error), error
    else:
        sys.exit("there was space")
    assert os.listdir(folder) == ["x"]
    assert np.fromfile(path, "u1").tolist() == [0] * (1 << 20)
    with open(path, "r+b") as file:
        file.seek(0, 2)
        try:
            tofile(a, file)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        file.truncate(1 << 20)
tofile(np.ones(1 << 20, "u1"), path)  # there is room for two of them: nothing was lost
print("done")
"""


@pytest.mark.parametrize("way", ["fallocate", "no fallocate"])
def test_a_full_file_system(tmp_path, way):
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare")
    script = f"mount -t tmpfs -o size=4m none '{tmp_path}' || exit 77; exec \"$@\""
    command = [unshare, "-rm", "sh", "-c", script, "sh", sys.executable, "-c", FULL, tmp_path, way]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip("no file system can be mounted")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


class Interrupted:
    """Progress that stops in the middle."""

    def __init__(self, then):
        self.then = then

    def __call__(self, n_done):
        if n_done > DATA.size // 2 and self.then is not None:
            then, self.then = self.then, None
            then()


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("pool", ["bare", "thread-2", "serial-3"])
def test_an_interrupt_in_the_middle(small, tmp_path, pool):
    chosen = POOLS[pool]()
    if pool == "bare":  # Reports needs a pool that reduces
        chosen = MapReduce(np=0)
    with old_file_stays(tmp_path) as path, pytest.raises(KeyboardInterrupt):
        tofile(DATA, path, pool=chosen, progress=Interrupted(interrupt))


def test_a_folder_that_disappears_in_the_middle(small, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    remove = Interrupted(lambda: shutil.rmtree(folder))
    with pytest.raises(FileNotFoundError):
        tofile(DATA, folder / "x", progress=remove)
    assert remove.then is None
    assert names(tmp_path) == []


def test_a_worker_that_is_killed(small, tmp_path):
    pwrite, caller = os.pwrite, os.getpid()

    def killing(descriptor, part, offset):
        if offset > DATA.size // 2 and os.getpid() != caller:
            os.kill(os.getpid(), signal.SIGKILL)
        return pwrite(descriptor, part, offset)

    small.setattr(os, "pwrite", killing)
    with (
        old_file_stays(tmp_path) as path,
        pytest.raises(WorkerDied, match="SIGKILL"),
    ):
        tofile(DATA, path, pool=MapReduce("process", np=2))


KILLED = """
import os, signal, sys
import numpy as np
from sharedarray.files import tofile as module
from sharedarray.files.tofile import tofile
from sharedarray_ops.files import writing

module.MIN_TOFILE, writing.CHUNK = 64, 64
pwrite, n_left = os.pwrite, [20]

def killing(descriptor, part, offset):
    n_left[0] -= 1
    if not n_left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return pwrite(descriptor, part, offset)

os.pwrite = killing
tofile(np.zeros(4096, "u1"), sys.argv[1])
"""


def test_a_program_that_is_killed(tmp_path):
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("the platform has no nameless files")
    with old_file_stays(tmp_path) as path:
        done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL


def test_an_error_of_a_file_object_leaves_it_open(small, tmp_path):
    def failing(descriptor, part, offset):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    small.setattr(os, "pwrite", failing)
    with (tmp_path / "x").open("wb") as file:
        with pytest.raises(OSError, match="Input/output"):
            tofile(DATA, file)
        assert not file.closed
        file.write(b"abc")
    assert (tmp_path / "x").read_bytes() == b"abc"
