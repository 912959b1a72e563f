"""Another program: a fresh interpreter that runs what a test tells it to.

::

    test     run("a[0] = 5; a.sum()", a=array) --pipe--> serve(): load the values, run, answer
"""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from sharedarray.memory import registry

ROOT = Path(__file__).resolve().parents[2]


class Program:
    """A program that shares nothing with this one but the user; ends with the ``with`` block."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", f"import {__name__} as e; e.serve()"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid

    def run(self, code: str, **values: Any) -> Any:
        """Run statements there, and return what the last one, an expression, gives.

        Each value is pickled here and loaded there, under its name. Names live on from one call to
        the next. What is raised there is raised here.
        """
        streams = {name: pickle.dumps(value) for name, value in values.items()}
        pickle.dump((code, streams), self._process.stdin)
        self._process.stdin.flush()
        kind, value = pickle.load(self._process.stdout)
        if kind == "raised":
            raise value
        return value

    def __enter__(self) -> Program:
        return self

    def __exit__(self, exc_type: object, *exc: object) -> None:
        self._process.stdin.close()
        status = self._process.wait()
        self._process.stdout.close()
        if exc_type is None:
            assert status == 0, f"the program ended with status {status}"


def serve() -> None:
    """Be such a program."""
    names: dict[str, Any] = {}
    while True:
        try:
            code, streams = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            for name, stream in streams.items():
                names[name] = pickle.loads(stream)
            answer = pickle.dumps(("value", _run(code, names)))
        except Exception as error:
            error.__traceback__ = error.__context__ = None  # their frames hold arrays
            answer = pickle.dumps(("raised", error))
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


def _run(code: str, names: dict[str, Any]) -> Any:
    *statements, last = ast.parse(code).body
    exec(compile(ast.Module(statements, []), "<elsewhere>", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "<elsewhere>", "eval"), names)
    exec(compile(ast.Module([last], []), "<elsewhere>", "exec"), names)
    return None


# What the children of multiprocessing are told to run, which have to import it.


def facts(a: Any) -> tuple[Any, ...]:
    """Return what makes an array the same as another one."""
    flags = a.flags.writeable, a.flags.aligned, a.flags.c_contiguous, a.flags.f_contiguous
    block = registry.owner(a)
    where = None if block is None else (block.segment.id, block.offset, block.serial)
    return type(a).__name__, a.shape, a.strides, a.dtype, flags, a.tobytes(), where


def facts_then_negate(a: Any) -> tuple[Any, ...]:
    """Return the facts of an array, and change its numbers."""
    found = facts(a)
    a *= -1
    return found


def put(queue: Any, a: Any) -> None:
    """Put the facts of an array into a queue, and change its numbers."""
    queue.put(facts_then_negate(a))
