"""The table of ``python -m sharedarray bench``: the figures, measured on this machine.

::

    benchmarks/figures.py --> cases --> measure, one by one --> row, printed at once
                                                            '-> plot, at the end

The figures name classes that asv runs as well; what they measure is said there alone. They take
both ways by turns and give the median, so that a ratio shows little of what drifts, and with it how
far the next median may be from it. What takes a CPU away all the time a ratio does show: work for
two workers has one. The last line says how much.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from report import plots, surroundings
from report.measuring import Outcome, measure
from sharedarray import config
from sharedarray.cli.commands import Refused

__all__ = ["Case", "bench", "cases", "worker_counts"]

# The benchmarks skip sizes that take minutes or gigabytes without it.
FULL = "SHAREDARRAY_BENCH_FULL"

MORE_IS_BETTER = ("x", "items/s")
# More of a value, up or down, is said to be noise.
NOISY = 0.05
NOTES = """\
x: how many times as long NumPy takes, by turns, the median, and by how much the next one may
differ; "noisy" is more than 5 %. Met: "yes" and "NO" are about the limit, "aim" is more than that,
"-" is a size that is smaller than the figure's, or not measured."""


@dataclass(frozen=True)
class Case:
    """One value to measure.

    Attributes
    ----------
    name : str
        As the table shows it.
    benchmark : str
        As asv calls it.
    params : mapping
        Its parameters.
    unit : str
        Of the value, the limit and the aim.
    limit, aim : float or None
        What has to be reached, and what is hoped for.
    is_smaller : bool
        Whether the parameters are those of a quick look, of which nothing is asked.
    """

    name: str
    benchmark: str
    params: Mapping[str, Any]
    unit: str
    limit: float | None = None
    aim: float | None = None
    is_smaller: bool = False

    def verdict(self, value: float | None) -> str:
        """Return whether a value meets the limit, in one word."""
        if value is None or self.is_smaller or self.limit is None:
            return "-"
        if self.aim is not None and self._reaches(value, self.aim):
            return "aim"
        return "yes" if self._reaches(value, self.limit) else "NO"

    @property
    def more_is_better(self) -> bool:
        """Return whether the limit is the least rather than the most."""
        return self.unit in MORE_IS_BETTER

    def _reaches(self, value: float, mark: float) -> bool:
        return value >= mark if self.more_is_better else value <= mark


def bench(args: argparse.Namespace, folder: Path, version: str) -> int:
    """Print the table; return 1 if a benchmark failed, else 0.

    Parameters
    ----------
    args : argparse.Namespace
        The options of the command.
    folder : Path
        What holds the package ``benchmarks``.
    version : str
        Of this package.
    """
    if sys.platform != "linux":
        raise Refused(f"the benchmarks look into /proc of Linux; this is {sys.platform}")
    if args.workers == 0:
        raise Refused("the benchmarks need a worker: give --workers 1 or more")
    figures = runpy.run_path(str(folder / "benchmarks" / "figures.py"))
    table = [*cases(figures["FIGURES"], args.quick, args.only)]
    curves = [*cases(figures["SCALING"], args.quick, args.only, "scaling of ")]
    if not table and not curves:
        raise Refused(f"no figure has {args.only!r} in its name or in that of its benchmark")
    run = _Run(folder, _environment(args.quick))
    with nullcontext() if args.plot is None else plots.opened(args.plot) as plot:
        heading = surroundings.heading(version)
        others = surroundings.OtherLoad()
        print(f"{heading}\n", flush=True)
        rows = run.table(table) if table else []
        scaling = run.scaling(curves) if curves else {}
        print(f"\nOther programs kept {others.cpus():.1f} CPUs busy meanwhile.")
        if plot is not None:
            ratios = [_ratio_bar(case, value) for case, value in rows if case.unit == "x"]
            all_else = [_other_bar(case, value) for case, value in rows if case.unit != "x"]
            plot.draw(heading, ratios, all_else, scaling)
    return 1 if run.n_failures else 0


def cases(
    figures: list[dict[str, Any]], quick: bool, pattern: str = "", prefix: str = ""
) -> Iterator[Case]:
    """Yield what there is to measure.

    Parameters
    ----------
    figures : list of dict
        From ``figures.py``.
    quick : bool
        Whether to take the smaller sizes.
    pattern : str
        A regular expression, for the name or for that of the benchmark; upper and lower case are
        the same.
    prefix : str
        What goes before the names where the pattern is looked for.

    Yields
    ------
    Case
        In the order of the figures.
    """
    for figure in figures:
        params = figure["params"] | (figure["quick"] if quick else {})
        name = figure["name"].format_map({k: _short(v) for k, v in params.items()})
        if re.search(pattern, f"{prefix}{name}\n{figure['benchmark']}", re.IGNORECASE):
            yield Case(
                name,
                figure["benchmark"],
                params,
                figure["unit"],
                figure["limit"],
                figure["aim"],
                params != figure["params"],
            )


def worker_counts(n_workers: int) -> list[int]:
    """Return the powers of two below a number of workers, and the number.

    Examples
    --------
    >>> from report.table import worker_counts
    >>> worker_counts(6), worker_counts(1)
    ([1, 2, 4, 6], [1])
    """
    return [*(1 << k for k in range((n_workers - 1).bit_length())), n_workers]


