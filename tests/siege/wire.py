"""How attackers and the victim speak: as cheaply as can be, so that what is measured is the service."""

import asyncio
import time
from collections.abc import AsyncIterator

from bench.h2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, literal
from devstack.child import HOST

LARGEST_FRAME = 16_384
LAST_STREAM = 2**30


async def paced(rate: float, seconds: float) -> AsyncIterator[int]:
    """Numbers from 0, so many a second. After a delay it catches up."""
    begun, number = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        while number < passed * rate:
            yield number
            number += 1
        await asyncio.sleep(0.01)


def headers(path: str, **more: str) -> bytes:
    """The header block of a POST; an underscore stands for a hyphen."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "siege"}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(literal(name, value) for name, value in fields.items())


class Wire:
    """One HTTP/2 connection on which streams are begun. What comes back is thrown away, or left unread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reads: bool) -> None:
        self._writer = writer
        self._stream = -1
        self._gone = False
        self._reading = asyncio.ensure_future(self._read(reader)) if reads else None

    @classmethod
    async def open(cls, port: int, *, reads: bool = True) -> "Wire":
        """Connects to this port of 127.0.0.1."""
        wire = cls(*await asyncio.open_connection(HOST, port, limit=4096), reads=reads)
        wire._writer.write(PREFACE + frame(SETTINGS, 0, 0))
        return wire

    @property
    def usable(self) -> bool:
        """Whether another stream can be begun."""
        return not self._gone and not self._writer.is_closing() and self._stream < LAST_STREAM

    def begin(self, block: bytes, data: bytes = b"", *, end: bool = True) -> int:
        """Begins a stream; returns its number. `end` says whether it is whole."""
        self._stream += 2
        alone = END_STREAM if end and not data else 0
        self._writer.write(frame(HEADERS, END_HEADERS | alone, self._stream, block))
        if data:
            self.send(self._stream, data, end=end)
        return self._stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Sends more of a stream."""
        for at in range(0, len(data), LARGEST_FRAME):
            last = at + LARGEST_FRAME >= len(data)
            self._writer.write(frame(DATA, END_STREAM if end and last else 0, stream, data[at : at + LARGEST_FRAME]))

    def raw(self, data: bytes) -> None:
        """Sends frames as they are."""
        self._writer.write(data)

    def close(self) -> None:
        """Closes the connection, whatever is open."""
        if self._reading:
            self._reading.cancel()
        self._writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while await reader.read(65_536):
                pass
        except OSError:
            pass
        self._gone = True


class Wires:
    """Several connections, used in turn. One that was closed by the other side is opened again."""

    def __init__(self, port: int, number: int = 10, *, reads: bool = True) -> None:
        self._port = port
        self._reads = reads
        self._open: list[Wire | None] = [None] * number

    async def get(self, number: int) -> Wire:
        """The one for the nth use."""
        place = number % len(self._open)
        wire = self._open[place]
        if wire is None or not wire.usable:
            wire = self._open[place] = await Wire.open(self._port, reads=self._reads)
        return wire

    def close(self) -> None:
        """Closes all."""
        for wire in self._open:
            if wire:
                wire.close()
