"""What a commit sends: nothing is lost or added by summing, and ids that differ never meet in one key."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unittest.mock import sentinel
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.commit import Commit, CourseCommit, Told
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry
from ingest_server.today import Today
from shared.data import keys
from shared.data.days import start_of

# Few of each, so that events meet. The second and third course share a partition.
COURSES = ["650000000000000000000001", "650000000000000000000002", "650000000000000000000570"]
LECTURES = ["650000000000000000000011", "650000000000000000000012"]
DONE: "asyncio.Future[Told]" = sentinel.done
KATHMANDU = ZoneInfo("Asia/Kathmandu")

users = st.sampled_from([b"ann", b"bob", b"\0", b"a\0b"])
ids = st.none() | st.sampled_from(["a", "b", "a-b"])
views = st.builds(CourseView, st.sampled_from(COURSES), users, ids)
pings = st.builds(Telemetry, st.sampled_from(COURSES), users, ids, st.sampled_from(LECTURES), st.integers(0, 300), ids)
events = st.lists(views | pings, max_size=12)


def commit_of(events: Sequence[Event], watch_credit: float | None = None) -> Commit:
    commit = Commit(watch_credit=watch_credit)
    for event in events:
        commit.add(event, DONE)
    return commit


def courses(commit: Commit) -> Iterator[CourseCommit]:
    for partition in commit.partitions.values():
        yield from partition.courses.values()


def everything_counted(event: Event) -> dict[tuple[str, str], int]:
    """What an event adds when no id of it has been seen."""
    if isinstance(event, CourseView):
        return {(event.course_id, "course_views"): 1}
    return {
        (event.course_id, f"lecture_views:{event.lecture_id}"): 1,
        (event.course_id, f"lecture_watchtime:{event.lecture_id}"): event.seconds,
    }


@given(events)
def test_sums_and_guarded_counts_together_are_the_events(events: list[Event]) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for event in events:
        expected.update(everything_counted(event))
    sent: Counter[tuple[str, str]] = Counter()
    for course in courses(commit_of(events)):
        sent.update({(course.course_id, name): count for name, count in course.sums.items()})
        for guarded in course.guarded:
            if guarded.lecture_id is None:
                sent[course.course_id, "course_views"] += 1
            else:
                sent[course.course_id, f"lecture_views:{guarded.lecture_id}"] += 1
                sent[course.course_id, f"lecture_watchtime:{guarded.lecture_id}"] += guarded.seconds
    assert expected == sent


@given(events)
def test_every_user_of_a_course_is_sent_with_it(events: list[Event]) -> None:
    expected = {(event.course_id, event.user) for event in events}
    sent = {
        (course.course_id, user)
        for course in courses(commit_of(events))
        for user in (*course.users, *(guarded.user for guarded in course.guarded))
    }
    assert expected == sent


@given(events)
def test_every_event_waits_for_its_own_partition(events: list[Event]) -> None:
    expected = Counter(keys.partition_of(event.course_id) for event in events)
    commit = commit_of(events)
    assert expected == {number: len(partition.waiting) for number, partition in commit.partitions.items()}
    assert len(events) == commit.events


def test_a_thousand_pings_of_one_lecture_are_two_increments() -> None:
    ping = Telemetry(COURSES[0], b"ann", None, LECTURES[0], 5, None)
    (course,) = courses(commit_of([ping] * 1000))
    assert {f"lecture_views:{LECTURES[0]}": 1000, f"lecture_watchtime:{LECTURES[0]}": 5000} == course.sums


class Identity(NamedTuple):
    """What an event id or a playback id is unique in."""

    kind: str
    user: bytes
    course: str
    lecture: str
    id: str


def digest_of(identity: Identity) -> bytes | None:
    kind, user, course, lecture, name = identity
    if kind == "view":
        event: Event = CourseView(course, user, name)
    elif kind == "ping":
        event = Telemetry(course, user, name, lecture, 5, None)
    else:
        event = Telemetry(course, user, None, lecture, 5, name)
    ((guarded,),) = [course.guarded for course in courses(commit_of([event]))]
    return guarded.event or guarded.playback


kinds = st.sampled_from(["view", "ping", "playback"])
any_user = st.binary(min_size=1, max_size=6)
any_id = st.from_regex(r"\A[ab_-]{1,3}\Z")
identities = st.builds(Identity, kinds, any_user, st.sampled_from(COURSES), st.sampled_from(LECTURES), any_id)


@given(identities, identities)
def test_ids_of_a_kind_have_the_same_digest_only_when_they_are_the_same(one: Identity, other: Identity) -> None:
    other = other._replace(kind=one.kind)
    assert (scope(one) == scope(other)) == (digest_of(one) == digest_of(other))


def scope(identity: Identity) -> Identity:
    """Only a playback is of one lecture: an event id is unique in its course."""
    return identity if identity.kind == "playback" else identity._replace(lecture="")


@given(identities, any_id)
def test_the_end_of_an_id_is_not_the_beginning_of_the_user(identity: Identity, more: str) -> None:
    longer_id = identity._replace(id=identity.id + more)
    longer_user = identity._replace(user=more.encode() + identity.user)
    assert digest_of(longer_id) != digest_of(longer_user)


def test_a_commit_weighs_its_courses_and_its_events_which_weigh_more_with_ids() -> None:
    course, lecture = COURSES[0], LECTURES[0]
    plain = Telemetry(course, b"ann", None, lecture, 5, None)
    guarded = Telemetry(course, b"ann", "e", lecture, 5, "p")
    assert 16 + 4 + 1 + 3 + 2 == commit_of([plain, guarded, CourseView(course, b"ann", "e")]).weight
    assert 16 + 16 + 4 + 1 + 1 == commit_of([plain, CourseView(COURSES[1], b"ann", None)]).weight


def test_a_ping_weighs_one_more_for_each_segment() -> None:
    played = Played([Segment(0, 100, is_view=True), Segment(1, 5, is_view=False)], None)
    ping = Telemetry(COURSES[0], b"ann", None, LECTURES[0], 5, None, played)
    assert 16 + 4 + 4 + 1 + 2 == commit_of([ping]).weight


@pytest.mark.parametrize(("event", "playback"), [("e", None), (None, "p"), (None, None)])
def test_each_lecture_of_pings_weighs_its_counters_whatever_ids_they_have(
    event: str | None, playback: str | None
) -> None:
    def weight(*lectures: str, played: Played | None = None) -> int:
        return commit_of([Telemetry(COURSES[0], b"ann", event, each, 5, playback, played) for each in lectures]).weight

    first, second = LECTURES[:2]
    played = Played([Segment(0, 50, is_view=True)], None)
    assert 4 == weight(first, second) - weight(first, first)
    assert 8 == weight(first, second, played=played) - weight(first, first, played=played)


def test_a_ping_weighs_two_more_where_watch_time_is_bounded() -> None:
    ping = Telemetry(COURSES[0], b"ann", None, LECTURES[0], 5, None)
    assert 2 == commit_of([ping], watch_credit=60).weight - commit_of([ping]).weight


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_the_day_of_an_event_is_that_on_which_it_joins_the_commit() -> None:
    clock = Clock(start_of("2026-11-26", KATHMANDU) - 0.001)
    commit = Commit(today=Today(KATHMANDU, clock))
    for _ in range(2):
        commit.add(CourseView(COURSES[0], b"ann", None), DONE)
        clock.now += 0.001
    assert [("2026-11-25", 1), ("2026-11-26", 1)] == [
        (course.day.name, course.sums["course_views"]) for course in courses(commit)
    ]


def test_the_users_of_a_day_expire_40_days_after_it() -> None:
    today = Today(KATHMANDU, Clock(start_of("2026-11-25", KATHMANDU)))
    assert start_of("2027-01-05", KATHMANDU) == today().users_expire


def test_a_lecture_has_at_most_8_durations() -> None:
    commit = Commit()
    for duration in (*range(100, 109), 100, 108):
        ping = Telemetry(COURSES[0], b"ann", "e", LECTURES[0], 5, "p", Played([Segment(0, 50, is_view=True)], duration))
        commit.add(ping, DONE)
    (course,) = courses(commit)
    sent = [guarded.played.duration for guarded in course.guarded if guarded.played]
    assert [*range(100, 108), None, 100, None] == sent
