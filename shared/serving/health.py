"""The standard health service (`grpc.health.v1`): a server's status, once or watched.

It replaces the package's own servicer, which holds a lock while it writes to a watcher: a watcher that does not read,
and needs no token, would block all changes for everybody, and the server's stop. It would also parse whatever anybody
sends.
"""

import asyncio
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

# Enough for a name.
MAX_MESSAGE_BYTES = 1024


class Health:
    """The status of each name; NOT_SERVING at first."""

    def __init__(self, names: list[str]) -> None:
        self._statuses: dict[str, int] = dict.fromkeys(names, health_pb2.HealthCheckResponse.NOT_SERVING)
        self._changed = asyncio.Event()

    def set(self, name: str, status: int) -> None:
        """Does not block: watchers get the change when they read."""
        self._statuses[name] = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        answer = health_pb2.HealthCheckResponse.SerializeToString
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.unary_unary_rpc_method_handler(self.check, response_serializer=answer),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch, response_serializer=answer),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(health.SERVICE_NAME, handlers),))

    async def check(self, data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> health_pb2.HealthCheckResponse:
        """The status of a name now."""
        status = self._statuses.get(await _name(data, context))
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=status)

    async def watch(self, data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        """The status now, and at each change; if changes come faster than the watcher reads, only the last."""
        name = await _name(data, context)
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(name, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            await changed.wait()


async def _name(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> str:
    """The requested name. Ends the call if the message is malformed or too long."""
    if len(data) > MAX_MESSAGE_BYTES:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    try:
        return health_pb2.HealthCheckRequest.FromString(data).service
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a HealthCheckRequest")
    raise AssertionError("abort() raises")
