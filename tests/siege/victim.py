"""A learner who pings while others attack, and the same against a server that does nothing."""

import asyncio
import json
import time
from dataclasses import dataclass, field

from bench import h2
from devstack.child import HOST
from tests.siege.attacks import TELEMETRY

INTERVAL = 0.05
ANSWER_SECONDS = 10


@dataclass(slots=True)
class Seen:
    """What a learner saw: the seconds that each counted ping took, those that failed, and of the other server."""

    counted: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


def watch(port: int, token: str, ping: dict[str, object], *, idle: str, seconds: float) -> Seen:
    """Pings through the gateway for so long, and beside it the server at `idle` (host:port), as often."""
    return asyncio.run(_watch(port, token, ping, idle, seconds))


async def _watch(port: int, token: str, ping: dict[str, object], idle: str, seconds: float) -> Seen:
    nothing = h2.Call.grpc("/course_analytics.v1.IngestService/TrackTelemetry", token.partition(" ")[2], b"")
    beside = asyncio.create_task(h2.open_loop(idle, [nothing], rate=1 / INTERVAL, seconds=seconds, connections=1))
    seen = await _pings(port, token, ping, seconds)
    seen.beside = (await beside).seconds
    return seen


async def _pings(port: int, token: str, ping: dict[str, object], seconds: float) -> Seen:
    body = json.dumps(ping)
    lines = [f"POST {TELEMETRY} HTTP/1.1", "host: siege", f"authorization: {token}", "content-type: application/json"]
    request = "\r\n".join([*lines, f"content-length: {len(body)}", "", body]).encode()
    reader, writer = await asyncio.open_connection(HOST, port)
    seen, end = Seen(), time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        try:
            writer.write(request)
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await _answer(reader)
        except (OSError, EOFError, TimeoutError) as error:
            seen.failed.append(type(error).__name__)
            writer.close()
            reader, writer = await asyncio.open_connection(HOST, port)
            continue
        if status == "200":
            seen.counted.append(time.monotonic() - begun)
        else:
            seen.failed.append(status)
        await asyncio.sleep(max(0.0, INTERVAL - (time.monotonic() - begun)))
    writer.close()
    return seen


async def _answer(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:"))
    await reader.readexactly(int(length))
    return head.split(" ", 2)[1]
