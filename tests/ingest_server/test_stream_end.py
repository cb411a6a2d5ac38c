"""Every way in which a stream ends: what is due is answered, and no task survives it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ingest_server import stream as stream_module
from ingest_server.stream import WINDOW
from shared.serving.errors import InvalidRequest, Unauthenticated, Unavailable
from tests.ingest_server.ends import LONG, MANY, SOON, Ends, end_of, settle


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """What asyncio reports as lost: errors of tasks that nobody has asked for."""
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    yield reported
    loop.set_exception_handler(None)


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
