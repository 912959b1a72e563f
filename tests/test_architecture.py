"""The shape of the packages, read from their source: the column of rooms, the façade.

A rule is a function from modules to complaints. Each is run on the project, where it must find
nothing, and on a tiny bad project, where it must complain.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

import sharedarray

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sharedarray", "sharedarray_ops")
MAX_LINES = 400
# Files that are longer because they are one idea, and why.
LONGER = {
    "sharedarray.workers.background": "a call: its process, its handle, the documentation of both",
    "sharedarray.memory.array": "one class, NumPy's subclass protocol method by method",
}

# The column: each floor may use all below it, none above it. The façade stands above all.
COLUMN = (
    ("sharedarray.cli",),
    ("sharedarray.cluster",),
    ("sharedarray.files",),
    ("sharedarray.functions",),
    ("sharedarray.openmp",),
    ("sharedarray.workers",),
    ("sharedarray.memory",),
    (
        "sharedarray.errors",
        "sharedarray.config",
        "sharedarray.machine",
        "sharedarray.forks",
        "sharedarray.descriptor",
        "sharedarray.picklemode",
        "sharedarray.lazy",
    ),
    ("sharedarray_ops",),
)

# What only the named modules may touch: a module that is imported, or `module.name`.
ONLY_IN = {
    # Arrays lie in segments; the counters of a map in a page of their own.
    "mmap": ("sharedarray.memory.segment", "sharedarray.workers.primitives"),
    "os.fork": ("sharedarray.workers.process",),
    "threading.Thread": ("sharedarray.workers.threads",),
}


@dataclass(frozen=True)
class Module:
    name: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.name)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def type_checking_lines(tree: ast.AST) -> set[int]:
    """Return the lines inside ``if TYPE_CHECKING:``, which never run."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    }


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name; a name imported *from* a module as ``module.name``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def floor_of(name: str) -> int:
    """Return how deep in the column a module stands; the façade stands at -1."""
    floors = (i for i, rooms in enumerate(COLUMN) if within(name, *rooms))
    return next(floors, -1)


def column(module: Module) -> Iterator[str]:
    """Imports of ours go down the column, those for types alone, too."""
    for line, name in imports(module.tree):
        if within(name, *PACKAGES) and floor_of(name) < floor_of(module.name):
            yield f"{module.name}:{line} imports {name}"


def circles(modules: list[Module]) -> Iterator[str]:
    """No module imports itself by way of others, not for types alone either."""
    names = {module.name for module in modules}
    uses = {
        module.name: {
            found if found in names else found.rpartition(".")[0]
            for _, found in imports(module.tree)
        }
        & names
        for module in modules
    }
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> Iterator[str]:
        if name in way:
            yield " -> ".join([*way[way.index(name) :], name])
        elif name not in done:
            for used in sorted(uses[name]):
                yield from visit(used, [*way, name])
            done.add(name)

    for name in sorted(names):
        yield from visit(name, [])


def algorithms_stand_alone(module: Module) -> Iterator[str]:
    """sharedarray_ops imports the standard library and NumPy, nothing else."""
    if within(module.name, "sharedarray_ops"):
        for line, name in imports(module.tree):
            top = name.split(".")[0]
            if top not in {*sys.stdlib_module_names, "numpy", "sharedarray_ops"}:
                yield f"{module.name}:{line} imports {name}"


def imports_are_absolute(module: Module) -> Iterator[str]:
    for line, name in imports(module.tree):
        if name.startswith("."):
            yield f"{module.name}:{line} imports {name}"


