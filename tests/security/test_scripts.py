"""The Lua scripts by their callers: whatever the ids and counts are, a commit counts once and as a whole."""

import asyncio
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flusher.steps import clear
from flusher.steps.take import Nothing
from ingest_server.commit import Commit
from ingest_server.events import CourseView, Event, Telemetry
from ingest_server.recorder import Outcome, Recorder
from shared.data import keys
from shared.settings import Barrier
from shared.stores.redis_connection import RedisConnection
from tests.ingest_server.client import COURSE, FIRST, SECOND
from tests.ingest_server.stored import Stored, key, seconds, views
from tests.security.stage import Service
from tests.security.test_bytes import HOSTILE

MAX = 2**63 - 1

# Validation lets neither of these pass for an event's id: the script must not depend on it.
texts = st.sampled_from(HOSTILE).map(lambda text: text or "-") | st.text(min_size=1, max_size=8)
ids = st.none() | st.sampled_from(["a", "b"])
users = st.binary(min_size=1, max_size=20) | st.sampled_from([b"batch", b"\0", b"\r\n", b"-1", b"1", b"HYLL"])
course_views = st.builds(CourseView, st.just(COURSE), users, ids)
pings = st.builds(
    Telemetry, st.just(COURSE), users, ids, st.sampled_from([FIRST, SECOND]), st.integers(1, 300), st.none()
)
commits = st.lists(st.lists(course_views | pings, min_size=1, max_size=6), max_size=4)


class Expected:
    """The same counts by the plainest means."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.users: set[bytes] = set()
        self._seen: set[object] = set()

    def add(self, event: Event) -> None:
        self.users.add(event.user)
        if event.event_id is not None:
            name = (type(event), event.user, event.event_id)
            if name in self._seen:
                return
            self._seen.add(name)
        if isinstance(event, CourseView):
            self.counters["course_views"] += 1
        else:
            self.counters[views(event.lecture_id)] += 1
            self.counters[seconds(event.lecture_id)] += event.seconds


async def record(recorder: Recorder, events: list[Event]) -> list[Outcome]:
    commit = Commit()
    for event in events:
        commit.add(event, asyncio.get_running_loop().create_future())
    return list((await recorder.record(commit)).values())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])  # emptied by the test
@given(commits=commits)
async def test_commits_count_every_event_once(service: Service, stored: Stored, commits: list[list[Event]]) -> None:
    stored.redis.flushdb()
    expected = Expected()
    async with Recorder(service.redis_url, Barrier("none"), process="{0}:odd") as recorder:
        for events in commits:
            assert [None] == await record(recorder, events)
            for event in events:
                expected.add(event)

    assert expected.counters == stored.counters()
    assert len(expected.users) == stored.users()


async def test_a_thousand_odd_users_and_ids_are_a_thousand(service: Service, stored: Stored) -> None:
    events: list[Event] = [CourseView(COURSE, f"\0{n}\r\n".encode(), f"{n}") for n in range(1000)]

    async with Recorder(service.redis_url, Barrier("none"), process="p") as recorder:
        outcomes = [await record(recorder, events), await record(recorder, events)]

    assert [[None], [None]] == outcomes
    assert {"course_views": 1000} == stored.counters()
    assert 1000 == pytest.approx(stored.users(), rel=0.05)


async def test_a_commit_number_at_the_limit_of_doubles_still_counts_once(service: Service, stored: Stored) -> None:
    async with Recorder(service.redis_url, Barrier("none"), process="p") as recorder:
        for start in (2**53 - 2, 2**53 - 2):  # the second time as after a reply that was lost
            recorder._commits = start
            await record(recorder, [CourseView(COURSE, b"ann", None)])

    assert {"course_views": 1} == stored.counters()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])  # overwritten by each example
@given(batch=texts, told=texts)
async def test_a_course_is_cleared_only_of_the_very_batch_that_is_named(
    service: Service, stored: Stored, batch: str, told: str
) -> None:
    partition = keys.partition_of(COURSE)
    stored.redis.hset(key("flushing_counters"), mapping={"batch": batch, "course_views": MAX})
    command = list(clear.clearing(Nothing(partition, COURSE)))
    command[command.index("", 3)] = told

    connection = await RedisConnection.open(service.redis_url, timeout=5)
    ((cleared,),) = await clear.send(connection, [tuple(command)])
    await connection.close()

    assert int(batch == told) == cleared
    assert (batch != told) == stored.redis.exists(key("flushing_counters"))
