"""Keys that somebody else has written: of any type, in the place of every key that a commit touches."""

import asyncio
import time
from itertools import count

import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest_server.commit import Commit
from ingest_server.events import CourseView, Event, Telemetry
from ingest_server.reasons import SPOILT_KEY
from ingest_server.recorder import Answers, Calls, Outcome, Recorder
from ingest_server.script_call import script_call
from shared.settings import Barrier
from shared.stores.redis_connection import RedisUnreachable
from tests.ingest_server.backend import Report, report, view
from tests.ingest_server.client import COURSE, FIRST, Player, refusal
from tests.ingest_server.conftest import OTHER_COURSES
from tests.ingest_server.stored import Stored, key, partition, seconds, views
from tests.ingest_server.test_exact import played_of

NEIGHBOUR = next(f"{n:024x}" for n in count(1) if partition(f"{n:024x}") == partition())
PROCESS = "p"
CREDIT = 10_000.0
PLAYED = played_of([(0, 50)], 60)

# In the order in which a commit of one course names its keys.
KEYS = [
    "commit",
    "dirty",
    "unsaved",
    "refused",
    "alive: events",
    "alive: playbacks",
    "forgotten",
    *(f"of the version before: {window}" for window in ("e", "last e", "p", "last p")),
    *(f"seen: {kind}{window}" for kind in "vt" for window in (-2, -1, 0, 1)),
    *(f"seen: p{window}" for window in (-3, -2, -1, 0, 1)),
    "counters",
    "users",
    "counters of the day",
    "users of the day",
    "counters of the lecture",
    "seen: b",
    "watch",
]

Content = tuple[str | bytes | int | float, ...]

CONTENTS: list[Content] = [
    ("SET", "garbage"),
    ("SET", b"\xff\0"),
    ("SET", ""),
    ("SET", "nan"),
    ("SET", "inf"),
    ("SET", "-7"),
    ("SET", "1e400"),
    ("RPUSH", "a"),
    ("SADD", "a", ""),
    ("ZADD", 1, "a"),
    ("XADD", "*", "a", "b"),
    ("HSET", "a", "b"),
    ("HSET", "batch", b"\xff", "course_views", "x"),
    (
        "HSET",
        "course_views",
        2**63 - 1,
        views(FIRST),
        "-",
        seconds(FIRST),
        "1.5",
        "playbacks",
        "",
        "segment_views:0",
        "0x",
    ),
    ("PFADD", "a"),
]


def commit_of(*events: Event) -> Commit:
    commit = Commit(watch_credit=CREDIT)
    for event in events:
        commit.add(event, asyncio.get_running_loop().create_future())
    return commit


def events_of(course: str, number: int) -> list[Event]:
    """A plain view, a view with an id, and a ping with everything that a ping may have."""
    event_id = f"e{number}"
    return [
        CourseView(course, b"ann", None),
        CourseView(course, b"ann", event_id),
        Telemetry(course, b"ann", event_id, FIRST, 5, "playback", PLAYED),
    ]


def touched() -> dict[str, str]:
    """Every key that the first commit touches, but those that are the neighbour's own; by what they are."""
    ((number, share),) = commit_of(*events_of(COURSE, 0)).partitions.items()
    names, _ = script_call(number, share, process=PROCESS, commit=1, batch="b", now=time.time(), watch_credit=CREDIT)
    return dict(zip(KEYS, names, strict=True))


def put(stored: Stored, name: str, content: Content) -> None:
    command, *arguments = content
    stored.redis.execute_command(command, name, *arguments)  # type: ignore[no-untyped-call] # it has no types


async def record(recorder: Recorder, commit: Commit) -> Outcome:
    """The outcome of its only partition."""
    ((_, outcome),) = (await recorder.record(commit)).items()
    return outcome


