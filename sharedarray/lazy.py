"""Modules that are imported on first use, so that ``import sharedarray`` stays fast.

::

    import sharedarray         -->  names only
    sharedarray.background     -->  import of its home, bound in the façade as if imported there
    processes.ProcessCrew()    -->  import of the module that `processes` stands for
    first fork of a worker     -->  modules that workers may use are imported before it
    import shelve              -->  what belongs to it here is called after it

The public classes and functions say in `__module__` where the façade has them, as NumPy's do: in
their repr, in pickles and in tracebacks, whatever module they are written in.

Guarantees
----------
* Modules that workers may use are imported once, in the parent. No worker waits for ever for an
  import that another thread of the parent had begun at the fork.
* An import that is interrupted leaves nothing behind: the next use starts it again.

Assumptions
-----------
* The modules are ours, and their import only defines names. Of modules of others nothing is asked
  but to be imported by name.
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
    after: Mapping[str, str] | None = None,
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
    after : mapping of str to str, optional
        The same, but called later, after its import, if the module is not loaded yet.
    """
    _for_workers.update(for_workers)
    for other, function in {**(beside or {}), **(after or {})}.items():
        if other in sys.modules:
            _call(function)
        elif after and other in after:
            _finder.functions[other] = function
    if _finder.functions and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
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


def _call(function: str) -> None:
    home, _, name = function.partition(":")
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        if error.name is None or not home.startswith(error.name):
            raise
        return
    getattr(module, name)()


class _Finder:
    """Find modules as the finders after it do, and call a function after some are imported."""

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in self.functions:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find and find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    """Load as another loader does, then call the function."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self._loader  # the module is to see that one
        self._loader.exec_module(module)
        function = _finder.functions.pop(module.__spec__.name, None)
        if function is not None:
            _call(function)


_finder = _Finder()


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
