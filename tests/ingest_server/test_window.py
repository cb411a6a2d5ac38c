"""A stream between a sender and the work on its batches: order, window, and every way to end."""

import asyncio
import gc
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server import stream as stream_module
from ingest_server.stream import STREAMS_OF_A_USER, WINDOW, WINDOW_BYTES, Received, Stream, StreamsOfUsers
from shared.serving.errors import InvalidRequest, Overloaded, Unauthenticated, Unavailable, Violation
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


@pytest.fixture
async def ends() -> Ends:
    return Ends()


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """What asyncio reports as lost: errors of tasks that nobody has asked for."""
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    yield reported
    loop.set_exception_handler(None)


async def test_answers_come_in_the_order_of_the_requests(ends: Ends) -> None:
    serving = ends.serve()
    ends.request(1, 2, 3, None)
    for done in (3, 1, 2):
        ends.finish(done)
        await settle()
    await end_of(serving)
    assert [1, 2, 3] == ends.sent


@given(st.permutations(range(WINDOW * 2)))
def test_answers_come_in_order_whatever_is_done_first(order: list[int]) -> None:
    async def answers() -> list[int]:
        ends = Ends()
        serving = ends.serve()
        ends.request(*range(len(order)), None)
        for done in order:
            ends.finish(done)
            await asyncio.sleep(0)
        await end_of(serving)
        return ends.sent

    assert list(range(len(order))) == asyncio.run(answers())


async def test_several_requests_are_worked_on_at_once(ends: Ends) -> None:
    serving = ends.serve()
    ends.request(1, 2, 3, None)
    await settle()
    assert [1, 2, 3] == ends.started
    ends.finish(1, 2, 3)
    await end_of(serving)


async def test_an_answer_does_not_wait_for_later_requests(ends: Ends) -> None:
    serving = ends.serve()
    ends.request(1, 2)
    ends.finish(1)
    await settle()
    assert [1] == ends.sent
    ends.finish(2)
    ends.request(None)
    await end_of(serving)


