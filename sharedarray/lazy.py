"""What is loaded by its first use: the import of the package does not pay for what few need.

::

    import sharedarray         -->  names only
    sharedarray.background     -->  import of its home, bound in the façade as if imported there
    processes.ProcessCrew()    -->  import of the module `processes` stands for
    first fork of a worker     -->  what workers may use is loaded before it

The public classes and functions say in `__module__` where the façade has them, as NumPy's do: in
their repr, in pickles and in tracebacks, whatever module they are written in.

Guarantees
----------
* What workers may use is loaded once, in the parent, rather than in every worker; and no worker
  waits for an import that another thread of the parent had under way at the fork, for ever.
* An import that is interrupted leaves nothing behind: the next use starts it again.

Assumptions
-----------
* The modules are ours, and do nothing when they are imported but define what they have.
* Who forks on his own, while another thread imports, lets his child wait for ever if it imports the
  same: so it is with every module of Python.
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
    """A module that is imported when something of it is asked for.

    Parameters
    ----------
    home : str
        Its full name.
    for_workers : bool, default False
        Whether forked workers may use it.
    """

    def __init__(self, home: str, *, for_workers: bool = False) -> None:
        self._home = home
        if for_workers:
            _for_workers.add(home)

    def __getattr__(self, name: str) -> Any:
        # What asks an object for what it can do does not ask for the module.
        if name == "_home" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self._home), name)


def facade(
    namespace: dict[str, Any],
    homes: Mapping[str, tuple[str, ...]],
    for_workers: Iterable[str] = (),
    beside: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a module (PEP 562), which import names when asked.

    The public classes and functions that it has, and those that it gets so, have it for their
    `__module__` from then on.

    Parameters
    ----------
    namespace : dict
        The globals of the module.
    homes : mapping of str to tuple of str
        The names that each module has.
    for_workers : iterable of str
        Those of the modules that forked workers may use.
    beside : mapping of str to str, optional
        What is called at once, as ``"module:function"``, where another module is loaded already.
    """
    _for_workers.update(for_workers)
    for other, function in (beside or {}).items():
        if other in sys.modules:
            home, _, name = function.partition(":")
            getattr(import_module(home), name)()
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
    """Load what workers may use, or wait until another thread has.

    Not in a hook of the fork: what is imported, `logging` for one, may have hooks of its own, which
    would be called after the fork, but not before it.
    """
    for home in sorted(_for_workers):
        import_module(home)
        _for_workers.discard(home)
