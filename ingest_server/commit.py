"""The open commit: the events since the last one was sent, summed for Redis, with the waiting callers. Pure.

A thousand pings of one lecture are two increments. Events with an event or playback id are not summed: only Redis knows
whether the id has been seen, so they are sent as they are, and the script decides. The same holds for every ping where
watch time is bounded: only Redis knows how much its user has watched.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ingest_server.durations import Durations
from ingest_server.events import CourseView, Event, Played, Telemetry, weight
from ingest_server.today import UTC_TODAY, Day
from shared.data import keys
from shared.data.tallies import (
    COURSE_VIEWS,
    LECTURE_VIEWS,
    LECTURE_WATCH_TIME,
    NOT_COUNTED,
    NOT_COUNTED_SECONDS,
    SEGMENT_WATCHED,
)

# What a course adds to the weight of its commit, besides its events: its keys, and those of its partition.
COURSE_WEIGHT = 16
# What a lecture adds: its counters, of the course and of the day. With segments it adds as much again, for its tally.
LECTURE_WEIGHT = 4


def watch_weight(watch_credit: float | None) -> int:
    """What each ping adds where watch time is bounded: its user's key is read and written."""
    return 0 if watch_credit is None else 2


# The outcome of one call's events in one partition: the reasons of the refused ones, by position in the call.
Told = Mapping[int, str]

# The waiting caller of an event: the future, and the event's position in its call; none for a single call.
Waiter = tuple["asyncio.Future[Told]", int | None]


@dataclass(slots=True)
class Guarded:
    """An event that Redis decides on: it counts nothing if it was seen before, and no view if its playback was.

    It also counts nothing if it has a `watch_key` and that user has watched too much. `event` and `playback` are the
    digests of its ids. `lecture_id` is None in a course view. `position` is that of its caller among those that wait
    for the partition.
    """

    user: bytes
    position: int
    event: bytes | None
    lecture_id: str | None = None
    seconds: int = 0
    playback: bytes | None = None
    watch_key: str | None = None
    played: Played | None = None
    bitmap_key: str | None = None


@dataclass(slots=True)
class CourseCommit:
    """The counts of one course on one day.

    `sums` and `users` come from the events that certainly count. `segments` has the sums of each lecture whose segments
    were played, empty ones if only guarded pings played them. `positions` are those of its events among all events of
    the partition with a waiting caller.
    """

    course_id: str
    day: Day
    sums: dict[str, int] = field(default_factory=dict)
    users: set[bytes] = field(default_factory=set)
    segments: dict[str, dict[str, int]] = field(default_factory=dict)
    guarded: list[Guarded] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    lectures: set[str] = field(default_factory=set)

    def add(self, name: str, count: int) -> None:
        """Adds to the sum of a counter's field."""
        self.sums[name] = self.sums.get(name, 0) + count


@dataclass(slots=True)
class PartitionCommit:
    """The counts of one partition, for one atomic script, and the futures of the calls that it answers."""

    courses: dict[tuple[str, str], CourseCommit] = field(default_factory=dict)
    waiting: list[Waiter] = field(default_factory=list)

    def split(self, course_ids: Collection[str]) -> "tuple[PartitionCommit, list[int]]":
        """The same without these courses, and the positions of their events."""
        kept = {key: course for key, course in self.courses.items() if course.course_id not in course_ids}
        dropped = (course for key, course in self.courses.items() if key not in kept)
        return PartitionCommit(kept, self.waiting), [position for course in dropped for position in course.positions]


