"""Group commit: who shares one, who waits for it, and what they get."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ingest_server.commit import Commit
from ingest_server.committer import Committer
from ingest_server.events import CourseView, Played, Segment, Telemetry, weight
from ingest_server.recorder import Outcomes
from shared.serving.errors import Unavailable
from tests.servers import PATIENCE

ONE_COURSE = CourseView("650000000000000000000001", b"ann", None)
COURSE_OF_ANOTHER_PARTITION = CourseView("650000000000000000000002", b"ann", None)
ANN, BOB = "ann", "bob"
LONG = 3600.0


class Recording:
    """Stands where Redis is: a commit is there until it is answered."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.at_most_at_once = 0
        self._at_once = 0
        self._outcomes: asyncio.Queue[Outcomes | Exception] = asyncio.Queue()
        self._arrived = asyncio.Event()

    async def record(self, commit: Commit) -> Outcomes:
        self.commits.append(commit)
        self._arrived.set()
        self._at_once += 1
        self.at_most_at_once = max(self.at_most_at_once, self._at_once)
        outcome = await self._outcomes.get()
        self._at_once -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return {number: outcome.get(number) for number in commit.partitions}

    def answer(self, outcome: Outcomes | Exception | None = None) -> None:
        """Lets the next commit end, well unless told otherwise."""
        self._outcomes.put_nowait(outcome or {})

    async def arrival(self) -> Commit:
        """The next commit, as soon as it is there."""
        async with asyncio.timeout(PATIENCE):
            await self._arrived.wait()
        self._arrived.clear()
        return self.commits[-1]


@pytest.fixture
def recording() -> Recording:
    return Recording()


def at_once() -> float:
    """A linger."""
    return 0


@asynccontextmanager
async def running(committer: Committer) -> AsyncIterator[Committer]:
    task = asyncio.create_task(committer.run())
    committer.open()
    yield committer
    committer.close()
    await asyncio.wait_for(task, PATIENCE)


@pytest.fixture
async def committer(recording: Recording) -> AsyncIterator[Committer]:
    async with running(Committer(recording.record, at_once)) as committer:
        yield committer


async def test_an_answer_comes_with_the_end_of_its_commit(committer: Committer, recording: Recording) -> None:
    done = committer.add(ONE_COURSE, ANN)
    await recording.arrival()
    assert not done.done()
    recording.answer()
    await done


async def test_what_comes_during_a_commit_shares_the_next(committer: Committer, recording: Recording) -> None:
    first = committer.add(ONE_COURSE, ANN)
    await recording.arrival()
    rest = [committer.add(ONE_COURSE, ANN) for _ in range(10)]
    recording.answer()
    recording.answer()
    await asyncio.gather(first, *rest)
    assert [1, 10] == [commit.events for commit in recording.commits]


async def test_one_commit_is_in_flight_at_a_time(committer: Committer, recording: Recording) -> None:
    futures = []
    for _ in range(5):
        futures.append(committer.add(ONE_COURSE, ANN))
        await asyncio.sleep(0)
    for _ in futures:
        recording.answer()
    await asyncio.gather(*futures)
    assert 1 == recording.at_most_at_once


async def test_the_first_request_is_committed_at_once(recording: Recording) -> None:
    recording.answer()
    async with running(Committer(recording.record, linger=lambda: LONG)) as committer:
        await committer.add(ONE_COURSE, ANN)


async def test_a_lonely_request_after_another_does_not_wait(recording: Recording) -> None:
    async with running(Committer(recording.record, linger=lambda: LONG)) as committer:
        for _ in range(3):
            recording.answer()
            await committer.add(ONE_COURSE, ANN)


async def test_a_busy_server_lingers_to_batch_more_events(recording: Recording) -> None:
    async with running(Committer(recording.record, linger=lambda: 0.1)) as committer:
        busy = [committer.add(ONE_COURSE, ANN) for _ in range(100)]
        recording.answer()
        await asyncio.gather(*busy)
        first = committer.add(ONE_COURSE, ANN)
        for _ in range(10):
            await asyncio.sleep(0)
        later = committer.add(ONE_COURSE, ANN)
        recording.answer()
        await asyncio.gather(first, later)
    assert [100, 2] == [commit.events for commit in recording.commits]


