"""What importing the package does, and what it leaves to the first use of a name."""

from __future__ import annotations

import copy
import doctest
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

import sharedarray
from sharedarray import lazy

ROOT = Path(__file__).resolve().parent.parent
# What takes its time, and not every program needs: of the standard library and of ours. NumPy may
# load some of it, in one of its releases.
HEAVY = {
    "asyncio", "concurrent.futures", "ctypes", "dataclasses", "hashlib", "hmac", "inspect",
    "logging", "multiprocessing", "pathlib", "random", "secrets", "selectors", "shutil", "socket",
    "subprocess", "tempfile", "urllib", "uuid", "zipfile",
    "sharedarray.functions.check", "sharedarray.workers.background",
    "sharedarray.workers.processes", "sharedarray.openmp.parallel",
    "sharedarray.cluster.dask_constructs", "sharedarray.cluster.dask_files",
    "sharedarray.cluster.dask_sort", "sharedarray.cluster.executor", "sharedarray.cluster.remote",
}  # fmt: skip
OF_WORKERS = ("functions.assigning", "workers.background", "openmp.parallel", "workers.processes")

PROBE = """
import json, os, sys, threading
forks = []
os.register_at_fork(before=lambda: forks.append(1))
before = dict(os.environ)
import numpy
of_numpy = set(sys.modules)
{statement}
print(json.dumps({{
    "threads": threading.active_count() - 1,
    "forks": len(forks),
    "environment": os.environ != before,
    "modules": sorted(set(sys.modules) - of_numpy),
}}))
"""


