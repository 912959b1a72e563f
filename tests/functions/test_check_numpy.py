import numpy as np
import pytest

from sharedarray.functions.check import NumPyReport, check_numpy
from sharedarray_ops import plan
from sharedarray_ops.reduce import folding, summation


def test_the_running_numpy_keeps_the_promises():
    report = check_numpy()
    assert report
    assert report.differences == ()
    assert report.n_checked > 2000
    assert np.__version__ in str(report)
    assert check_numpy(seed=1)


def wrong_tree(n, unit, depth):
    """Halve a range at any place, as NumPy does not."""
    return plan.chunks(0, n, 1 << depth)


def wrong_unit(n, unit, depth):
    return plan.tree_leaves(n, 12 - unit, depth)


@pytest.mark.parametrize(
    ("module", "name", "wrong", "what"),
    [
        (summation, "tree_leaves", wrong_tree, "sum of positive float32"),
        (summation, "tree_leaves", wrong_unit, "sum of mixed complex64"),
        (summation, "deviations", lambda mean: lambda a: (a - mean) ** 2 * 1.5, "variance"),
        (summation, "_join", lambda sums: np.add.accumulate(sums)[-1:], "float32"),
        (summation, "_sum", lambda leaf: np.add.reduce(leaf, keepdims=True), "mixed float16"),
    ],
    ids=["cuts", "unit", "terms", "order of leaves", "float16"],
)
def test_another_order_is_noticed(monkeypatch, module, name, wrong, what):
    monkeypatch.setattr(module, name, wrong)
    report = check_numpy(strict=False)
    assert not report
    assert any(what in difference for difference in report.differences)
    assert what in str(report)
    with pytest.raises(RuntimeError, match="not the same bits"):
        check_numpy()


def test_another_use_of_the_buffer_is_noticed(monkeypatch):
    monkeypatch.setattr(np, "getbufsize", lambda: 4096)
    report = check_numpy(strict=False)
    assert any("to float" in difference for difference in report.differences)


def test_chunks_of_length_one_are_noticed(monkeypatch):
    def cut(a, axes, how, pool):
        axis = next(i for i in range(a.ndim) if i not in axes)
        return folding.Cut(axis, plan.chunks(0, a.shape[axis], a.shape[axis]), is_kept=True)

    monkeypatch.setattr(folding, "cut", cut)
    report = check_numpy(strict=False)
    assert any("along" in difference for difference in report.differences)


def test_nothing_is_changed_for_the_caller():
    with np.errstate(all="raise"):
        before = np.geterr()
        check_numpy()
        assert np.geterr() == before


def test_a_report_says_what_differs():
    assert str(NumPyReport("9", 3, ("a", "b"))).splitlines() == [
        "NumPy 9: not the same bits in",
        "    a",
        "    b",
    ]
