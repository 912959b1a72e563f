r"""Pickles that other packages write to files hold the data of shared arrays.

::

    import joblib.numpy_pickle  --\
    import shelve               ----> a function of this module, once (see `lazy.facade`)
    import pandas.io.pickle     --/

What can be known of a pickle: ``__reduce_ex__`` is told the protocol and nothing else, neither the
pickler nor where it writes to. The pickler of C, behind `pickle.dump` and `pickle.dumps` alike, has
no place to ask. So a pickle is known to be for a file only if a package has a pickler, or a way to
it, for nothing but files: these are the ones here.

Rejected
    To look for the file in the frames of the callers: it depends on how others write their code. To
    put another function in the place of `pickle.dump`: it also writes to the pipes of programs that
    want the same memory. To have all pickles hold the data beside the reference: a reference would
    be as long as its array, and a file read again while the array lives would give what the array
    holds by then, not what was saved.

Guarantees
    A pickle for a file is data alone: what is loaded is what was saved, whether the array lives or
    not. Nothing but writing to files is changed, and a package is not imported for it.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from typing import Any

from sharedarray import picklemode
from sharedarray.memory.array import SharedArray, with_data

__all__ = ["of_joblib", "of_pandas", "of_shelve"]


class _FilePickler(pickle.Pickler):
    """A pickler of data."""

    def dump(self, obj: Any) -> None:
        """Write the pickle of an object."""
        with picklemode.by_value():
            super().dump(obj)


class _FilePickle:
    """The module `pickle`, whose `dump` writes data."""

    @staticmethod
    def dump(obj: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        _FilePickler(file, *args, **kwargs).dump(obj)

    def __getattr__(self, name: str) -> Any:
        return getattr(pickle, name)


def of_joblib() -> None:
    """Have `joblib.dump`, and so `joblib.Memory`, write data."""

    def save(pickler: Any, a: SharedArray) -> None:
        pickler.save_reduce(*with_data(a), obj=a)

    pickler = _found("joblib.numpy_pickle", "NumpyPickler")
    dispatch = getattr(pickler, "dispatch", None)
    if isinstance(dispatch, dict):
        dispatch[SharedArray] = save
    elif pickler is not None:
        _warn("joblib")


def of_pandas() -> None:
    """Have ``to_pickle`` of pandas write data."""
    if _found("pandas.io.pickle", "pickle") is pickle:
        sys.modules["pandas.io.pickle"].pickle = _FilePickle()  # type: ignore[attr-defined]


def of_shelve() -> None:
    """Have shelves hold data."""
    if _found("shelve", "Pickler") is pickle.Pickler:
        sys.modules["shelve"].Pickler = _FilePickler  # type: ignore[attr-defined]


def _found(module: str, name: str) -> Any:
    """Return what a module of another package has under a name; warn if it has none."""
    found = getattr(sys.modules[module], name, None)
    if found is None:
        _warn(module.partition(".")[0])
    return found


def _warn(package: str) -> None:
    warnings.warn(
        f"this release of {package} pickles in a way that is not known here: its files refer to "
        "shared arrays, and do not hold their data, except within "
        'sharedarray.pickling("value")',
        RuntimeWarning,
        stacklevel=3,
    )
