"""Every metric that the programs declare, and `python -m devstack.metrics`, which writes docs/metrics.md from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase

import flusher.metrics
import ingest_server.metrics
import query_server.metrics
import shared.metrics
import warehouse.metrics

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

PLACES: dict[str, tuple[ModuleType, str]] = {
    "All programs": (shared.metrics, "Only the servers have those of tokens and refused calls."),
    "Ingest server": (
        ingest_server.metrics,
        "Updated once a commit, never once a ping.",
    ),
    "Query server": (query_server.metrics, ""),
    "Flusher": (flusher.metrics, "`--once` and the other commands serve no metrics."),
    "Warehouse": (warehouse.metrics, "The warehouse and its relay, where they run."),
}

HEAD = """# Metrics

What `/metrics` shows at `ANALYTICS_INGEST_METRICS_ADDRESS`, `ANALYTICS_QUERY_METRICS_ADDRESS`,
`ANALYTICS_FLUSHER_METRICS_ADDRESS` and `ANALYTICS_WAREHOUSE_METRICS_ADDRESS`. With several workers the supervisor
answers for all of them: it adds up their counters and histograms, including those of workers that died. A program of
one process also shows the Prometheus client's own metrics (`process_*`, `python_*`).

Generated from the declarations by `python -m devstack.metrics`.
"""


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric: its name as PromQL has it (without `_bucket` and so on), type, labels, and what its labels may be.

    `known` has the label values that exist from the start; empty if they appear as events happen.
    """

    name: str
    type: str
    meaning: str
    labels: tuple[str, ...]
    known: frozenset[tuple[str, ...]]

    @property
    def series(self) -> set[str]:
        """The names of its series."""
        return (
            {f"{self.name}{end}" for end in ("_bucket", "_count", "_sum")} if self.type == "histogram" else {self.name}
        )


def declared_in(module: ModuleType) -> Iterator[Declared]:
    """The metrics of one `metrics.py`, in its order."""
    for metric in vars(module).values():
        if not isinstance(metric, MetricWrapperBase) or metric._labelvalues:  # noqa: SLF001 - with label values it is a child of another
            continue
        (described,) = metric.describe()
        yield Declared(
            name=described.name + ("_total" if described.type == "counter" else ""),
            type=described.type,
            meaning=described.documentation,
            labels=tuple(metric._labelnames),  # noqa: SLF001 - the client does not tell them otherwise
            known=frozenset(getattr(metric, "_metrics", {})),
        )


def page() -> str:
    """docs/metrics.md."""
    parts = [HEAD]
    for title, (module, remark) in PLACES.items():
        rows = (f"| `{one.name}` | {one.type} | {_labels(one)} | {one.meaning} |" for one in declared_in(module))
        table = ["| metric | type | labels | is |", "|---|---|---|---|", *rows]
        parts.append("\n".join([f"## {title}", "", *([remark, ""] if remark else []), *table, ""]))
    return "\n".join(parts)


def _labels(metric: Declared) -> str:
    return ", ".join(f"`{label}`" for label in metric.labels)


if __name__ == "__main__":
    PAGE.write_text(page())
