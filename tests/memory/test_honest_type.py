"""Every public attribute of ndarray and every public function of NumPy, on a SharedArray.

One oracle is a subclass that changes nothing: where NumPy gives it back on the memory of its
argument, a SharedArray must come back. All else is what NumPy gives for a plain array.
"""

import contextlib
import inspect
import io
import warnings

import numpy as np
import pytest

from sharedarray.memory import array as array_module
from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import array
from sharedarray.memory.registry import is_shared


@pytest.fixture(autouse=True)
def numpy_alone(monkeypatch):
    """Test the class, not what the operations have registered."""
    monkeypatch.setattr(array_module, "DISPATCH", {})


class Oracle(np.ndarray):
    __array_priority__ = SharedArray.__array_priority__


DATA = {
    "f8": np.array([[4.0, 1, 0, 2], [1, 5, 2, 0], [0, 2, 6, 1], [2, 0, 1, 7]]),
    "i8": np.array([3, 1, 2, 5, 4, 0]),
    "c16": np.array([[2 + 1j, 1], [1, 3 - 1j]]),
    "bool": np.array([True, False, True]),
    "0-d": np.array(2.5),
    "empty": np.empty((0, 3)),
    "f4 cube": np.arange(8, dtype="f4").reshape(2, 2, 2),
    "M8": np.array(["2020-01-01", "2021-05-05"], "M8[D]"),
    "bytes": np.array([b"ab", b"cd"]),
    "uint8": np.array([1, 2, 3, 255], "u1"),
}


def parts(result):
    """Yield the arrays and scalars of a result in order."""
    if isinstance(result, (tuple, list)):
        for item in result:
            yield from parts(item)
    elif isinstance(result, dict):
        yield from parts(list(result.values()))
    elif isinstance(result, (np.ndarray, np.generic)):
        yield result


