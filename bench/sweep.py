"""Single pings at several rates, in turns with the server that does nothing: what ingest adds to a call's latency."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from bench import h2, ingest
from bench.report import Row
from bench.stage import Ceiling, Stage
from devstack.programs import Program

RATES = (250, 500, 1_000, 2_000)
SHARE_OF_MOST = 0.8  # of the handler's: beyond it a queue is only a matter of time
CONNECTIONS = 8
QUANTILES = {"p50": 0.5, "p99": 0.99}

TITLE = "Latency of a ping, and of a call that does nothing"

Say = Callable[[str], None]


async def rates(stage: Stage, rounds: int, seconds: float, say: Say) -> list[Row]:
    """p50 and p99 at each rate, of both; and the most that both can do."""
    calls = ingest.ping_calls(stage)
    servers: dict[str, Program | Ceiling] = {"pings": stage.program("ingest_server"), "nothing": stage.ceiling()}
    most = defaultdict[str, list[float]](list)
    measured = defaultdict[tuple[int, str, str], list[float]](list)
    for number in range(rounds):
        for name, server in servers.items():
            result, _ = await ingest.closed(server.address, server.pid, calls, seconds)
            most[name].append(result.rate)
        for wanted in RATES:
            rate = min(wanted, SHARE_OF_MOST * most["nothing"][-1])
            for name, server in servers.items():
                result = await h2.open_loop(server.address, calls, rate=rate, seconds=seconds, connections=CONNECTIONS)
                if result.failed:
                    raise AssertionError(f"{name} at {rate:,.0f}/s: {result.failed}")
                for quantile, share in QUANTILES.items():
                    measured[wanted, name, quantile].append(result.quantile(share))
        peak = "/".join(f"{most[name][-1]:,.0f}" for name in ("nothing", "pings"))
        say(f"sweep, round {number + 1}: p99 {_line(measured)}; the most {peak}")
    ratios = tuple(ours / top for ours, top in zip(most["pings"], most["nothing"], strict=True))
    return [
        Row("sweep", "the most pings ÷ calls that do nothing", "×", ratios, "≥ 1.1"),
        *(
            Row("sweep", f"{name} at {rate:,}/s, {quantile}", "ms", tuple(values))
            for (rate, name, quantile), values in measured.items()
        ),
        *(
            Row("sweep", f"p99 at {rate:,}/s, more than nothing's", "ms", _more(measured, rate), "≤ 5")
            for rate in RATES
        ),
    ]


def _more(measured: dict[tuple[int, str, str], list[float]], rate: int) -> tuple[float, ...]:
    pairs = zip(measured[rate, "pings", "p99"], measured[rate, "nothing", "p99"], strict=True)
    return tuple(ours - top for ours, top in pairs)


def _line(measured: dict[tuple[int, str, str], list[float]]) -> str:
    of = {rate: (measured[rate, "nothing", "p99"][-1], measured[rate, "pings", "p99"][-1]) for rate in RATES}
    return ", ".join(f"{rate}/s {top:.1f}/{ours:.1f} ms" for rate, (top, ours) in of.items())


def latencies(rows: Sequence[Row]) -> dict[str, dict[float, Row]]:
    """The rows that `rates` has made of latencies, by name and then by rate, for the plot."""
    found: dict[str, dict[float, Row]] = {}
    for row in rows:
        if match := re.fullmatch(r"(pings|nothing) at ([\d,]+)/s, (p\d+)", row.what):
            name, rate, quantile = match.groups()
            found.setdefault(f"{name}, {quantile}", {})[float(rate.replace(",", ""))] = row
    return found
