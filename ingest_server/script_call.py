"""The keys and arguments of `record.lua`, in the order that its header gives. Pure."""

import hashlib
from collections.abc import Iterator
from functools import lru_cache

from ingest_server.commit import CourseCommit, Guarded, PartitionCommit
from ingest_server.events import Played
from shared.data import keys
from shared.data.tallies import day_tally, lecture_tally

EVENT_SECONDS = 900

# The bytes that the event ids of one user may take in one window and partition, and the playback ids: some 4,000 ids.
# Those of two windows are alive.
USER_BYTES = 512 * 1024

Argument = str | bytes | int


def script_call(
    number: int,
    partition: PartitionCommit,
    *,
    process: str,
    commit: int,
    batch: str,
    now: float,
    watch_credit: float | None = None,
) -> tuple[list[str], list[Argument]]:
    """The call for one partition. `batch` is the id of batches that the commit starts; `now`, since the epoch."""
    guarded = any(course.guarded for course in partition.courses.values())
    ids: dict[str, list[bytes]] = {}
    sets: list[str] = []
    names = [keys.last_commit(number, process), keys.dirty_courses(number), keys.unsaved_users(number)]
    if guarded:
        names.append(keys.refused(number, process))
        names += (*_accounts(number, now), keys.forgotten(number), *_accounts_before(number, now))
        ids = _ids(partition)
        sets = [name for kind, those in ids.items() if those for name in _sets(number, kind, now)]
        names += sets
    credit = 0 if watch_credit is None else round(watch_credit * 1000)
    arguments: list[Argument] = [commit, batch, EVENT_SECONDS, keys.PLAYBACK_SECONDS, credit, int(guarded)]
    arguments += (USER_BYTES, len(sets))
    for those in ids.values():
        arguments += (len(those), *those)
    for course in partition.courses.values():
        _add_course(names, arguments, number, course)
    return names, arguments


def _accounts(number: int, now: float) -> Iterator[str]:
    yield keys.alive(number, "events", int(now) // EVENT_SECONDS)
    yield keys.alive(number, "playbacks", int(now) // keys.PLAYBACK_SECONDS)


def _accounts_before(number: int, now: float) -> Iterator[str]:
    """The accounts of the previous version for its ids, in this window and the last."""
    for kind, seconds in (("e", EVENT_SECONDS), ("p", keys.PLAYBACK_SECONDS)):
        window = int(now) // seconds
        yield from (keys.alive(number, kind, window), keys.alive(number, kind, window - 1))


def _ids(partition: PartitionCommit) -> dict[str, list[bytes]]:
    """The digests of the guarded events' ids, by kind."""
    ids: dict[str, list[bytes]] = {"v": [], "t": [], "p": []}
    for course in partition.courses.values():
        for guarded in course.guarded:
            if guarded.event is not None:
                ids["v" if guarded.lecture_id is None else "t"].append(guarded.event)
            if guarded.playback is not None:
                ids["p"].append(guarded.playback)
    return ids


def _sets(number: int, kind: str, now: float) -> Iterator[str]:
    """The sets of a kind that the script may need, if Redis's clock is off by at most one window."""
    seconds, older = (keys.PLAYBACK_SECONDS // 2, 2) if kind == "p" else (EVENT_SECONDS, 1)
    window = int(now) // seconds
    return (keys.seen(number, kind, str(each)) for each in range(window - older - 1, window + 2))


@lru_cache(maxsize=100_000)
def _account_of(user: bytes) -> bytes:
    # No stored name contains a user id.
    return hashlib.blake2b(user, digest_size=16).digest()


def _add_course(names: list[str], arguments: list[Argument], number: int, course: CourseCommit) -> None:
    course_id, day = course.course_id, day_tally(course.course_id, course.day.name).name
    lectures = {lecture_id: lecture_tally(course_id, lecture_id).name for lecture_id in course.segments}
    for tally in (course_id, day):
        names += (keys.course_counters(number, tally), keys.course_users(number, tally))
    names += (keys.course_counters(number, tally) for tally in lectures.values())
    others = {guarded.user for guarded in course.guarded} - course.users
    users = {user: index for index, user in enumerate((*course.users, *others), start=1)}
    arguments += (course_id, day, course.day.users_expire)
    arguments += (len(course.sums), len(course.users), len(users), len(lectures), len(course.guarded))
    for name, count in course.sums.items():
        arguments += (name, count)
    arguments += users
    if course.guarded:
        arguments += map(_account_of, users)
    for lecture_id, tally in lectures.items():
        sums = course.segments[lecture_id]
        arguments += (tally, len(sums))
        for name, count in sums.items():
            arguments += (name, count)
    numbers = {lecture_id: index for index, lecture_id in enumerate(lectures, start=1)}
    for guarded in course.guarded:
        names += _names(guarded)
        arguments += (users[guarded.user], guarded.position, int(guarded.event is not None))
        arguments += (guarded.lecture_id or "",)
        if guarded.lecture_id is not None:
            arguments += (guarded.seconds, int(guarded.playback is not None))
            arguments += _played(guarded.played, numbers.get(guarded.lecture_id, 0))


def _names(guarded: Guarded) -> Iterator[str]:
    for name in (guarded.bitmap_key, guarded.watch_key):
        if name is not None:
            yield name


def _played(played: Played | None, lecture: int) -> Iterator[Argument]:
    yield lecture if played else 0
    if played:
        yield "" if played.duration is None else played.duration
        yield len(played.segments)
        for segment in played.segments:
            yield from (segment.number, segment.tenths, int(segment.is_view))