def imports_stand_at_the_top(module: Module) -> Iterator[str]:
    """No function imports our own code."""
    for function in ast.walk(module.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for line, name in imports(function):
                if within(name.lstrip("."), *PACKAGES) or name.startswith("."):
                    yield f"{module.name}:{line} imports {name} in a function"


def one_home(module: Module) -> Iterator[str]:
    """What ONLY_IN names is touched in its home only, under whatever name it is imported."""
    tree = module.tree
    aliases = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    touched = [*imports(tree)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            base = aliases.get(node.value.id)
            if base is not None:
                touched.append((node.lineno, f"{base}.{node.attr}"))
    never_run = type_checking_lines(tree)
    for line, name in touched:
        for thing, homes in ONLY_IN.items():
            if within(name, thing) and module.name not in homes and line not in never_run:
                yield f"{module.name}:{line} uses {name}, whose home is {homes[0]}"


def file_is_short(module: Module) -> Iterator[str]:
    n_lines = len(module.source.splitlines())
    if n_lines > MAX_LINES and module.name not in LONGER:
        yield f"{module.name} has {n_lines} lines"


def facade_is_sorted_and_complete(module: Module) -> Iterator[str]:
    """``sharedarray.__all__`` is sorted and names just what the façade binds."""
    if module.name != "sharedarray":
        return
    bound: list[str] = []
    exported: list[str] = []
    for node in module.tree.body:
        match node:
            case ast.Import(names) | ast.ImportFrom(names=names):
                bound += [alias.asname or alias.name.split(".")[0] for alias in names]
            case ast.Assign(targets=[ast.Name("__all__")], value=value):
                exported = ast.literal_eval(value)
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                bound.append(name)
            case ast.If(
                ast.Name("TYPE_CHECKING"), body, [ast.Assign(value=ast.Call(args=[_, table]))]
            ):
                for_type_checkers = {
                    line.module: tuple(alias.name for alias in line.names)
                    for line in body
                    if isinstance(line, ast.ImportFrom)
                }
                bound += chain.from_iterable(for_type_checkers.values())
                if ast.literal_eval(table) != for_type_checkers:
                    yield "type checkers see other names than those that are loaded by first use"
            case ast.Expr(ast.Constant()):
                pass
            case _:
                yield f"sharedarray:{node.lineno} is logic in a façade"
    if exported != sorted(set(exported)):
        yield "sharedarray.__all__ is not sorted, or names something twice"
    public = {name for name in bound if not name.startswith("_")} - {"annotations", "TYPE_CHECKING"}
    if extra := public ^ {name for name in exported if not name.startswith("_")}:
        yield f"bound or in __all__, but not both: {sorted(extra)}"


FIRST_USE = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from a import {name}
else:
    __getattr__, __dir__ = facade(globals(), {{"a": ("{loaded}",)}})
"""

RULES: list[Callable[[Module], Iterator[str]]] = [
    column,
    algorithms_stand_alone,
    imports_are_absolute,
    imports_stand_at_the_top,
    one_home,
    file_is_short,
    facade_is_sorted_and_complete,
]


def project() -> Iterator[Module]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Module(name, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("rule", RULES)
def test_project_keeps_the_rule(rule):
    modules = list(project())

    assert {module.name for module in modules} >= set(PACKAGES)
    assert [complaint for module in modules for complaint in rule(module)] == []


def test_there_are_no_circles():
    assert list(circles(list(project()))) == []


@pytest.mark.parametrize("word", ["import a.c", "if TYPE_CHECKING:\n    from a import c"])
def test_circles_are_found(word):
    modules = [Module("a.b", word), Module("a.c", "from a.d import x"), Module("a.d", "import a.b")]
    assert list(circles(modules)) == ["a.b -> a.c -> a.d -> a.b"]
    assert list(circles(modules[1:])) == []


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (column, "sharedarray_ops.sort.sorting", "import sharedarray"),
        (column, "sharedarray_ops.sort.sorting", "from sharedarray import errors"),
        (column, "sharedarray_ops.sort.sorting", "def f():\n    import sharedarray.config"),
        (column, "sharedarray.memory.array", "from sharedarray.workers import mapreduce"),
        (column, "sharedarray.memory.array", "import sharedarray.workers.mapreduce as m"),
        (column, "sharedarray.memory.array", "from sharedarray import workers"),
        (column, "sharedarray.memory.array", "from sharedarray import functions"),
        (column, "sharedarray.memory.array", "import sharedarray"),
        (
            column,
            "sharedarray.memory.array",
            "if TYPE_CHECKING:\n    from sharedarray.workers import mapreduce",
        ),
        (column, "sharedarray.openmp.team", "from sharedarray.files import npy"),
        (column, "sharedarray.workers.backend", "from sharedarray.functions import sort"),
        (column, "sharedarray.config", "from sharedarray.memory import segment"),
        (column, "sharedarray.forks", "from sharedarray import MapReduce"),
        (algorithms_stand_alone, "sharedarray_ops.plan", "import scipy.stats"),
        (algorithms_stand_alone, "sharedarray_ops", "from dask import array"),
        (imports_are_absolute, "sharedarray.functions", "from . import config"),
        (imports_are_absolute, "sharedarray.functions", "from .config import cpu_count"),
        (imports_stand_at_the_top, "sharedarray.x", "def f():\n    import sharedarray.config"),
        (
            imports_stand_at_the_top,
            "sharedarray_ops.x",
            "class A:\n    def f(self):\n        from sharedarray_ops import plan",
        ),
        (one_home, "sharedarray.memory.allocator", "import mmap"),
        (one_home, "sharedarray.memory.allocator", "from mmap import mmap as m"),
        (one_home, "sharedarray.functions", "import os\nos.fork()"),
        (one_home, "sharedarray.functions", "import os as system\nsystem.fork()"),
        (one_home, "sharedarray.functions", "from os import fork"),
        (one_home, "sharedarray.workers.constructs", "import threading\nthreading.Thread()"),
        (one_home, "sharedarray.workers.constructs", "from threading import Thread"),
        (file_is_short, "sharedarray.functions", "x = 1\n" * (MAX_LINES + 1)),
        (facade_is_sorted_and_complete, "sharedarray", "from a import b, c\n__all__ = ['b']"),
        (facade_is_sorted_and_complete, "sharedarray", "from a import b\n__all__ = ['b', 'c']"),
        (facade_is_sorted_and_complete, "sharedarray", "from a import b, c\n__all__ = ['c', 'b']"),
        (facade_is_sorted_and_complete, "sharedarray", "from a import b\n__all__ = ['b', 'b']"),
        (facade_is_sorted_and_complete, "sharedarray", "import os\n__all__ = []"),
        (facade_is_sorted_and_complete, "sharedarray", "def f(): ...\n__all__ = ['f']"),
        (
            facade_is_sorted_and_complete,
            "sharedarray",
            f"{FIRST_USE.format(name='c', loaded='d')}\n__all__ = ['c']",
        ),
        (
            facade_is_sorted_and_complete,
            "sharedarray",
            f"{FIRST_USE.format(name='c', loaded='c')}\n__all__ = []",
        ),
    ],
)
def test_rule_complains(rule, name, source):
    assert list(rule(Module(name, source)))


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (
            column,
            "sharedarray_ops.sort.sorting",
            "import numpy as np\nfrom sharedarray_ops import plan",
        ),
        (column, "sharedarray.memory.array", "from sharedarray.memory.registry import find"),
        (column, "sharedarray.memory.array", "from sharedarray import errors, config, forks"),
        (column, "sharedarray.functions", "import sharedarray.workers\nimport sharedarray_ops"),
        (column, "sharedarray.workers", "from sharedarray.memory.array import SharedArray"),
        (column, "sharedarray.memory.array", "from sharedarray_ops import elementwise"),
        (column, "sharedarray", "from sharedarray.functions import sort"),
        (algorithms_stand_alone, "sharedarray_ops.plan", "import math, numpy.typing"),
        (imports_stand_at_the_top, "sharedarray.x", "def f():\n    import tqdm"),
        (one_home, "sharedarray.memory.segment", "import mmap\nmmap.mmap(-1, 1)"),
        (one_home, "sharedarray.workers.process", "import os\nos.fork()"),
        (one_home, "sharedarray.workers.constructs", "import threading\nthreading.Lock()"),
        (
            one_home,
            "sharedarray.workers.constructs",
            "if TYPE_CHECKING:\n    from threading import Thread",
        ),
        (file_is_short, "sharedarray.functions", "x = 1\n" * MAX_LINES),
        (
            facade_is_sorted_and_complete,
            "sharedarray",
            "'Doc.'\nfrom a import B, c\n__version__ = '1'\n__all__ = ['B', '__version__', 'c']",
        ),
        (
            facade_is_sorted_and_complete,
            "sharedarray",
            f"{FIRST_USE.format(name='c', loaded='c')}\n__all__ = ['c']",
        ),
    ],
)
def test_rule_lets_pass(rule, name, source):
    assert list(rule(Module(name, source))) == []


def undocumented(namespace: object, names: list[str]) -> Iterator[str]:
    for name in names:
        member = getattr(namespace, name)
        doc = (getattr(member, "__doc__", None) or "") if callable(member) else "a value"
        if not doc:
            yield f"{name} has no docstring"
        elif callable(member) and not isinstance(member, type) and ">>>" not in doc:
            yield f"{name} has no example"


def test_public_functions_have_docstrings_with_examples():
    assert list(undocumented(sharedarray, sharedarray.__all__)) == []


def test_missing_docstring_or_example_is_noticed():
    class Namespace:
        __version__ = "1"

        @staticmethod
        def silent(): ...

        @staticmethod
        def vague():
            """Do something."""

        @staticmethod
        def clear():
            """Do something.

            >>> 1 + 1
            2
            """

    complaints = list(undocumented(Namespace, ["__version__", "silent", "vague", "clear"]))

    assert complaints == ["silent has no docstring", "vague has no example"]
