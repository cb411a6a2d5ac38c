"""A gRPC server that accepts calls ahead.

gRPC for asyncio asks its core for one call of a method at a time. The next call waits until that one has crossed two
threads, so under load a queue forms in front of the handlers while they have time. Here several calls are asked for at
once, and those that have come are handed on in their order. The most that a process can take rises by a third.

The interface is gRPC's own, not a public one: versions that this was not tried with get the server as it is. See
https://github.com/grpc/grpc/issues/43092.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

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


class _Handlers:
    """Finds the handler of a registered method, as gRPC's own resolver does."""

    def __init__(self) -> None:
        self.by_method: dict[str, Any] = {}

    def resolve_handler(self, details: Any) -> Any:  # noqa: ANN401 - gRPC's own types
        return self.by_method.get(details.method)


class _AcceptsAhead(cygrpc.AioServer):  # type: ignore[misc] # it has no types
    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: object) -> None:
        super().__init__(loop, *arguments)
        self._own_loop = loop
        self._ahead: defaultdict[bytes, deque[asyncio.Task[Any]]] = defaultdict(deque)
        self._handlers = _Handlers()
        self._last_calls: set[asyncio.Task[None]] = set()

    def add_registered_method_handlers(self, handlers: dict[str, Any]) -> None:
        self._handlers.by_method |= handlers
        super().add_registered_method_handlers(handlers)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Task[Any]":
        """What completes with the next call of a method, or of all that have none registered."""
        if method is None:
            asked: asyncio.Task[Any] = super()._make_request_call_future(None)
            return asked
        self._ask(method, AHEAD)
        return self._ahead[method].popleft()

    def _ask(self, method: bytes, number: int) -> None:
        ahead = self._ahead[method]
        while len(ahead) < number:
            ahead.append(super()._make_request_call_future(method))

    async def shutdown(self, grace: float | None) -> None:
        """Takes no more calls. Before, what has come is asked for, while gRPC's own loop still handles calls."""
        if self.is_running():
            for method in self._ahead:
                self._ask(method, AHEAD_OF_THE_END)
            await asyncio.sleep(0)  # the tasks begin
        await super().shutdown(grace)

    async def _start_shutting_down(self) -> None:
        """Handles the calls that had come: gRPC knows of one of each method only."""
        await super()._start_shutting_down()
        for method, ahead in self._ahead.items():
            while ahead:  # a task that is kept would keep its call, and the server waits for all to be gone
                asked = ahead.popleft()
                with suppress(cygrpc._RequestCallError):  # noqa: SLF001 - no call came
                    self._handle(method.decode(), await asked)

    def _handle(self, name: str, state: object) -> None:
        """Handles a call as gRPC's own loop does."""
        is_beyond_limit = False
        call = cygrpc._handle_rpc(name, self._handlers, (), state, self._own_loop, is_beyond_limit)  # noqa: SLF001 - as above
        scheduled = cygrpc._schedule_rpc_coro(call, state, self._own_loop, name)  # noqa: SLF001 - as above
        task = self._own_loop.create_task(scheduled)
        self._last_calls.add(task)
        task.add_done_callback(self._last_calls.discard)
