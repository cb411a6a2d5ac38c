"""Where the CPU time of the ingest server goes, under full load: `python -m bench.profile`.

py-spy samples the server's stacks from outside, some hundred times a second, while it serves. The table gives their
shares as microseconds of the CPU time that the kernel counts.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import h2, ingest
from bench.stage import Stage, stage

PER_SECOND = 300
SECONDS = 20

# The parts, and the function on the stack that identifies each; the first match wins. The rest is gRPC's.
PARTS = {
    "commit: Redis, sending and reading": "call_each (shared/stores/redis_connection.py",
    "commit: building it, answering those who wait": "Committer.run (ingest_server/committer.py",
    "call: token, validation, catalog, into the commit": "answer (shared/serving/errors.py",
    "grpc.aio: its polling thread": "Thread.run (threading.py",
}
REST = "grpc.aio and the event loop: everything else"


def parts_of(lines: Iterable[str]) -> Counter[str]:
    """The samples of each part, from py-spy's raw format: frames separated by `;`, outermost first, and a number."""
    seen: Counter[str] = Counter()
    for line in lines:
        stack, _, times = line.rpartition(" ")
        part = next((part for part, function in PARTS.items() if function in stack), REST)
        seen[part] += int(times)
    return seen


async def profile(up: Stage, what: str, calls: Sequence[h2.Call], events: int, in_flight: int) -> None:
    """Prints the table for one kind of call, with so many events each."""
    server = up.program("ingest_server")
    await ingest.closed(server.address, server.pid, calls, 2, in_flight)
    stacks = up.folder / "stacks"
    spy = Path(sys.executable).parent / "py-spy"
    # One second less than the load, so that it samples nothing else.
    watch = ["record", "-d", str(SECONDS - 1), "-r", str(PER_SECOND), "-f", "raw", "-o", str(stacks)]
    watching = await asyncio.create_subprocess_exec(
        str(spy), *watch, "-p", str(server.pid), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    result, cpu = await ingest.closed(server.address, server.pid, calls, SECONDS, in_flight)
    if await watching.wait():
        raise AssertionError("py-spy failed: it needs to be allowed to trace (root, or ptrace_scope 0)")
    seen = parts_of(stacks.read_text().splitlines())
    each = 1e6 * cpu / len(result.seconds) / events
    print(f"\n{what}: {each:.1f} µs of CPU time each, {events * result.rate:,.0f}/s\n")
    for part in (*PARTS, REST):
        share = seen[part] / seen.total()
        print(f"  {part:50} {100 * share:5.1f} %  {share * each:6.1f} µs")


def main() -> None:
    """Entry point."""
    for what, make, events, in_flight in (
        ("pings", ingest.ping_calls, 1, ingest.IN_FLIGHT),
        ("events in batches", ingest.batch_calls, ingest.BATCH, 32),
    ):
        with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as up:
            asyncio.run(profile(up, what, make(up), events, in_flight))


if __name__ == "__main__":
    main()
