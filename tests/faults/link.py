"""One connection through the proxy: a client's end, a server's end, and what passes between them."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from tests.faults.loss import End, Loss

CHUNK = 64 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Passage(Protocol):
    """Returns when bytes may pass."""

    async def __call__(self, *, reply: bool) -> None:
        """`reply`: on their way to the client."""


class Link:
    """Forwards until both sides have ended, or one was broken."""

    def __init__(self, client: Stream, *, fate: Callable[[bytes], Loss | None], passage: Passage) -> None:
        self._client_reader, self._client = client
        self._server: asyncio.StreamWriter | None = None
        self._fate = fate
        self._passage = passage
        self._loss: Loss | None = None
        self._kept = 0
        self._deaf = False

    async def forward(self, host: str, port: int) -> None:
        """Connects to the server and passes everything on, in both directions."""
        try:
            reader, self._server = await asyncio.open_connection(host, port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._requests(self._server))
                tasks.create_task(self._replies(reader, self._server))
        except* OSError:
            self.reset()  # what happened to one end shows at the other
        finally:
            self._close()

    def reset(self) -> None:
        """Ends both sides by RST."""
        for writer in self._writers():
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()

    async def _requests(self, server: asyncio.StreamWriter) -> None:
        while request := await self._client_reader.read(CHUNK):
            await self._passage(reply=False)
            if self._deaf:
                continue
            self._loss, self._kept = self._fate(request), 0
            if self._loss and not self._loss.forward:
                self._end(self._loss)
            else:
                await _send(server, request)
        if not server.is_closing():
            server.write_eof()

    async def _replies(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while reply := await reader.read(CHUNK):
            await self._passage(reply=True)
            if self._deaf:
                continue
            if self._loss is None:
                await _send(self._client, reply)
            else:
                await self._keep_some(reply, self._loss)
        server.close()
        if not self._deaf:
            self._client.close()

    async def _keep_some(self, reply: bytes, loss: Loss) -> None:
        some = reply[: loss.keep - self._kept]
        self._kept += len(some)
        if some:
            await _send(self._client, some)
        if self._kept == loss.keep:
            self._end(loss)

    def _end(self, loss: Loss) -> None:
        if loss.end is End.SILENCE:
            self._deaf = True
        elif loss.end is End.RESET:
            self.reset()
        else:
            self._close()
        loss.happen()

    def _close(self) -> None:
        for writer in self._writers():
            writer.close()

    def _writers(self) -> list[asyncio.StreamWriter]:
        return [writer for writer in (self._client, self._server) if writer is not None]


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)
        await writer.drain()
