"""More than Redis can count, and a lone learner beside it: refusals are refusals, and what is taken is counted.

Nothing here is asked of the clock: `make chaos` measures how long the learner waits.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from ingest_server import committer as committer_module
from ingest_server import recorder as recorder_module
from ingest_server.commit import Commit
from ingest_server.committer import Committer
from ingest_server.events import Event, Telemetry
from ingest_server.recorder import Outcomes, Recorder
from shared.serving.errors import Overloaded
from shared.settings import Barrier
from tests.ingest_server.client import COURSE, FIRST
from tests.ingest_server.conftest import OTHER_COURSES
from tests.ingest_server.stored import Stored, seconds
from tests.ingest_server.test_committer import at_once, running
from tests.servers import PATIENCE

BACKENDS = OTHER_COURSES[:4]
BATCHES_AT_ONCE = 20  # more than one caller may have waiting, even alone
EVENTS = 1000
REFUSALS = 5  # of each backend, then it has seen enough
MOST_BATCHES = 500


class Rush:
    """A committer on a real Redis, and the commits that it has sent."""

    def __init__(self, recorder: Recorder) -> None:
        self.sent = 0
        self.heaviest = 0
        self.committer = Committer(self._record, at_once)
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._recorder = recorder
        self._numbers = count()

    async def _record(self, commit: Commit) -> Outcomes:
        self.sent += 1
        self.heaviest = max(self.heaviest, commit.weight)
        return await self._recorder.record(commit)

    def events(self, course: str, number: int) -> Iterator[Event]:
        """Pings with both ids, none of them twice."""
        for unique in (f"e{next(self._numbers)}" for _ in range(number)):
            yield Telemetry(course, unique.encode(), unique, FIRST, 1, unique)

    async def send_batches(self, course: str) -> None:
        """One after the other, until enough of the backend's were refused."""
        for _ in range(MOST_BATCHES):
            if self.refused[course] >= REFUSALS:
                return
            try:
                taken = self.committer.add_all(list(self.events(course, EVENTS)), course)
            except Overloaded:
                self.refused[course] += 1
                await asyncio.sleep(0)
            else:
                await asyncio.gather(*taken)
                self.acknowledged[course] += EVENTS

    async def stream(self, course: str, batches: int) -> None:
        """Is never refused."""
        for _ in range(batches):
            events = list(self.events(course, EVENTS))
            await self.committer.room(EVENTS * 16, f"stream of {course}")
            await asyncio.gather(*self.committer.add_all(events, f"stream of {course}"))
            self.acknowledged[course] += EVENTS

    async def learn(self, stop: asyncio.Event) -> int:
        """Pings until `stop`, one at a time; the most commits that a ping has waited for."""
        most = 0
        while not stop.is_set():
            (ping,) = self.events(COURSE, 1)
            before = self.sent
            await self.committer.add(ping, "the lone learner")
            self.acknowledged[COURSE] += 1
            most = max(most, self.sent - before)
        return most


@pytest.fixture
async def rush(redis_url: str, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rush]:
    monkeypatch.setattr(recorder_module, "COMMIT_SECONDS", PATIENCE)
    stored.redis.flushdb()
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        rush = Rush(recorder)
        async with running(rush.committer):
            yield rush


async def test_in_an_overload_refusals_are_exact_and_a_lone_learner_waits_for_one_commit_of_others(
    rush: Rush, stored: Stored
) -> None:
    stop = asyncio.Event()
    learning = asyncio.create_task(rush.learn(stop))
    async with asyncio.TaskGroup() as tasks:
        for course in BACKENDS:
            for _ in range(BATCHES_AT_ONCE):
                tasks.create_task(rush.send_batches(course))
            tasks.create_task(rush.stream(course, 2))
    stop.set()

    assert await learning <= 2
    assert rush.heaviest <= committer_module.COMMIT_WEIGHT
    assert set(BACKENDS) == rush.refused.keys()
    assert {each: rush.acknowledged[each] for each in (COURSE, *BACKENDS)} == {
        each: stored.counters(each)[seconds(FIRST)] for each in (COURSE, *BACKENDS)
    }
