"""What the tests of memory share: forked children, fresh interpreters, comparisons."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharedarray.memory import creation, registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.registry import is_shared

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A forked child that runs a generator: each `step` runs it to its next yield.

    Used as a context manager, it runs the rest at the end.
    """

    def __init__(self, work: Callable[[], Iterator[Any]]) -> None:
        answer_read, answer_write = os.pipe()
        go_read, go_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(go_write)  # the parent's end alone tells that the parent is gone
            for answer in _answers(work):
                os.write(answer_write, pickle.dumps(answer))
                if not os.read(go_read, 1):
                    break
            os._exit(0)
        os.close(answer_write)
        os.close(go_read)
        self.answers = open(answer_read, "rb")  # noqa: PTH123, SIM115 - a descriptor
        self.go = go_write
        self.is_first = True

    def step(self) -> Any:
        if not self.is_first:
            os.write(self.go, b".")
        self.is_first = False
        kind, value = pickle.load(self.answers)
        assert kind != "raised", value
        return value

    def __enter__(self) -> Child:
        return self

    def __exit__(self, exc_type: object, *exc: object) -> None:
        os.close(self.go)
        self.answers.close()
        _, status = os.waitpid(self.pid, 0)
        if exc_type is None:
            assert status == 0, f"the child ended with status {status}"


def _answers(work: Callable[[], Iterator[Any]]) -> Iterator[tuple[str, Any]]:
    try:
        for value in work():
            yield "value", value
    except GeneratorExit:  # the parent asks for no more
        raise
    except BaseException:  # the parent raises it; nothing may leave a forked child
        yield "raised", traceback.format_exc()


def in_child(work: Callable[[], Any]) -> Any:
    """Return what `work` returns in a forked child."""

    def steps() -> Iterator[Any]:
        yield work()

    with Child(steps) as child:
        return child.step()


def run_python(code: str, *, shell_limits: str = "true", timeout: float = 60) -> str:
    """Return what a fresh interpreter prints; it must end well and complain of nothing."""
    command = f'{shell_limits} && exec {sys.executable} -W error -c "$CODE"'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**os.environ, "CODE": code},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def steps(a):
    """Return the strides, but for dimensions that no step is ever made along."""
    return [stride for n, stride in zip(a.shape, a.strides, strict=True) if n > 1]


def assert_like_numpy(made, expected, *, has_values=True):
    assert type(made) is SharedArray
    assert is_shared(made)
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    assert steps(made) == steps(expected)
    for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "ALIGNED"):
        if made.dtype.itemsize == 0:
            break  # NumPy's own flags depend on how the array was made
        assert made.flags[flag] == expected.flags[flag]
    if has_values:
        np.testing.assert_array_equal(made, expected)


def same_outcome(name, *args, **kwargs):
    """Return our result, or None if ours and NumPy's raised the same."""
    try:
        expected = getattr(np, name)(*args, **kwargs)
    except Exception as error:
        with pytest.raises(type(error)):
            getattr(creation, name)(*args, **kwargs)
        return None
    made = getattr(creation, name)(*args, **kwargs)
    assert_like_numpy(made, expected, has_values=not name.startswith("empty"))
    return made


def assert_same_memory(loaded, a):
    assert type(loaded) is SharedArray
    assert is_shared(loaded)
    assert (loaded.shape, loaded.strides, loaded.dtype) == (a.shape, a.strides, a.dtype)
    assert loaded.dtype.kind == a.dtype.kind
    assert issubclass(loaded.dtype.type, np.record) == issubclass(a.dtype.type, np.record)
    assert loaded.flags.writeable == a.flags.writeable
    if a.nbytes:
        assert registry.address_of(loaded) == registry.address_of(a)
    assert registry.owner(loaded) is registry.owner(a)
