"""How long the servers keep a connection, and what then becomes of its calls; and who hears of their health."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2

from bench.h2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    SETTINGS,
    Call,
    frame,
)
from devstack.child import HOST, free_port
from devstack.programs import PROBE_OPTIONS
from shared.serving import lifecycle
from tests.servers import PATIENCE


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """The port of a server that has nothing but its health."""
    port = free_port()
    server, _ = await lifecycle.grpc_server(f"{HOST}:{port}", [], shared_port=False)
    await server.start()
    yield port
    await server.stop(None)


async def farewell(port: int) -> bytes:
    """What the server says at last to a connection that says its hello, and nothing more."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    async with asyncio.timeout(PATIENCE):
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == GOAWAY:
                writer.close()
                return payload


async def test_an_old_connection_gets_goaway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "CONNECTION_AGE_MS", 200)
    async with served() as port:
        assert b"max_age" in await farewell(port)


async def test_calls_under_way_outlive_the_age_of_their_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "CONNECTION_AGE_MS", 100)
    async with served() as port, grpc.aio.insecure_channel(f"{HOST}:{port}", options=PROBE_OPTIONS) as channel:
        watch_method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
        watch_method = channel.unary_stream("/grpc.health.v1.Health/Watch")
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        watch = watch_method(b"")
        assert await watch.read()
        assert await farewell(port), "later than the channel's own"
        assert await check(b"")
        assert not watch.done()
        watch.cancel()


async def test_more_connections_than_a_server_takes_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_CONNECTIONS", 1)
    async with served() as port, grpc.aio.insecure_channel(f"{HOST}:{port}", options=PROBE_OPTIONS) as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE)
        reader, writer = await asyncio.open_connection(HOST, port)
        assert b"" == await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()


async def test_a_peer_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "KEEPALIVE_MS", 1000)  # the least that gRPC takes
    monkeypatch.setattr(lifecycle, "PING_TIMEOUT_MS", 100)
    async with served() as port:
        assert b"ping_timeout" in await farewell(port)


async def test_a_health_watcher_that_does_not_read_blocks_no_other() -> None:
    port = free_port()
    server, servicer = await lifecycle.grpc_server(f"{HOST}:{port}", ["course"], shared_port=False)
    await server.start()
    readiness = lifecycle.Readiness(servicer, "course")
    no_window = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
    watch = Call.grpc("/grpc.health.v1.Health/Watch", "none", b"")
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(PREFACE + no_window)
    writer.write(frame(HEADERS, END_HEADERS, 1, watch.headers) + frame(DATA, END_STREAM, 1, watch.data))
    async with asyncio.timeout(PATIENCE), grpc.aio.insecure_channel(f"{HOST}:{port}", options=PROBE_OPTIONS) as channel:
        await reader.readuntil(b"application/grpc")  # its answer has begun
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        readiness.set({})
        serving = health_pb2.HealthCheckResponse.FromString(await check(b""))
        readiness.close()
        closed = health_pb2.HealthCheckResponse.FromString(await check(b""))
    writer.close()
    await server.stop(None)

    response = health_pb2.HealthCheckResponse
    assert [response.SERVING, response.NOT_SERVING] == [serving.status, closed.status]


async def test_a_name_that_a_server_does_not_have_is_unknown() -> None:
    request = health_pb2.HealthCheckRequest(service="none").SerializeToString()
    async with served() as port, grpc.aio.insecure_channel(f"{HOST}:{port}", options=PROBE_OPTIONS) as channel:
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/grpc.health.v1.Health/Watch")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(request)
        watching = watch(request)
        answer = await anext(aiter(watching))
        watching.cancel()

    assert grpc.StatusCode.NOT_FOUND == refused.value.code()
    response = health_pb2.HealthCheckResponse
    assert response.SERVICE_UNKNOWN == response.FromString(answer).status


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
        (b"\x7a\x00" * 600, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (bytes(100_000), grpc.StatusCode.INVALID_ARGUMENT),  # not unpacked: anybody may send it
    ],
    ids=["no message", "long", "long in gzip"],
)
@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_a_malformed_health_request_is_refused(method: str, data: bytes, code: grpc.StatusCode) -> None:
    async with served() as port, grpc.aio.insecure_channel(f"{HOST}:{port}", options=PROBE_OPTIONS) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/grpc.health.v1.Health/{method}")
        packing = grpc.Compression.Gzip if len(data) > 10_000 else None
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(data, timeout=PATIENCE, compression=packing)

    assert code == refused.value.code()


async def test_an_unknown_compression_is_named() -> None:
    async with served() as port, grpc.aio.insecure_channel(f"{HOST}:{port}", options=PROBE_OPTIONS) as channel:
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(bytes(100), timeout=PATIENCE, compression=grpc.Compression.Deflate)

    assert grpc.StatusCode.UNIMPLEMENTED == refused.value.code()


async def test_a_client_may_ask_while_its_stream_is_quiet_whether_the_server_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "LEAST_PING_MS", 50)  # by default it is 5 min, and the third sooner one is the last
    async with served() as port, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(HOST, port)
        watch = Call.grpc("/grpc.health.v1.Health/Watch", "none", b"")
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
        writer.write(frame(HEADERS, END_HEADERS, 1, watch.headers) + frame(DATA, END_STREAM, 1, watch.data))
        await reader.readuntil(b"application/grpc")  # its answer has begun; nothing more comes
        for number in range(8):
            await asyncio.sleep(0.1)  # the condition itself: longer than the least interval
            writer.write(frame(PING, 0, 0, struct.pack(">Q", number)))
            await reader.readuntil(struct.pack(">Q", number))
        writer.close()


def test_the_keepalive_that_backends_use_is_allowed() -> None:
    assert lifecycle.LEAST_PING_MS <= 10_000
