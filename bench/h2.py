"""A load generator for unary gRPC and REST calls over HTTP/2, so light that it measures the server and not itself.

It sends prepared frames and reads only what it must: that a stream ended, and with which headers or trailers. gRPC's
own Python client costs more per call than the servers that it would measure. RFC 9113 (frames) and RFC 7541 (headers,
without a dynamic table in either direction, so that equal trailers are equal bytes).
"""

import asyncio
import functools
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
LARGE_WINDOW = 2**30
FIRST_WINDOW = 65_535

# `grpc-status: 0` as gRPC's servers send it: a literal without indexing, its name and value with or without Huffman
# coding.
OK_TRAILERS = (
    b"\x0bgrpc-status\x010",
    b"\x88\x9a\xca\xc8\xb2\x124\xda\x8f\x010",
    b"\x88\x9a\xca\xc8\xb2\x124\xda\x8f\x81\x07",
)


# `:status: 200`, indexed; what resizes the dynamic table may stand before it.
OK_STATUS = b"\x88"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field without indexing or Huffman coding."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes([rest % 128 + 128])
        rest //= 128
    return size + bytes([rest]) + data


@dataclass(frozen=True, slots=True)
class Call:
    """A prepared call: header block, and length-prefixed message or JSON."""

    headers: bytes
    data: bytes

    @classmethod
    def grpc(cls, path: str, token: str, message: bytes) -> "Call":
        """A unary gRPC call."""
        headers = _headers(path, token, {"te": "trailers", "content-type": "application/grpc"})
        return cls(headers, b"\x00" + struct.pack(">I", len(message)) + message)

    @classmethod
    def rest(cls, path: str, token: str, body: bytes) -> "Call":
        """A POST of JSON. The gateway bounds bodies of unknown length more tightly."""
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        return cls(_headers(path, token, headers), body)


def _headers(path: str, token: str, more: Mapping[str, str]) -> bytes:
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "bench"}
    fields |= {**more, "authorization": f"Bearer {token}"}
    return b"".join(literal(name, value) for name, value in fields.items())


@dataclass(slots=True)
class Result:
    """The outcome of the calls: the seconds that each took, failures by their last headers, and the total duration."""

    seconds: list[float] = field(default_factory=list)
    failed: Counter[bytes] = field(default_factory=Counter)
    lasted: float = 0.0

    @property
    def rate(self) -> float:
        """Successful calls a second."""
        return len(self.seconds) / self.lasted

    def quantile(self, q: float) -> float:
        """A quantile of the latency, in milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Connection(asyncio.Protocol):
    """One HTTP/2 connection: each `send` begins a call, and the connection records how it ends."""

    def __init__(self, calls: Sequence[Call], result: Result, on_end: Callable[["Connection"], None]) -> None:
        self._calls = calls
        self._result = result
        self._on_end = on_end
        self._buffer = bytearray()
        self._started: dict[int, float] = {}
        self._answered: dict[int, bytes] = {}  # the headers of answers that have not ended
        self._next_stream = 1
        self._next_call = 0
        self._window = FIRST_WINDOW
        self._waiting: deque[None] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the preface, and opens the flow-control windows for responses."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection() makes
        self._transport = transport
        settings = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW_SIZE, LARGE_WINDOW)
        window = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGE_WINDOW))
        transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + window)

    @property
    def in_flight(self) -> int:
        """Calls that have not ended."""
        return len(self._started) + len(self._waiting)

    def send(self) -> None:
        """Begins the next call, as soon as flow control allows."""
        call = self._calls[self._next_call % len(self._calls)]
        if len(call.data) > self._window:
            self._waiting.append(None)
            return
        self._next_call += 1
        self._window -= len(call.data)
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._started[stream] = time.perf_counter()
        headers = frame(HEADERS, END_HEADERS, stream, call.headers)
        self._transport.write(headers + frame(DATA, END_STREAM, stream, call.data))

    def data_received(self, data: bytes) -> None:
        """Reads whole frames."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3])
            if len(buffer) - at < 9 + size:
                break
            kind, flags, stream = buffer[at + 3], buffer[at + 4], int.from_bytes(buffer[at + 5 : at + 9])
            self._frame(kind, flags, stream, bytes(buffer[at + 9 : at + 9 + size]))
            at += 9 + size
        del buffer[:at]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS and flags & END_STREAM:
            self._answered.pop(stream, None)
            self._ended(stream, payload, ok=any(trailer in payload for trailer in OK_TRAILERS))
        elif kind == HEADERS:
            self._answered[stream] = payload
        elif kind == DATA and flags & END_STREAM:
            headers = self._answered.pop(stream)
            self._ended(stream, headers, ok=OK_STATUS in headers[:2])
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload)
            for _ in range(len(self._waiting)):
                self._waiting.popleft()
                self.send()
        elif kind in {SETTINGS, PING} and not flags & ACK:
            self._transport.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY:
            raise ConnectionError(f"the server ended the connection: {payload!r}")

    def _ended(self, stream: int, block: bytes, *, ok: bool) -> None:
        took = time.perf_counter() - self._started.pop(stream)
        if ok:
            self._result.seconds.append(took)
        else:
            self._result.failed[block] += 1
        self._on_end(self)

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()


async def closed_loop(
    address: str, calls: Sequence[Call], *, in_flight: int, seconds: float, connections: int = 4
) -> Result:
    """Keeps so many calls in flight for so long, then waits for the last ones."""
    result = Result()
    end = time.perf_counter() + seconds

    def again(connection: Connection) -> None:
        if time.perf_counter() < end:
            connection.send()

    opened = await _connect(address, calls, result, again, connections)
    started = time.perf_counter()
    for number in range(in_flight):
        opened[number % connections].send()
    await _drain(opened)
    result.lasted = time.perf_counter() - started
    return result


async def open_loop(
    address: str, calls: Sequence[Call], *, rate: float, seconds: float, connections: int = 4
) -> Result:
    """Begins so many calls a second, however long they take."""
    result = Result()
    opened = await _connect(address, calls, result, lambda _: None, connections)
    started = time.perf_counter()
    sent = 0
    while (passed := time.perf_counter() - started) < seconds:
        while sent < passed * rate:
            opened[sent % connections].send()
            sent += 1
        await asyncio.sleep(0.001)
    await _drain(opened)
    result.lasted = time.perf_counter() - started
    return result


async def _connect(
    address: str, calls: Sequence[Call], result: Result, on_end: Callable[[Connection], None], connections: int
) -> list[Connection]:
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    opened = []
    for number in range(connections):
        mine = [*calls[number::connections], *calls[:number:connections]]
        make = functools.partial(Connection, mine, result, on_end)
        _, connection = await loop.create_connection(make, host, int(port))
        opened.append(connection)
    return opened


async def _drain(connections: Sequence[Connection]) -> None:
    while any(connection.in_flight for connection in connections):  # noqa: ASYNC110 - an event for each call would be expensive
        await asyncio.sleep(0.005)
    for connection in connections:
        connection.close()
