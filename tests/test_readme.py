from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from sharedarray import config, picklemode
from sharedarray.cli import main as cli
from sharedarray.functions import thresholds
from sharedarray.memory import cache
from sharedarray_ops.sort.sorting import LONG_SORT

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = "python -m sharedarray"


def blocks(language, text=README):
    return [body for tongue, body in FENCED.findall(text) if tongue == language]


def command_lines(text=README):
    """Yield the arguments of each call of the program, in blocks and within sentences."""
    for line in (
        re.findall(r"`([^`\n]+)`", FENCED.sub("", text)) + "".join(blocks("sh", text)).splitlines()
    ):
        for command in line.split("&&"):
            before, found, arguments = command.partition(PROGRAM)
            if found and "python" not in before:
                yield shlex.split(arguments)


def requirements(text=README):
    """Yield what pip is told to install."""
    for command in re.split("&&|\n", "".join(blocks("sh", text))):
        words = shlex.split(command)
        if "install" in words:
            yield from (word for word in words[words.index("install") + 1 :] if word[0] != "-")


def test_python_blocks_run_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}

    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)

    out = capsys.readouterr().out
    a = namespace["a"]
    assert f"smallest: {a[:3]}\n" in out  # a is sorted by now
    assert "sum: " in out
    assert namespace["parts"]


def test_example_has_ten_lines():
    example = blocks("python")[0]

    assert "fromfile" in example
    assert len([line for line in example.splitlines() if line]) <= 10


def test_command_lines_parse():
    lines = [*command_lines()]

    assert ["demo"] in lines
    assert {line[0] for line in lines} == {"argsort", "sort", "sum", "demo", "info", "bench"}
    for line in lines:
        assert cli._parser().parse_args(line).command == line[0]


@pytest.mark.parametrize(
    "text",
    [
        f"```sh\n.venv/bin/{PROGRAM} sum x.bin --dtype f99\n```\n",
        f"as `{PROGRAM} bogus` does",
        f"```sh\ntrue && {PROGRAM} demo --bogus\n```\n",
    ],
)
def test_command_line_that_does_not_parse_is_noticed(text, capsys):
    (line,) = command_lines(text)

    with pytest.raises(SystemExit):
        cli._parser().parse_args(line)


def test_two_commands_install_what_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*requirements()]

    assert asked == [".", ".[test]", ".[bench,plot]"]
    extras = re.findall(r"\w+(?=[,\]])", "".join(asked))
    assert set(extras) <= set(project["optional-dependencies"])
    assert [*requirements("```sh\npip install -e '.[a]' && pip install b\n```\n")] == [".[a]", "b"]


def test_each_command_sets_everything_up():
    first, second = blocks("sh")[:2]

    assert first.startswith("python3 -m venv .venv && ")
    assert first.endswith(f"/{PROGRAM} demo\n")
    assert second.startswith("python3 -m venv .venv && ")
    assert second.endswith("python -m tests\n")
    assert first.count("\n") == second.count("\n") == 1
    importlib.import_module("tests.__main__")


def test_ci_finds_the_test_command():
    marker = ".venv/bin/python -m tests"

    assert marker in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert [marker in body for _, body in FENCED.findall(README)].count(True) == 1


def test_environment_variables():
    table = re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE)
    named = set(re.findall(r"SHAREDARRAY_[A-Z_]+", README))

    assert table == [*config.ENVIRONMENT]
    assert named - {*table} == {"SHAREDARRAY_BENCH_FULL", cache.VARIABLE, picklemode.VARIABLE}
    benchmarks = ROOT / "asv_bench" / "benchmarks" / "common.py"
    assert '"SHAREDARRAY_BENCH_FULL"' in benchmarks.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("function", "limit"),
    [
        ("argsort", thresholds.MIN_ARGSORT),
        ("sort", LONG_SORT),
        ("sum", thresholds.MIN_SUM),
        ("fromfile", thresholds.MIN_FROMFILE),
    ],
)
def test_sizes_from_which_it_is_parallel(function, limit):
    assert re.search(rf"`{function}`\s+{limit:,}\b", README)


def test_paths_that_it_names_exist():
    assert "see `LICENSE`" in README
    assert (ROOT / "LICENSE").is_file()
    assert (ROOT / "asv_bench" / "asv.conf.json").is_file()


def test_table_is_that_of_demo():
    (table,) = blocks("text")

    assert re.match(r"20,000,000 float64 \(0\.16 GB\), workers: 2, NumPy ", table)
    rows = re.findall(r"^(\w+) +\d+\.\d+ +\d+\.\d+ +\d+\.\dx +yes$", table, re.MULTILINE)
    assert rows == ["fromfile", "argsort", "sort", "sum"]
