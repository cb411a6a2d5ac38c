"""What a commit sends: nothing is lost or added by summing, and ids that differ never meet in one key."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from unittest.mock import sentinel

from hypothesis import given
from hypothesis import strategies as st

from ingest_server.commit import Commit, CourseCommit, PartitionCommit, script_call
from ingest_server.events import CourseView, Event, Telemetry
from shared.data import keys

# Few of each, so that events meet. The second and third course share a partition.
COURSES = ["650000000000000000000001", "650000000000000000000002", "650000000000000000000570"]
LECTURES = ["650000000000000000000011", "650000000000000000000012"]
DONE: "asyncio.Future[None]" = sentinel.done

users = st.sampled_from([b"ann", b"bob", b"\0", b"a\0b"])
ids = st.none() | st.sampled_from(["a", "b", "a-b"])
views = st.builds(CourseView, st.sampled_from(COURSES), users, ids)
pings = st.builds(Telemetry, st.sampled_from(COURSES), users, ids, st.sampled_from(LECTURES), st.integers(0, 300), ids)
events = st.lists(views | pings, max_size=12)


def commit_of(events: Sequence[Event]) -> Commit:
    commit = Commit()
    for event in events:
        commit.add(event, DONE)
    return commit


def courses(commit: Commit) -> Iterator[tuple[str, CourseCommit]]:
    for partition in commit.partitions.values():
        yield from partition.courses.items()


class Call(NamedTuple):
    keys: list[str]
    arguments: list[str | bytes | int]


def call(number: int, partition: PartitionCommit) -> Call:
    return Call(*script_call(number, partition, process="p", commit=7, batch="p-7-0"))


def only_call(*events: Event) -> Call:
    ((number, partition),) = commit_of(events).partitions.items()
    return call(number, partition)


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
    for course_id, course in courses(commit_of(events)):
        sent.update({(course_id, name): count for name, count in course.sums.items()})
        for guarded in course.guarded:
            sent[course_id, guarded.view_field] += 1
            if guarded.watch_time:
                sent[course_id, guarded.watch_time[0]] += guarded.watch_time[1]
    assert expected == sent


@given(events)
def test_every_user_of_a_course_is_sent_with_it(events: list[Event]) -> None:
    expected = {(event.course_id, event.user) for event in events}
    assert expected == {(course_id, user) for course_id, course in courses(commit_of(events)) for user in course.users}


@given(events)
def test_every_event_waits_for_its_own_partition(events: list[Event]) -> None:
    expected = Counter(keys.partition_of(event.course_id) for event in events)
    commit = commit_of(events)
    assert expected == {number: len(partition.waiting) for number, partition in commit.partitions.items()}
    assert len(events) == commit.events


@given(events)
def test_all_keys_of_a_call_are_in_the_slot_of_its_partition(events: list[Event]) -> None:
    for number, partition in commit_of(events).partitions.items():
        assert {f"{{{number}}}"} == {key.split(":")[1] for key in call(number, partition).keys}


@given(events)
def test_a_call_has_the_lengths_that_it_announces(events: list[Event]) -> None:
    for number, partition in commit_of(events).partitions.items():
        names, arguments = call(number, partition)
        first_key, argument = 2, 4
        for course_id in partition.courses:
            announced, sums, people, guarded = arguments[argument : argument + 4]
            assert course_id == announced
            assert [f"course_counters:{{{number}}}:{course_id}", f"course_users:{{{number}}}:{course_id}"] == names[
                first_key : first_key + 2
            ]
            argument += 4 + 2 * int(sums) + int(people)
            with_keys = [arguments[argument + 5 * i : argument + 5 * i + 2] for i in range(int(guarded))]
            argument += 5 * int(guarded)
            first_key += 2 + sum(int(each) for pair in with_keys for each in pair)
        assert (len(names), len(arguments)) == (first_key, argument)


def test_a_thousand_pings_of_one_lecture_are_two_increments() -> None:
    ping = Telemetry(COURSES[0], b"ann", None, LECTURES[0], 5, None)
    ((_, course),) = courses(commit_of([ping] * 1000))
    assert {f"lecture_views:{LECTURES[0]}": 1000, f"lecture_watchtime:{LECTURES[0]}": 5000} == course.sums


def test_the_call_of_a_guarded_ping_is_what_the_script_reads() -> None:
    names, arguments = only_call(Telemetry(COURSES[0], b"ann", "e", LECTURES[0], 5, "p"))
    number = keys.partition_of(COURSES[0])
    assert [
        f"commit:{{{number}}}:p",
        f"dirty_analytics_courses:{{{number}}}",
        f"course_counters:{{{number}}}:{COURSES[0]}",
        f"course_users:{{{number}}}:{COURSES[0]}",
    ] == names[:4]
    assert [f"seen:{{{number}}}:t", f"seen:{{{number}}}:p"] == [name[:-22] for name in names[4:]]
    assert [7, "p-7-0", 900, 86400, COURSES[0], 0, 1, 1, b"ann"] == arguments[:9]
    assert [1, 1, f"lecture_views:{LECTURES[0]}", f"lecture_watchtime:{LECTURES[0]}", 5] == arguments[9:]


class Identity(NamedTuple):
    """What an event id or a playback id is unique in."""

    kind: str
    user: bytes
    course: str
    lecture: str
    id: str


def seen_key(identity: Identity) -> str:
    kind, user, course, lecture, name = identity
    if kind == "view":
        event: Event = CourseView(course, user, name)
    elif kind == "ping":
        event = Telemetry(course, user, name, lecture, 5, None)
    else:
        event = Telemetry(course, user, None, lecture, 5, name)
    return only_call(event).keys[4]


kinds = st.sampled_from(["view", "ping", "playback"])
any_user = st.binary(min_size=1, max_size=6)
any_id = st.from_regex(r"\A[ab_-]{1,3}\Z")
identities = st.builds(Identity, kinds, any_user, st.sampled_from(COURSES), st.sampled_from(LECTURES), any_id)


@given(identities, identities)
def test_ids_have_the_same_key_only_when_they_are_the_same(one: Identity, other: Identity) -> None:
    assert (scope(one) == scope(other)) == (seen_key(one) == seen_key(other))


def scope(identity: Identity) -> Identity:
    """Only a playback is of one lecture: an event id is unique in its course."""
    return identity if identity.kind == "playback" else identity._replace(lecture="")


@given(identities, any_id)
def test_the_end_of_an_id_is_not_the_beginning_of_the_user(identity: Identity, more: str) -> None:
    longer_id = identity._replace(id=identity.id + more)
    longer_user = identity._replace(user=more.encode() + identity.user)
    assert seen_key(longer_id) != seen_key(longer_user)


def test_a_commit_weighs_its_courses_and_its_events_which_weigh_more_with_ids() -> None:
    course, lecture = COURSES[0], LECTURES[0]
    plain = Telemetry(course, b"ann", None, lecture, 5, None)
    guarded = Telemetry(course, b"ann", "e", lecture, 5, "p")
    assert 8 + 1 + 9 + 5 == commit_of([plain, guarded, CourseView(course, b"ann", "e")]).weight
    assert 8 + 8 + 1 + 1 == commit_of([plain, CourseView(COURSES[1], b"ann", None)]).weight
