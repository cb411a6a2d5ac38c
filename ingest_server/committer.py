"""Group commit: one commit in flight, the next one filling up meanwhile.

A request is answered only when Redis has it. What makes that fast is that one commit serves many requests.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from ingest_server import metrics
from ingest_server.commit import COURSE_WEIGHT, Commit
from ingest_server.events import Event, weight
from ingest_server.recorder import Outcome, Outcomes
from ingest_server.waiting import TURN_WEIGHT, Turn, Waiting, portions
from shared.data.keys import partition_of
from shared.serving.errors import Implausible, Overloaded, Unavailable

# What is bounded is weight, in units of about 4 µs of Redis, see `events.weight`.

# Redis does nothing else while it works on a commit: everybody waits for 20 ms at most.
COMMIT_WEIGHT = 5_000

# What may wait beyond the next commit, half a second of Redis' work. Beyond it a request is refused at once: later it
# would only time out. The last part is for single calls: no batch takes it from them.
QUEUE_WEIGHT = 125_000
QUEUE_WEIGHT_FOR_BATCHES = QUEUE_WEIGHT * 3 // 4
QUEUE_WEIGHT_FOR_STREAMS = QUEUE_WEIGHT // 2


class Committer:
    """Puts events into the next commit and sends it: takes events from `open` to `close`, sends them while `run` runs.

    What has no room there waits for a later one, by turns: single calls before batches, and then each caller as often
    as any other. A caller may have no more waiting than there is room left for others.

    `linger` tells how many seconds a commit waits for company; after one that carried a single event the next does not
    wait. With a `watch_credit`, in seconds, watch time is bounded.
    """

    def __init__(
        self,
        record: Callable[[Commit], Awaitable[Outcomes]],
        linger: Callable[[], float],
        watch_credit: float | None = None,
    ) -> None:
        self._record = record
        self._linger = linger
        self.watch_credit = watch_credit
        self._singles = Waiting()
        self._batches = Waiting()
        self._next = self._empty_commit()
        self._in_flight = 0
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._accepting = False

    def add(self, event: Event, caller: str) -> asyncio.Future[None]:
        """Takes the event of a single call; the future completes once Redis has counted it, or with its caller's error.

        Raises Overloaded when too much waits already.
        """
        self._check_open()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._singles.weight and self._next.weight <= COMMIT_WEIGHT - TURN_WEIGHT:  # nearly always
            self._next.add(event, done)
        else:
            most = COURSE_WEIGHT + weight(event)
            self._check_room(caller, most, QUEUE_WEIGHT)
            self._singles.put(caller, Turn([(event, done)], most))
        self._something.set()
        return done

    def add_all(self, events: Sequence[Event], caller: str) -> list[asyncio.Future[None]]:
        """Takes the events of a batch; one future for many of them. Otherwise like `add`."""

        def one_a_partition(portion: Sequence[Event]) -> list[asyncio.Future[None]]:
            futures: defaultdict[int, asyncio.Future[None]] = defaultdict(loop.create_future)
            return [futures[partition_of(event.course_id)] for event in portion]

        loop = asyncio.get_running_loop()
        return list(dict.fromkeys(self._add_batch(events, caller, one_a_partition)))

    def add_each(self, events: Sequence[Event], caller: str) -> list[asyncio.Future[None]]:
        """Takes the events of a batch; a future for each, because some may be refused. Otherwise like `add`."""
        loop = asyncio.get_running_loop()
        return self._add_batch(events, caller, lambda portion: [loop.create_future() for _ in portion])

    def _add_batch(
        self,
        events: Sequence[Event],
        caller: str,
        futures_of: Callable[[Sequence[Event]], list[asyncio.Future[None]]],
    ) -> list[asyncio.Future[None]]:
        if not events:
            return []
        self._check_open()
        parts = list(portions(events))
        self._check_room(caller, sum(part_weight for _, part_weight in parts), QUEUE_WEIGHT_FOR_BATCHES)
        futures: list[asyncio.Future[None]] = []
        for portion, portion_weight in parts:
            own = futures_of(portion)
            self._batches.put(caller, Turn(list(zip(portion, own, strict=True)), portion_weight))
            futures += own
        self._fill()
        self._something.set()
        return futures

    def check_room(self, more: int, caller: str) -> None:
        """Raises Overloaded when a batch of this weight, or more, would be refused."""
        self._check_room(caller, more, QUEUE_WEIGHT_FOR_BATCHES)

    async def room(self, more: int, caller: str) -> None:
        """Returns once there is room for events of this weight: streams wait where batches are refused."""
        while self._accepting and not self._has_room(caller, more, QUEUE_WEIGHT_FOR_STREAMS):
            await self._room.wait()

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
        self._wake_streams()

    def _check_open(self) -> None:
        if not self._accepting:
            raise Unavailable("this server has not reached Redis yet, or is stopping", cause="not_open")

    def _check_room(self, caller: str, more: int, most: int) -> None:
        if not self._has_room(caller, more, most):
            raise Overloaded("too many events are waiting for Redis", cause="queue")

    def _has_room(self, caller: str, more: int, most: int) -> bool:
        free = most - self._singles.weight - self._batches.weight
        return self._singles.weight_of(caller) + self._batches.weight_of(caller) + more <= free

    def _empty_commit(self) -> Commit:
        return Commit(watch_credit=self.watch_credit)

    def _fill(self) -> None:
        """Moves what waits to the next commit: batches leave room in it for single calls that come until it is sent."""
        self._move(self._singles, COMMIT_WEIGHT // 2)
        self._move(self._batches, COMMIT_WEIGHT * 3 // 4)

    def _move(self, waiting: Waiting, up_to: int) -> None:
        for turn in waiting.take(up_to - self._next.weight):
            for event, done in turn.asked:
                self._next.add(event, done)

    async def _wait_for_company(self, last: int) -> None:
        linger = self._linger() if last > 1 and not self._batches else 0
        if linger and not self._closing:
            await asyncio.sleep(linger)

    async def _commit(self) -> int:
        self._move(self._singles, COMMIT_WEIGHT)
        commit, self._next = self._next, self._empty_commit()
        self._in_flight = commit.weight
        self._fill()
        self._note_waiting()
        if not self._next.events and not self._closing:
            self._something.clear()
        metrics.COMMIT_EVENTS.observe(commit.events)
        metrics.WITHOUT_ID.inc(commit.without_id)
        sent = time.perf_counter()
        try:
            outcomes = await self._record(commit)
        except Exception as error:  # noqa: BLE001 - a bug there must reach those who wait here, and not end all later commits
            outcomes = dict.fromkeys(commit.partitions, error)
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - sent)
        self._in_flight = 0
        away = next((outcome for outcome in outcomes.values() if isinstance(outcome, Unavailable)), None)
        if away is not None:
            self._give_up(away)
        self._fill()
        self._note_waiting()
        self._wake_streams()
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

    def _give_up(self, away: Unavailable) -> None:
        """Answers those who wait for a later commit than the next: each may take as long as this one."""
        for waiting in (self._singles, self._batches):
            for turn in waiting.take(waiting.weight):
                _complete([done for _, done in turn.asked], Unavailable(str(away), cause=away.cause))
                metrics.FAILED.inc(len(turn.asked))

    def _wake_streams(self) -> None:
        self._room.set()
        self._room.clear()

    def _note_waiting(self) -> None:
        metrics.WEIGHT_WAITING.set(self._singles.weight + self._batches.weight + self._next.weight + self._in_flight)


def _complete(waiting: list[asyncio.Future[None]], outcome: Outcome) -> None:
    error = outcome if isinstance(outcome, Exception) else None
    if isinstance(outcome, Sequence):
        _refuse(waiting, outcome)
    for done in waiting:
        if done.done():  # its caller has gone, or was refused
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def _refuse(waiting: list[asyncio.Future[None]], positions: Sequence[int]) -> None:
    for position in positions:
        if not waiting[position].done():
            waiting[position].set_exception(Implausible())
