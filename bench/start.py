"""A cold start of the ingest server: from the start of its process until Redis has counted its first ping."""

import time
from collections.abc import Callable

from bench import h2, ingest
from bench.report import Row
from bench.stage import Stage, ended

Say = Callable[[str], None]


async def cold(stage: Stage, rounds: int, _seconds: float, say: Say) -> list[Row]:
    """One start a round."""
    calls = ingest.ping_calls(stage)
    took = []
    for number in range(rounds):
        began = time.perf_counter()
        server = stage.program("ingest_server")
        with ended(server):
            result = await h2.closed_loop(server.address, calls, in_flight=1, seconds=0, connections=1)
            took.append(time.perf_counter() - began)
        if len(result.seconds) != 1:
            raise AssertionError(f"the first ping failed: {result.failed}")
        say(f"cold start, round {number + 1}: {took[-1]:.2f} s")
    return [Row("start", "process to first ping counted", "s", tuple(took), "< 1.5")]
