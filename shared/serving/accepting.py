"""A gRPC server that accepts calls ahead.

gRPC for asyncio asks its core for one call of a method at a time. The next call waits until that one has crossed two
threads, so under load a queue forms in front of the handlers while they have time. Here several calls are asked for at
once, and each begins without a task that watches all methods, or a second search for its handler. The most that a
process can take rises by half.

The interface is gRPC's own, not a public one: versions that this was not tried with get the server as it is. See
https://github.com/grpc/grpc/issues/43092.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined] # compiled, without types

TRIED_VERSIONS: frozenset[str] = frozenset({"1.85.1"})

# Of each method.
AHEAD = 16
# When the server stops, its core ends every call that nobody has asked for. So what has come is asked for first.
AHEAD_OF_THE_END = 512


def server(options: Sequence[tuple[str, Any]]) -> grpc.aio.Server:
    """A server that listens nowhere yet."""
    if grpc.__version__ not in TRIED_VERSIONS:
        return grpc.aio.server(options=options)
    usual = cygrpc.AioServer
    cygrpc.AioServer = _AcceptsAhead
    try:
        return grpc.aio.server(options=options)
    finally:
        cygrpc.AioServer = usual


class _AcceptsAhead(cygrpc.AioServer):  # type: ignore[misc] # it has no types
    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: object) -> None:
        super().__init__(loop, *arguments)
        self._own_loop = loop
        self._handlers: dict[str, Any] = {}
        self._methods: list[bytes] = []
        self._calls: set[asyncio.Task[None]] = set()

    def add_registered_method_handlers(self, handlers: dict[str, Any]) -> None:
        self._handlers |= handlers
        super().add_registered_method_handlers(handlers)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """For gRPC's own loop, which handles the calls of methods that are not registered.

        The calls of a registered method are accepted and handled here, so its future only ends with the server.
        """
        if method is None:
            asked: asyncio.Task[Any] = super()._make_request_call_future(None)
            return asked
        self._methods.append(method)
        return asyncio.gather(*(self._accept(method) for _ in range(AHEAD)))

    async def _accept(self, method: bytes) -> NoReturn:
        """Accepts one call after the other. Raises gRPC's _RequestCallError once the server stops."""
        name = method.decode()
        handler = self._handlers[name]
        kind = "_".join(
            "stream" if streams else "unary" for streams in (handler.request_streaming, handler.response_streaming)
        )
        handle = functools.partial(getattr(cygrpc, f"_handle_{kind}_rpc"), handler)
        while True:
            self._begin(name, handle, await self._request_registered_call(method))

    def _begin(self, name: str, handle: Callable[..., Coroutine[Any, Any, None]], state: object) -> None:
        """Begins to handle a call as gRPC's own loop does."""
        loop = self._own_loop
        task = loop.create_task(cygrpc._schedule_rpc_coro(handle(state, loop), state, loop, name))  # noqa: SLF001 - see the module
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def shutdown(self, grace: float | None) -> None:
        """Takes no more calls. Before, what has come is asked for."""
        if not self.is_running():
            await super().shutdown(grace)
            return
        methods = self._methods * AHEAD_OF_THE_END
        last = [self._own_loop.create_task(self._accept(method)) for method in methods]
        await asyncio.sleep(0)  # the tasks begin
        await super().shutdown(grace)
        await asyncio.gather(*last, return_exceptions=True)
