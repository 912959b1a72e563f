"""The honest type in all that NumPy offers the public: shared memory, and no other, is SharedArray.

Whatever a new NumPy adds has to be put into `numpy_names` first.
"""

import ast
import builtins
import contextlib
import inspect
import io
import itertools
import pickle
import warnings

import numpy as np
import pytest

from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import array
from sharedarray.memory.registry import is_shared
from tests.memory.numpy_names import (
    HONEST,
    NOT_EVERYWHERE,
    PLAIN,
    UNASKED,
    WITHOUT_ARRAYS,
    arrays,
)


def homes():
    """Return where the names of a module are looked up."""
    with ignored_warnings():
        return {
            "np": np,
            "np.linalg": np.linalg,
            "np.fft": np.fft,
            "np.random": np.random,
            "np.random.Generator": np.random.default_rng(1),
            "np.strings": np.strings,
            "np.char": np.char,
            "np.emath": np.emath,
            "np.lib.stride_tricks": np.lib.stride_tricks,
            "np.lib.array_utils": np.lib.array_utils,
            "np.rec": np.rec,
            "np.ndarray": np.ndarray,
        }


@contextlib.contextmanager
def ignored_warnings():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


HOMES = homes()


def attribute(home, name):
    with ignored_warnings():  # np.char.chararray
        return getattr(home, name, None)


def public(home):
    """Return the names of what could take an array."""
    names = getattr(home, "__all__", dir(home))
    found = {name: attribute(home, name) for name in names if not name.startswith("_")}
    return {name for name, thing in found.items() if home is np.ndarray or may_take(thing)}


def may_take(thing):
    if inspect.ismodule(thing) or isinstance(thing, (np.ufunc, np.generic, dict, tuple, str)):
        return False
    if inspect.isclass(thing):
        return not issubclass(thing, (np.generic, np.dtype, BaseException, builtins.bool))
    return callable(thing) or hasattr(thing, "__getitem__")  # np.r_, np.mgrid ...


def calls(table):
    return [
        (module, call.strip())
        for module, text in table.items()
        for line in text.splitlines()
        for call in line.split("  ")
        if call.strip()
    ]


def names_in(call):
    tree = list(ast.walk(ast.parse(call)))
    return {node.id for node in tree if isinstance(node, ast.Name)} | {
        node.attr for node in tree if isinstance(node, ast.Attribute)
    }


def missing(module, call):
    """Return whether this NumPy lacks what is called."""
    names = {name.rpartition(".")[2] for name in NOT_EVERYWHERE if name.startswith(f"{module}.")}
    return any(attribute(HOMES[module], name) is None for name in names & names_in(call))


# Python's own where NumPy has the same name.
PYTHON = {"abs": abs, "str": str, "np": np}


def evaluate(module, call):
    """Return the arrays in what a call gives, with the arrays that it was given."""
    letters = {letter: array(a) for letter, a in arrays().items()}
    home = HOMES[module]
    names = {name: attribute(home, name) for name in names_in(call)}
    names = {name: thing for name, thing in names.items() if thing is not None}
    with ignored_warnings(), contextlib.redirect_stdout(io.StringIO()):
        result = eval(call, {**names, **PYTHON, **letters})
    return list(parts(result)), letters


def parts(result):
    if isinstance(result, np.ndarray):
        yield result
        if result.dtype == object:
            yield from parts(result.tolist())
    elif isinstance(result, dict):
        yield from parts(list(result.values()))
    elif isinstance(result, (tuple, list)) or hasattr(result, "__next__"):
        for item in result:
            yield from parts(item)


@pytest.mark.parametrize("module", HOMES)
def test_all_that_numpy_offers_is_classified(module):
    called = {
        name
        for table in (HONEST, PLAIN, UNASKED)
        for place, call in calls(table)
        if place == module
        for name in names_in(call)
    }
    classified = called | set(WITHOUT_ARRAYS.get(module, "").split())
    new = public(HOMES[module]) - classified
    assert not new, f"put them into tests/memory/numpy_names.py: {' '.join(sorted(new))}"


@pytest.mark.parametrize("module", HOMES)
def test_what_is_classified_exists_and_is_not_called(module):
    home, without = HOMES[module], WITHOUT_ARRAYS.get(module, "").split()
    gone = {name for name in without if attribute(home, name) is None}
    assert {f"{module}.{name}" for name in gone} <= NOT_EVERYWHERE
    assert len(set(without)) == len(without)


@pytest.mark.parametrize(("module", "call"), calls(HONEST), ids=str)
def test_shared_memory_and_no_other_is_a_shared_array(module, call):
    if missing(module, call):
        pytest.skip("not in this NumPy")
    found, letters = evaluate(module, call)
    for part in [*found, *letters.values()]:
        assert isinstance(part, SharedArray) is is_shared(part)


