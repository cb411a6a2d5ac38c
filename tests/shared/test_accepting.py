"""Calls are accepted ahead, and none that has come is lost when the server stops."""

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from bench.h2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER_TABLE_SIZE,
    HEADERS,
    OK_TRAILERS,
    PING,
    PREFACE,
    SETTINGS,
    Call,
    frame,
)
from devstack.child import HOST
from shared.serving import accepting
from tests.servers import PATIENCE

CALLS = 100


async def echo(request: bytes, _context: object) -> bytes:
    return request


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    server = accepting.server([])
    port = server.add_insecure_port(f"{HOST}:0")
    server.add_registered_method_handlers("test", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    await server.start()
    yield server, port
    await server.stop(None)


async def test_calls_that_have_come_when_a_server_stops_are_answered() -> None:
    call = Call.grpc("/test/Echo", "", b"")
    async with serving() as (server, port):
        with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
            settings = struct.pack(">HI", HEADER_TABLE_SIZE, 0)
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(SETTINGS, ACK, 0))
            for stream in range(1, 2 * CALLS, 2):
                connection.sendall(frame(HEADERS, END_HEADERS, stream, call.headers))
                connection.sendall(frame(DATA, END_STREAM, stream, call.data))
            connection.sendall(frame(PING, 0, 0, b"all sent"))
            come = b""
            while frame(PING, ACK, 0, b"all sent") not in come:  # gRPC's core has all; its Python knows of none yet
                come += connection.recv(65_536)

            stopping = asyncio.create_task(server.stop(PATIENCE))
            answers = await asyncio.to_thread(read_answers, connection)
        await stopping

    assert CALLS == answers


def read_answers(connection: socket.socket) -> int:
    """How many calls have succeeded, once all have or the server has closed the connection."""
    come, answers = b"", 0
    while answers < CALLS and (more := connection.recv(65_536)):
        come += more
        answers = sum(come.count(ok) for ok in OK_TRAILERS)
    return answers


async def test_a_server_that_has_stopped_leaves_no_error_that_nobody_has_seen() -> None:
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with serving():
        pass
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(left, timeout=PATIENCE)
        left.clear()
    gc.collect()  # a task's exception that nobody has taken is reported then
    assert [] == errors


async def test_the_installed_grpc_is_one_that_this_was_tried_with() -> None:
    assert grpc.__version__ in accepting.TRIED_VERSIONS, "see that tests and `python -m bench sweep` hold, then add it"


async def test_with_a_grpc_that_it_was_not_tried_with_a_server_works_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "TRIED_VERSIONS", frozenset())
    async with serving() as (_, port), grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Echo")
        answers = await asyncio.gather(*(method(b"%d" % number) for number in range(CALLS)))
    assert [b"%d" % number for number in range(CALLS)] == answers
