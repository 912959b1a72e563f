"""Files of other packages hold the data of shared arrays."""

from __future__ import annotations

import pickle
import shelve
import subprocess
import sys
import types

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import filepicklers
from sharedarray.memory.array import SharedArray
from sharedarray.memory.registry import is_shared
from tests.memory.support import ROOT, assert_same_memory

SIZES = [0, 1, (64 << 10) + 1, 1 << 20, 8 << 20]

# What each program writes and reads: `a` to a file at `path`.
WRITE = {
    "pandas": "import pandas; pandas.Series(a, copy=False).to_pickle(path)",
    "pandas, frame": "import pandas; pandas.DataFrame({'a': a}, copy=False).to_pickle(path)",
    "pandas, function": "import pandas; pandas.to_pickle([a], path, protocol=4)",
    "joblib": "import joblib; joblib.dump(a, path)",
    "joblib in a dict": "import joblib; joblib.dump(dict(a=a), path)",
    "joblib, packed": "import joblib; joblib.dump(a, path, compress=3)",
    "shelve": "import shelve\nwith shelve.open(path) as s: s['a'] = a",
    "pickle, by value": "import pickle\n"
    "with sharedarray.pickling('value'), open(path, 'wb') as f: pickle.dump(a, f)",
}
READ = {
    "pandas": "import pandas; x = pandas.read_pickle(path)",
    "pandas, frame": "import pandas; x = pandas.read_pickle(path)['a']",
    "pandas, function": "import pandas; x = pandas.read_pickle(path)[0]",
    "joblib": "import joblib; x = joblib.load(path)",
    "joblib in a dict": "import joblib; x = joblib.load(path)['a']",
    "joblib, packed": "import joblib; x = joblib.load(path)",
    "shelve": "import shelve\nwith shelve.open(path) as s: x = s['a']",
    "pickle, by value": "import pickle\nwith open(path, 'rb') as f: x = pickle.load(f)",
}
HOW = pytest.mark.parametrize("how", WRITE)


def run(code, path, *first):
    """Return what a program prints; it may warn, as other packages do."""
    lines = [*first, f"path = {str(path)!r}", "import numpy", code]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def need(how):
    pytest.importorskip(how.partition(",")[0].partition(" ")[0])


@HOW
@pytest.mark.parametrize("first", ["sharedarray", "package"])
def test_what_is_written_is_there_when_the_program_has_ended(how, first, tmp_path):
    need(how)
    package = WRITE[how].partition("\n")[0].partition(";")[0]
    imports = ["import sharedarray", package]
    path = tmp_path / "file"
    run(
        f"a = sharedarray.arange({200_000}.0)\n{WRITE[how]}\na[...] = 0",
        path,
        *(imports if first == "sharedarray" else imports[::-1]),
    )
    found = run(f"{READ[how]}\nprint(len(x), x[12], float(numpy.sum(x)))", path)
    assert found == "200000 12.0 19999900000.0"


@HOW
def test_every_size_is_what_was_saved_not_what_the_array_holds_by_then(how, tmp_path):
    need(how)
    for n in SIZES:
        names = {"a": sharedarray.full(n, 3, "u1"), "path": str(tmp_path / f"file-{n}")}
        names["sharedarray"] = sharedarray
        exec(WRITE[how], names)
        names["a"][...] = 4
        exec(READ[how], names)
        found = np.asarray(names["x"])
        assert found.shape == (n,)
        assert (found == 3).all()


def test_joblib_and_shelves_load_shared_arrays(tmp_path):
    a = sharedarray.arange(12.0).reshape(3, 4)
    a[1:].flags.writeable = False
    read_only = a[1:]
    read_only.flags.writeable = False
    values = [a, a.T, a[:, ::-2], read_only, a[0, 0:1].reshape(())]
    with shelve.open(str(tmp_path / "shelf")) as shelf:
        shelf["a"] = values
        found = shelf["a"]
    joblib = sys.modules.get("joblib")
    if joblib is not None:
        joblib.dump(values, tmp_path / "a.joblib")
        found += joblib.load(tmp_path / "a.joblib")
    for loaded, saved in zip(found, values * (len(found) // 5), strict=True):
        assert type(loaded) is SharedArray
        assert is_shared(loaded)
        assert not np.shares_memory(loaded, a)
        assert loaded.flags.writeable == saved.flags.writeable
        np.testing.assert_array_equal(loaded, saved)


def test_memory_of_joblib_keeps_results(tmp_path):
    joblib = pytest.importorskip("joblib")
    calls = []

    def made(n):
        calls.append(n)
        return sharedarray.arange(n)

    def of_array(a):
        calls.append(len(a))
        return a.sum()

    memory = joblib.Memory(tmp_path, verbose=0)
    cached = memory.cache(made, ignore=[])
    assert [cached(100_000).sum() for _ in range(3)] == [4_999_950_000] * 3
    assert type(cached(100_000)) is SharedArray
    assert calls == [100_000]
    # The key of an argument is made of its data, too.
    cached = memory.cache(of_array)
    assert [cached(sharedarray.full(5, x)) for x in (1, 2, 1, 2)] == [5, 10, 5, 10]
    assert calls == [100_000, 5, 5]


def test_all_else_of_these_packages_is_as_before(tmp_path):
    a = sharedarray.arange(5)
    with shelve.open(str(tmp_path / "shelf")) as shelf:
        shelf["b"] = {"plain": np.arange(3), "text": "x"}
        assert shelf["b"]["plain"].tolist() == [0, 1, 2]
    assert_same_memory(pickle.loads(pickle.dumps(a)), a)
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        series = pandas.Series(a, copy=False)
        assert len(pickle.dumps(series)) < 2000 + a.nbytes
        assert sys.modules["pandas.io.pickle"].pickle.HIGHEST_PROTOCOL == pickle.HIGHEST_PROTOCOL


@pytest.mark.parametrize(
    ("name", "function", "contents"),
    [
        ("joblib.numpy_pickle", filepicklers.of_joblib, {}),
        ("joblib.numpy_pickle", filepicklers.of_joblib, {"NumpyPickler": pickle.Pickler}),
        ("pandas.io.pickle", filepicklers.of_pandas, {}),
        ("shelve", filepicklers.of_shelve, {}),
    ],
)
def test_release_that_pickles_in_another_way_is_told_of(name, function, contents, monkeypatch):
    module = types.ModuleType(name)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)
    with pytest.warns(RuntimeWarning, match=rf"{name.partition('.')[0]} .*pickling\(\"value\"\)"):
        function()


def test_pickler_that_is_replaced_already_is_left_alone(monkeypatch):
    module = types.ModuleType("shelve")
    module.Pickler = object
    monkeypatch.setitem(sys.modules, "shelve", module)
    filepicklers.of_shelve()
    assert module.Pickler is object
