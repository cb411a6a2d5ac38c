"""What was measured: rows of medians with their spread, as a table, as Markdown and as a plot."""

import datetime as dt
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity, measured several times. `reach` is its target as text; "" for none."""

    section: str
    what: str
    unit: str
    values: tuple[float, ...]
    reach: str = ""

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)

    def cells(self) -> tuple[str, ...]:
        """Its cells in the table."""
        spread = f"{_number(min(self.values))} – {_number(max(self.values))}"
        return (self.section, self.what, _number(self.median), spread, self.unit, self.reach)


HEADER = ("section", "what", "median", "spread", "unit", "to reach")


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    cells = [HEADER, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def machine() -> str:
    """The machine in one line."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    cores = info.count("processor\t")
    return f"{cores} cores, {model}, {platform.system()} {platform.release()}, CPython {platform.python_version()}"


def markdown(rows: Sequence[Row], rounds: int, plots: Mapping[str, str]) -> str:
    """The rows as a page."""
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {dt.datetime.now(dt.UTC):%Y-%m-%d}: {machine()}.",
        f"Load generator and stores share that machine. Medians of {rounds} rounds; a ratio compares two things that",
        "were measured in turns in one run. Every count was checked against what had been sent.",
        "",
        *(line for title, plot in plots.items() for line in (f"![{title}]({plot})", "")),
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(row.cells()) + " |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def draw_ratios(rows: Sequence[Row], path: Path) -> None:
    """A bar for each ratio, with its spread."""
    ratios = [row for row in rows if row.unit.startswith("×")]
    figure, axes = _pyplot().subplots(figsize=(9, 0.5 * len(ratios) + 1.5), layout="constrained")
    names = [f"{row.section}: {row.what} ({row.unit})" for row in ratios]
    medians = [row.median for row in ratios]
    spread = [
        [row.median - min(row.values) for row in ratios],
        [max(row.values) - row.median for row in ratios],
    ]
    axes.barh(names, medians, xerr=spread, color="#4c78a8", ecolor="#333333", capsize=3)
    axes.axvline(1, color="#999999", linewidth=0.8)
    axes.invert_yaxis()
    figure.suptitle("Ratios of two things measured in turns in one run: median and spread", fontsize=11)
    figure.savefig(path, dpi=110)
    _pyplot().close(figure)


def draw_latencies(latencies: Mapping[str, Mapping[float, Row]], title: str, path: Path) -> None:
    """A line for each name: the median of its latency in ms at each rate, on logarithmic axes, with its spread."""
    figure, axes = _pyplot().subplots(figsize=(9, 5), layout="constrained")
    for name, by_rate in latencies.items():
        medians = [row.median for row in by_rate.values()]
        below = [row.median - min(row.values) for row in by_rate.values()]
        above = [max(row.values) - row.median for row in by_rate.values()]
        axes.errorbar(list(by_rate), medians, yerr=[below, above], label=name, marker="o", capsize=3)
    axes.set(xscale="log", yscale="log", xlabel="calls a second", ylabel="ms")
    axes.set_xticks(sorted({rate for by_rate in latencies.values() for rate in by_rate}))
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend()
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)
    _pyplot().close(figure)


def _pyplot() -> Any:  # noqa: ANN401 - a module
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    return plt
