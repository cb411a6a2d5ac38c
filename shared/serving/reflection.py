"""Server reflection with limits for each stream: it is open to everybody, and expensive for its size.

A message of a few bytes gets files of 16 KB in half a millisecond; one that names an unknown symbol is echoed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

# A tool that asks for everything there is, file by file, sends about twenty.
MAX_MESSAGES = 100
MAX_MESSAGE_BYTES = 1024
MAX_SECONDS = 10.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def add_reflection(services: Sequence[str], server: grpc.aio.Server) -> None:
    """Makes the server describe these services, and reflection itself."""
    bounded = BoundedReflection([*services, reflection.SERVICE_NAME])
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        bounded.answers, response_serializer=ServerReflectionResponse.SerializeToString
    )
    handlers = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, handlers),))


class BoundedReflection:
    """`grpc.reflection.v1alpha`, whose streams end after so many messages and so much time."""

    def __init__(self, services: Sequence[str]) -> None:
        self._unbounded = reflection.aio.ReflectionServicer(services)

    async def answers(
        self, messages: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[ServerReflectionResponse]:
        """Answers each message. RESOURCE_EXHAUSTED beyond the limits, DEADLINE_EXCEEDED after the time."""
        answers: AsyncIterator[ServerReflectionResponse]
        # Its stubs take it for a coroutine; it is an asynchronous generator.
        answers = self._unbounded.ServerReflectionInfo(_bounded(messages, context), context)  # type: ignore[assignment]
        async for answer in answers:
            yield answer


async def _bounded(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[ServerReflectionRequest]:
    deadline = asyncio.get_running_loop().time() + MAX_SECONDS
    for _ in range(MAX_MESSAGES):
        try:
            async with asyncio.timeout_at(deadline):
                message = await anext(messages, None)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"a stream may take {MAX_SECONDS:g} s")
        if message is None:
            return
        if len(message) > MAX_MESSAGE_BYTES:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        try:
            request = ServerReflectionRequest.FromString(message)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a ServerReflectionRequest")
        yield request
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a stream has at most {MAX_MESSAGES} messages")
