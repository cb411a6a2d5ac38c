"""The next attack of its kind: small programs of frames, changed at random, and kept when a byte of them costs more.

Each program runs on a few connections for a second, with the token of a learner whom nobody has seen before. What it
costs is the CPU time of the servers and the gateway for each KB that was sent, and the memory that they hold at the
end, while the connections are still open. The dearest by either are changed further, in turn.
"""

import asyncio
import json
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from bench.h2 import DATA, PING, SETTINGS, WINDOW_UPDATE, frame
from tests.siege.attacks import BATCH, FORGED, MIB, TELEMETRY, message, native, rest
from tests.siege.wire import Wire, Wires, headers

RST_STREAM, CONTINUATION = 3, 9
CONNECTIONS = 4
AT_ONCE = 5  # on each of them, a hundred times a second at most
SECONDS = 1.0
IDLE_SECONDS = 3
LONGEST = 5
BEST = 8

INSTRUCTOR = "/api/v1/analytics/instructor"
AUTHORIZATIONS = {"no token": None, "a forged token": FORGED, "a learner's token": ""}
PATHS = {
    "ping": TELEMETRY,
    "batch": BATCH,
    "encoded batch": BATCH.replace(":", "%3A"),
    "no path": "/api/v1/analytics/nope",
    "a query": f"{INSTRUCTOR}/{'6' * 24}/report?period=LAST_90_DAYS",
    "native ping": "TrackTelemetry",
    "native batch": "TrackBatch",
    "stream": "TrackStream",
    "dashboard": "/course_analytics.v1.DashboardService/GetCourseDashboard",
    "health": "/grpc.health.v1.Health/Check",
    "reflection": "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}
BODIES = {
    "nothing": b"",
    "an object": b"{}",
    "nested JSON": b'{"p":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "a thousand events": json.dumps({"events": [{}] * 1000}).encode(),
    "an empty message": message(b""),
    "zeros in gzip": message(b"\x00" * MIB, zipped=True),
    "events in gzip": message(b"\n\x00" * 1000, zipped=True),
    "a wrong length": struct.pack(">BI", 0, 60_000) + b"x" * 100,
}
EXTRAS: dict[str, dict[str, str]] = {
    "plain": {},
    "gzip": {"grpc_encoding": "gzip"},
    "long headers": {"x_long": "x" * 7_000},
    "many headers": {f"x_{number}": "y" for number in range(80)},
    "a deadline": {"grpc_timeout": "1m"},
}
OTHERS: dict[str, Callable[[int], bytes]] = {
    "reset": lambda stream: frame(RST_STREAM, 0, stream, struct.pack(">I", 8)),
    "ping frame": lambda _: frame(PING, 0, 0, bytes(8)),
    "settings": lambda _: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, random.randrange(65_535, 2**20))),
    "empty data": lambda stream: frame(DATA, 0, stream),
    "more headers": lambda stream: frame(CONTINUATION, 0, stream, headers("/", x_long="x" * 1_000)),
    "window": lambda stream: frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1)),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A stream that is begun; `whole` says whether it ends."""

    authorization: str
    path: str
    body: str
    extra: str
    whole: bool


Step = Call | str
Program = tuple[Step, ...]


class Cost(NamedTuple):
    """What a KB of a program costs: milliseconds of CPU time, and KB of memory."""

    cpu: float
    memory: float


def any_step(chance: random.Random) -> Step:
    """A call, or sometimes a frame of another kind."""
    if chance.random() < 0.2:
        return chance.choice(list(OTHERS))
    authorization, path, body, extra = (chance.choice(list(words)) for words in (AUTHORIZATIONS, PATHS, BODIES, EXTRAS))
    return Call(authorization, path, body, extra, whole=chance.random() < 0.8)


def changed(program: Program, chance: random.Random) -> Program:
    """The program with a step added, left out or replaced."""
    at = chance.randrange(len(program))
    kind = chance.random()
    if kind < 0.3 and len(program) < LONGEST:
        return (*program[:at], any_step(chance), *program[at:])
    if kind < 0.5 and len(program) > 1:
        return (*program[:at], *program[at + 1 :])
    return (*program[:at], any_step(chance), *program[at + 1 :])


def described(program: Program) -> str:
    """The program in words."""
    return "; ".join(
        step
        if isinstance(step, str)
        else f"{step.path} with {step.authorization}, {step.body}, {step.extra}{'' if step.whole else ', open'}"
        for step in program
    )


def play(wire: Wire, program: Program, token: str) -> int:
    """Sends the program once; how many bytes that were."""
    sent, stream = 0, 1
    for step in program:
        if isinstance(step, str):
            data = OTHERS[step](stream)
            wire.raw(data)
        else:
            authorization = AUTHORIZATIONS[step.authorization]
            more = dict(EXTRAS[step.extra])
            if authorization is not None:
                more["authorization"] = authorization or token
            path = PATHS[step.path]
            block = rest(path, BODIES[step.body], **more) if path.startswith("/api") else native(path, **more)
            data = block + BODIES[step.body]
            stream = wire.begin(block, BODIES[step.body], end=step.whole)
        sent += len(data) + 9
    return sent


@dataclass(frozen=True, slots=True)
class Meters:
    """What the programs have used so far: seconds of CPU time, and the bytes of memory that they hold now."""

    cpu_seconds: Callable[[], float]
    memory: Callable[[], float]

    def cost(self, port: int, program: Program, token: str, idle: float) -> Cost:
        """What the program costs. `idle` is the CPU time that the programs need by themselves meanwhile."""
        cpu, memory = self.cpu_seconds(), self.memory()
        sent, held = asyncio.run(flood(port, program, token, self.memory))
        return Cost(1e6 * (self.cpu_seconds() - cpu - idle) / sent, (held - memory) / sent)


async def flood(port: int, program: Program, token: str, memory: Callable[[], float]) -> tuple[int, float]:
    """Sends the program again and again for its time: how many bytes that were, and the memory held at the end."""
    sent, end = 0, time.monotonic() + SECONDS
    wires = Wires(port, CONNECTIONS)
    while time.monotonic() < end:
        for number in range(CONNECTIONS * AT_ONCE):
            sent += play(await wires.get(number), program, token)
        await asyncio.sleep(0.01)
    held = memory()
    wires.close()
    return sent, held


def search(
    port: int, seconds: float, meters: Meters, token: Callable[[], str], *, seed: int, say: Callable[[str], None]
) -> dict[Program, Cost]:
    """What the programs cost that were tried in so many seconds, which are different ones for each seed."""
    chance = random.Random(seed)
    found: dict[Program, Cost] = {}
    end = time.monotonic() + seconds
    before = meters.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    idle = (meters.cpu_seconds() - before) / IDLE_SECONDS * SECONDS
    said = 0.0
    while (share := 1 - (end - time.monotonic()) / seconds) < 1:
        if share >= said:
            say(f"{share:4.0%}  {len(found)} programs tried")
            said += 0.1
        best = dearest(found, by=chance.randrange(2))
        fresh = not best or chance.random() < 0.3
        program = (any_step(chance),) if fresh else changed(chance.choice(best), chance)
        await_calm(meters, idle)
        found[program] = meters.cost(port, program, token(), idle)
    return found


def await_calm(meters: Meters, idle: float) -> None:
    """Returns when what the last program has begun is done, or after 4 s."""
    for _ in range(20):
        before = meters.cpu_seconds()
        time.sleep(0.2)
        if meters.cpu_seconds() - before < 2 * 0.2 * idle / SECONDS:
            return


def dearest(found: dict[Program, Cost], by: int) -> list[Program]:
    """Those that cost most, by a field of Cost."""
    return sorted(found, key=lambda program: found[program][by], reverse=True)[:BEST]
