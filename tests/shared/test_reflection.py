"""How much of reflection one stream can have: anybody may ask, so what is asked for stays small."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from devstack.child import HOST, free_port
from shared.serving import lifecycle, reflection
from tests.servers import PATIENCE

LIST = ServerReflectionRequest(list_services="")


async def asked(messages: AsyncIterator[bytes]) -> tuple[int, grpc.StatusCode]:
    """How many answers a stream of these messages has, and how it ends."""
    address = f"{HOST}:{free_port()}"
    server, _ = await lifecycle.grpc_server(address, [], shared_port=False)
    await server.start()
    answers = 0
    async with grpc.aio.insecure_channel(address) as channel:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        method = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        call = method(messages, timeout=PATIENCE)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in call:
                answers += 1
        code = await call.code()
    await server.stop(None)
    return answers, code


async def repeated(message: ServerReflectionRequest, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield message.SerializeToString()


async def test_a_stream_that_asks_for_all_there_is_gets_it() -> None:
    assert (20, grpc.StatusCode.OK) == await asked(repeated(LIST, 20))


async def test_a_stream_has_so_many_messages_and_no_more() -> None:
    most = reflection.MAX_MESSAGES

    assert (most, grpc.StatusCode.RESOURCE_EXHAUSTED) == await asked(repeated(LIST, most + 1))


async def test_a_long_name_is_not_answered_with_itself() -> None:
    long = ServerReflectionRequest(file_by_filename="x" * 2_000)

    assert (0, grpc.StatusCode.RESOURCE_EXHAUSTED) == await asked(repeated(long, 1))


async def test_malformed_bytes_are_a_bad_request() -> None:
    async def nonsense() -> AsyncIterator[bytes]:
        yield b"\xff"

    assert (0, grpc.StatusCode.INVALID_ARGUMENT) == await asked(nonsense())


async def test_a_stream_ends_also_when_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silence() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    monkeypatch.setattr(reflection, "MAX_SECONDS", 0.1)
    assert (0, grpc.StatusCode.DEADLINE_EXCEEDED) == await asked(silence())