class _Run:
    """Measures cases and prints each value as soon as it is there."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = env
        self.n_failures = 0

    def table(self, table: list[Case]) -> list[tuple[Case, float]]:
        """Return the cases that have a value, with it."""
        width = max(len(case.name) for case in table) + 2
        print(f"{'figure':<{width}}{'measured':>17}{'':7}  {'limit':>17}  {'aim':>15}  met")
        rows = []
        for case in table:
            print(f"{case.name:<{width}}", end="", flush=True)
            outcome = self._measure(case)
            measured, aim = quantity(outcome.value, case.unit), _mark(case.aim, case.unit)
            limit = f"{'>=' if case.more_is_better else '<='} {_mark(case.limit, case.unit)}"
            verdict = f"{case.verdict(outcome.value)}{_remark(outcome)}"
            spread = _percent(outcome.spread)
            print(f"{measured:>17}{spread:>7}  {limit:>17}  {aim:>15}  {verdict}", flush=True)
            if outcome.value is not None:
                rows.append((case, outcome.value))
        print(f"\n{NOTES}")
        return rows

    def scaling(self, curves: list[Case]) -> dict[str, list[tuple[int, float]]]:
        """Return, by name, what each number of workers gains over one."""
        counts = worker_counts(config.get_num_workers())
        width = max(len(case.name) for case in curves) + 2
        print("\nHow many times as long one worker takes:")
        print(f"{'workers':<{width}}" + "".join(f"{n:>8}{'':7}" for n in counts).rstrip())
        ideal = "".join(f"{f'{n}x':>8}{'':7}" for n in counts)
        print(f"{'ideal':<{width}}{ideal}".rstrip())
        found = {}
        for case in curves:
            print(f"{case.name:<{width}}", end="", flush=True)
            points: list[tuple[int, float]] = []
            reasons: dict[str, None] = {}
            for n in counts:
                outcome = self._measure(replace(case, params={**case.params, "workers": str(n)}))
                measured = quantity(outcome.value, case.unit)
                print(f"{measured:>8}{_percent(outcome.spread):>7}", end="", flush=True)
                if outcome.value is not None:
                    points.append((n, outcome.value))
                reasons[_remark(outcome)] = None
            print(*reasons, sep="")
            found[case.name] = points
        return found

    def _measure(self, case: Case) -> Outcome:
        outcome = measure(self._folder, case.benchmark, case.params, self._env)
        self.n_failures += outcome.is_failure
        return outcome


def quantity(value: float | None, unit: str) -> str:
    """Return a value as the table shows it.

    Examples
    --------
    >>> from report.table import quantity
    >>> quantity(7.854, "x"), quantity(12, "ms"), quantity(60607.4, "items/s"), quantity(None, "x")
    ('7.85x', '12.0 ms', '60,607 items/s', '-')
    """
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return _with_unit(f"{value:,.{digits}f}", unit)


def _mark(mark: float | None, unit: str) -> str:
    """Return a limit or an aim as the table shows it."""
    return "-" if mark is None else _with_unit(f"{mark:,.10g}", unit)


def _with_unit(number: str, unit: str) -> str:
    return f"{number}{'' if unit == 'x' else ' '}{unit}"


def _ratio_bar(case: Case, value: float) -> plots.Bar:
    """Return a ratio, with its marks."""
    return _bar(case, value, value, case.limit, case.aim)


def _other_bar(case: Case, value: float) -> plots.Bar:
    """Return a value as a part of what is allowed: 1 is the limit."""
    limit = case.limit or 1.0

    def part(mark: float) -> float:
        return limit / mark if case.more_is_better and mark else mark / limit

    return _bar(case, value, part(value), None, None if case.aim is None else part(case.aim))


def _bar(
    case: Case, value: float, length: float, limit: float | None, aim: float | None
) -> plots.Bar:
    if case.is_smaller:  # the marks are for the full size
        limit = aim = None
    label = quantity(value, case.unit)
    return plots.Bar(case.name, label, length, limit, aim, case.verdict(value))


def _percent(spread: float | None) -> str:
    """Return a spread as the table shows it, beside its value."""
    return "" if spread is None else f"+-{100 * spread:.0f}%"


def _remark(outcome: Outcome) -> str:
    """Return what there is to say of a value, or why there is none."""
    if outcome.value is not None:
        return "  noisy" if (outcome.spread or 0.0) > NOISY else ""
    return f"  {'FAILED: ' if outcome.is_failure else ''}{outcome.why}"


def _short(value: Any) -> Any:
    """Return a large number in millions."""
    return f"{value / 1e6:.3g} M" if isinstance(value, int) and value >= 1_000_000 else value


def _environment(quick: bool) -> dict[str, str]:
    """Return the environment of the benchmarks: with as many workers as here."""
    env = {name: value for name, value in os.environ.items() if name != FULL}
    env["SHAREDARRAY_NUM_WORKERS"] = str(config.get_num_workers())
    return env if quick else env | {FULL: "1"}
