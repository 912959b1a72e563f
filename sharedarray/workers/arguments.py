"""Arguments that the methods of a pool have in common: checks, normal forms, progress bars."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from numbers import Real
from typing import Any

__all__ = [
    "Progress",
    "check",
    "check_func",
    "check_progress",
    "check_timeout",
    "items_of",
    "reduced",
    "reporting",
]

# True for a bar; a callable is called with the number of items done.
Progress = bool | Callable[[int], object] | None

_IN_BYTES: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}


def check(
    func: Any, reduce: Any, chunksize: int | None, progress: Progress, timeout: float | None
) -> None:
    """Raise TypeError or ValueError for bad arguments."""
    check_func(func)
    if reduce is not None and not callable(reduce):
        raise TypeError(f"reduce must be callable, not {type(reduce).__name__}")
    if chunksize is not None and operator.index(chunksize) < 1:
        raise ValueError(f"chunksize must be at least 1, not {chunksize}")
    check_timeout(timeout)
    check_progress(progress)


def check_func(func: Any) -> None:
    """Raise TypeError for what cannot be called."""
    if not callable(func):
        raise TypeError(f"func must be callable, not {type(func).__name__}")


def check_timeout(timeout: float | None) -> None:
    """Raise unless it is None or a number of seconds, 0 or more."""
    if timeout is not None and not isinstance(timeout, Real):
        raise TypeError(f"timeout must be a number of seconds, not {timeout!r}")
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must be 0 or more seconds, not {timeout}")


def reduced(reduce: Callable[..., Any] | None, values: list[Any]) -> list[Any]:
    """Return ``reduce(value)`` for each value, of a tuple ``reduce(*value)``."""
    if reduce is None:
        return values
    return [reduce(*v) if isinstance(v, tuple) else reduce(v) for v in values]


def items_of(sequence: Iterable[Any]) -> Sequence[Any] | Iterator[Any]:
    """Return a sequence as it is, an iterator over anything else.

    Sequences have a length and take an index, arrays included; mappings and sets are none.
    """
    if isinstance(sequence, (Mapping, Set)) or not hasattr(sequence, "__len__"):
        return iter(sequence)
    if not hasattr(sequence, "__getitem__"):
        return iter(sequence)
    return sequence  # type: ignore[return-value]  # duck-typed, arrays are no Sequence


def check_progress(progress: Progress) -> None:
    """Raise for what cannot report progress, before any work.

    Raises
    ------
    TypeError
        If it is neither a bool nor callable.
    ImportError
        If a bar is asked for and tqdm is not installed.
    """
    if progress is True:
        try:
            import tqdm.auto  # noqa: F401 - an extra
        except ImportError as error:
            raise ImportError(
                "progress=True shows a bar of tqdm, which is not installed: "
                "pip install 'sharedarray-toolkit[progress]', or give a callable"
            ) from error
    elif progress is not None and progress is not False and not callable(progress):
        raise TypeError(f"progress must be True or callable, not {progress!r}")


@contextmanager
def reporting(
    progress: Progress, total: int | None, *, in_bytes: bool = False
) -> Iterator[Callable[[int], object]]:
    """Yield a function to call with the number of items, or bytes, done when it has grown."""
    if progress is True:
        from tqdm.auto import tqdm  # an extra

        with tqdm(total=total, **(_IN_BYTES if in_bytes else {})) as bar:
            yield lambda n_done: bar.update(n_done - bar.n)
    elif callable(progress):
        yield progress
    else:
        yield lambda n_done: None
