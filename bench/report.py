"""What was measured: rows of medians with their spread, as a table, as Markdown and as a plot."""

import datetime as dt
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


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


def markdown(rows: Sequence[Row], rounds: int, plot: str) -> str:
    """The rows as a page."""
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {dt.datetime.now(dt.UTC):%Y-%m-%d}: {machine()}.",
        f"Load generator and stores share that machine. Medians of {rounds} rounds; a ratio compares two things that",
        "were measured in turns in one run. Every count was checked against what had been sent.",
        "",
        f"![Ratios]({plot})",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
        *("| " + " | ".join(row.cells()) + " |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def draw(rows: Sequence[Row], path: Path) -> None:
    """A bar for each ratio, with its spread."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    ratios = [row for row in rows if row.unit.startswith("×")]
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(ratios) + 1.5), layout="constrained")
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
    plt.close(figure)
