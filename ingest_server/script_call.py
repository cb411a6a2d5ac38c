"""The keys and arguments of `record.lua`, in the order that its header gives. Pure."""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from ingest_server.commit import CourseCommit, Guarded, PartitionCommit
from shared.data import keys
from shared.data.tallies import day_tally, lecture_tally

EVENT_SECONDS = 900

# The bytes that the event ids of one user may take in one window and partition, and the playback ids: some 4,000 ids.
# Those of two windows are alive. An account grows in such steps: by chance, one of eight ids makes one.
USER_BYTES = 512 * 1024
STEP_BYTES = 960

# How an event is packed, what it has, and how its segments are packed: see `record.lua`.
_EVENT = struct.Struct("<HHHHB")
_EVENT_ID, _PLAYBACK_ID, _PLAYED = 1, 2, 4
_HEAD, _SEGMENT, _VIEW = struct.Struct("<HHH"), struct.Struct("<HH"), 32_768

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
    events = [event for course in partition.courses.values() for event in course.guarded]
    guarded_keys = [key for event in events for key in (event.bitmap_key, event.watch_key) if key is not None]
    arguments: list[Argument] = [commit, batch, EVENT_SECONDS, keys.PLAYBACK_SECONDS, credit]
    arguments += (len(guarded_keys) if guarded else -1, USER_BYTES, STEP_BYTES, len(sets))
    arguments += map(b"".join, ids.values())
    for course in partition.courses.values():
        _add_course(names, arguments, number, course, guarding=guarded)
    return names + guarded_keys, arguments


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


def _add_course(
    names: list[str], arguments: list[Argument], number: int, course: CourseCommit, *, guarding: bool
) -> None:
    course_id, day = course.course_id, day_tally(course.course_id, course.day.name).name
    tallies = {lecture_id: lecture_tally(course_id, lecture_id).name for lecture_id in course.segments}
    for tally in (course_id, day):
        names += (keys.course_counters(number, tally), keys.course_users(number, tally))
    names += (keys.course_counters(number, tally) for tally in tallies.values())
    others = {guarded.user for guarded in course.guarded} - course.users
    users = (*course.users, *others)
    arguments += (course_id, day, course.day.users_expire)
    arguments += (len(course.sums), len(course.users), len(users), len(tallies))
    arguments += _flat(course.sums)
    arguments += users
    for lecture_id, tally in tallies.items():
        sums = course.segments[lecture_id]
        arguments += (tally, len(sums), *_flat(sums))
    if guarding:
        accounts = map(_account_of, users) if course.guarded else ()
        arguments += (b"".join(accounts), *_guarded(course.guarded, users, list(tallies)))


def _flat(sums: Mapping[str, int]) -> Iterator[Argument]:
    for pair in sums.items():
        yield from pair


def _guarded(events: Sequence[Guarded], users: Sequence[bytes], tallies: Sequence[str]) -> tuple[str, bytes]:
    """The ids of the lectures that the events name, and the events, packed."""
    places = {user: place for place, user in enumerate(users, start=1)}
    lectures: dict[str | None, int] = {None: 0}
    told: list[bytes] = []
    for event in events:
        lecture = lectures.setdefault(event.lecture_id, len(lectures))
        has = _EVENT_ID * (event.event is not None) | _PLAYBACK_ID * (event.playback is not None)
        played = event.played
        if played is None:
            told.append(_EVENT.pack(places[event.user], event.position, lecture, event.seconds, has))
            continue
        told.append(_EVENT.pack(places[event.user], event.position, lecture, event.seconds, has | _PLAYED))
        told.append(_HEAD.pack(tallies.index(event.lecture_id) + 1, played.duration or 0, len(played.segments)))
        told += [_SEGMENT.pack(number | _VIEW * is_view, tenths) for number, tenths, is_view in played.segments]
    return "".join(filter(None, lectures)), b"".join(told)
