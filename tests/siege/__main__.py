"""`python -m tests.siege --seconds 30`: what refusals cost, then every attack, then all together, each at a tenth.

A learner pings through the gateway meanwhile, and beside it a server that does nothing: what that needs longer is the
machine's fault. CPU time is that of all programs, for each strike and ping. Exits with 1 when a ping failed, was lost
or doubled, when their p99 reached 250 ms, or when a program grew by 150 MB.
"""

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx

from bench import stage as measured
from devstack.child import Child, free_port
from devstack.gateway import local_gateway
from devstack.tokens import mint
from tests.siege.attacks import ATTACKS, Target, strike
from tests.siege.costs import costs
from tests.siege.search import Cost, Meters, Program, dearest, described, search
from tests.siege.victim import Seen, watch

MOST_SECONDS = 0.25
MOST_GROWTH = 150
MEGABYTE = 1024 * 1024
TOGETHER = 0.1
SEARCH = 4  # times as long as one attack
QUIET_SECONDS = 12  # in which what an attack has left open ends: the gateway gives a call 10 s


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one attack. Memory in MB, by program."""

    attack: str
    struck: int
    seen: Seen
    grown: dict[str, float]
    cpu_seconds: float
    exact: bool

    @property
    def held(self) -> bool:
        """Whether the service kept what it promises."""
        calm = not self.seen.failed and percentile(self.seen.counted, 0.99) < MOST_SECONDS
        return calm and self.exact and max(self.grown.values()) < MOST_GROWTH


def percentile(values: list[float], share: float) -> float:
    """The value below which this share lies; infinite without any."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("inf")


def megabytes(child: Child) -> float:
    """The memory that a process has now."""
    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


