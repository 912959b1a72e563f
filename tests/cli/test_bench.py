from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import select
import signal
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest
from report import surroundings, table
from report.measuring import measure

from sharedarray.cli import bench
from tests.cli.support import ROOT, assert_refused, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="made for Linux")

TINY = """
import os, subprocess, sys, sharedarray

class Ratio(float):
    def __new__(cls, value, spread):
        self = super().__new__(cls, value)
        self.spread = spread
        return self

class Track:
    params = [[1, 2], ["a"]]
    param_names = ["size", "letter"]
    unit = "x"
    def setup(self, size, letter):
        self.value = {"a": 3.25}[letter] * size
    def track_ratio(self, *params):
        print("noise")
        return self.value
    def track_sure(self, *params):
        return Ratio(self.value, 0.05)
    def track_unsure(self, *params):
        return Ratio(self.value, 0.051)
    def track_skipped(self, *params):
        raise NotImplementedError("no such peer")
    def track_wrong(self, *params):
        raise ValueError("first line\\nlast line")
    def track_killed(self, *params):
        os.kill(os.getpid(), 9)
    def teardown(self, size, letter):
        print("torn down", self.value)

class Other:
    timeout = 1
    def track_workers(self):
        return sharedarray.get_num_workers()
    def track_full(self):
        return os.environ.get("SHAREDARRAY_BENCH_FULL", 0)
    def track_hang(self):
        grandchild = subprocess.Popen(["sleep", "1000"], start_new_session=False)
        with open(os.environ["PIDS"], "w") as file:
            file.write(f"{os.getpid()} {grandchild.pid}\\n")
        grandchild.wait()

class Scaling:
    param_names = ["operation", "workers"]
    def track_ratio(self, operation, workers):
        if workers == "4":
            raise NotImplementedError("not four")
        return int(workers) * 0.5
"""
FIGURES = """
def figure(name, method, limit, aim=None, unit="x", quick={}, **params):
    return dict(name=name, benchmark=f"tiny.{method}", limit=limit, aim=aim, unit=unit,
                quick=quick, params=params)

def sized(name, method, limit, aim=None, unit="x"):
    return figure(name, method, limit, aim, unit, {"size": 1}, letter="a", size=2)

FIGURES = [
    sized("good {size}", "Track.track_ratio", 6.5, 6.6),
    sized("best {size}", "Track.track_ratio", 6.4, 6.5),
    sized("bad {size}", "Track.track_ratio", 6.6),
    sized("slow {size}", "Track.track_ratio", 6.4, 6.3, "ms"),
    sized("sure", "Track.track_sure", 6.5),
    sized("unsure", "Track.track_unsure", 6.6),
    sized("absent", "Track.track_skipped", 1),
    sized("wrong", "Track.track_wrong", 1),
    sized("killed", "Track.track_killed", 1),
    figure("workers", "Other.track_workers", 1e6, unit="items/s"),
    figure("full", "Other.track_full", 1),
    figure("hang", "Other.track_hang", 1, unit="ms"),
]
SCALING = [figure("work", "Scaling.track_ratio", None, operation="work")]
"""


@pytest.fixture
def benchmarks(tmp_path):
    folder = tmp_path / "bench"
    (folder / "benchmarks").mkdir(parents=True)
    for name, text in {"__init__": "", "tiny": TINY, "figures": FIGURES}.items():
        (folder / "benchmarks" / f"{name}.py").write_text(text)
    return folder


def rows(done):
    """Return the lines of both tables: name -> columns."""
    lines = [re.split(r"  +", line) for line in done.stdout.splitlines() if "  " in line]
    return {line[0]: line[1:] for line in lines}


def test_table(benchmarks, call):
    only = "good|best|bad|slow|sure|absent"
    done = call("bench", "--benchmarks", benchmarks, "--only", only, "-w", 3)

    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done) == {
        "figure": ["measured", "limit", "aim", "met"],
        "good 2": ["6.50x", ">= 6.5x", "6.6x", "yes"],
        "best 2": ["6.50x", ">= 6.4x", "6.5x", "aim"],
        "bad 2": ["6.50x", ">= 6.6x", "-", "NO"],
        "slow 2": ["6.50 ms", "<= 6.4 ms", "6.3 ms", "NO"],
        "sure": ["6.50x", "+-5%", ">= 6.5x", "-", "yes"],
        "unsure": ["6.50x", "+-5%", ">= 6.6x", "-", "NO", "noisy"],
        "absent": ["-", ">= 1x", "-", "-", "no such peer"],
    }
    assert re.match(r"\d{4}-\d\d-\d\d, sharedarray.*, NumPy .*, workers: 3\n.* CPUs, ", done.stdout)