class TestTheWindow:
    async def test_no_more_is_read_than_it_holds(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(*range(MANY), None)
        await settle()
        assert list(range(WINDOW)) == ends.started
        ends.finish(*range(MANY))
        await end_of(serving)

    async def test_an_answer_makes_room_for_one_request(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(*range(MANY), None)
        ends.finish(0)
        await settle()
        assert list(range(WINDOW + 1)) == ends.started
        ends.finish(*range(1, MANY))
        await end_of(serving)

    async def test_an_answer_out_of_turn_makes_no_room(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(*range(MANY), None)
        ends.finish(1)
        await settle()
        assert list(range(WINDOW)) == ends.started
        ends.finish(0, *range(2, MANY))
        await end_of(serving)

    async def test_an_answer_that_is_not_taken_makes_no_room(self, ends: Ends) -> None:
        ends.taking.clear()
        serving = ends.serve()
        ends.request(*range(MANY), None)
        ends.finish(*range(MANY))
        await settle()
        assert list(range(WINDOW)) == ends.started
        ends.taking.set()
        await end_of(serving)
        assert list(range(MANY)) == ends.sent

    async def test_it_holds_so_many_bytes_of_requests(self, ends: Ends) -> None:
        ends.request_size = WINDOW_BYTES // 2
        serving = ends.serve()
        ends.request(1, 2, 3, None)
        await settle()
        assert [1, 2] == ends.started
        ends.finish(1, 2, 3)
        await end_of(serving)
        assert [1, 2, 3] == ends.sent

    async def test_it_holds_so_many_bytes_of_answers(self, ends: Ends) -> None:
        ends.taking.clear()
        ends.answer_size = WINDOW_BYTES // 4
        ends.finish(*range(MANY))
        serving = ends.serve()
        ends.request(*range(4))
        await settle()
        ends.request(*range(4, MANY), None)
        await settle()
        assert [0, 1, 2, 3, 4] == ends.started, "the last was being waited for when the answers became too many"
        ends.taking.set()
        await end_of(serving)
        assert list(range(MANY)) == ends.sent

    async def test_one_request_may_be_longer_than_it(self, ends: Ends) -> None:
        ends.request_size = ends.answer_size = 4 * WINDOW_BYTES
        serving = ends.serve()
        ends.request(1, 2, None)
        ends.finish(1, 2)
        await end_of(serving)
        assert [1, 2] == ends.sent


class TestTheStreamsOfAUser:
    def test_are_so_many_at_most(self) -> None:
        streams = StreamsOfUsers()
        with ExitStack() as stack:
            for _ in range(STREAMS_OF_A_USER):
                stack.enter_context(streams.one_of("ann"))
            with pytest.raises(Overloaded, match="50 streams"), streams.one_of("ann"):
                pass
            with streams.one_of("bob"):
                pass

    def test_that_have_ended_do_not_count(self) -> None:
        streams = StreamsOfUsers()
        for _ in range(2 * STREAMS_OF_A_USER):
            with streams.one_of("ann"):
                pass


class TestTheEnd:
    """In every case the answers that are due come first."""

    @pytest.fixture(autouse=True)
    async def two_requests(self, ends: Ends) -> None:
        ends.request(1, 2)

    async def test_of_the_sender(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(None)
        await settle()
        ends.finish(1, 2)
        await end_of(serving)
        assert [1, 2] == ends.sent

    async def test_of_the_server(self, ends: Ends) -> None:
        serving = ends.serve()
        await settle()
        ends.stop.set()
        await settle()
        ends.request(3)
        ends.finish(1, 2)
        with pytest.raises(Unavailable, match="stopping"):
            await end_of(serving)
        assert ([1, 2], [1, 2]) == (ends.started, ends.sent)

    async def test_of_the_token(self, ends: Ends) -> None:
        serving = ends.serve(seconds_left=SOON)
        asyncio.get_running_loop().call_later(2 * SOON, ends.finish, 1, 2)
        with pytest.raises(Unauthenticated, match="expired"):
            await end_of(serving)
        assert [1, 2] == ends.sent

    async def test_of_the_token_while_the_window_is_full(self, ends: Ends) -> None:
        serving = ends.serve(seconds_left=SOON)
        ends.request(*range(3, MANY))
        asyncio.get_running_loop().call_later(2 * SOON, ends.finish, *range(1, MANY))
        with pytest.raises(Unauthenticated, match="expired"):
            await end_of(serving)
        assert list(range(1, WINDOW + 1)) == ends.sent

    async def test_of_the_hour_that_a_stream_may_last(self, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream_module, "MAX_SECONDS", SOON)
        serving = ends.serve(seconds_left=LONG)
        asyncio.get_running_loop().call_later(2 * SOON, ends.finish, 1, 2)
        with pytest.raises(Unavailable, match="an hour"):
            await end_of(serving)
        assert [1, 2] == ends.sent

    async def test_by_a_request_that_is_refused(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.refused = 3
        ends.request(3, 4)
        await settle()
        ends.finish(1, 2)
        with pytest.raises(InvalidRequest):
            await end_of(serving)
        assert ([1, 2], [1, 2]) == (ends.started, ends.sent)

    async def test_by_a_connection_that_breaks(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(ConnectionError("broken"))
        await settle()
        ends.finish(1, 2)
        with pytest.raises(ConnectionError, match="broken"):
            await end_of(serving)
        assert [1, 2] == ends.sent

    async def test_by_work_that_fails(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(3)
        await settle()
        ends.finish(3)
        ends.finish(2, error=Unavailable("Redis is away"))
        ends.finish(1)
        with pytest.raises(Unavailable, match="away"):
            await end_of(serving)
        assert [1] == ends.sent


async def test_a_server_that_stops_ends_a_sender_who_is_always_ready(ends: Ends) -> None:
    ends.request(*range(1000))
    ends.finish(*range(1000))
    ends.stop.set()
    with pytest.raises(Unavailable, match="stopping"):
        await end_of(ends.serve())
    assert [] == ends.started


class TestNothingIsLeftBehind:
    @pytest.fixture(autouse=True)
    async def no_task_survives(self) -> AsyncIterator[None]:
        before = asyncio.all_tasks()
        yield
        await settle()
        assert set() == asyncio.all_tasks() - before - {asyncio.current_task()}

    async def test_when_work_fails(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(1, 2, 3)
        await settle()
        ends.finish(1, error=Unavailable("Redis is away"))
        with pytest.raises(Unavailable):
            await end_of(serving)
        await settle()
        assert [2, 3] == ends.abandoned

    async def test_when_the_sender_is_gone(self, ends: Ends) -> None:
        serving = ends.serve()
        ends.request(1, 2, 3)
        await settle()
        serving.cancel()
        await settle()
        assert [1, 2, 3] == ends.abandoned

    async def test_when_the_sender_is_gone_before_its_answers(self, ends: Ends) -> None:
        ends.taking.clear()
        serving = ends.serve()
        ends.request(*range(MANY))
        ends.finish(*range(WINDOW))
        await settle()
        serving.cancel()
        await settle()
        assert [] == ends.sent

    async def test_when_an_answer_cannot_be_sent(self, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
        async def send(_: bytes) -> None:
            raise ConnectionError("broken")

        monkeypatch.setattr(ends, "_send", send)
        serving = ends.serve()
        ends.request(1, 2)
        await settle()
        ends.finish(1)
        with pytest.raises(ConnectionError, match="broken"):
            await end_of(serving)
        await settle()
        assert [2] == ends.abandoned


async def test_work_that_fails_after_the_stream_is_reported_to_nobody(
    ends: Ends, complaints: list[dict[str, Any]]
) -> None:
    serving = ends.serve()
    ends.request(1, 2, 3)
    await settle()
    ends.finish(1, 2, 3, error=Unavailable("Redis is away"))
    with pytest.raises(Unavailable):
        await end_of(serving)
    del serving, ends
    await settle()
    gc.collect()
    assert [] == complaints
