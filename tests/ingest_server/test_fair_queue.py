"""What a commit and the queue before it hold at most, and how it is shared out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from ingest_server import committer as committer_module
from ingest_server.committer import Committer
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry, weight
from shared.serving.errors import Overloaded, Unavailable
from tests.ingest_server.test_committer import Recording, at_once, running
from tests.servers import PATIENCE

ANN, BOB, EVE = "ann", "bob", "eve"
COURSE = "650000000000000000000001"
PLAYED = Played([Segment(number, 10, is_view=True) for number in range(5)], None)
PING = Telemetry(COURSE, b"ann", "e", COURSE, 5, "p", PLAYED)  # weighs 9
VIEW = CourseView(COURSE, b"ann", None)


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
async def committer(recording: Recording) -> AsyncIterator[Committer]:
    """One with a commit in flight, so that what comes has to wait."""
    async with running(Committer(recording.record, at_once)) as committer:
        first = committer.add(VIEW, EVE)
        await recording.arrival()
        yield committer
        for _ in range(1000):
            recording.answer()
        await asyncio.wait([first])


async def all_counted(recording: Recording, *futures: "asyncio.Future[Any]") -> None:
    for _ in range(1000):
        recording.answer()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*futures)


async def test_a_commit_never_weighs_more_than_redis_can_do_in_a_moment(
    committer: Committer, recording: Recording
) -> None:
    batches = [committer.add_all([PING] * 500, f"caller {number}") for number in range(8)]
    await all_counted(recording, *(done for batch in batches for done in batch))
    assert max(commit.weight for commit in recording.commits) <= committer_module.COMMIT_WEIGHT
    assert 8 * 500 + 1 == sum(commit.events for commit in recording.commits)


async def test_a_batch_is_answered_after_the_last_of_its_commits(committer: Committer, recording: Recording) -> None:
    batch = asyncio.gather(*committer.add_all([PING] * 1000, ANN))
    while sum(commit.events for commit in recording.commits) < 1 + 1000:
        assert not batch.done()
        recording.answer()
        await recording.arrival()
    assert not batch.done()
    await all_counted(recording, batch)


async def test_a_single_call_is_in_the_next_commit_whatever_batches_wait(
    committer: Committer, recording: Recording
) -> None:
    batch = committer.add_all([PING] * 1000, ANN)
    ping = committer.add(PING, BOB)
    recording.answer()
    recording.answer()
    async with asyncio.timeout(PATIENCE):
        await ping
    assert not all(done.done() for done in batch)


async def test_one_callers_single_calls_do_not_push_out_anothers(committer: Committer, recording: Recording) -> None:
    flood = []
    with suppress(Overloaded):
        for _ in range(committer_module.QUEUE_WEIGHT):
            flood.append(committer.add(PING, ANN))  # noqa: PERF401 - until there is no room
    assert len(flood) > 1000
    lonely = committer.add(PING, BOB)
    recording.answer()
    recording.answer()
    recording.answer()
    async with asyncio.timeout(PATIENCE):
        await lonely
    assert not flood[-1].done()


def until_refused(committer: Committer, events: list[Event], caller: str) -> list["asyncio.Future[Any]"]:
    """Sends batches until one is refused; what those that were taken wait for, a future each."""
    taken: list[asyncio.Future[Any]] = []
    for _ in range(1000):
        try:
            taken.append(asyncio.gather(*committer.add_all(events, caller)))
        except Overloaded:
            return taken
    raise AssertionError("never refused")


async def test_a_caller_has_no_more_waiting_than_is_left_for_others(committer: Committer) -> None:
    taken = len(until_refused(committer, [PING] * 100, ANN))
    half = committer_module.QUEUE_WEIGHT_FOR_BATCHES // 2
    assert half * 0.8 < taken * 100 * weight(PING) < half * 1.2
    assert committer.add_all([PING] * 100, BOB)


async def test_batches_of_many_callers_leave_room_for_single_calls(committer: Committer) -> None:
    for number in range(300):
        until_refused(committer, [PING] * 50, f"caller {number}")
    with pytest.raises(Overloaded):
        committer.add_all([PING] * 50, BOB)
    assert not committer.add(PING, BOB).done()


async def test_single_calls_are_refused_at_once_when_there_is_no_room(
    committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "COMMIT_WEIGHT", 100)
    monkeypatch.setattr(committer_module, "QUEUE_WEIGHT", 100)
    taken = [committer.add(PING, ANN) for _ in range(2)]
    with pytest.raises(Overloaded):
        taken.append(committer.add(PING, ANN))
    assert not committer.add(PING, BOB).done()


async def test_of_a_refused_batch_nothing_is_counted(committer: Committer, recording: Recording) -> None:
    taken = until_refused(committer, [PING] * 100, ANN)
    await all_counted(recording, *taken)
    assert 1 + 100 * len(taken) == sum(commit.events for commit in recording.commits)


async def test_a_stream_waits_where_a_batch_is_refused(committer: Committer, recording: Recording) -> None:
    until_refused(committer, [PING] * 100, ANN)
    waiting = asyncio.create_task(committer.room(900, ANN))
    await asyncio.sleep(0)
    assert not waiting.done()
    for _ in range(1000):
        recording.answer()
    async with asyncio.timeout(PATIENCE):
        await waiting


async def test_a_stream_that_waits_for_room_ends_with_the_close(committer: Committer) -> None:
    until_refused(committer, [PING] * 100, ANN)
    waiting = asyncio.create_task(committer.room(900, ANN))
    await asyncio.sleep(0)
    committer.close()
    async with asyncio.timeout(PATIENCE):
        await waiting


async def test_when_redis_is_away_whoever_waits_for_a_later_commit_is_answered_too(
    committer: Committer, recording: Recording
) -> None:
    """Each commit may take 0.8 s to fail: the answers come within 2 s only when there are no more than two."""
    batch = committer.add_all([PING] * 1000, ANN)
    recording.answer({number: Unavailable("Redis is away") for number in range(256)})
    recording.answer({number: Unavailable("Redis is away") for number in range(256)})
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*batch, return_exceptions=True)
    assert {Unavailable} == {type(outcome) for outcome in outcomes}
    assert len(recording.commits) <= 3