class Siege:
    """The service, a server that does nothing, and who attacks."""

    def __init__(self, stage: measured.Stage, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self._stage = stage
        self._course = measured.course(1, 3)
        measured.write_courses(stage.database, [self._course])
        ingest, query = stage.program("ingest_server"), stage.program("query_server")
        gateway = local_gateway(stage.folder / "envoy", port=free_port(), ingest=ingest.address, query=query.address)
        stage.stack.enter_context(measured.ended(gateway))
        gateway.start()
        self._gateway = gateway
        self._port = gateway.port
        self._idle = stage.ceiling().address
        self._programs: dict[str, Child] = {"ingest": ingest, "query": query, "gateway": gateway}

    def under(self, names: Iterable[str], share: float, seconds: float) -> Row:
        """Lets these attacks run at a share of their rates, and tells what a learner saw."""
        names = list(names)
        before = {name: megabytes(child) for name, child in self._programs.items()}
        spent = self._cpu_seconds()
        views, _ = self._counted()
        target = Target(self._port, f"Bearer {mint(self._stage.secret, 'attacker')}")
        ping: dict[str, object] = {"courseId": self._course.id, "lectureId": self._course.lectures[0].id}
        learner = f"Bearer {mint(self._stage.secret, 'learner')}"
        seeing = self._pool.submit(
            watch, self._port, learner, {**ping, "watchTimeDelta": 5}, idle=self._idle, seconds=seconds
        )
        strikes = [self._pool.submit(strike, name, target, share, seconds) for name in names]
        most = self._most_memory([seeing, *strikes])
        seen = seeing.result()
        now, _ = self._counted()
        return Row(
            " + ".join(names) if len(names) < 2 else "all together",
            sum(each.result() for each in strikes),
            seen,
            {name: most[name] - before[name] for name in before},
            self._cpu_seconds() - spent,
            len(seen.counted) <= now - views <= len(seen.counted) + len(seen.failed),
        )

    def search(self, seconds: float, say: Callable[[str], None]) -> dict[Program, Cost]:
        """What a search of so many seconds finds."""

        def token() -> str:
            return f"Bearer {mint(self._stage.secret, secrets.token_hex(4))}"

        meters = Meters(self._cpu_seconds, self._memory)
        return search(self._port, seconds, meters, token, seed=secrets.randbits(32), say=say)

    def _memory(self) -> float:
        """Of the gateway what is in use: it keeps what it has freed."""
        in_use = httpx.get(f"{self._gateway.admin_url}/memory", trust_env=False).json()["allocated"]
        servers = (self._programs["ingest"], self._programs["query"])
        return int(in_use) + MEGABYTE * sum(map(megabytes, servers))

    def _cpu_seconds(self) -> float:
        return sum(measured.cpu_seconds(child.pid) for child in self._programs.values())

    def _counted(self) -> tuple[int, int]:
        return self._stage.views_and_seconds(self._course.id)

    def _most_memory(self, running: Sequence[Future[Any]]) -> dict[str, float]:
        most = dict.fromkeys(self._programs, 0.0)
        while not all(each.done() for each in running):
            for name, child in self._programs.items():
                most[name] = max(most[name], megabytes(child))
            time.sleep(0.2)
        return most


HEADER = ("attack", "struck", "pings", "failed", "p50 ms", "p99 ms", "idle p99 ms", "CPU µs", "grown MB", "exact", "")


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    milliseconds = [
        f"{1000 * percentile(values, share):.0f}"
        for values, share in ((row.seen.counted, 0.5), (row.seen.counted, 0.99), (row.seen.beside, 0.99))
    ]
    grown = ", ".join(f"{name} {most:+.0f}" for name, most in row.grown.items())
    cost = f"{1e6 * row.cpu_seconds / max(1, row.struck + len(row.seen.counted)):.0f}"
    seen = (str(len(row.seen.counted)), str(len(row.seen.failed)))
    verdict = ("yes" if row.exact else "NO", "" if row.held else "NOT HELD")
    return (row.attack, str(row.struck), *seen, *milliseconds, cost, grown, *verdict)


def run(seconds: float, chosen: list[str], say: Callable[[str], None]) -> bool:
    """Whether the service held."""
    spawning = get_context("spawn")
    widths = (37, 9, 6, 6, 7, 7, 12, 7, 44, 6, 8)

    def line(texts: tuple[str, ...]) -> None:
        say("  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip())

    held = True
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(len(ATTACKS) + 1, mp_context=spawning) as pool,
        measured.stage(Path(folder)) as stage,
    ):
        siege = Siege(stage, pool)
        plan = [((), 1.0), *(((name,), 1.0) for name in chosen), (tuple(chosen), TOGETHER)]
        whole = len(plan) * (seconds + QUIET_SECONDS) + seconds * SEARCH
        began = time.monotonic()
        say(f"{len(plan)} rows, each after {seconds:.0f} s, and a search: {whole / 60:.0f} minutes in all")
        line(HEADER)
        for names, share in plan:
            row = siege.under(names, share, seconds)
            attack, *rest = cells(row)
            line((f"{min(1, (time.monotonic() - began) / whole):4.0%} {attack}", *rest))
            held = held and row.held
            time.sleep(QUIET_SECONDS if names else 0)
        say("\nsearching for more expensive programs of frames")
        found = siege.search(seconds * SEARCH, say)
        for by, unit in enumerate(("ms of CPU time", "KB of memory")):
            say(f"\nof {len(found)} programs of frames the most expensive, in {unit} for each KB sent:")
            for program in dearest(found, by):
                say(f"{found[program][by]:7.2f}  {described(program)}")
    return held


def hold_costs(say: Callable[[str], None]) -> bool:
    """Whether every refusal cost no more CPU time than it may."""
    with tempfile.TemporaryDirectory() as folder, measured.stage(Path(folder)) as stage:
        rows = costs(stage)
    say("CPU time of a call, in µs, and the most it may be")
    for row in rows:
        say(f"  {row.name:42}{row.microseconds:8.0f}{row.most:8.0f}{'' if row.held else '  NOT HELD'}")
    return all(row.held for row in rows)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.siege", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="of each attack (%(default)s)")
    parser.add_argument("--only", choices=ATTACKS, action="append", help="one attack, or several")
    options = parser.parse_args()
    print("measuring what each refusal costs", flush=True)
    held = hold_costs(lambda text: print(text, flush=True))
    held = run(options.seconds, options.only or list(ATTACKS), lambda text: print(text, flush=True)) and held
    print("held" if held else "NOT HELD")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
