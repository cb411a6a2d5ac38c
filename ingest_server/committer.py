"""Group commit: one commit in flight, the next one filling up meanwhile.

A request is answered only when Redis has it. That is fast because one commit serves many requests.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ingest_server import metrics
from ingest_server.commit import COURSE_WEIGHT, LECTURE_WEIGHT, Commit, Told, Waiter, watch_weight
from ingest_server.durations import Durations
from ingest_server.events import Event, Refused, weight
from ingest_server.reasons import error_of
from ingest_server.recorder import Outcome, Outcomes
from ingest_server.today import UTC_TODAY, Day
from ingest_server.waiting import TURN_WEIGHT, Turn, Waiting, portions
from shared.data.keys import partition_of
from shared.serving.errors import Overloaded, Unavailable

# The limits are weights, in units of about 4 µs of Redis, see `events.weight`.

# Redis does nothing else during a commit: other clients wait for 20 ms at most.
COMMIT_WEIGHT = 5_000

# What may wait besides the next commit: half a second of Redis' work. Beyond that a request is refused at once, because
# it would time out anyway. The last part is reserved for single calls.
QUEUE_WEIGHT = 125_000
QUEUE_WEIGHT_FOR_BATCHES = QUEUE_WEIGHT * 3 // 4
QUEUE_WEIGHT_FOR_STREAMS = QUEUE_WEIGHT // 2


class Committer:
    """Puts events into the next commit and sends it: takes events from `open` to `close`, sends them while `run` runs.

    Events without room there wait for a later commit: single calls go before batches, and the callers take turns.
    The waiting events of one caller may weigh no more than the free room.

    `linger` tells how many seconds a commit lingers to batch more events; after one that carried a single event the
    next does not linger. With a `watch_credit`, in seconds, watch time is bounded. `today` returns the day of an
    event.
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
        self._watch_weight = watch_weight(watch_credit)
        self._today = today
        self._durations = Durations()
        self._refused: dict[tuple[str, str], list[int]] = {}
        self._singles = Waiting()
        self._batches = Waiting()
        self._next = self._empty_commit()
        self._in_flight = 0
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._accepting = False

    def add(self, event: Event, caller: str) -> "asyncio.Future[Told]":
        """Takes the event of a single call; the future completes once Redis has counted it, or with its caller's error.

        Raises Overloaded when too much waits already.
        """
        self._check_open()
        done: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        if not self._singles.weight and self._next.weight <= COMMIT_WEIGHT - TURN_WEIGHT:  # nearly always
            self._next.add(event, done)
        else:
            most = COURSE_WEIGHT + 2 * LECTURE_WEIGHT + self._watch_weight + weight(event)
            self._check_room(caller, most, QUEUE_WEIGHT)
            self._singles.put(caller, Turn([(event, done, None)], most))
        self._something.set()
        return done

    def add_all(self, events: Sequence[Event], caller: str) -> "list[asyncio.Future[Told]]":
        """Takes the events of a batch; one future for many of them, with the refused ones. Otherwise like `add`."""
        if not events:
            return []
        self._check_open()
        parts = list(portions(events, self._watch_weight))
        self._check_room(caller, sum(part_weight for _, part_weight in parts), QUEUE_WEIGHT_FOR_BATCHES)
        loop = asyncio.get_running_loop()
        taken: list[asyncio.Future[Told]] = []
        place = 0
        for portion, portion_weight in parts:
            futures: defaultdict[int, asyncio.Future[Told]] = defaultdict(loop.create_future)
            own = [futures[partition_of(event.course_id)] for event in portion]
            places = range(place, place + len(portion))
            self._batches.put(caller, Turn(list(zip(portion, own, places, strict=True)), portion_weight))
            taken += futures.values()
            place += len(portion)
        self._fill()
        self._something.set()
        return taken

    def refuse(self, refused: Refused) -> None:
        """Takes events that are not counted. No caller waits for them."""
        if self._accepting:
            sums = self._refused.setdefault((refused.course_id, refused.reason), [0, 0])
            sums[0] += refused.events
            sums[1] += refused.seconds
            self._something.set()

    def check_room(self, more: int, caller: str) -> None:
        """Raises Overloaded when a batch of this weight, or more, would be refused."""
        self._check_room(caller, more, QUEUE_WEIGHT_FOR_BATCHES)

    async def room(self, more: int, caller: str) -> None:
        """Returns once there is room for events of this weight: streams wait when batches are refused."""
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
            if self._next.events or self._refused:
                await self._linger_before_sending(last)
                last = await self._commit()
            if self._closing and not self._next.events and not self._refused:
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
        # A valid call may be heavier than all that may wait. It would be refused, or held, for ever.
        more = min(more, QUEUE_WEIGHT_FOR_STREAMS)
        return self._singles.weight_of(caller) + self._batches.weight_of(caller) + more <= free

    def _empty_commit(self) -> Commit:
        return Commit(watch_credit=self.watch_credit, today=self._today, durations=self._durations)

    def _fill(self) -> None:
        """Moves waiting events to the next commit; batches leave room for single calls that arrive before it leaves."""
        self._move(self._singles, COMMIT_WEIGHT // 2)
        self._move(self._batches, COMMIT_WEIGHT * 3 // 4)

    def _move(self, waiting: Waiting, up_to: int) -> None:
        for turn in waiting.take(lambda: up_to - self._next.weight):
            for event, done, place in turn.asked:
                self._next.add(event, done, place)

    def _move_refused(self) -> None:
        while self._refused and self._next.weight + COURSE_WEIGHT <= COMMIT_WEIGHT:
            (course_id, reason), (events, seconds) = self._refused.popitem()
            self._next.refuse(course_id, reason, events, seconds)

    async def _linger_before_sending(self, last: int) -> None:
        linger = self._linger() if last > 1 and not self._batches else 0
        if linger and not self._closing:
            await asyncio.sleep(linger)

    async def _commit(self) -> int:
        self._move(self._singles, COMMIT_WEIGHT)
        self._move_refused()
        commit, self._next = self._next, self._empty_commit()
        self._in_flight = commit.weight
        self._fill()
        self._note_waiting()
        if not self._next.events and not self._refused and not self._closing:
            self._something.clear()
        metrics.COMMIT_EVENTS.observe(commit.events)
        metrics.WITHOUT_ID.inc(commit.without_id)
        sent = time.perf_counter()
        try:
            outcomes = await self._record(commit)
        except Exception as error:  # noqa: BLE001 - a bug there must reach the waiting callers, and not end all later commits
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
            for turn in waiting.take(lambda: TURN_WEIGHT):
                _complete([(done, place) for _, done, place in turn.asked], Unavailable(str(away), cause=away.cause))
                metrics.FAILED.inc(len(turn.asked))

    def _wake_streams(self) -> None:
        self._room.set()
        self._room.clear()

    def _note_waiting(self) -> None:
        metrics.WEIGHT_WAITING.set(self._singles.weight + self._batches.weight + self._next.weight + self._in_flight)


def _complete(waiting: Sequence[Waiter], outcome: Outcome) -> None:
    refused: defaultdict[asyncio.Future[Told], dict[int, str]] = defaultdict(dict)
    if isinstance(outcome, Mapping):
        for position, reason in outcome.items():
            done, place = waiting[position]
            refused[done][place or 0] = reason
    for done, place in waiting:
        if done.done():  # its caller has gone, or was answered with another event of the call
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        elif place is None and done in refused:
            done.set_exception(error_of(refused[done][0]))
        else:
            done.set_result(refused.get(done, {}))
