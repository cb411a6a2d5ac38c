"""The standard health service (`grpc.health.v1`): what a server says of itself, asked once or watched.

In the place of the package's own servicer, which holds a lock while it writes to a watcher: one who does not read, and
needs no token for it, would keep everybody from hearing of any change, and the server from its end.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Health(health_pb2_grpc.HealthServicer):
    """The status of each name; every one is NOT_SERVING at first."""

    def __init__(self, names: list[str]) -> None:
        self._statuses: dict[str, int] = dict.fromkeys(names, health_pb2.HealthCheckResponse.NOT_SERVING)
        self._changed = asyncio.Event()

    def set(self, name: str, status: int) -> None:
        """Waits for nobody: who watches hears of it when they read."""
        self._statuses[name] = status
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> health_pb2.HealthCheckResponse:
        """The status of a name now."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> None:
        """The status now, and at each change; of changes that come faster than they are read, the last."""
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            await changed.wait()
