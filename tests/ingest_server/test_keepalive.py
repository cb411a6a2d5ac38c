"""A backend that keeps the connection of a quiet stream alive, with the settings that backends in Kubernetes use."""

import asyncio
import struct

import grpc
import pytest
from course_analytics.v1 import ingest_pb2

from bench.h2 import ACK, DATA, END_HEADERS, HEADERS, PING, PREFACE, SETTINGS, Call, frame
from devstack.programs import PROBE_OPTIONS, Program
from tests.ingest_server.backend import Stream, view
from tests.ingest_server.client import Player, token
from tests.servers import PATIENCE

KEEPALIVE_SECONDS = 10
PINGS = 6  # by default gRPC ends a connection at the third that comes within five minutes
KEEPALIVE = (
    *PROBE_OPTIONS,
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


async def ping_a_quiet_stream(address: str) -> bytes:
    """Pings at the client's pace beside an open TrackStream, each of them answered; then a batch, and its answer."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    batch = ingest_pb2.TrackStreamRequest(events=[view()]).SerializeToString()
    stream = Call.grpc("/course_analytics.v1.IngestService/TrackStream", token(), batch)
    writer.write(
        PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0) + frame(HEADERS, END_HEADERS, 1, stream.headers)
    )
    for number in range(PINGS):
        await asyncio.sleep(KEEPALIVE_SECONDS)  # the pace itself
        writer.write(frame(PING, 0, 0, struct.pack(">Q", number)))
        await asyncio.wait_for(reader.readuntil(frame(PING, ACK, 0, struct.pack(">Q", number))), PATIENCE)
    writer.write(frame(DATA, 0, 1, stream.data))
    answer = await asyncio.wait_for(reader.readuntil(b"application/grpc"), PATIENCE)
    writer.close()
    return answer


@pytest.mark.minutes
async def test_a_quiet_stream_lives_on_with_a_keepalive_of_ten_seconds(server: Program, player: Player) -> None:
    async with grpc.aio.insecure_channel(server.address, options=KEEPALIVE) as channel:
        stream = Stream(Player(channel))
        await stream.send([view()])
        assert [1] == await stream.answers(1)
        assert b"too_many_pings" not in await ping_a_quiet_stream(server.address)
        await stream.send([view()] * 2)
        assert [2] == await stream.answers(1)
        await stream.close()
        assert grpc.StatusCode.OK == await stream.end()
    assert "tracked" == await player.view()
