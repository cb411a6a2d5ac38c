"""A stream of batches: counts several at once, answers in order, and reads no more than that."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.serving.errors import Overloaded, Unauthenticated, Unavailable

# Connections are closed after a while, and streams before that, after all answers: their senders open new ones.
MAX_SECONDS = 60 * 60

# The most batches of a stream that are being counted or wait to be answered, and the most bytes of them or of their
# answers. Beyond that nothing is read, and gRPC holds the sender.
WINDOW = 16
WINDOW_BYTES = 256 * 1024

STREAMS_OF_A_USER = 50

Request = TypeVar("Request")


@dataclass(frozen=True, slots=True)
class Received(Generic[Request]):
    """A request, and its size in bytes as received."""

    request: Request
    size: int


class Stream(Generic[Request]):
    """One stream. `read` returns the next request, None when the sender is done, or raises the error that ends it.

    `answer` works on a request; `send` takes its answer.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Received[Request] | None]],
        answer: Callable[[Request], Coroutine[Any, Any, bytes]],
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._read = read
        self._answer = answer
        self._send = send
        self._answers: asyncio.Queue[asyncio.Task[bytes] | Exception | None] = asyncio.Queue()
        self._batches = 0
        self._bytes = 0
        self._sent = asyncio.Event()

    async def serve(self, *, seconds_left: float, stop: asyncio.Event) -> None:
        """Answers until the sender ends. Raises the ServiceError that ends the stream earlier.

        Such as Unauthenticated after `seconds_left`, and Unavailable after an hour or at `stop`: it reads nothing more,
        and answers what it has read first.
        """
        reading = asyncio.create_task(self._read_all(seconds_left, stop))
        try:
            while (answer := await self._answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                data = await answer
                await self._send(data)
                self._batches -= 1
                self._bytes -= len(data)
                self._sent.set()
        finally:
            reading.cancel()
            self._abandon()

    async def _read_all(self, seconds_left: float, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        end: Exception | None = None
        try:
            async with asyncio.timeout(min(seconds_left, MAX_SECONDS)):
                while (received := await self._next(stop, stopping)) is not None:
                    self._batches += 1
                    self._bytes += received.size
                    self._answers.put_nowait(asyncio.create_task(self._work(received)))
        except TimeoutError:
            if seconds_left <= MAX_SECONDS:
                end = Unauthenticated("the bearer token has expired")
            else:
                end = Unavailable("a stream lasts an hour; open another one", cause="stream_over")
        except Exception as error:  # noqa: BLE001 - the sender gets it, after the answers that are due
            end = error
        finally:
            stopping.cancel()
        self._answers.put_nowait(end)

    async def _work(self, received: Received[Request]) -> bytes:
        data = await self._answer(received.request)
        self._bytes += len(data) - received.size
        return data

    async def _next(self, stop: asyncio.Event, stopping: "asyncio.Task[Any]") -> Received[Request] | None:
        # Waits for room first: a request that was read is always answered, even if the time is over at that moment.
        while self._batches >= WINDOW or self._bytes >= WINDOW_BYTES:
            self._sent.clear()
            await self._sent.wait()
        if not stop.is_set():  # otherwise a sender that is always ready would be read for ever
            reading = asyncio.ensure_future(self._read())
            try:
                await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    return reading.result()
            finally:
                reading.cancel()
        raise Unavailable("this server is stopping; resend what has no answer, with its event ids", cause="stopping")

    def _abandon(self) -> None:
        """Cancels work whose answers nobody waits for. It may still be counted."""
        while not self._answers.empty():
            answer = self._answers.get_nowait()
            if isinstance(answer, asyncio.Task):
                answer.cancel()


class StreamsOfUsers:
    """How many streams each user has open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_of(self, user_id: str) -> Iterator[None]:
        """Counts one more until its end. Raises Overloaded when the user has as many as one may have."""
        if self._open[user_id] >= STREAMS_OF_A_USER:
            raise Overloaded(f"one user may have {STREAMS_OF_A_USER} streams open", cause="streams")
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]
