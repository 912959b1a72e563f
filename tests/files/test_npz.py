import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sharedarray import SharedArray
from sharedarray.files.load import load
from tests.files.writing_support import small_files
from tests.ops.support import RecordingPool, assert_same_bits, outcome


@pytest.fixture
def small():
    with small_files() as patch:
        yield patch


@pytest.fixture
def archive(tmp_path):
    values = {
        "a": np.random.default_rng(0).random((40, 70)),  # more than zipfile reads at once
        "f": np.arange(60, dtype=">i4").reshape(5, 12).T,
        "tiny": np.array(3),
        "r": np.zeros(30, "u1,f8"),
        "\N{GREEK SMALL LETTER PI}": np.arange(100),
    }
    np.savez(tmp_path / "stored.npz", **values)
    np.savez_compressed(tmp_path / "compressed.npz", **values)
    for kind in ("stored", "compressed"):
        with zipfile.ZipFile(tmp_path / f"{kind}.npz", "a") as file:
            file.writestr("note.txt", "hello")
    return values


@pytest.mark.parametrize("kind", ["stored", "compressed"])
@pytest.mark.parametrize("opened", [False, True])
def test_archives(small, tmp_path, archive, kind, opened):
    path = tmp_path / f"{kind}.npz"
    with path.open("rb") as file, load(file if opened else path) as ours, np.load(path) as numpys:
        assert list(ours) == ours.files == numpys.files
        assert len(ours) == len(numpys)
        assert list(ours.keys()) == list(numpys.keys())
        for key in ("a", "a.npy", "note.txt", "note", "x", 3):
            assert (key in ours) == (key in numpys)
        for key, value in archive.items():
            for name in (key, f"{key}.npy"):
                assert type(ours[name]) is SharedArray
                assert_same_bits(ours[name], value)
                assert ours[name].flags.f_contiguous == numpys[name].flags.f_contiguous
        assert ours["note.txt"] == numpys["note.txt"] == b"hello"
        with pytest.raises(KeyError, match="x is not a file in the archive"):
            ours["x"]
        assert "with keys: a, f, tiny, r" in repr(ours)
        assert ours.get("x") is None
    with pytest.raises(ValueError, match="closed"):
        ours["a"]
    ours.close()


def test_only_large_stored_members_are_read_in_parallel(small, tmp_path, archive):
    for kind, key, is_parallel in [
        ("stored", "a", True),
        ("stored", "tiny", False),
        ("compressed", "a", False),
    ]:
        pool = RecordingPool(2)
        with load(tmp_path / f"{kind}.npz", pool=pool) as ours:
            ours[key]
        assert bool(pool.maps) is is_parallel


def test_archives_behind_other_data(small, tmp_path, archive):
    path = tmp_path / "x.npz"
    stored = (tmp_path / "stored.npz").read_bytes()
    path.write_bytes(b"PK\x03\x04" + bytes(1000) + stored)
    with load(path) as ours:
        assert_same_bits(ours["a"], archive["a"])


# In the header of the array, in its data, and at their end, where compressed data have spare bits.
@pytest.mark.parametrize(
    ("kind", "where"),
    [("stored", 70), ("stored", 9000), ("stored", -1), ("compressed", 70), ("compressed", 9000)],
)
def test_a_wrong_bit_is_noticed(small, tmp_path, archive, kind, where):
    path = tmp_path / f"{kind}.npz"
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("a.npy")
    content = bytearray(path.read_bytes())
    lengths = struct.unpack("<HH", content[info.header_offset + 26 : info.header_offset + 30])
    start = info.header_offset + 30 + sum(lengths)
    content[start + where % info.compress_size] ^= 1
    path.write_bytes(content)
    with load(path) as ours, np.load(path) as numpys:
        expected = outcome(lambda: numpys["a"])
        assert expected[0] == "raised"
        assert outcome(lambda: ours["a"]) == expected
        assert_same_bits(ours["f"], archive["f"])


def test_members_that_are_no_arrays_of_ours(small, tmp_path):
    whole = io.BytesIO()
    np.save(whole, np.arange(100))
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cut.npy", whole.getvalue()[:-5])
        file.writestr("long.npy", whole.getvalue() + b"more")
        file.writestr("bytes.npy", b"nothing of ours")
    with load(path) as ours, np.load(path) as numpys:
        assert outcome(lambda: ours["cut"]) == outcome(lambda: numpys["cut"])
        assert_same_bits(ours["long"], numpys["long"])
        assert ours["bytes"] == numpys["bytes"]
    np.savez(path, o=np.array([{}]))
    with load(path) as ours, pytest.raises(ValueError, match="allow_pickle"):
        ours["o"]


def test_a_member_that_ends_early(small, tmp_path, archive):
    path = tmp_path / "stored.npz"
    with load(path) as ours:
        os.truncate(path, 300)
        with pytest.raises((ValueError, EOFError, zipfile.BadZipFile)):
            ours["a"]


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(zipfile.BadZipFile):  # as NumPy, which leaves its file open
        load(path)


def test_an_archive_has_no_name(tmp_path, archive):
    for kwargs in ({"name": "test-npy"}, {"reserve": True}):
        with pytest.raises(ValueError, match="npz"):
            load(tmp_path / "stored.npz", **kwargs)


def test_an_archive_that_is_not_closed_closes_its_file(tmp_path, archive):
    before = len(list(Path("/proc/self/fd").iterdir()))
    ours = load(tmp_path / "stored.npz")
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    del ours
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("kind", ["stored", "compressed"])
def test_progress_of_a_member(small, tmp_path, archive, kind):
    told = []
    with load(tmp_path / f"{kind}.npz", progress=told.append) as ours:
        ours["a"]
    assert told == sorted(set(told))
    assert len(told) > 2
    assert told[-1] == archive["a"].nbytes
