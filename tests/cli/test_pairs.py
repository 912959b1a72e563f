"""How ratios are measured in `asv_bench`: on a clock that only the work moves."""

from __future__ import annotations

import importlib
import json
import re
import sys
from itertools import chain, cycle, repeat
from types import SimpleNamespace

import pytest

from tests.cli.support import ROOT


@pytest.fixture
def pairs(monkeypatch):
    """Let the benchmarks of the clone be imported, and forget them afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "asv_bench"))
    yield importlib.import_module("benchmarks.pairs")
    for name in [name for name in sys.modules if re.match(r"benchmarks\b", name)]:
        del sys.modules[name]


@pytest.fixture
def lab(pairs, monkeypatch):
    """Return what measures work whose calls take the seconds that it is given, one by one."""
    clock, events, loads = [0.0], [], [0.0]

    def perf_counter():
        return clock[0]

    def work(name, seconds):
        times = iter(seconds)

        def call():
            events.append(name)
            clock[0] += next(times)

        return call

    def cpus():
        return loads.pop(0) if len(loads) > 1 else loads[0]

    monkeypatch.setattr(pairs, "perf_counter", perf_counter)
    monkeypatch.setattr(pairs, "OtherLoad", lambda: SimpleNamespace(cpus=cpus))
    monkeypatch.setattr(pairs.os, "cpu_count", lambda: 2)
    return SimpleNamespace(ratio=pairs.ratio, work=work, events=events, loads=loads, clock=clock)


def test_long_calls_are_a_turn_each_and_which_is_first_alternates(lab):
    found = lab.ratio(
        lab.work("numpy", [3.0, 5.0, 4.0]),
        lab.work("ours", [9.0, 1.0, 1.0, 1.0]),  # the first call of all does not count
        lambda: lab.events.append("prepare"),
        n_pairs=3,
    )

    order = ["ours", "ours", "numpy", "numpy", "ours", "ours", "numpy"]
    assert lab.events == [event for name in order for event in ("prepare", name)]
    assert found == 4.0
    assert found.spread == 0.25  # from 3 to 5


def test_a_turn_does_not_count_the_calls_that_settle(lab):
    ours = lab.work("ours", [0.03, *[0.06, 0.03, 0.03, 0.03, 0.03] * 5])
    # The first one is long, but not so long that another cannot tell whether all are.
    numpys = lab.work("numpy", [1.0, 0.1, *[0.2, 0.1] * 4])

    found = lab.ratio(numpys, ours)

    assert found == pytest.approx(0.1 / 0.03)
    assert found.spread == pytest.approx(0)


def test_to_prepare_takes_no_time_of_a_turn(lab):
    def prepare():
        lab.clock[0] += 7.0

    assert lab.ratio(lab.work("", repeat(6.0)), lab.work("", repeat(2.0)), prepare) == 3.0


# Turns of two calls: pairs of 1/2 and 5/8 seconds, of which the eighth ends after 4.
@pytest.mark.parametrize(("numpys", "n_pairs"), [([1, 1], 5), ([1, 1, 1, 2], 8)])
def test_pairs_go_on_until_the_median_is_known_or_time_is_over(lab, numpys, n_pairs):
    numpys = lab.work("numpy", (n / 8 for n in cycle(numpys)))

    found = lab.ratio(numpys, lab.work("ours", repeat(1 / 8)))

    assert lab.events.count("numpy") == 2 * n_pairs
    assert found == {5: 1, 8: 1.5}[n_pairs]
    assert found.spread == {5: 0, 8: 1 / 3}[n_pairs]


def test_disturbed_pairs_do_not_count_where_there_are_enough_others(lab):
    lab.loads[:] = [0.1, 0.2, 0.2] * 4  # CPUs; a twentieth of two is let through
    numpys = lab.work("numpy", cycle([1 / 4, 1 / 4, *[1 / 8] * 4]))

    assert lab.ratio(numpys, lab.work("ours", repeat(1 / 8)), n_pairs=2) == 2


def test_disturbed_pairs_count_where_there_are_too_few_others(lab):
    lab.loads[:] = [0.0, 0.2]
    numpys = lab.work("numpy", chain([1 / 4, 1 / 4], repeat(1 / 8)))

    assert lab.ratio(numpys, lab.work("ours", repeat(1 / 8)), n_pairs=3) == 1


@pytest.mark.parametrize(("n", "n_outside"), [(1, 0), (5, 0), (6, 0), (9, 1), (20, 5), (26, 7)])
def test_the_true_median_is_in_the_interval_by_19_of_20(pairs, n, n_outside):
    """Of n values, as many are outside on either side as a table of the binomial says."""
    found = pairs.median([float(i) for i in range(n, 0, -1)])

    assert found == (n + 1) / 2
    assert found.spread * found * 2 == pytest.approx(n - 1 - 2 * n_outside)


def test_a_ratio_is_a_number_for_asv(pairs):
    assert json.dumps(pairs.Ratio(2.5, 0.1)) == "2.5"
