"""`make bench`: measures, prints a table, and writes docs/benchmarks.md with its plots."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bench import dashboard, flush, gateway, ingest, report, reports, start, sweep, warehouse
from bench.report import Row
from bench.stage import Stage, stage
from shared import logs

DOCS = Path(__file__).parent.parent / "docs"

Section = Callable[[Stage, int, float, Callable[[str], None]], Coroutine[Any, Any, list[Row]]]

SECTIONS: dict[str, Section] = {
    "ingest": ingest.single,
    "sweep": sweep.rates,
    "start": start.cold,
    "batch": ingest.batches,
    "ids": ingest.identified,
    "workers": ingest.workers,
    "partitions": ingest.partitions,
    "gateway": gateway.rest,
    "dashboard": dashboard.dashboards,
    "reports": reports.reports,
    "flush": flush.whole,
    "apply": flush.mongo_part,
    "many": flush.many_tallies,
    "relay": warehouse.relay,
    "rows": warehouse.rows,
    "questions": warehouse.questions,
    "beside": warehouse.beside,
}


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    arguments = parser.parse_args()
    chosen: list[str] = arguments.sections or list(SECTIONS)
    logs.configure("warning")  # the flusher runs in this process, and logs every wave
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {line}", flush=True)

    rows: list[Row] = []
    for number, name in enumerate(chosen, 1):
        say(f"part {number} of {len(chosen)}: {name}")
        with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as up:
            rows += asyncio.run(SECTIONS[name](up, arguments.rounds, arguments.seconds, say))
    print(report.table(rows))
    if chosen == list(SECTIONS):
        DOCS.mkdir(exist_ok=True)
        report.draw_ratios(rows, DOCS / "benchmarks.png")
        report.draw_latencies(sweep.latencies(rows), sweep.TITLE, DOCS / "sweep.png")
        plots = {"Ratios": "benchmarks.png", sweep.TITLE: "sweep.png"}
        (DOCS / "benchmarks.md").write_text(report.markdown(rows, arguments.rounds, plots))
    return 0


if __name__ == "__main__":
    sys.exit(main())
