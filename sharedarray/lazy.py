"""Modules that are imported on first use, so that ``import sharedarray`` stays fast.

::

    import sharedarray         -->  names only
    sharedarray.background     -->  import of its home, bound in the façade as if imported there
    processes.ProcessCrew()    -->  import of the module that `processes` stands for
    first fork of a worker     -->  modules that workers may use are imported before it

The public classes and functions say in `__module__` where the façade has them, as NumPy's do: in
their repr, in pickles and in tracebacks, whatever module they are written in.

Guarantees
----------
* Modules that workers may use are imported once, in the parent. No worker waits for ever for an
  import that another thread of the parent had begun at the fork.
* An import that is interrupted leaves nothing behind: the next use starts it again.

Assumptions
-----------
* The modules are ours, and their import only defines names.
* A child of a user's own fork waits for ever if it imports what another thread was importing at the
  fork: Python does so with every module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import FunctionType
from typing import Any

__all__ = ["Later", "facade", "load_for_workers"]

_for_workers: set[str] = set()


class Later:
    """The module `home`, imported on first use, or before the first fork if `for_workers`."""

    def __init__(self, home: str, *, for_workers: bool = False) -> None:
        self._home = home
        if for_workers:
            _for_workers.add(home)

    def __getattr__(self, name: str) -> Any:
        # A look-up of special attributes, to see what an object can do, needs no import.
        if name == "_home" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self._home), name)


def facade(
    namespace: dict[str, Any],
    homes: Mapping[str, tuple[str, ...]],
    for_workers: Iterable[str] = (),
    beside: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a module (PEP 562), which import names on first use.

    The module becomes the `__module__` of its public classes and functions.

    Parameters
    ----------
    namespace : dict
        The globals of the module.
    homes : mapping of str to tuple of str
        The names to import from each module.
    for_workers : iterable of str
        The modules among them that forked workers may use.
    beside : mapping of str to str, optional
        Functions as ``"module:function"``, called now if the module of the key is loaded; left out
        where their package has been deleted.
    """
    _for_workers.update(for_workers)
    for other, function in (beside or {}).items():
        home, _, name = function.partition(":")
        if other in sys.modules:
            try:
                module = import_module(home)
            except ModuleNotFoundError as error:
                if error.name is None or not home.startswith(error.name):
                    raise
                continue
            getattr(module, name)()
    home_of = {name: home for home, names in homes.items() for name in names}
    for name, member in namespace.items():
        if not name.startswith("_"):
            _set_module(member, namespace["__name__"])

    def get(name: str) -> Any:
        if name not in home_of:
            message = f"module {namespace['__name__']!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules.get(namespace["__name__"]))
        found = getattr(import_module(home_of[name]), name)
        _set_module(found, namespace["__name__"])
        namespace[name] = found
        return found

    return get, lambda: sorted({*namespace, *home_of})


def _set_module(member: Any, module: str) -> None:
    """Have a function of a module below, or a class and its methods, say that it is of this one."""
    if isinstance(member, (type, FunctionType)) and member.__module__.startswith(module + "."):
        member.__module__ = module
        if isinstance(member, type):
            for method in vars(member).values():
                _set_module(method, module)


def load_for_workers() -> None:
    """Import what workers may use, or wait until another thread has.

    Not in a fork hook: modules such as `logging` register hooks of their own when imported, which
    would then run after this fork but not before it.
    """
    for home in sorted(_for_workers):
        import_module(home)
        _for_workers.discard(home)
