"""A stream between a sender and the work on its batches: order and window."""

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.stream import STREAMS_OF_A_USER, WINDOW, WINDOW_BYTES, StreamsOfUsers
from shared.serving.errors import Overloaded
from tests.ingest_server.ends import MANY, Ends, end_of, settle


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
