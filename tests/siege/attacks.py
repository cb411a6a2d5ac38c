"""The attacks. Each runs in a process of its own, at its rate, until its time is over; it returns how often it struck.

Forged tokens have the shape of good ones, so that the gateway lets them pass and a server has to look at them.
"""

import asyncio
import gzip
import itertools
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from course_analytics.v1 import ingest_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from devstack.child import HOST
from tests.siege.wire import Wires, headers, paced

INGEST = "/course_analytics.v1.IngestService"
BATCH = "/api/v1/analytics/events:batch"
TELEMETRY = "/api/v1/analytics/telemetry"
FORGED = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJldmUifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where to strike, and with which token of a learner."""

    port: int
    token: str


Strike = Callable[[Target, float, float], Awaitable[int]]


def message(data: bytes, *, zipped: bool = False) -> bytes:
    """A length-prefixed gRPC message."""
    body = gzip.compress(data) if zipped else data
    return struct.pack(">BI", zipped, len(body)) + body


def native(method: str, **more: str) -> bytes:
    """The header block of a gRPC call."""
    path = method if method.startswith("/") else f"{INGEST}/{method}"
    return headers(path, te="trailers", content_type="application/grpc", **more)


def rest(path: str, body: bytes, **more: str) -> bytes:
    """The header block of a REST call that says how long its body is: others may be few."""
    return headers(path, content_type="application/json", content_length=str(len(body)), **more)


async def calls(
    target: Target, rate: float, seconds: float, block: bytes, data: bytes = b"", *, end: bool = True
) -> int:
    """The same call again and again."""
    wires, sent = Wires(target.port, 20), 0
    async for number in paced(rate, seconds):
        try:
            (await wires.get(number)).begin(block, data, end=end)
            sent += 1
        except OSError:
            await asyncio.sleep(0.1)
    wires.close()
    return sent


async def zipped_batches(target: Target, rate: float, seconds: float) -> int:
    """Without a valid token: 1 KB that unpacks to 524,288 empty events."""
    block = native("TrackBatch", authorization=FORGED, grpc_encoding="gzip")
    return await calls(target, rate, seconds, block, message(b"\n\x00" * (MIB // 2 - 16), zipped=True))


async def unread_streams(target: Target, rate: float, seconds: float) -> int:
    """One learner: streams of bad events, 1,000 in 44 bytes, whose answers nobody reads."""
    bad = ingest_pb2.TrackStreamRequest(events=[ingest_pb2.Event()] * 1000).SerializeToString()
    block = native("TrackStream", authorization=target.token, grpc_encoding="gzip")
    wires, sent = Wires(target.port, 100, reads=False), 0
    async for number in paced(rate, seconds):
        (await wires.get(number)).begin(block, message(bad, zipped=True) * 20, end=False)
        sent += 1
    wires.close()
    return sent


async def bad_batches(target: Target, rate: float, seconds: float) -> int:
    """One learner: batches of 1,000 bad events by REST."""
    body = json.dumps({"events": [{}] * 1000}).encode()
    block = rest(BATCH, body, authorization=target.token)
    return await calls(target, rate, seconds, block, body)


async def silent_connections(target: Target, rate: float, seconds: float) -> int:
    """Without a token: connections that say nothing."""
    held: list[socket.socket] = []
    async for _ in paced(rate, seconds):
        if len(held) >= 12_000:
            break
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex((HOST, target.port))
        held.append(connection)
    async for _ in paced(1, seconds - len(held) / rate):
        pass
    for connection in held:
        connection.close()
    return len(held)


async def reflection(target: Target, rate: float, seconds: float) -> int:
    """Without a token: streams of questions about the largest file there is."""
    question = ServerReflectionRequest(file_containing_symbol=INGEST[1:])
    block = native("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    return 100 * await calls(target, rate / 100, seconds, block, message(question.SerializeToString()) * 100)


async def no_tokens(target: Target, rate: float, seconds: float) -> int:
    """Without a token: pings by REST, and a body of 1 MiB that is never sent."""
    ping = headers(TELEMETRY, content_type="application/json")
    return await calls(target, rate, seconds, ping, b"{", end=False)


async def forged_tokens(target: Target, rate: float, seconds: float) -> int:
    """Without a valid token: native pings that a server has to refuse."""
    return await calls(target, rate, seconds, native("TrackTelemetry", authorization=FORGED), message(b""))


async def spellings(target: Target, rate: float, seconds: float) -> int:
    """One learner: the same token in as many spellings as the header has."""
    token = target.token.partition(" ")[2]
    words = ["".join(each) for each in itertools.product(*zip("bearer", "BEARER", strict=True))]
    blocks = [rest(TELEMETRY, b"{}", authorization=f"{word} {token}") for word in words]
    wires, sent = Wires(target.port, 20), 0
    async for number in paced(rate, seconds):
        (await wires.get(number)).begin(blocks[number % len(blocks)], b"{}")
        sent += 1
    wires.close()
    return sent


async def half_open(target: Target, rate: float, seconds: float) -> int:
    """Without a valid token: calls with 7 KB of headers whose message never comes."""
    block = native("TrackTelemetry", authorization=FORGED, x_long="x" * 7_000)
    wires, sent = Wires(target.port, 500), 0
    async for number in paced(rate, seconds):
        try:
            (await wires.get(number)).begin(block, end=False)
            sent += 1
        except OSError:
            await asyncio.sleep(0.1)
    wires.close()
    return sent


async def no_last_byte(target: Target, rate: float, seconds: float) -> int:
    """One learner: bodies of 1 MiB whose last byte is missing."""
    head = f"POST {BATCH} HTTP/1.1\r\nhost: siege\r\ncontent-length: {MIB}\r\nauthorization: {target.token}\r\n\r\n"
    held = []
    async for _ in paced(rate, seconds):
        try:
            _, writer = await asyncio.open_connection(HOST, target.port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.write(head.encode() + b"x" * (MIB - 1))
        held.append(writer)
    for writer in held:
        writer.transport.abort()
    return len(held)


# What strikes, and how often a second.
ATTACKS: dict[str, tuple[Strike, float]] = {
    "gzip batches, forged token": (zipped_batches, 50),
    "unread streams of bad events": (unread_streams, 20),
    "batches of bad events by REST": (bad_batches, 500),
    "silent connections": (silent_connections, 4_000),
    "reflection": (reflection, 2_000),
    "no token": (no_tokens, 5_000),
    "forged token": (forged_tokens, 1_000),
    "one token in 64 spellings": (spellings, 1_500),
    "half-open calls, large headers": (half_open, 1_000),
    "bodies without their last byte": (no_last_byte, 20),
}


def strike(name: str, target: Target, share: float, seconds: float) -> int:
    """Runs one attack at a share of its rate; returns how often it struck."""
    attack, rate = ATTACKS[name]
    return asyncio.run(attack(target, rate * share, seconds))  # type: ignore[arg-type]  # they are coroutines
