"""What a refusal costs the servers, in CPU time: less than asking, and never much.

What a server needs by itself in that time is not counted.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
from course_analytics.v1 import dashboard_pb2, ingest_pb2

from bench.stage import Stage, course, cpu_seconds, write_courses
from devstack.child import Child
from devstack.tokens import mint
from ingest_server.allowance import BURST_EVENTS

INGEST = "/course_analytics.v1.IngestService"
PING, BATCH = f"{INGEST}/TrackTelemetry", f"{INGEST}/TrackBatch"
DASHBOARD = "/course_analytics.v1.DashboardService/GetCourseDashboard"
AT_ONCE = 32

PLAIN_MICROSECONDS = 150  # more than a handler that does nothing takes
WORST_MICROSECONDS = 3_000
BATCH_MICROSECONDS = 2_000
IDLE_SECONDS = 2
ROUNDS = 12

MEBIBYTE = b"\x0a\x00" * 524_000  # events without anything
UNKNOWN = b"\x7a\x00" * 524_000  # fields that the message does not have
ONE_FIELD = b"\x7a\xfc\xff\x3f" + bytes(2**20 - 4)  # its beginning tells nothing; only what is packed is charged


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that is refused, by whom, and the microseconds of CPU time that this may take (a plain one: may add)."""

    name: str
    server: Child
    address: str
    method: str
    data: bytes
    most: float
    token: str | None = None
    gzip: bool = False
    calls: int = AT_ONCE  # of each round
    greedy: bool = False  # its sender has used up the events of a user first


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took."""

    name: str
    microseconds: float
    most: float

    @property
    def held(self) -> bool:
        """Whether it was no more than it may be."""
        return self.microseconds <= self.most


def costs(stage: Stage) -> list[Cost]:
    """Asks in every way that should be cheap to refuse, and measures the servers."""
    taught = course(1, 3)
    write_courses(stage.database, [taught])
    ingest, query, idle = stage.program("ingest_server"), stage.program("query_server"), stage.ceiling()
    ping = ingest_pb2.TrackTelemetryRequest(
        course_id=taught.id,
        lecture_id=taught.lectures[0].id,
        watch_time_delta=5,
        event_id="e" * 36,
        playback_id="p" * 36,
    )
    plain = ping.SerializeToString()
    nothing = Ask("a handler that does nothing", idle, idle.address, PING, plain, 0, calls=400)

    def batch(events: Sequence[ingest_pb2.Event]) -> bytes:
        return ingest_pb2.TrackBatchRequest(events=events).SerializeToString()

    def of_ingest(name: str, data: bytes, most: float, **more: object) -> Ask:
        return Ask(name, ingest, ingest.address, BATCH, data, most, **more)  # type: ignore[arg-type] # options of any type

    event = ingest_pb2.Event(telemetry=ping)
    other = ingest_pb2.Event(telemetry=ping)
    other.telemetry.user_id = "somebody else"
    token, greedy = mint(stage.secret, "attacker"), mint(stage.secret, "greedy")
    writer = mint(stage.secret, "backend", scope="analytics:write")
    course_id = dashboard_pb2.GetCourseDashboardRequest(course_id=taught.id).SerializeToString()
    plain_asks = [
        Ask("a ping without a token", ingest, ingest.address, PING, plain, PLAIN_MICROSECONDS, calls=400),
        Ask("a dashboard without a token", query, query.address, DASHBOARD, course_id, PLAIN_MICROSECONDS, calls=400),
        Ask(
            "a ping with a forged token",
            ingest,
            ingest.address,
            PING,
            plain,
            PLAIN_MICROSECONDS,
            token=mint("another secret " * 3, "eve"),
            calls=400,
        ),
    ]
    asks = [
        Ask(
            "1 MiB for the health", ingest, ingest.address, "/grpc.health.v1.Health/Check", UNKNOWN, WORST_MICROSECONDS
        ),
        of_ingest("1 MiB without a token", MEBIBYTE, WORST_MICROSECONDS),
        of_ingest("1 KiB of gzip without a token", MEBIBYTE, WORST_MICROSECONDS, gzip=True),
        Ask("gzip for a dashboard", query, query.address, DASHBOARD, UNKNOWN, WORST_MICROSECONDS, gzip=True),
        of_ingest("524,000 events", MEBIBYTE, BATCH_MICROSECONDS, token=token),
        of_ingest("524,000 events in gzip", MEBIBYTE, BATCH_MICROSECONDS, token=token, gzip=True),
        of_ingest("unknown fields in gzip", UNKNOWN, BATCH_MICROSECONDS, token=token, gzip=True),
        of_ingest("1 MiB of one field, in gzip", ONE_FIELD, WORST_MICROSECONDS, token=writer, gzip=True),
        of_ingest("1,101 events", batch([event] * 1101), BATCH_MICROSECONDS, token=token),
        of_ingest(
            "1,000 events, too many a second", batch([event] * 1000), BATCH_MICROSECONDS, token=greedy, greedy=True
        ),
        of_ingest(
            "1,000 events, the last somebody else's",
            batch([*[event] * 999, other]),
            BATCH_MICROSECONDS,
            token=token,
            calls=BURST_EVENTS // 1000 // ROUNDS - 1,
        ),
    ]
    return [_measured(nothing), *(_compared(ask, nothing) for ask in plain_asks), *map(_measured, asks)]


def _measured(ask: Ask) -> Cost:
    round_of = _rounds(ask)
    return Cost(ask.name, 1e6 * min(round_of() for _ in range(ROUNDS)), ask.most or float("inf"))


def _compared(ask: Ask, nothing: Ask) -> Cost:
    """The same in turns with a handler that does nothing: the machine is not always as fast."""
    round_of, round_of_nothing = _rounds(ask), _rounds(nothing)
    beside, asked = zip(*((round_of_nothing(), round_of()) for _ in range(ROUNDS)), strict=True)
    return Cost(ask.name, 1e6 * min(asked), 1e6 * min(beside) + ask.most)


def _rounds(ask: Ask) -> Callable[[], float]:
    """What measures a round. Of several the least counts: what else is at work here only adds to it."""
    idle = _idle(ask.server.pid)
    call = _call(ask.address, ask.method, ask.data, ask.token, gzip=ask.gzip)
    call(1)  # the connection, and what is done once
    if ask.greedy:
        nothing = ingest_pb2.TrackBatchRequest(events=[ingest_pb2.Event()] * 1000).SerializeToString()
        _call(ask.address, ask.method, nothing, ask.token)(3 * BURST_EVENTS // 1000)
    return lambda: _round(ask, call, idle)


def _round(ask: Ask, call: Callable[[int], None], idle: float) -> float:
    """The CPU time of a call, in seconds."""
    before, begun = cpu_seconds(ask.server.pid), time.monotonic()
    for done in range(0, ask.calls, AT_ONCE):
        call(min(AT_ONCE, ask.calls - done))
    return (cpu_seconds(ask.server.pid) - before - idle * (time.monotonic() - begun)) / ask.calls


def _idle(pid: int) -> float:
    """The share of a processor that a server needs when nobody asks it for anything."""
    before = cpu_seconds(pid)
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(pid) - before) / IDLE_SECONDS


def _call(address: str, method: str, data: bytes, token: str | None, *, gzip: bool = False) -> Callable[[int], None]:
    """What makes so many such calls at once, and does not look at their answers."""
    channel = grpc.insecure_channel(address)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    compression = grpc.Compression.Gzip if gzip else None

    def call(number: int) -> None:
        method_of: Any = channel.unary_unary(method)
        options = {"metadata": metadata, "compression": compression, "timeout": 30}
        answers = [method_of.future(data, **options) for _ in range(number)]
        for answer in answers:
            with suppress(grpc.RpcError):
                answer.result()

    return call