def test_benchmark_that_fails_costs_its_own_value_only(benchmarks, call):
    done = call("bench", "--benchmarks", benchmarks, "--only", "wrong|killed|good")

    assert (done.returncode, done.stderr) == (1, "")
    found = rows(done)
    assert found["wrong"][-1] == "FAILED: last line"
    assert found["killed"][-1] == "FAILED: ended by SIGKILL: is there too little memory?"
    assert found["good 2"][-1] == "yes"


def test_quick_asks_nothing_of_smaller_sizes(benchmarks, call):
    done = call("bench", "--quick", "--benchmarks", benchmarks, "--only", "bad|full|workers", "-w3")

    assert done.returncode == 0
    found = rows(done)
    assert found["bad 1"] == ["3.25x", ">= 6.6x", "-", "-"]
    assert found["full"][0] == "0.00x"
    assert found["workers"][:2] == ["3.00 items/s", ">= 1,000,000 items/s"]


def test_full_sizes_are_let_in(benchmarks, call):
    assert rows(call("bench", "--benchmarks", benchmarks, "--only", "full"))["full"][0] == "1.00x"


def test_scaling(benchmarks, call):
    done = call("bench", "--benchmarks", benchmarks, "--only", "SCALING", "-w", 6)

    assert rows(done) == {
        "workers": ["1", "2", "4", "6"],
        "ideal": ["1x", "2x", "4x", "6x"],
        "work": ["0.50x", "1.00x", "-", "3.00x", "not four"],
    }


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--benchmarks", "nowhere"], ["clone", "--benchmarks", "nowhere"]),
        (["--only", "no such figure"], ["'no such figure'"]),
        (["--only", "("], ["--only", "regular expression"]),
        (["--workers", "0"], ["worker"]),
    ],
)
def test_bench_refuses(folder, call, args, words):
    assert_refused(call("bench", "--benchmarks", ROOT / "asv_bench", *args), *words)


def test_package_without_a_clone(call, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "BENCHMARKS", tmp_path)

    assert_refused(call("bench"), "clone", "--benchmarks", str(tmp_path))


def test_benchmarks_without_a_report(benchmarks, call, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "BENCHMARKS", tmp_path)

    assert_refused(call("bench", "--benchmarks", benchmarks), "report", "clone")


