"""Pickles for workers that have inherited nothing: code, items and results as bytes.

::

    coordinator   dumps(func, pool=pool) --bytes--> loads(bytes, pool=its own)   worker
                  loads(bytes)          <--bytes-- dumps(results, RESULT)

Guarantees
    The pool that a function refers to is not sent with it, but found again: in the worker it is the
    pool whose constructs know the worker. With cloudpickle, closures, lambdas and what ``__main__``
    defines travel, with the names of their files, which cloudpickle 3.1.3 leaves out; without it
    only what pickle itself takes.

Assumptions
    Other parts of the package say by `ships_by` how objects travel to where their memory is not.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

__all__ = ["REFERENCE", "RESULT", "VALUE", "Shipped", "dumps", "loads", "shipped", "ships_by"]

# How shared memory travels: as where it is; as what is in it; as where it is if the other end has
# made it, else as what is in it.
REFERENCE, VALUE, RESULT = "reference", "value", "result"


class Shipped(NamedTuple):
    """How objects of a class travel.

    Attributes
    ----------
    reduce : callable
        Called with an object and `VALUE` or `RESULT`; returns what `__reduce__` would.
    private, shared : callable
        Make a plain array of an object, and an object of a plain array.
    """

    reduce: Callable[[Any, str], Any]
    private: Callable[[Any], Any]
    shared: Callable[[Any], Any]


shipped: dict[type, Shipped] = {}


def ships_by(
    cls: type,
    reduce: Callable[[Any, str], Any],
    private: Callable[[Any], Any],
    shared: Callable[[Any], Any],
) -> None:
    """Say how objects of a class travel to where their memory is not, see `Shipped`."""
    shipped[cls] = Shipped(reduce, private, shared)


@lru_cache(maxsize=1)
def _pickler() -> type[Any]:
    """Return the class of picklers, on cloudpickle where it is installed."""
    base: type[pickle.Pickler]
    try:
        import cloudpickle  # an extra
    except ImportError:
        base = pickle.Pickler
    else:
        base = cloudpickle.Pickler

    class Pickler(base):  # type: ignore[valid-type,misc]  # one of the two above
        def __init__(self, file: io.BytesIO, how: str, pool: object) -> None:
            super().__init__(file, 5)
            self._how = how
            self._pool = pool
            self.has_pool = False

        def persistent_id(self, obj: object) -> str | None:
            if obj is not self._pool or obj is None:
                return None
            self.has_pool = True
            return "pool"

        def reducer_override(self, obj: Any) -> Any:
            if self._how != REFERENCE:
                for cls, its in shipped.items():
                    if isinstance(obj, cls):
                        return its.reduce(obj, self._how)
            if isinstance(obj, CodeType):
                return _code_of_file, (obj.co_filename, *self.dispatch_table[CodeType](obj))
            override = getattr(super(), "reducer_override", None)
            return NotImplemented if override is None else override(obj)

    return Pickler


def _code_of_file(filename: str, make: Callable[..., CodeType], args: Any) -> CodeType:
    """Return a code object whose tracebacks name its file."""
    return make(*args).replace(co_filename=filename)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, pool: object) -> None:
        super().__init__(file)
        self._pool = pool

    def persistent_load(self, name: Any) -> Any:
        return self._pool


def dumps(value: Any, how: str, pool: object = None) -> tuple[bytes, bool]:
    """Return the pickle of a value, and whether it refers to the pool.

    Parameters
    ----------
    how : {REFERENCE, VALUE, RESULT}
        How shared memory travels.
    pool : object, optional
        What is found again rather than sent.
    """
    file = io.BytesIO()
    pickler = _pickler()(file, how, pool)
    pickler.dump(value)
    return file.getvalue(), pickler.has_pool


def loads(data: bytes, pool: object = None) -> Any:
    """Return the value of a pickle; `pool` is what it found again."""
    return _Unpickler(io.BytesIO(data), pool).load()
