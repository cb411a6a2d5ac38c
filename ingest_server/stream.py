"""A stream of batches: several counted at once, answered in order, and no more read than that."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from shared.serving.errors import Unauthenticated, Unavailable

# A connection comes to its end some time, and a stream before it, with all answers: its sender opens another one.
MAX_SECONDS = 60 * 60

# So many batches of a stream are being counted or wait to be answered. Beyond it nothing is read, and gRPC holds the
# sender.
WINDOW = 16

Request = TypeVar("Request")
Response = TypeVar("Response")


class Stream(Generic[Request, Response]):
    """One stream. `read` returns the next request, None when the sender has come to an end; `send` takes the answers.

    `start` begins to work on a request, or raises what ends the stream before it.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Request | None]],
        start: Callable[[Request], Coroutine[Any, Any, Response]],
        send: Callable[[Response], Awaitable[None]],
    ) -> None:
        self._read = read
        self._start = start
        self._send = send
        self._room = asyncio.Semaphore(WINDOW)
        self._answers: asyncio.Queue[asyncio.Task[Response] | Exception | None] = asyncio.Queue()

    async def serve(self, *, seconds_left: float, stop: asyncio.Event) -> None:
        """Answers until the sender ends. Raises the ServiceError that ends the stream earlier.

        Such as Unauthenticated after `seconds_left`, and Unavailable after an hour or at `stop`: then nothing more is
        read, and what was read is answered first.
        """
        reading = asyncio.create_task(self._read_all(seconds_left, stop))
        try:
            while (answer := await self._answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                await self._send(await answer)
                self._room.release()
        finally:
            reading.cancel()
            self._abandon()

    async def _read_all(self, seconds_left: float, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        end: Exception | None = None
        try:
            async with asyncio.timeout(min(seconds_left, MAX_SECONDS)):
                while (request := await self._next(stop, stopping)) is not None:
                    self._answers.put_nowait(asyncio.create_task(self._start(request)))
        except TimeoutError:
            if seconds_left <= MAX_SECONDS:
                end = Unauthenticated("the bearer token has expired")
            else:
                end = Unavailable("a stream lasts an hour; open another one", cause="stream_over")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to the sender, after the answers that are due
            end = error
        finally:
            stopping.cancel()
        self._answers.put_nowait(end)

    async def _next(self, stop: asyncio.Event, stopping: "asyncio.Task[Any]") -> Request | None:
        # Room first: a request that was read is worked on and answered, also when the time is over at that moment.
        await self._room.acquire()
        if not stop.is_set():  # a sender who is always ready would otherwise be read for ever
            reading = asyncio.ensure_future(self._read())
            try:
                await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    return reading.result()
            finally:
                reading.cancel()
        raise Unavailable("this server is stopping; what has no answer was not counted", cause="stopping")

    def _abandon(self) -> None:
        """Lets go of what was begun, when nobody waits for it any more. It may still be counted."""
        while not self._answers.empty():
            answer = self._answers.get_nowait()
            if isinstance(answer, asyncio.Task):
                answer.cancel()