def test_other_platforms_are_refused(call, monkeypatch):
    monkeypatch.setattr(table, "sys", SimpleNamespace(platform="plan9"))

    assert_refused(call("bench"), "plan9")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_all_of_it(benchmarks, tmp_path, number, code):
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    (benchmarks / "benchmarks" / "tiny.py").write_text(TINY.replace("timeout = 1", "timeout = 60"))
    command = [sys.executable, "-m", "sharedarray", "bench", "--benchmarks", benchmarks]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PIDS": str(pids)}
    process = subprocess.Popen(
        [*command, "--only", "good|hang|work"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        started = [int(pid) for pid in pids.read_text().split()]  # waits for the writer
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()

    assert (process.returncode, err) == (code, "")
    assert "6.50x" in out
    assert_gone(started)


def test_benchmark_that_hangs(benchmarks, tmp_path):
    pids = tmp_path / "pids"

    outcome = measure(benchmarks, "tiny.Other.track_hang", {}, os.environ | {"PIDS": str(pids)})

    assert outcome == (None, "it took longer than its timeout", True, None)
    assert_gone(map(int, pids.read_text().split()))


def assert_gone(pids):
    """Wait for the end of processes that were killed."""
    pids = [*pids]
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                assert select.select([descriptor], [], [], 30)[0]
            finally:
                os.close(descriptor)


def test_plot_needs_matplotlib(benchmarks, tmp_path, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)

    done = call("bench", "--benchmarks", benchmarks, "--plot", tmp_path / "out.png")

    assert_refused(done, "matplotlib", "pip install", "sharedarray-toolkit[plot]")
    assert not (tmp_path / "out.png").exists()


def test_plot(benchmarks, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out.svg"
    command = ["bench", "--benchmarks", benchmarks, "--plot", out]

    done = run(*command, "--only", "good|bad|slow|absent|work", "-w", "2")

    assert (done.returncode, done.stderr) == (0, "")
    text = out.read_text()
    for name in ("good 2", "bad 2", "slow 2", "work", "ideal"):
        assert f"<!-- {name} -->" in text
    assert "absent" not in text
    assert_refused(run(*command[:-1], tmp_path), "suffix")
    assert_refused(run(*command[:-1], tmp_path / "none" / "out.png"), "No such file")


@pytest.fixture
def asv_bench(monkeypatch):
    """Let the benchmarks of the clone be imported, and forget them afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "asv_bench"))
    yield
    for name in [name for name in sys.modules if re.match(r"benchmarks\b", name)]:
        del sys.modules[name]


def test_children_that_were_waited_for_are_no_other_programs():
    load = surroundings.OtherLoad()
    program = "import time; end = time.perf_counter() + 0.5\nwhile time.perf_counter() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", program])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    as_of_another = load.cpus()
    process.wait()

    assert as_of_another - load.cpus() > 0.1  # of 0.9 where nobody else takes the CPU


def test_memory_of_a_tree_counts_shared_pages_once(asv_bench):
    watching = importlib.import_module("benchmarks.watching")
    mib = 1 << 20

    alone = watching.peak_memory("", f"result = np.ones({4 * mib})", 1)
    together = watching.peak_memory(
        f"a = sharedarray.ones({4 * mib})",
        "sharedarray.MapReduce(np=2).map(lambda i: float(np.add.reduce(a)), range(8))",
        1,
    )

    assert 31 * mib < alone < 40 * mib
    assert together < 24 * mib  # each of the two workers has 32 MiB of its own in its page table


def figures():
    return runpy.run_path(str(ROOT / "asv_bench" / "benchmarks" / "figures.py"))


CATALOGUE = """
import importlib, json, pathlib
found = {}
for path in pathlib.Path("benchmarks").glob("[a-z]*.py"):
    module = importlib.import_module(f"benchmarks.{path.stem}")
    for cls in vars(module).values():
        for method in [name for name in dir(cls) if name.startswith("track_")]:
            unit = getattr(getattr(cls, method), "unit", None) or cls.unit
            names, params = getattr(cls, "param_names", []), getattr(cls, "params", [])
            found[f"{path.stem}.{cls.__name__}.{method}"] = unit, names, params
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def catalogue():
    """Return name -> unit, names and values of parameters, of every benchmark that tracks."""
    # Elsewhere: other packages that are compared leave things behind when they are imported.
    done = subprocess.run(
        [sys.executable, "-c", CATALOGUE],
        cwd=ROOT / "asv_bench",
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'asv_bench'}"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_figures_agree_with_the_benchmarks(catalogue):
    found = figures()
    scaling = [
        figure | {"params": figure["params"] | {"workers": "1"}} for figure in found["SCALING"]
    ]
    for figure in json.loads(json.dumps(found["FIGURES"] + scaling)):
        unit, names, values = catalogue[figure["benchmark"]]
        assert figure["unit"] == unit, figure["name"]
        for params in (figure["params"], figure["params"] | figure["quick"]):
            assert {*params} == {*names}, figure["name"]
            for name, choice in zip(names, values, strict=True):
                assert params[name] in choice, figure["name"]


def test_asv_looks_for_regressions_only_where_more_is_worse(catalogue):
    text = (ROOT / "asv_bench" / "asv.conf.json").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.strip().startswith("//"))
    left_out = [*json.loads(text)["regressions_first_commits"]]
    more_is_better = {*table.MORE_IS_BETTER, "MB/s"}

    assert {unit for unit, *_ in catalogue.values()} > more_is_better
    for name, (unit, *_) in catalogue.items():
        assert any(re.match(regex, name) for regex in left_out) == (unit in more_is_better), name


@pytest.mark.parametrize("which", ["FIGURES", "SCALING"])
@pytest.mark.parametrize("quick", [False, True])
def test_figures_have_names_of_their_own(which, quick):
    names = [case.name for case in table.cases(figures()[which], quick)]

    assert names
    assert len(names) == len({*names})
