"""The next attack of its kind: small programs of frames, changed at random, and kept when a byte of them costs more.

Each program runs on a few connections for a second, with the token of a learner whom nobody has seen before. What it
costs is the CPU time of the servers and the gateway for each KB that was sent.
"""

import asyncio
import json
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.h2 import PING, SETTINGS, frame
from tests.siege.attacks import BATCH, FORGED, MIB, TELEMETRY, message, native
from tests.siege.wire import Wire, Wires, headers

RST_STREAM = 3
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
            block = (
                headers(path, content_type="application/json", **more)
                if path.startswith("/api")
                else native(path, **more)
            )
            data = block + BODIES[step.body]
            stream = wire.begin(block, BODIES[step.body], end=step.whole)
        sent += len(data) + 9
    return sent


async def flood(port: int, program: Program, token: str) -> int:
    """Sends the program again and again for its time; how many bytes that were."""
    sent, end = 0, time.monotonic() + SECONDS
    wires = Wires(port, CONNECTIONS)
    while time.monotonic() < end:
        for number in range(CONNECTIONS * AT_ONCE):
            sent += play(await wires.get(number), program, token)
        await asyncio.sleep(0.01)
    wires.close()
    return sent


def search(
    port: int,
    seconds: float,
    cpu_seconds: Callable[[], float],
    token: Callable[[], str],
    *,
    seed: int,
    say: Callable[[str], None],
) -> list[tuple[float, str]]:
    """The dearest programs found: milliseconds of CPU time for each KB, and the program in words."""
    chance = random.Random(seed)
    found: dict[Program, float] = {}
    end = time.monotonic() + seconds
    before = cpu_seconds()
    time.sleep(IDLE_SECONDS)
    idle = (cpu_seconds() - before) / IDLE_SECONDS * SECONDS  # what the programs need by themselves
    said = 0.0
    while (share := 1 - (end - time.monotonic()) / seconds) < 1:
        if share >= said:
            say(f"{share:4.0%}  {len(found)} programs tried")
            said += 0.1
        best = sorted(found, key=found.__getitem__, reverse=True)[:BEST]
        fresh = not best or chance.random() < 0.3
        program = (any_step(chance),) if fresh else changed(chance.choice(best), chance)
        before = cpu_seconds()
        sent = asyncio.run(flood(port, program, token()))
        found[program] = 1e6 * (cpu_seconds() - before - idle) / sent
    return sorted(((cost, described(program)) for program, cost in found.items()), reverse=True)[:BEST]