@dataclass(slots=True)
class Commit:
    """Everything that is sent together. With a `watch_credit`, in seconds, watch time is bounded.

    The day of an event is the day on which it is added, even if the commit is sent again on the next day. `weight` is
    its cost in Redis, in the units of `events.weight`.
    """

    partitions: dict[int, PartitionCommit] = field(default_factory=dict)
    events: int = 0
    without_id: int = 0
    weight: int = 0
    watch_credit: float | None = None
    today: Callable[[], Day] = UTC_TODAY
    durations: Durations = field(default_factory=Durations)

    def add(self, event: Event, done: "asyncio.Future[Told]", place: int | None = None) -> None:
        """Adds one event; `done` is completed with the outcome of its partition."""
        number = keys.partition_of(event.course_id)
        partition = self._partition(number)
        course = self._course(partition, event.course_id)
        position = len(partition.waiting)
        partition.waiting.append((done, place))
        course.positions.append(position)
        self.events += 1
        self.without_id += event.event_id is None
        self.weight += weight(event)
        if isinstance(event, CourseView):
            _add_course_view(course, event, position)
        else:
            self._add_telemetry(course, event, number, position)

    def refuse(self, course_id: str, reason: str, events: int, seconds: int) -> None:
        """Adds events that are not counted, for a reason. Nobody waits for them."""
        course = self._course(self._partition(keys.partition_of(course_id)), course_id)
        course.add(NOT_COUNTED.field(reason), events)
        if seconds:
            course.add(NOT_COUNTED_SECONDS.field(reason), seconds)

    def _partition(self, number: int) -> PartitionCommit:
        partition = self.partitions.get(number)
        if partition is None:
            partition = self.partitions[number] = PartitionCommit()
        return partition

    def _course(self, partition: PartitionCommit, course_id: str) -> CourseCommit:
        day = self.today()
        course = partition.courses.get((course_id, day.name))
        if course is None:
            course = partition.courses[course_id, day.name] = CourseCommit(course_id, day)
            self.weight += COURSE_WEIGHT
        return course

    def _add_telemetry(self, course: CourseCommit, ping: Telemetry, partition: int, position: int) -> None:
        if ping.lecture_id not in course.lectures:
            course.lectures.add(ping.lecture_id)
            self.weight += LECTURE_WEIGHT
        if ping.played is not None and ping.lecture_id not in course.segments:
            course.segments[ping.lecture_id] = {}
            self.weight += LECTURE_WEIGHT
        self.weight += watch_weight(self.watch_credit)
        if ping.event_id is not None or ping.playback_id is not None or self.watch_credit is not None:
            course.guarded.append(self._guarded(ping, partition, position))
            return
        course.users.add(ping.user)
        view_field, watch_time_field = _lecture_fields(ping.lecture_id)
        course.add(view_field, 1)
        course.add(watch_time_field, ping.seconds)
        if ping.played is not None:
            _add_segments(course.segments[ping.lecture_id], ping.played)

    def _guarded(self, ping: Telemetry, partition: int, position: int) -> Guarded:
        event = playback = bitmap_key = watch_key = None
        if ping.event_id is not None:
            event = _digest(ping.user, ping.course_id, ping.event_id)
        if ping.playback_id is not None:
            playback, bitmap_key = _playback(partition, ping.user, ping.course_id, ping.lecture_id, ping.playback_id)
        if self.watch_credit is not None:
            watch_key = keys.watch(partition, _text(_digest(ping.user, ping.course_id)))
        played = ping.played and self._with_known_duration(ping, ping.played)
        return Guarded(
            ping.user, position, event, ping.lecture_id, ping.seconds, playback, watch_key, played, bitmap_key
        )

    def _with_known_duration(self, ping: Telemetry, played: Played) -> Played:
        if played.duration is None or self.durations.admits(ping.course_id, ping.lecture_id, played.duration):
            return played
        return Played(played.segments, None)


def _add_course_view(course: CourseCommit, view: CourseView, position: int) -> None:
    if view.event_id is not None:
        event = _digest(view.user, view.course_id, view.event_id)
        course.guarded.append(Guarded(view.user, position, event))
        return
    course.users.add(view.user)
    course.add(COURSE_VIEWS.field(), 1)


@lru_cache(maxsize=20_000)  # the next ping of a playback names it again; 0.7 KB each
def _playback(partition: int, user: bytes, course_id: str, lecture_id: str, playback_id: str) -> tuple[bytes, str]:
    digest = _digest(user, course_id, lecture_id, playback_id)
    return digest, keys.seen(partition, "b", _text(digest))


def _add_segments(sums: dict[str, int], played: Played) -> None:
    for segment in played.segments:
        name = SEGMENT_WATCHED.field(str(segment.number))
        sums[name] = sums.get(name, 0) + segment.tenths


@lru_cache(maxsize=100_000)  # a quarter of what a ping costs here
def _lecture_fields(lecture_id: str) -> tuple[str, str]:
    return LECTURE_VIEWS.field(lecture_id), LECTURE_WATCH_TIME.field(lecture_id)


def _digest(user: bytes, *ids: str) -> bytes:
    # Ids have no NUL in them, and the user comes last: no two different tuples make one text.
    text = "\0".join(ids).encode() + b"\0" + user
    return hashlib.blake2b(text, digest_size=16).digest()


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