async def record_and_lose_a_reply(recorder: Recorder, commit: Commit) -> Outcome:
    """What it is when the first reply that says something was counted does not arrive."""
    send = recorder._send
    lost: Answers = {}

    async def lossy(calls: Calls, give_up: float) -> Answers:
        answers = await send(calls, give_up)
        if lost or any(isinstance(answer, Exception) for answer in answers.values()):
            return answers
        lost.update({number: RedisUnreachable("lost") for number in answers})
        return dict(lost)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "_send", lossy)
        return await record(recorder, commit)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])  # emptied by the test
@given(
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(CONTENTS), min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=2, max_size=3),
)
@example(dict.fromkeys(("seen: t0", "seen: p0", "seen: b", "watch"), ("RPUSH", "a")), [True, False])
async def test_a_key_of_any_type_spoils_at_most_the_counts_of_its_own_course(
    redis_url: str, stored: Stored, odd: dict[str, Content], lost: list[bool]
) -> None:
    stored.redis.flushdb()
    names = touched()
    for kind, content in odd.items():
        put(stored, names[kind], content)
    is_spoilt = any(content[0] != "HSET" for kind, content in odd.items() if kind.startswith("counters"))

    counted = 0
    async with Recorder(redis_url, Barrier("none"), process=PROCESS) as recorder:
        for number, is_lost in enumerate(lost):
            commit = commit_of(*events_of(COURSE, number), *events_of(NEIGHBOUR, number))
            outcome = await (record_and_lose_a_reply if is_lost else record)(recorder, commit)
            if number == 0 and "commit" in odd:
                assert isinstance(outcome, Exception)
                continue
            assert (dict.fromkeys(range(3), SPOILT_KEY) if is_spoilt else None) == outcome
            counted += 1

    assert {"course_views": 2 * counted, views(FIRST): 1, seconds(FIRST): 5 * counted} == stored.tally(NEIGHBOUR)
    segments = {"playbacks": 1, "duration:60": 1, "segment_watched:0": 50 * counted, "segment_views:0": 1}
    assert segments == stored.lecture(FIRST, NEIGHBOUR)
    assert 1 == stored.users(NEIGHBOUR)
    if not is_spoilt:
        own = int(stored.redis.hget(key("course_counters"), "course_views") or 0)
        assert 2 * counted == own


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("999999999999999", "1000000000000000"),
        ("9007199254740993", "9007199254740994"),  # no floating-point number
        (str(2**63 - 2), str(2**63 - 1)),
        (str(2**63 - 1), "1"),
        ("-7", "-6"),
        ("1.5", "1"),
        ("0x10", "1"),
        ("odd", "1"),
        ("", "1"),
    ],
)
async def test_a_count_is_exact_however_long_it_is_and_replaces_what_is_none(
    before: str, after: str, redis_url: str, stored: Stored
) -> None:
    stored.redis.hset(key("course_counters"), "course_views", before)
    async with Recorder(redis_url, Barrier("none"), process=PROCESS) as recorder:
        assert await record(recorder, commit_of(CourseView(COURSE, b"ann", None))) is None
    assert after == stored.redis.hget(key("course_counters"), "course_views")


async def test_a_commit_whose_number_was_spoilt_meanwhile_is_not_counted_again(redis_url: str, stored: Stored) -> None:
    name = touched()["commit"]
    async with Recorder(redis_url, Barrier("none"), process=PROCESS) as recorder:
        commit = commit_of(*events_of(COURSE, 0))
        assert await record(recorder, commit) is None
        for value in ("garbage", "17"):
            stored.redis.set(name, value)
            recorder._commits = 0
            assert isinstance(await record(recorder, commit), Exception)
    assert 2 == stored.counters()["course_views"]


async def test_callers_of_a_broken_course_get_an_error_and_others_are_counted(player: Player, stored: Stored) -> None:
    spoilt, other = OTHER_COURSES[:2]
    stored.redis.set(key("course_counters", spoilt), "garbage")
    told = await refusal(player.view(spoilt))
    assert (StatusCode.INTERNAL, "internal error") == (told.code, told.message)
    assert Report(1, [(0, "internal error")]) == await report(player, [view(spoilt), view(other)])
    assert {"course_views": 1} == stored.tally(other)
