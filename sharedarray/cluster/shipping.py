"""Pickles for workers that have inherited nothing: code, items and results as bytes.

::

    coordinator   dumps(func, VALUE, pool) --bytes--> loads(bytes, its own pool)   worker
                  loads(bytes)             <--bytes-- dumps(results, RESULT)

Guarantees
    A pool that a function refers to is not sent: the loaded function refers to the worker's own
    pool, whose constructs know the worker. With cloudpickle, closures, lambdas and what
    ``__main__`` defines are sent, with the names of their files, which cloudpickle 3.1.3 leaves
    out; without it, only what pickle itself takes.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from types import CodeType
from typing import Any

from sharedarray.memory.array import SharedArray
from sharedarray.memory.pickling import Pickler

__all__ = ["dumps", "loads"]


@lru_cache(maxsize=1)
def _pickler() -> type[Any]:
    """Return the class of picklers, on cloudpickle where it is installed."""
    base: Any = pickle.Pickler
    with suppress(ImportError):
        import cloudpickle  # an extra

        base = cloudpickle.Pickler
    override = getattr(base, "reducer_override", lambda _self, _obj: NotImplemented)

    class CodePickler(Pickler, base):  # type: ignore[misc]  # one of the two above
        def __init__(self, file: io.BytesIO, mode: str, pool: object) -> None:
            super().__init__(file, mode)
            self._pool = pool
            self.has_pool = False

        def persistent_id(self, obj: object) -> str | None:
            if obj is not self._pool or obj is None:
                return None
            self.has_pool = True
            return "pool"

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, CodeType):
                return _code_of_file, (obj.co_filename, *self.dispatch_table[CodeType](obj))
            if issubclass(type(obj), SharedArray):
                return super().reducer_override(obj)
            return override(self, obj)

    return CodePickler


def _code_of_file(filename: str, make: Callable[..., CodeType], args: Any) -> CodeType:
    """Return a code object whose tracebacks name its file."""
    return make(*args).replace(co_filename=filename)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, pool: object) -> None:
        super().__init__(file)
        self._pool = pool

    def persistent_load(self, name: Any) -> Any:
        return self._pool


def dumps(value: Any, mode: str, pool: object = None) -> tuple[bytes, bool]:
    """Return the pickle of a value in a mode of `Pickler`, and whether it refers to `pool`."""
    file = io.BytesIO()
    pickler = _pickler()(file, mode, pool)
    pickler.dump(value)
    return file.getvalue(), pickler.has_pool


def loads(data: bytes, pool: object = None) -> Any:
    """Return the value of a pickle, which refers to `pool` instead of its sender's."""
    return _Unpickler(io.BytesIO(data), pool).load()
