"""The open commit: what has arrived since the last one was sent, summed for Redis, with those who wait for it. Pure.

A thousand pings of one lecture are two increments. What carries an event or playback id is not summed: only Redis knows
whether the id has been seen, so it is sent as it is, and the script decides. Where watch time is bounded, so is every
ping: only Redis knows how much its user has watched.
"""

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ingest_server.events import CourseView, Event, Telemetry, weight
from shared.data import keys
from shared.data.tallies import COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME

EVENT_SECONDS = 900
PLAYBACK_SECONDS = 24 * 60 * 60

# What a course adds to the weight of its commit, beside its events: its keys, and those of its partition.
COURSE_WEIGHT = 8

Argument = str | bytes | int


@dataclass(slots=True)
class Bound:
    """Whose watch time a ping adds to, and which of those that wait is told when that is too much."""

    watch_key: str
    user: bytes
    position: int


@dataclass(slots=True)
class Guarded:
    """Counts that depend on what Redis knows: none if the event was seen, no view if the playback was.

    And none, nor the user, when a bounded ping is refused.
    """

    event_key: str | None
    playback_key: str | None
    view_field: str
    watch_time: tuple[str, int] | None
    bound: Bound | None = None


@dataclass(slots=True)
class CourseCommit:
    """What one course gets."""

    sums: dict[str, int] = field(default_factory=dict)
    users: set[bytes] = field(default_factory=set)
    guarded: list[Guarded] = field(default_factory=list)

    def add(self, name: str, count: int) -> None:
        """Adds to the sum of a counter's field."""
        self.sums[name] = self.sums.get(name, 0) + count


@dataclass(slots=True)
class PartitionCommit:
    """What one partition gets, in one atomic script, and the futures of the requests that it answers."""

    courses: dict[str, CourseCommit] = field(default_factory=dict)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


@dataclass(slots=True)
class Commit:
    """Everything that is sent together. With a `watch_credit`, in seconds, watch time is bounded.

    `weight` is what it costs Redis, in the units of `events.weight`.
    """

    partitions: dict[int, PartitionCommit] = field(default_factory=dict)
    events: int = 0
    without_id: int = 0
    weight: int = 0
    watch_credit: float | None = None

    def add(self, event: Event, done: asyncio.Future[None]) -> None:
        """Adds one event; `done` is completed with the outcome of its partition."""
        number = keys.partition_of(event.course_id)
        partition = self.partitions.get(number)
        if partition is None:
            partition = self.partitions[number] = PartitionCommit()
        course = partition.courses.get(event.course_id)
        if course is None:
            course = partition.courses[event.course_id] = CourseCommit()
            self.weight += COURSE_WEIGHT
        partition.waiting.append(done)
        self.events += 1
        self.without_id += event.event_id is None
        self.weight += weight(event)
        if self.watch_credit is not None and isinstance(event, Telemetry):
            _add_bounded(course, event, number, len(partition.waiting) - 1)
            return
        course.users.add(event.user)
        if isinstance(event, Telemetry):
            _add_telemetry(course, event, number)
        else:
            _add_course_view(course, event, number)


def _add_course_view(course: CourseCommit, view: CourseView, partition: int) -> None:
    if view.event_id is None:
        course.add(COURSE_VIEWS.field(), 1)
    else:
        event_key = _seen(partition, "v", view.user, view.course_id, view.event_id)
        course.guarded.append(Guarded(event_key, None, COURSE_VIEWS.field(), None))


def _add_telemetry(course: CourseCommit, ping: Telemetry, partition: int) -> None:
    view_field, watch_time_field = _lecture_fields(ping.lecture_id)
    if ping.event_id is None:
        course.add(watch_time_field, ping.seconds)
        if ping.playback_id is None:
            course.add(view_field, 1)
            return
    event_key, playback_key = _seen_keys(ping, partition)
    watch_time = (watch_time_field, ping.seconds) if event_key else None
    course.guarded.append(Guarded(event_key, playback_key, view_field, watch_time))


def _add_bounded(course: CourseCommit, ping: Telemetry, partition: int, position: int) -> None:
    view_field, watch_time_field = _lecture_fields(ping.lecture_id)
    bound = Bound(keys.watch(partition, _digest(ping.user, ping.course_id)), ping.user, position)
    watch_time = (watch_time_field, ping.seconds)
    course.guarded.append(Guarded(*_seen_keys(ping, partition), view_field, watch_time, bound))


def _seen_keys(ping: Telemetry, partition: int) -> tuple[str | None, str | None]:
    event_key = ping.event_id and _seen(partition, "t", ping.user, ping.course_id, ping.event_id)
    playback_key = ping.playback_id and _seen(
        partition, "p", ping.user, ping.course_id, ping.lecture_id, ping.playback_id
    )
    return event_key, playback_key


@lru_cache(maxsize=100_000)  # a quarter of what a ping costs here
def _lecture_fields(lecture_id: str) -> tuple[str, str]:
    return LECTURE_VIEWS.field(lecture_id), LECTURE_WATCH_TIME.field(lecture_id)


def _seen(partition: int, kind: str, user: bytes, *ids: str) -> str:
    return keys.seen(partition, kind, _digest(user, *ids))


def _digest(user: bytes, *ids: str) -> str:
    # Ids have no NUL in them, and the user comes last: no two different tuples make one text.
    text = "\0".join(ids).encode() + b"\0" + user
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def script_call(
    number: int,
    partition: PartitionCommit,
    *,
    process: str,
    commit: int,
    batch: str,
    watch_credit: float | None = None,
) -> tuple[list[str], list[Argument]]:
    """The keys and arguments of `record.lua` for one partition; `batch` is the id of batches that the commit starts."""
    names = [keys.last_commit(number, process), keys.dirty_courses(number)]
    arguments: list[Argument] = [commit, batch, EVENT_SECONDS, PLAYBACK_SECONDS]
    if watch_credit is not None:
        names.append(keys.refused(number, process))
        arguments.append(round(watch_credit * 1000))
    for course_id, course in partition.courses.items():
        names += (keys.course_counters(number, course_id), keys.course_users(number, course_id))
        arguments += (course_id, len(course.sums), len(course.users), len(course.guarded))
        for name, count in course.sums.items():
            arguments += (name, count)
        arguments += course.users
        for guarded in course.guarded:
            names += _names(guarded)
            arguments += _arguments(guarded)
    return names, arguments


def _names(guarded: Guarded) -> Iterator[str]:
    if guarded.event_key:
        yield guarded.event_key
    if guarded.playback_key:
        yield guarded.playback_key
    if guarded.bound:
        yield guarded.bound.watch_key


def _arguments(guarded: Guarded) -> Iterator[Argument]:
    yield int(bool(guarded.event_key))
    yield int(bool(guarded.playback_key))
    yield guarded.view_field
    yield from guarded.watch_time or ("", 0)
    if guarded.bound:
        yield guarded.bound.user
        yield guarded.bound.position