def run(code: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run(
        # Without `site`, whose .pth files, those of coverage among them, load modules themselves.
        [sys.executable, "-S", "-W", "error", "-c", f"import sys; sys.path += {sys.path}\n{code}"],
        cwd=ROOT,
        # A measurement of coverage in the child would load modules and start things itself.
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def probe(statement: str) -> dict[str, object]:
    """Say what a fresh interpreter does at a statement, beyond what importing NumPy does."""
    facts: dict[str, object] = json.loads(run(PROBE.format(statement=statement)))
    modules: list[str] = facts["modules"]  # type: ignore[assignment]
    facts["modules"] = sorted(HEAVY.intersection(modules))
    return facts


QUIET = {"threads": 0, "forks": 0, "environment": False, "modules": []}


def test_import_is_quiet_and_light():
    assert probe("import sharedarray") == QUIET


@pytest.mark.parametrize(
    ("field", "statement"),
    [
        ("threads", "threading.Thread(target=threading.Event().wait, daemon=True).start()"),
        pytest.param(
            "forks",
            "os.waitpid(os.fork() or os._exit(0), 0)",
            marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork"),
        ),
        ("environment", "os.environ['OMP_NUM_THREADS'] = '1'"),
        ("modules", "import pathlib"),
        ("modules", "import sharedarray; sharedarray.Parallel"),
    ],
)
def test_probe_notices(field, statement):
    assert probe(statement)[field] != QUIET[field]


def test_sorting_in_threads_loads_nothing_heavy():
    statement = "import sharedarray; sharedarray.sort(numpy.arange(1 << 21)[::-1])"

    assert probe(statement)["modules"] == []


# names that are loaded by their first use


def test_every_name_is_there_from_the_start():
    code = """
import sharedarray
assert set(sharedarray.__all__) <= set(dir(sharedarray))
namespace = {}
exec("from sharedarray import *", namespace)
assert set(sharedarray.__all__) <= set(namespace)
for name in sharedarray.__all__:
    assert namespace[name] is getattr(sharedarray, name) is vars(sharedarray)[name]
"""
    run(code)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sharedarray' has no attribute 'P") as caught:
        _ = sharedarray.Paralel
    # By these Python asks whether Parallel was meant.
    assert (caught.value.name, caught.value.obj) == ("Paralel", sharedarray)
    with pytest.raises(ImportError, match="cannot import name 'Paralel'"):
        from sharedarray import Paralel  # noqa: F401


@pytest.mark.parametrize("name", ["Parallel", "background", "check_numpy", "DaskBackend"])
def test_names_pickle_before_they_are_loaded(name):
    pickled = run(f"import pickle, sharedarray; print(pickle.dumps(sharedarray.{name}).hex())")
    code = f"import pickle; print(pickle.loads(bytes.fromhex({pickled.strip()!r})).__name__)"

    assert run(code).strip() == name


@pytest.mark.parametrize("name", sharedarray.__all__)
def test_public_names_say_that_they_are_of_the_package(name):
    member = getattr(sharedarray, name)

    assert (member.__module__, member.__qualname__) == ("sharedarray", name)
    for pickler in (pickle, cloudpickle):
        pickled = pickler.dumps(member)
        assert pickle.loads(pickled) is member
        assert b"sharedarray." not in pickled
    if isinstance(member, type):
        assert repr(member) == f"<class 'sharedarray.{name}'>"


def test_names_of_others_stay_what_they_are():
    before = Path.__module__
    namespace = {"__name__": "sharedarray", "Path": Path, "_facade": lazy.facade, "n": 1}
    get, _ = lazy.facade(namespace, {"pathlib": ("PurePath",)})

    assert get("PurePath").__module__ == Path.__module__ == before
    assert lazy.facade.__module__ == "sharedarray.lazy"


def test_examples_of_the_public_names_are_found():
    # pytest looks for them where the names are defined, as `__module__` says, the methods' too.
    found = {test.name for test in doctest.DocTestFinder(exclude_empty=True).find(sharedarray)}
    expected = {
        f"sharedarray.{name}"
        for name in sharedarray.__all__
        if ">>>" in (getattr(sharedarray, name).__doc__ or "")
    }

    assert expected | {"sharedarray.MapReduce.map", "sharedarray.Parallel.run"} <= found


def test_interrupted_import_is_started_again(tmp_path, monkeypatch):
    (tmp_path / "interrupted_once.py").write_text(
        "import builtins\nif not hasattr(builtins, 'was_interrupted'):\n"
        "    builtins.was_interrupted = True\n    raise KeyboardInterrupt\nx = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    namespace = {"__name__": "somewhere"}
    get, names = lazy.facade(namespace, {"interrupted_once": ("x",)})

    with pytest.raises(KeyboardInterrupt):
        get("x")
    assert "x" not in namespace
    assert get("x") == 1 == namespace["x"]
    assert names() == ["__name__", "x"]


def test_function_of_a_package_that_was_deleted_is_left_out():
    lazy.facade({}, {}, beside={"json": "no_such_package.module:call"})
    with pytest.raises(AttributeError):
        lazy.facade({}, {}, beside={"json": "sharedarray.lazy:no_such_function"})


def test_function_is_called_where_the_module_beside_it_is_loaded(tmp_path, monkeypatch):
    (tmp_path / "called_at_once.py").write_text("calls = []\ndef call(): calls.append(1)\n")
    monkeypatch.syspath_prepend(tmp_path)

    lazy.facade({}, {}, beside={"no_such_module": "called_at_once:call"})
    assert "called_at_once" not in sys.modules
    lazy.facade({}, {}, beside={"json": "called_at_once:call"})
    assert sys.modules["called_at_once"].calls == [1]


@pytest.mark.parametrize(
    ("first", "expected"), [("pass", "ndarray"), ("import distributed.protocol", "SharedArray")]
)
def test_dask_knows_shared_arrays_where_it_is_loaded_first(first, expected):
    pytest.importorskip("distributed")
    code = (
        f"{first}\nimport sharedarray\nfrom distributed.protocol import deserialize, serialize\n"
        "print(type(deserialize(*serialize(sharedarray.arange(5)))).__name__)"
    )
    assert run(code).strip() == expected


# forks

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

LOADED = """
import sys, sharedarray
from sharedarray import lazy
{before}
names = [f"sharedarray.{{name}}" for name in {names}]
print(sharedarray.MapReduce(np=2).map(lambda i: all(n in sys.modules for n in names), range(2)))
"""


@forks
def test_what_workers_may_use_is_loaded_before_they_are_forked():
    assert run(LOADED.format(before="", names=OF_WORKERS)).strip() == "[True, True]"


@forks
def test_otherwise_each_worker_would_load_it():
    before = "lazy._for_workers.clear()"

    assert run(LOADED.format(before=before, names=OF_WORKERS)).strip() == "[False, False]"


# A thread imports while another one forks; the workers use what it imports.
AT_FORK = """
import importlib, sys, threading, warnings
sys.path.insert(0, {folder!r})
warnings.simplefilter("ignore")  # that threads are running
import sharedarray
from sharedarray import lazy
threading.began, threading.go_on = threading.Event(), threading.Event()
slow = lazy.Later("slow_to_import", for_workers={for_workers})
lazy._for_workers.intersection_update({{"slow_to_import"}})
thread = threading.Thread(target=lambda: slow.x)
thread.start()
threading.began.wait()
def import_module(name):
    if name == "slow_to_import":
        threading.go_on.set()  # from now on this thread waits for the end of the import
    return importlib.import_module(name)
lazy.import_module = import_module
try:
    use = lambda i: importlib.import_module("slow_to_import").x
    print(sharedarray.MapReduce(np=2).map(use, range(2), timeout={timeout}))
except TimeoutError:
    print("the workers wait for ever")
finally:
    threading.go_on.set()
    thread.join()
"""


@forks
@pytest.mark.parametrize(
    ("for_workers", "timeout", "expected"),
    [(True, 30, "[1, 1]"), (False, 1, "the workers wait for ever")],
)
def test_import_under_way_at_a_fork(for_workers, timeout, expected, tmp_path):
    (tmp_path / "slow_to_import.py").write_text(
        "import threading\nthreading.began.set()\nthreading.go_on.wait()\nx = 1\n"
    )

    values = {"folder": str(tmp_path), "for_workers": for_workers, "timeout": timeout}
    printed = run(AT_FORK.format(**values))

    assert printed.strip() == expected


def test_module_for_later_is_not_loaded_by_what_only_looks():
    later = lazy.Later("sharedarray.no_such_module")
    for name in ("__wrapped__", "__array__", "__setstate__"):
        assert not hasattr(later, name)
    assert vars(copy.copy(later)) == vars(later)
    with pytest.raises(ModuleNotFoundError):
        _ = later.anything


# modules of others

AFTER = """
import sys
sys.path.insert(0, {folder!r})
from sharedarray import lazy
lazy.facade({{}}, {{}}, after={{"package.other": "called_after:call"}})
"""


@pytest.fixture
def other(tmp_path):
    """Return a program that runs code, with a module after whose import a function is called."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "other.py").write_text("import sys\nif hasattr(sys, 'bad'): 1 / 0\n")
    (tmp_path / "called_after.py").write_text(
        "import sys\ncalls = []\ndef call(): calls.append('package.other' in sys.modules)\n"
    )
    return lambda code: run(AFTER.format(folder=str(tmp_path)) + code).split()


def test_function_is_called_once_after_the_import_of_another_module(other):
    code = """
import package
print("called_after" in sys.modules)
import package.other, importlib
from called_after import calls
print(*calls)
importlib.reload(package.other)
print(*calls)
"""
    assert other(code) == ["False", "True", "True"]


def test_module_does_not_see_how_it_was_loaded(other):
    code = """
import importlib.util
print(importlib.util.find_spec("package.other").origin[-8:])
import package.other as o
print(type(o.__loader__).__name__, o.__loader__ is o.__spec__.loader)
print(len(sys.modules["called_after"].calls))
"""
    assert other(code) == ["other.py", "SourceFileLoader", "True", "1"]


def test_import_that_fails_is_called_after_later(other):
    code = """
sys.bad = True
try:
    import package.other
except ZeroDivisionError:
    print("called_after" in sys.modules)
del sys.bad
import package.other, called_after
print(*called_after.calls)
"""
    assert other(code) == ["False", "True"]


def test_missing_module_is_missing(other):
    code = """
lazy.facade({}, {}, after={"no_such_module": "called_after:call"})
try:
    import no_such_module
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert other(code) == ["no_such_module"]


def test_module_that_is_loaded_already(other):
    code = """
import json
lazy.facade({}, {}, after={"json": "called_after:call"})
print(len(sys.modules["called_after"].calls))
"""
    assert other(code) == ["1"]