async def test_partitions_of_a_commit_have_outcomes_of_their_own(committer: Committer, recording: Recording) -> None:
    good, bad = committer.add(ONE_COURSE, ANN), committer.add(COURSE_OF_ANOTHER_PARTITION, ANN)
    commit = await recording.arrival()
    _, number = commit.partitions
    recording.answer({number: Unavailable("READONLY")})
    await good
    with pytest.raises(Unavailable, match="READONLY"):
        await bad


async def test_a_caller_who_goes_away_does_not_disturb_the_others(committer: Committer, recording: Recording) -> None:
    gone, there = committer.add(ONE_COURSE, ANN), committer.add(ONE_COURSE, ANN)
    await recording.arrival()
    gone.cancel()
    recording.answer()
    await there


async def test_a_caller_who_goes_away_does_not_disturb_a_failure(committer: Committer, recording: Recording) -> None:
    gone, there = committer.add(ONE_COURSE, ANN), committer.add(ONE_COURSE, ANN)
    gone.cancel()
    recording.answer(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        await there


async def test_an_unexpected_error_ends_only_its_own_commit(committer: Committer, recording: Recording) -> None:
    recording.answer(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        await committer.add(ONE_COURSE, ANN)
    recording.answer()
    await committer.add(ONE_COURSE, ANN)


async def test_the_events_of_a_batch_wait_for_each_partition_once(committer: Committer, recording: Recording) -> None:
    futures = committer.add_all([ONE_COURSE, COURSE_OF_ANOTHER_PARTITION, ONE_COURSE], ANN)
    recording.answer()
    await asyncio.gather(*futures)
    assert (2, 3) == (len(futures), recording.commits[0].events)


async def test_a_batch_without_a_good_event_waits_for_nothing(committer: Committer, recording: Recording) -> None:
    assert [] == committer.add_all([], ANN)
    recording.answer()
    await committer.add(ONE_COURSE, ANN)


async def test_a_batch_without_a_good_event_does_not_ask_for_redis(recording: Recording) -> None:
    assert [] == Committer(recording.record, at_once).add_all([], ANN)


async def test_nothing_is_taken_before_it_is_open(recording: Recording) -> None:
    with pytest.raises(Unavailable):
        await Committer(recording.record, at_once).add(ONE_COURSE, ANN)


async def test_events_taken_before_the_close_are_answered_after_it(committer: Committer, recording: Recording) -> None:
    in_flight = committer.add(ONE_COURSE, ANN)
    await recording.arrival()
    waiting = committer.add(ONE_COURSE, ANN)
    committer.close()
    recording.answer()
    recording.answer()
    await asyncio.gather(in_flight, waiting)


async def test_nothing_is_taken_after_the_close(committer: Committer) -> None:
    committer.close()
    with pytest.raises(Unavailable):
        await committer.add(ONE_COURSE, ANN)


async def test_it_cannot_be_opened_again(committer: Committer) -> None:
    committer.close()
    committer.open()
    with pytest.raises(Unavailable):
        await committer.add(ONE_COURSE, ANN)


async def test_an_idle_one_ends_with_the_close(recording: Recording) -> None:
    committer = Committer(recording.record, at_once)
    committer.close()
    async with asyncio.timeout(PATIENCE):
        await committer.run()
    assert [] == recording.commits


async def test_a_call_that_is_heavier_than_all_that_may_wait_is_taken_when_nothing_waits(recording: Recording) -> None:
    played = Played([Segment(number, 100, is_view=True) for number in range(128)], None)
    batch = [
        Telemetry(ONE_COURSE.course_id, b"ann", None, f"{number:024x}", 299, None, played) for number in range(1000)
    ]
    async with asyncio.timeout(PATIENCE), running(Committer(recording.record, at_once)) as committer:
        await committer.room(sum(map(weight, batch)), ANN)
        answers = asyncio.gather(*committer.add_all(batch, ANN))
        while not answers.done():
            recording.answer()
            await asyncio.sleep(0)
    assert 1000 == sum(commit.events for commit in recording.commits)
