"""Every tally equals what a plain list of the events says, also when a commit is sent again."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_server.commit import Commit
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry
from ingest_server.recorder import Outcome, Recorder
from ingest_server.segments import cut, is_view
from ingest_server.today import Today
from shared.data.days import day_of, start_of
from shared.settings import Barrier
from tests.ingest_server.client import COURSE, FIRST, SECOND
from tests.ingest_server.stored import Stored, key, partition
from tests.ingest_server.test_commit import Clock

ZONE = ZoneInfo("America/New_York")
MIDNIGHT = start_of("2026-11-02", ZONE)  # the day before has 25 hours
BEFORE, AFTER = (f"{COURSE}/{day}" for day in ("2026-11-01", "2026-11-02"))

Tallies = dict[str, Counter[str]]

times = st.integers(0, 400)
ranges = st.lists(st.tuples(times, times).map(lambda pair: (min(pair), max(pair))), max_size=3)
users = st.sampled_from([b"ann", b"bob"])
ids = st.none() | st.sampled_from(["a", "b"])


def played_of(ranges: Sequence[tuple[int, int]], duration: int | None = None) -> Played:
    return Played([Segment(n, tenths, is_view(n, tenths, duration)) for n, tenths in cut(ranges).items()], duration)


course_views = st.builds(CourseView, st.just(COURSE), users, ids)
pings = st.builds(
    Telemetry,
    st.just(COURSE),
    users,
    ids,
    st.sampled_from([FIRST, SECOND]),
    st.integers(0, 300),
    ids,
    st.none() | st.builds(played_of, ranges),
)
moments = st.integers(-3, 2)
commits = st.lists(
    st.tuples(st.lists(st.tuples(moments, course_views | pings), min_size=1, max_size=8), st.booleans()), max_size=5
)


class PlainList:
    """The same counts by the plainest means."""

    def __init__(self) -> None:
        self.tallies: Tallies = defaultdict(Counter)
        self.users: defaultdict[str, set[bytes]] = defaultdict(set)
        self._seen: set[object] = set()

    def _is_new(self, *what: object) -> bool:
        new = what not in self._seen
        self._seen.add(what)
        return new

    def add(self, event: Event, moment: float) -> None:
        counts: Counter[str] = Counter()
        day = f"{COURSE}/{day_of(moment, ZONE)}"
        if event.event_id is not None and not self._is_new(type(event), event.user, event.event_id):
            counts["not_counted:REPEATED"] = 1
            if isinstance(event, Telemetry):
                counts["not_counted_seconds:REPEATED"] = event.seconds
        else:
            self.users[COURSE].add(event.user)
            self.users[day].add(event.user)
            counts += self._counts(event)
        self.tallies[COURSE] += counts
        self.tallies[day] += counts

    def _counts(self, event: Event) -> Counter[str]:
        if isinstance(event, CourseView):
            return Counter({"course_views": 1})
        playback = event.user, event.lecture_id, event.playback_id
        self._add_segments(event, playback)
        is_view = event.playback_id is None or self._is_new("playback", playback)
        return Counter(
            {f"lecture_views:{event.lecture_id}": int(is_view), f"lecture_watchtime:{event.lecture_id}": event.seconds}
        )

    def _add_segments(self, event: Telemetry, playback: object) -> None:
        tally = self.tallies[f"{COURSE}/{event.lecture_id}"]
        if event.played is None:
            return
        if event.playback_id is not None and self._is_new("segments", playback):
            tally["playbacks"] += 1
        for number, tenths, viewed in event.played.segments:
            tally[f"segment_watched:{number}"] += tenths
            if event.playback_id is not None and viewed and self._is_new(number, playback):
                tally[f"segment_views:{number}"] += 1


async def record(recorder: Recorder, commit: Commit) -> Outcome:
    ((_, outcome),) = (await recorder.record(commit)).items()
    return outcome


async def resend(recorder: Recorder, commit: Commit) -> Outcome:
    """What a commit whose reply was lost gets."""
    recorder._commits -= 1  # the same number again
    return await record(recorder, commit)


def add(commit: Commit, event: Event) -> None:
    commit.add(event, asyncio.get_running_loop().create_future())


def counted(tallies: Tallies) -> Tallies:
    return {name: +counts for name, counts in tallies.items() if +counts}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])  # emptied by the test
@given(commits=commits)
async def test_every_tally_is_what_a_list_of_the_events_says(
    redis_url: str, stored: Stored, commits: list[tuple[list[tuple[int, Event]], bool]]
) -> None:
    stored.redis.flushdb()
    expected = PlainList()
    clock = Clock(MIDNIGHT - 3)
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        for events, is_lost in commits:
            commit = Commit(today=Today(ZONE, clock))
            for moment, event in events:
                clock.now = max(clock.now, MIDNIGHT + moment)
                add(commit, event)
                expected.add(event, clock.now)
            assert await record(recorder, commit) is None
            if is_lost:
                assert await resend(recorder, commit) is None

    names = (COURSE, BEFORE, AFTER, f"{COURSE}/{FIRST}", f"{COURSE}/{SECOND}")
    found = {name: Counter(stored.tally(name)) for name in names}
    assert counted(expected.tallies) == counted(found)
    for name in (COURSE, BEFORE, AFTER):
        assert len(expected.users[name]) == stored.users(name)
    for counts in found.values():
        assert all(views <= counts["playbacks"] for name, views in counts.items() if name.startswith("segment_views:"))


async def test_a_commit_that_is_sent_again_after_midnight_keeps_its_day(redis_url: str, stored: Stored) -> None:
    clock = Clock(MIDNIGHT - 1)
    commit = Commit(today=Today(ZONE, clock))
    add(commit, CourseView(COURSE, b"ann", None))
    clock.now = MIDNIGHT + 1
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        await record(recorder, commit)
        await resend(recorder, commit)
    assert [BEFORE] == stored.days()
    assert {"course_views": 1} == stored.tally(BEFORE)


async def test_a_repeat_on_the_next_day_has_no_user_there(redis_url: str, stored: Stored) -> None:
    clock = Clock(MIDNIGHT - 1)
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        for clock.now in (MIDNIGHT - 1, MIDNIGHT):
            commit = Commit(today=Today(ZONE, clock))
            add(commit, CourseView(COURSE, b"ann", "e"))
            await record(recorder, commit)
    assert {"not_counted:REPEATED": 1} == stored.tally(AFTER)
    assert [1, 1, 0] == [stored.users(name) for name in (COURSE, BEFORE, AFTER)]


async def test_a_refusal_whose_reply_was_lost_is_repeated_and_counted_once(redis_url: str, stored: Stored) -> None:
    commit = Commit(watch_credit=60)
    for user in (b"ann", b"ann", b"bob"):
        add(commit, Telemetry(COURSE, user, None, FIRST, 60, None))
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        told = [await record(recorder, commit), await resend(recorder, commit)]
        assert [{1: "IMPLAUSIBLE"}] * 2 == told
        later = Commit(watch_credit=60)
        add(later, CourseView(COURSE, b"ann", "e"))
        assert [None, None] == [await record(recorder, later), await resend(recorder, later)]
    assert {"not_counted:IMPLAUSIBLE": 1, "not_counted_seconds:IMPLAUSIBLE": 60} == stored.not_counted()


async def test_broken_sketches_keep_nothing_from_being_counted(redis_url: str, stored: Stored) -> None:
    for tally in (COURSE, AFTER):
        stored.redis.rpush(key("course_users", tally), "garbage")
    commit = Commit(today=Today(ZONE, Clock(MIDNIGHT)))
    add(commit, CourseView(COURSE, b"ann", "e"))
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        assert await record(recorder, commit) is None
    assert {"course_views": 1} == stored.tally(AFTER)


async def test_a_day_owes_its_users_and_they_expire_40_days_after_it(redis_url: str, stored: Stored) -> None:
    commit = Commit(today=Today(ZONE, Clock(MIDNIGHT)))
    add(commit, CourseView(COURSE, b"ann", None))
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        await record(recorder, commit)
    assert {AFTER} == stored.redis.smembers(f"unsaved_users:{{{partition()}}}")
    assert start_of("2026-12-13", ZONE) == stored.redis.expiretime(key("course_users", AFTER))
    assert -1 == stored.redis.ttl(key("course_users"))
