"""Callers that begin and do not end, send and do not read, or send too much: what they cost the others."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from bench.h2 import END_HEADERS, HEADERS, PREFACE, SETTINGS, Call, frame
from devstack.child import wait_until
from devstack.programs import PROBE_OPTIONS, Program
from tests.ingest_server.backend import BACKEND, ping
from tests.ingest_server.client import Player, bearer, refusal, token
from tests.servers import PATIENCE

CONNECTIONS, STREAMS = 20, 1000
SLOW_READERS = 14
MEBIBYTES = 220  # measured: 110, without a limit of streams 430
HELD_MEBIBYTES = 60  # measured: 23, with a window of 8 MiB 94


def memory(server: Program) -> int:
    """The resident memory of a server, in MiB."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * 4096 // 2**20


class SlowReader:
    """A stream whose sender is always ready, and does not read its answers.

    It is a backend's, which has no rate to keep to, and its window does not grow: so it is held after few batches.
    """

    def __init__(self, address: str) -> None:
        self.sent = 0
        self._channel = grpc.insecure_channel(address, options=(*PROBE_OPTIONS, ("grpc.http2.bdp_probe", 0)))
        self._end = threading.Event()
        stub = ingest_pb2_grpc.IngestServiceStub(self._channel)
        self.call = stub.TrackStream(self._requests(), metadata=tuple(BACKEND))

    def _requests(self) -> Iterator[ingest_pb2.TrackStreamRequest]:
        request = ingest_pb2.TrackStreamRequest(events=[ping("x" * 400, "y" * 400, -1)] * 1000)  # its answer is 200 KB
        while not self._end.is_set():
            self.sent += 1
            yield request

    def end(self) -> None:
        self._end.set()
        self.call.cancel()
        self._channel.close()


def are_held(readers: Sequence[SlowReader]) -> bool:
    """Whether nothing has been taken of any of them for a while."""
    before = [reader.sent for reader in readers]
    time.sleep(0.3)  # the condition itself: that nothing happens
    return 0 not in before and before == [reader.sent for reader in readers]


async def test_senders_who_do_not_read_are_held_and_others_are_served(server: Program, player: Player) -> None:
    before = memory(server)
    readers = [SlowReader(server.address) for _ in range(SLOW_READERS)]
    await asyncio.to_thread(wait_until, lambda: are_held(readers), PATIENCE, "they were not held")
    assert "tracked" == await player.ping()
    assert memory(server) - before < HELD_MEBIBYTES
    for reader in readers:
        reader.end()


@pytest.fixture
def connections(server: Program) -> Iterator[Sequence[socket.socket]]:
    """Connections that speak HTTP/2 as far as they must."""
    host, _, port = server.address.rpartition(":")
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(CONNECTIONS)]
        for connection in opened:
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        yield opened


async def test_calls_that_only_begin_cost_little_and_others_are_served(
    server: Program, player: Player, connections: Sequence[socket.socket]
) -> None:
    before = memory(server)
    headers = Call.grpc("/course_analytics.v1.IngestService/TrackTelemetry", token(), b"").headers
    begun = b"".join(frame(HEADERS, END_HEADERS, 2 * number + 1, headers) for number in range(STREAMS))
    for connection in connections:
        await asyncio.to_thread(connection.sendall, begun)
    for _ in range(10):
        assert "tracked" == await player.ping()
    assert memory(server) - before < MEBIBYTES


async def test_too_much_metadata_is_refused(player: Player) -> None:
    refused = await refusal(player.view(metadata=[*bearer(), ("x-long", "x" * 21_000)]))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code


async def test_much_metadata_is_not(player: Player) -> None:
    assert "tracked" == await player.view(metadata=[*bearer(), ("x-long", "x" * 14_000)])


async def test_too_long_a_message_is_refused(player: Player) -> None:
    refused = await refusal(player.view("x" * 1024 * 1024))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
