"""Group commit: one commit in flight, the next one filling up meanwhile.

A request is answered only when Redis has it. What makes that fast is that one commit serves many requests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ingest_server import metrics
from ingest_server.commit import Commit
from ingest_server.durations import Durations
from ingest_server.events import Event
from ingest_server.recorder import Outcome, Outcomes
from ingest_server.today import UTC_TODAY, Day
from shared.data.keys import partition_of
from shared.serving.errors import Implausible, Overloaded, Unavailable

# As many events as may wait for their commit. Beyond it a request is refused at once: later it would only time out.
MAX_WAITING = 50_000


class Committer:
    """Puts events into the next commit and sends it: takes events from `open` to `close`, sends them while `run` runs.

    `linger` tells how many seconds a commit waits for company; after one that carried a single event the next does not
    wait. With a `watch_credit`, in seconds, watch time is bounded. `today` tells the day that an event counts for.
    """

    def __init__(
        self,
        record: Callable[[Commit], Awaitable[Outcomes]],
        linger: Callable[[], float],
        watch_credit: float | None = None,
        today: Callable[[], Day] = UTC_TODAY,
    ) -> None:
        self._record = record
        self._linger = linger
        self.watch_credit = watch_credit
        self._today = today
        self._durations = Durations()
        self._next = self._new_commit()
        self._in_flight = 0
        self._something = asyncio.Event()
        self._committed = asyncio.Event()
        self._closing = False
        self._accepting = False

    def add(self, event: Event) -> asyncio.Future[None]:
        """Takes the event; the future completes once Redis has counted it, or with the error that its caller gets.

        Raises Overloaded when too many wait already.
        """
        self._check_room()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next.add(event, done)
        self._something.set()
        return done

    def add_all(self, events: Sequence[Event]) -> list[asyncio.Future[None]]:
        """Takes several events of one call; a future for each partition that they touch. Otherwise like `add`."""
        if not events:
            return []
        self._check_room()
        loop = asyncio.get_running_loop()
        futures: dict[int, asyncio.Future[None]] = {}
        for event in events:
            number = partition_of(event.course_id)
            done = futures.get(number)
            if done is None:
                done = futures[number] = loop.create_future()
            self._next.add(event, done)
        self._something.set()
        return list(futures.values())

    def add_each(self, events: Sequence[Event]) -> list[asyncio.Future[None]]:
        """Takes several events of one call; a future for each, because some may be refused. Otherwise like `add`."""
        if not events:
            return []
        self._check_room()
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in events]
        for event, done in zip(events, futures, strict=True):
            self._next.add(event, done)
        self._something.set()
        return futures

    async def room(self, events: int) -> None:
        """Returns once so many more events leave room for others: streams wait where single calls are refused."""
        while self._next.events + self._in_flight + events > MAX_WAITING // 2:
            await self._committed.wait()

    def open(self) -> None:
        """Takes events from now on."""
        self._accepting = not self._closing

    async def run(self) -> None:
        """Commits until `close` is called and everything taken has been answered."""
        last = 0
        while True:
            await self._something.wait()
            if self._next.events:
                await self._wait_for_company(last)
                last = await self._commit()
            if self._closing and not self._next.events:
                return

    def close(self) -> None:
        """Takes no more events; `run` ends after the last commit."""
        self._accepting = False
        self._closing = True
        self._something.set()

    def _new_commit(self) -> Commit:
        return Commit(watch_credit=self.watch_credit, today=self._today, durations=self._durations)

    def _check_room(self) -> None:
        if not self._accepting:
            raise Unavailable("this server has not reached Redis yet, or is stopping", cause="not_open")
        if self._next.events + self._in_flight >= MAX_WAITING:
            raise Overloaded("too many events are waiting for Redis", cause="queue")

    async def _wait_for_company(self, last: int) -> None:
        linger = self._linger() if last > 1 else 0
        if linger and not self._closing:
            await asyncio.sleep(linger)

    async def _commit(self) -> int:
        commit, self._next = self._next, self._new_commit()
        if not self._closing:
            self._something.clear()
        self._in_flight = commit.events
        metrics.EVENTS_WAITING.set(commit.events)
        metrics.COMMIT_EVENTS.observe(commit.events)
        sent = time.perf_counter()
        try:
            outcomes = await self._record(commit)
        except Exception as error:  # noqa: BLE001 - a bug there must reach those who wait here, and not end all later commits
            outcomes = dict.fromkeys(commit.partitions, error)
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - sent)
        metrics.EVENTS_WAITING.set(self._next.events)
        self._in_flight = 0
        self._committed.set()
        self._committed.clear()
        failed = refused = 0
        for number, partition in commit.partitions.items():
            outcome = outcomes[number]
            if isinstance(outcome, Exception):
                failed += len(partition.waiting)
            elif outcome is not None:
                refused += len(outcome)
            _complete(partition.waiting, outcome)
        metrics.COUNTED.inc(commit.events - failed - refused)
        metrics.FAILED.inc(failed)
        return commit.events


def _complete(waiting: list[asyncio.Future[None]], outcome: Outcome) -> None:
    error = outcome if isinstance(outcome, Exception) else None
    if isinstance(outcome, Mapping):
        _refuse(waiting, outcome)
    for done in waiting:
        if done.done():  # its caller has gone, or was refused
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def _refuse(waiting: list[asyncio.Future[None]], reasons: Mapping[int, str]) -> None:
    for position in reasons:
        if not waiting[position].done():
            waiting[position].set_exception(Implausible())