def outcome(call, a):
    """Return what the call gives, or the class of its exception."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # Some functions print.
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                return call(a)
            except Exception as error:
                return type(error)


def check(call, data):
    """Compare a call on a SharedArray with one on the oracle; return whether it gave anything."""
    private, model, shared = data.copy(), data.copy().view(Oracle), array(data)
    expected, classes, got = (outcome(call, a) for a in (private, model, shared))
    if isinstance(expected, type):
        assert got is expected
        return False
    results = [list(parts(result)) for result in (expected, classes, got)]
    for wanted, modelled, have in zip(*results, strict=True):
        if isinstance(modelled, Oracle) and view_of(modelled, model):
            assert type(have) is SharedArray
        else:
            assert type(have) is type(wanted)
        assert not isinstance(have, SharedArray) or is_shared(have)
        assert (have.shape, have.dtype) == (wanted.shape, wanted.dtype)
        if wanted.dtype.kind not in "OV" and has_values(call):
            np.testing.assert_array_equal(np.asarray(have), np.asarray(wanted))
    np.testing.assert_array_equal(np.asarray(shared), private)  # in-place work
    return True


def view_of(a, source):
    if a.size:
        return np.may_share_memory(a, source)
    while isinstance(a, np.ndarray) and a is not source.base:
        a = a.base
    return a is not None


def has_values(call):
    return not getattr(call, "__name__", "").startswith("empty")


# attributes

CALLS = {
    "argpartition": [(1,)],
    "astype": [("f4",), ("f8",), ("f8", "K", "unsafe", True, False)],
    "byteswap": [(), (True,)],
    "choose": [([[10, 20, 30, 40, 50, 60]] * 6,), ([7, 8],)],
    "clip": [(1, 2)],
    "compress": [([True, False, True],)],
    "dot": [(2,), (np.ones(4),), (np.ones(6),)],
    "fill": [(1,)],
    "getfield": [("u1", 1)],
    "item": [(0,), ()],
    "partition": [(1,)],
    "put": [([0, 1], 1)],
    "ravel": [(), ("F",), ("K",)],
    "repeat": [(2,), (2, 0)],
    "reshape": [(-1,), ((-1, 1),)],
    "resize": [((2, 2),)],
    "round": [(), (1,)],
    "searchsorted": [(3,), ([3, 4],)],
    "setfield": [(1, "u1", 0)],
    "swapaxes": [(0, -1)],
    "tofile": [("/dev/null",)],
    "take": [([0, 1],), (0,), ([[0, 1]], 0)],
    "to_device": [("cpu",)],
    "transpose": [(), (1, 0)],
    "view": [(), ("u1",), (np.ndarray,), ("i2", np.ndarray)],
}
AXIS = "all any argmax argmin argsort cumprod cumsum max mean min prod sort squeeze std sum var"
for name in AXIS.split():
    CALLS[name] = [(), (0,), (-1,)]
# The address and the flags are each array's own; these write files or show memory.
OWN = {"base", "ctypes", "data", "device", "dump", "dumps", "flags"}
SPECIAL = ["__copy__", "__neg__", "__pos__", "__abs__", "__invert__", "__iter__", "__array__"]
SPECIAL += ["__len__", "__bool__", "__str__", "__repr__"]


def public_attributes():
    return [name for name in dir(np.ndarray) if not name.startswith("_") and name not in OWN]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", [*public_attributes(), *SPECIAL])
def test_attribute(name, data):
    if not callable(getattr(np.ndarray, name)):
        check(lambda a: getattr(a, name), DATA[data])
        return
    for args in CALLS.get(name, [()]):
        check(lambda a, args=args: as_result(getattr(a, name)(*args)), DATA[data])


def as_result(value):
    return list(value) if hasattr(value, "__next__") else value


@pytest.mark.parametrize("name", public_attributes())
def test_attribute_is_called_with_arguments_that_fit(name):
    if not callable(getattr(np.ndarray, name)) or name in ("resize",):  # needs its own memory
        return
    assert any(
        check(lambda a, args=args: getattr(a, name)(*args), data)
        for args in CALLS.get(name, [()])
        for data in DATA.values()
    )


@pytest.mark.parametrize("out_is_shared", [True, False])
@pytest.mark.parametrize(
    "name", ["sum", "cumsum", "clip", "take", "argmax", "mean", "round", "dot"]
)
def test_out_comes_back(name, out_is_shared):
    a = array(DATA["f8"])
    args = {"clip": (1, 2), "take": ([0, 1, 2, 3], 0), "dot": (DATA["f8"],)}.get(name, (0,))
    expected = getattr(DATA["f8"], name)(*args)
    out = np.zeros_like(expected)
    if out_is_shared:
        out = array(out)
    for call in (getattr(a, name), lambda *rest, out: getattr(np, name)(a, *rest, out=out)):
        assert call(*args, out=out) is out
        np.testing.assert_array_equal(out, expected)
        out[...] = 0


# functions

# What is tried in turn; "a" stands for the array.
A = "a"
ARGUMENTS = [
    (A,),
    (A, A),
    (A, 1),
    (A, 0, 1),
    (A, [0, 1]),
    (A, [0, 1], 1),
    (A, (2, 2)),
    (A, "f4"),
    (A, A, A),
    ([A, A],),
    (1, A),
    (A, [[0, 0], [1, 1]], [1, 2]),
]
# Where nothing of that fits, or fits too well.
FITTING = {
    "apply_along_axis": [(np.cumsum, 0, A)],
    "apply_over_axes": [(np.sum, A, [0])],
    "einsum": [("ij->ji", A), ("ij,jk", A, A), ("i,i", A, A)],
    "einsum_path": [("ij,jk", A, A)],
    "interp": [(1.5, A, A)],
    "select": [([np.array([True, False, True] * 2)], [A])],
    "piecewise": [(A, [np.array([True, False] * 3)], [1, 2])],
    "putmask": [(A, np.array([True, False] * 3), 5)],
    "place": [(A, np.array([True, False] * 3), [5])],
    "copyto": [(A, 1)],
    "unravel_index": [(A, (3, 4))],
    "ravel_multi_index": [((A, A), (9, 9))],
    "busday_count": [(A, A)],
    "busday_offset": [(A, 0, "forward")],
    "is_busday": [(A,)],
    "datetime_as_string": [(A,)],
    "bincount": [(A,)],
    "unpackbits": [(A,)],
    "packbits": [(A,)],
    "full_like": [(A, 1)],
    "insert": [(A, 0, 1)],
    "take_along_axis": [(A, np.array([[0]]), 0)],
    "tensorsolve": [(A, np.ones(4))],
    "tensorinv": [(A, 1)],
    "solve": [(A, np.ones(4)), (A, A)],
    "lstsq": [(A, np.ones(4))],
    "multi_dot": [([A, A],)],
    "matrix_power": [(A, 2)],
    "histogramdd": [(A,)],
    "polyfit": [(A, A, 1)],
    "cross": [(np.ones(3), A), (A, A)],
    "fill_diagonal": [(A, 5)],
    "pad": [(A, 1)],
    "put_along_axis": [(A, np.array([[0]]), 1, 0)],
    "rot90": [(A,)],
    "block": [([A, A],)],
    "array_split": [(A, 2)],
    "split": [(A, 2)],
    "hsplit": [(A, 2)],
    "vsplit": [(A, 2)],
    "dsplit": [(A, 2)],
    "sliding_window_view": [(A, 1)],
    "as_strided": [(A, (0,), (8,)), (A, (0,), (8,), True)],
    "broadcast_to": [(A, (2, 4, 4)), (A, (2, 4, 4), True)],
    "broadcast_arrays": [(A, np.ones((2, 4, 4)))],
    "min_scalar_type": [(A,)],
}
# No array goes in, or nothing of one comes out, or they write files.
LEFT_OUT = {
    *("save", "savez", "savez_compressed", "savetxt", "fromfile", "load", "loadtxt", "genfromtxt"),
    *("fromregex", "frombuffer", "from_dlpack", "show_config", "show_runtime", "info", "test"),
    *("set_printoptions", "get_printoptions", "printoptions", "seterr", "geterr", "seterrcall"),
    *("geterrcall", "setbufsize", "getbufsize", "get_include", "errstate", "base_repr", "typename"),
    *("binary_repr", "format_float_positional", "format_float_scientific", "may_share_memory"),
    *("shares_memory", "array2string", "array_repr", "array_str", "issubdtype", "isdtype"),
    *("promote_types", "can_cast", "result_type", "common_type", "mintypecode", "iterable"),
    *("nested_iters", "fromiter", "fromstring", "fromfunction", "from_buffer", "bmat", "asmatrix"),
    # These keep the class without calling it, see the Notes of SharedArray.
    *("array", "asanyarray", "require"),
    *("asarray", "asarray_chkfinite", "empty", "zeros", "ones", "full"),
    *("arange", "linspace", "logspace", "geomspace", "eye", "identity", "tri", "indices"),
    *("hamming", "hanning", "bartlett", "blackman", "kaiser", "tril_indices", "triu_indices"),
    *("mask_indices", "diag_indices", "mgrid", "ogrid", "r_", "c_", "s_", "frompyfunc"),
    *("vectorize", "put", "issctype", "obj2sctype", "astype", "isscalar", "fftfreq", "rfftfreq"),
    *("isfortran", "byte_bounds", "drop_metadata", "normalize_axis_index", "bindtextdomain"),
    *("normalize_axis_tuple", "opt_func_info", "add_docstring", "add_newdoc", "get_array_wrap"),
    *("datetime_data", "get_file_obj", "ix_", "trim_zeros", "poly", "roots"),
}


def public_functions():
    from numpy.lib import array_utils, stride_tricks

    found = {}
    for module in (np, np.linalg, np.fft, stride_tricks, array_utils):
        for name in module.__all__ if hasattr(module, "__all__") else dir(module):
            function = getattr(module, name, None)
            if not callable(function) or inspect.isclass(function) or name.startswith("_"):
                continue
            if name not in LEFT_OUT:
                found[f"{module.__name__}.{name}"] = function
    return found


FUNCTIONS = public_functions()


def with_array(argument, a):
    """Put the array for what stands for it."""
    if isinstance(argument, str) and argument == A:
        return a
    if isinstance(argument, (list, tuple)):
        return type(argument)(with_array(item, a) for item in argument)
    return argument


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    function = FUNCTIONS[name]

    def called(args):
        def call(a):
            return as_result(function(*with_array(args, a)))

        call.__name__ = name.rpartition(".")[2]
        return call

    candidates = FITTING.get(name.rpartition(".")[2], ARGUMENTS)
    worked = [check(called(args), data) for args in candidates for data in DATA.values()]
    assert any(worked), "no arguments fit"


def test_what_is_computed_from_a_base_is_private():
    a = array([0, 1, 2, 3])
    computed = a.base + 1
    assert not is_shared(computed)
    assert type(array(computed)) is SharedArray
    assert not np.shares_memory(array(computed), computed)
    with pytest.raises(TypeError, match="private memory"):
        a.base.copy().view(SharedArray)
    assert is_shared(a.base[1:3].view(np.ndarray))
