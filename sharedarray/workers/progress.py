"""How far long work is: a bar of tqdm, or calls of a callable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "check_progress", "reporting"]

# True for a bar; a callable is called with the number of items done.
Progress = bool | Callable[[int], object] | None

_IN_BYTES: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}


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