@pytest.mark.parametrize(("module", "call"), calls(PLAIN), ids=str)
def test_what_asks_for_another_class_gets_it_on_the_same_memory(module, call):
    found, _ = evaluate(module, call)
    assert found
    for part in found:
        assert not isinstance(part, SharedArray)
        assert is_shared(part)


@pytest.mark.parametrize(("module", "call"), calls(UNASKED), ids=str)
def test_what_does_not_ask_the_class_is_known(module, call):
    found, _ = evaluate(module, call)
    for part in found:
        assert isinstance(part, SharedArray)
        assert not is_shared(part)


# by protocol: ufuncs, scalar types


def ufuncs():
    for module, home in HOMES.items():
        if module != "np.ndarray":
            names = getattr(home, "__all__", [])
            found = {name: attribute(home, name) for name in names}
            yield from (f"{module}.{n}" for n, f in found.items() if isinstance(f, np.ufunc))


NOT_TAKEN = TypeError, ValueError, IndexError, OverflowError


def tried(function, n_arguments, *rest):
    """Return the arrays in what a function gives for any arguments that it takes."""
    found = []
    values = {letter: array(a) for letter, a in arrays().items()}
    same = [(a,) * n_arguments for a in values.values()]
    mixed = itertools.product((values["v"], values["i"], 2), repeat=n_arguments)
    n_taken = 0
    for arguments in [*same, *mixed]:
        with ignored_warnings(), contextlib.suppress(*NOT_TAKEN):
            found += parts(function(*arguments, *rest))
            n_taken += 1
    assert n_taken
    for part in [*found, *values.values()]:
        assert isinstance(part, SharedArray) is is_shared(part)


@pytest.mark.parametrize("name", list(ufuncs()))
def test_ufunc_gives_private_memory(name):
    module, _, name = name.rpartition(".")
    ufunc = attribute(HOMES[module], name)
    tried(ufunc, ufunc.nin)
    tried(lambda *args: ufunc(*args[: ufunc.nin]), ufunc.nin, None)


METHODS = {
    "reduce": lambda f, a: f.reduce(a),
    "reduce, out=": lambda f, a: f.reduce(a, out=a[0, ...]),
    "reduce, keepdims": lambda f, a: f.reduce(a, keepdims=True),
    "accumulate": lambda f, a: f.accumulate(a),
    "accumulate, out=": lambda f, a: f.accumulate(a, out=a),
    "reduceat": lambda f, a: f.reduceat(a, [0, 1]),
    "outer": lambda f, a: f.outer(a, a),
    "at": lambda f, a: f.at(a, [0, 1], 1),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.logical_or], ids=str)
def test_method_of_a_ufunc_gives_private_memory_or_its_out(ufunc, method):
    tried(lambda a: METHODS[method](ufunc, a), 1)


def test_out_of_a_ufunc_comes_back():
    a = array([1.0, 4.0])
    assert np.sqrt(a, out=a) is a
    assert np.sqrt(a, a) is a
    fraction, whole = array([0.0, 0.0]), np.zeros(2)
    results = np.modf(a, out=(fraction, whole))
    assert results[0] is fraction
    assert results[1] is whole


TYPES = {thing for name in np.__all__ if inspect.isclass(thing := getattr(np, name))}
SCALARS = sorted((t for t in TYPES if issubclass(t, np.generic)), key=str)
ABSTRACT = {"character", "complexfloating", "flexible", "floating", "generic", "inexact"}
ABSTRACT |= {"integer", "number", "signedinteger", "unsignedinteger"}
OF_ONE_ELEMENT = {"datetime64", "record", "str_", "timedelta64", "void"}


@pytest.mark.parametrize("cls", [t for t in SCALARS if t.__name__ not in ABSTRACT | OF_ONE_ELEMENT])
def test_what_a_scalar_type_converts_pickles_with_its_data(cls):
    # It asks the class nothing: np.float32(a) is a SharedArray on private memory.
    n_made = 0
    for data in arrays().values():
        a = array(data)
        with ignored_warnings(), contextlib.suppress(*NOT_TAKEN):
            made = cls(a)
            if not isinstance(made, np.ndarray):
                continue
            n_made += 1
            assert is_shared(made) is (made is a or np.may_share_memory(made, a))
            loaded = pickle.loads(pickle.dumps(made))
            assert isinstance(loaded, SharedArray) is is_shared(made)
            np.testing.assert_array_equal(np.asarray(loaded), np.asarray(made))
    assert n_made
