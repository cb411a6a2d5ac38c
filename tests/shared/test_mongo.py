"""Questions to MongoDB that take too long are given up, and never cancelled: the driver would lock itself up."""

import asyncio

import pytest

from shared.stores.mongo import connect, within


class Question:
    """One that is answered when it may be."""

    def __init__(self) -> None:
        self.may_be_answered = asyncio.Event()
        self.came_to_its_end = asyncio.Event()

    async def ask(self) -> int:
        await self.may_be_answered.wait()
        self.came_to_its_end.set()
        return 7


async def test_an_answer_in_time_is_the_answer() -> None:
    question = Question()
    question.may_be_answered.set()
    assert 7 == await within(question.ask(), 30)


async def test_what_takes_too_long_is_not_cancelled() -> None:
    question = Question()
    with pytest.raises(TimeoutError):
        await within(question.ask(), 0)
    question.may_be_answered.set()
    await asyncio.wait_for(question.came_to_its_end.wait(), 30)


async def test_a_caller_who_goes_away_cancels_nothing() -> None:
    question = Question()
    caller = asyncio.create_task(within(question.ask(), 30))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    question.may_be_answered.set()
    await asyncio.wait_for(question.came_to_its_end.wait(), 30)


@pytest.mark.parametrize("resend", [True, False])
async def test_the_driver_sends_a_write_again_unless_the_caller_does_not_want_it(resend: bool) -> None:
    async with connect("mongodb://localhost/", program="tests", resend=resend) as client:
        assert resend == client.options.retry_writes
