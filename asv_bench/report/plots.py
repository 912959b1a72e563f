"""The plot of ``python -m sharedarray bench``: ratios, other values by their limits, scaling."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sharedarray.cli.commands import Refused
from sharedarray_ops.files.replacing import place_of, replacing

__all__ = ["Bar", "Plot", "opened"]

COLOURS = {"NO": "tab:red", "-": "0.6"}  # of a verdict; all others are good
GOOD = "tab:blue"
IDEAL = "0.5"
WIDTH, INCHES_A_BAR = 15.0, 0.26  # inches

Curves = Mapping[str, Sequence[tuple[int, float]]]


class Bar(NamedTuple):
    """One bar.

    Attributes
    ----------
    name, label : str
        What stands to the left and to the right of it.
    value : float
        How far it goes, from 1.
    limit, aim : float or None
        Where there are marks.
    verdict : str
        "NO" makes it red, "-" grey.
    """

    name: str
    label: str
    value: float
    limit: float | None
    aim: float | None
    verdict: str


class Plot:
    """A picture that is not drawn yet.

    Parameters
    ----------
    descriptor : int
        Of the open file for it.
    format : str
        What matplotlib calls its format.
    """

    def __init__(self, descriptor: int, format: str) -> None:
        self._descriptor = descriptor
        self._format = format

    def draw(
        self, heading: str, ratios: Sequence[Bar], others: Sequence[Bar], curves: Curves
    ) -> None:
        """Write the picture.

        Parameters
        ----------
        heading : str
            What stands above it.
        ratios : sequence of Bar
            How many times as long NumPy takes.
        others : sequence of Bar
            Parts of what is allowed: the limit is 1.
        curves : mapping
            Name -> pairs of a number of workers and what they gain over one.
        """
        n_bars = max(len(ratios), len(others), 12)
        figure = _matplotlib("figure").Figure(
            figsize=(WIDTH, n_bars * INCHES_A_BAR + 1.5), layout="constrained"
        )
        figure.suptitle(heading, fontsize="small")
        left, middle, right = figure.subplots(1, 3)
        _bars(left, ratios, "times as fast as NumPy")
        _bars(middle, others, "part of what is allowed, less is better")
        _curves(right, curves)
        with open(self._descriptor, "wb", closefd=False) as file:
            figure.savefig(file, format=self._format, dpi=120)


@contextmanager
def opened(path: str) -> Iterator[Plot]:
    """Open the file of a picture, which takes its place where the block succeeds.

    Parameters
    ----------
    path : str
        Its suffix says which format it has.

    Yields
    ------
    Plot
        To be drawn in the block.

    Raises
    ------
    Refused
        If matplotlib is not installed, does not know the format, or the file cannot be written.
    """
    try:
        formats = _matplotlib("backend_bases").FigureCanvasBase.get_supported_filetypes()
    except ImportError as error:
        raise Refused(
            "--plot needs matplotlib: pip install 'sharedarray-toolkit[plot]', or matplotlib"
        ) from error
    suffix = Path(path).suffix.lstrip(".").lower()
    if suffix not in formats:
        raise Refused(f"cannot write {path!r}: its suffix is none of {', '.join(sorted(formats))}")
    with ExitStack() as stack:
        try:
            place = place_of(path)
            if place is None:
                raise Refused(f"cannot write {path!r}: it is not a regular file")
            descriptor = stack.enter_context(replacing(place))
        except OSError as error:
            raise Refused(f"cannot write {path!r}: {os.strerror(error.errno or 0)}") from error
        yield Plot(descriptor, suffix)


def _matplotlib(module: str) -> Any:
    """Return a module of matplotlib, which has no types and need not be there."""
    return importlib.import_module(f"matplotlib.{module}")


def _bars(axes: Any, bars: Sequence[Bar], title: str) -> None:
    """Draw bars from top to bottom on a logarithmic axis, with marks at limits and aims."""
    axes.set_title(title, fontsize="medium")
    if not bars:
        axes.set_axis_off()
        return
    axes.set_xscale("log")
    # From 1 on, a value to the left and to the right of it: an extra may be less than nothing.
    lengths = [max(bar.value, 0.01) for bar in bars]
    axes.barh(
        range(len(bars)),
        [length - 1 for length in lengths],
        left=1,
        height=0.6,
        color=[COLOURS.get(bar.verdict, GOOD) for bar in bars],
    )
    axes.axvline(1, color="black", linewidth=0.8)
    for mark, style in (("limit", "|"), ("aim", "d")):
        places = [(getattr(bar, mark), y) for y, bar in enumerate(bars)]
        shown = [(x, y) for x, y in places if x is not None]
        if shown:
            axes.scatter(*zip(*shown, strict=True), s=30, marker=style, color="black", label=mark)
    for y, bar in enumerate(bars):
        axes.text(
            1.02,
            y,
            bar.label,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize="x-small",
        )
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize="x-small")
    axes.set_ylim(len(bars) - 0.4, -0.6)
    ticker = _matplotlib("ticker")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=8))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.tick_params(axis="x", labelsize="x-small")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize="x-small", loc="best")


def _curves(axes: Any, curves: Curves) -> None:
    """Draw what more workers gain, with the line of as many times as workers."""
    axes.set_title("scaling: times as fast as one worker", fontsize="medium")
    n_max = max((n for points in curves.values() for n, _ in points), default=0)
    if not n_max:
        axes.set_axis_off()
        return
    axes.plot([1, n_max], [1, n_max], color=IDEAL, linestyle="--", label="ideal")
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    counts = sorted({n for points in curves.values() for n, _ in points})
    axes.set_xticks(counts)
    axes.set_xlabel("workers")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="x-small")
