"""Both ends of a stream and the work between them, each moved by hand."""

import asyncio
from collections import defaultdict

from ingest_server.stream import WINDOW, Received, Stream
from shared.serving.errors import InvalidRequest, Violation
from tests.servers import PATIENCE

LONG = 3600.0
SOON = 0.02
MANY = WINDOW + 5


class Ends:
    """Both ends of a stream and the work between them: requests are numbers, and so are their answers."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.sent: list[int] = []
        self.stop = asyncio.Event()
        self.taking = asyncio.Event()
        self.taking.set()
        self.abandoned: list[int] = []
        self._requests: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self._work: defaultdict[int, asyncio.Future[None]] = defaultdict(asyncio.get_running_loop().create_future)
        self.refused = -1
        self.request_size = self.answer_size = 1
        self._serving: asyncio.Task[None] | None = None

    def request(self, *requests: int | Exception | None) -> None:
        """What the sender sends, None for its end; an exception is what reading then raises."""
        for request in requests:
            self._requests.put_nowait(request)

    def finish(self, *requests: int, error: Exception | None = None) -> None:
        """Lets the work on these end."""
        for request in requests:
            if error is None:
                self._work[request].set_result(None)
            else:
                self._work[request].set_exception(error)

    def serve(self, seconds_left: float = LONG) -> "asyncio.Task[None]":
        stream = Stream(self._read, self._answer, self._send)
        return asyncio.create_task(stream.serve(seconds_left=seconds_left, stop=self.stop))

    async def _read(self) -> Received[int] | None:
        request = await self._requests.get()
        if isinstance(request, Exception):
            raise request
        if request == self.refused:
            raise InvalidRequest([Violation("events", "bad")])
        return None if request is None else Received(request, self.request_size)

    async def _answer(self, request: int) -> bytes:
        self.started.append(request)
        try:
            await self._work[request]
        except asyncio.CancelledError:
            self.abandoned.append(request)
            raise
        return str(request).rjust(self.answer_size).encode()

    async def _send(self, answer: bytes) -> None:
        await self.taking.wait()
        self.sent.append(int(answer))


async def settle() -> None:
    """Lets everything happen that can happen now."""
    for _ in range(20 * MANY):
        await asyncio.sleep(0)


async def end_of(serving: "asyncio.Task[None]") -> None:
    await asyncio.wait_for(serving, PATIENCE)
