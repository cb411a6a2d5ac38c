"""What one user can have alive: beyond it what would add more is refused, and everything else goes on."""

import base64
import hashlib
import time
from collections.abc import AsyncIterator

import pytest

from ingest_server import script_call
from ingest_server.commit import Commit
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry
from ingest_server.recorder import Outcome, Recorder
from shared.settings import Barrier
from tests.ingest_server.client import COURSE, FIRST, Player, refusal
from tests.ingest_server.stored import Stored, partition, seconds, views
from tests.ingest_server.test_exact import add

LIMIT = 1000
EVENTS = f"alive:{{{partition()}}}:events"
PLAYBACKS = f"alive:{{{partition()}}}:playbacks"


def view(event: str | None, user: bytes = b"ann") -> CourseView:
    return CourseView(COURSE, user, event)


def ping(event: str | None, playback: str | None = None, *segments: int, user: bytes = b"ann") -> Telemetry:
    played = Played([Segment(number, 100, is_view=True) for number in segments], None) if segments else None
    return Telemetry(COURSE, user, event, FIRST, 5, playback, played)


class Counting:
    """An ingest server's recorder, for one event after the other."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def count(self, *events: Event, credit: float | None = None) -> Outcome:
        commit = Commit(watch_credit=credit)
        for event in events:
            add(commit, event)
        ((_, outcome),) = (await self._recorder.record(commit)).items()
        return outcome


@pytest.fixture
async def counting(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counting]:
    monkeypatch.setattr(script_call, "USER_BYTES", LIMIT)
    monkeypatch.setattr(script_call, "STEP_BYTES", 1)
    async with Recorder(redis_url, Barrier("none"), process="p") as recorder:
        yield Counting(recorder)


@pytest.fixture
async def full(counting: Counting) -> Counting:
    """Ann has as many event ids as she may."""
    assert await counting.count(*(view(f"e{number}") for number in range(9))) is None
    return counting


def charged(stored: Stored, prefix: str) -> int:
    """What Ann's ids are charged with, who is the only one."""
    (account,) = stored.redis.keys(f"{prefix}*")
    (charged_bytes,) = stored.redis.hvals(account)
    return int(charged_bytes)


async def test_a_new_id_beyond_the_limit_is_refused_and_counted_as_that(full: Counting, stored: Stored) -> None:
    assert {0: "USER_LIMIT"} == await full.count(view("new"))
    assert {1: "USER_LIMIT"} == await full.count(view(None), ping("new", "p"))
    assert {"course_views": 10} == stored.counters()
    assert {"not_counted:USER_LIMIT": 2, "not_counted_seconds:USER_LIMIT": 5} == stored.not_counted()
    assert [9, 0] == [stored.ids(kind) for kind in ("v", "p")]


async def test_a_repeat_is_a_repeat_beyond_the_limit_too(full: Counting, stored: Stored) -> None:
    assert await full.count(view("e0")) is None
    assert {"not_counted:REPEATED": 1} == stored.not_counted()


async def test_events_without_ids_and_those_of_others_are_counted_beyond_it(full: Counting, stored: Stored) -> None:
    assert await full.count(view(None), ping(None), view("new", user=b"bob")) is None
    assert {"course_views": 11, views(FIRST): 1, seconds(FIRST): 5} == stored.counters()


async def test_a_playback_that_has_begun_goes_on_and_a_new_one_does_not(counting: Counting) -> None:
    assert await counting.count(*(ping(None, f"p{number}") for number in range(9))) is None
    assert {1: "USER_LIMIT"} == await counting.count(ping(None, "p0", 0), ping(None, "new"))


async def test_playbacks_of_an_earlier_window_go_on_up_to_twice_the_limit(counting: Counting, stored: Stored) -> None:
    """Else a user could keep those of each day alive for ever."""
    playbacks = [ping(None, f"p{number}") for number in range(9)]
    assert await counting.count(*playbacks) is None
    (ids,) = map(str, stored.redis.keys("seen:*}:p*"))
    stem, _, window = ids.rpartition("p")
    stored.redis.rename(ids, f"{stem}p{int(window) - 1}")
    assert {8: "USER_LIMIT"} == await counting.count(*playbacks)


async def test_playbacks_and_events_have_a_limit_each(full: Counting) -> None:
    assert await full.count(ping(None, "new")) is None


async def test_one_commit_goes_no_further_than_the_limit(counting: Counting) -> None:
    told = await counting.count(*(view(f"e{number}") for number in range(12)))
    assert dict.fromkeys(range(9, 12), "USER_LIMIT") == told


async def test_who_is_charged_exactly_the_limit_has_reached_it(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_call, "USER_BYTES", 8 * 120)
    assert await counting.count(*(view(f"e{number}") for number in range(8))) is None
    assert {0: "USER_LIMIT"} == await counting.count(view("new"))


async def test_one_commit_of_others_goes_no_further_either_once_somebody_is_full(full: Counting) -> None:
    assert await full.count(*(view(f"a{number}", b"bob") for number in range(4))) is None
    told = await full.count(*(each for n in range(7) for each in (view(f"b{n}", b"bob"), view(f"c{n}", b"eve"))))
    assert dict.fromkeys((10, 12), "USER_LIMIT") == told


async def test_a_full_account_is_read_once_for_all_users_of_a_commit(full: Counting, stored: Stored) -> None:
    def reads() -> int:
        return int(stored.redis.info("commandstats")["cmdstat_hmget"]["calls"])

    times = [reads()]
    for users in (1, 20):
        assert await full.count(*(view(f"e{user}", b"%d" % user) for user in range(users))) is None
        times.append(reads())
    assert times[1] - times[0] == times[2] - times[1]


async def test_no_user_of_a_full_account_is_searched_for(full: Counting, stored: Stored) -> None:
    """Else each of thousands of events would take as long as there are users."""
    await full.count(view("new"))
    (account,) = stored.redis.keys(f"{EVENTS}*")
    assert "hashtable" == stored.redis.object("encoding", account)


async def test_a_new_window_has_a_limit_of_its_own(
    full: Counting, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    (account,) = stored.redis.keys(f"{EVENTS}*")
    window = int(str(account).removeprefix(EVENTS))
    times = iter([(window + 1) * script_call.EVENT_SECONDS - 1, (window + 1) * script_call.EVENT_SECONDS])
    monkeypatch.setattr("ingest_server.recorder.time.time", lambda: next(times))
    assert {0: "USER_LIMIT"} == await full.count(view("new"))
    assert await full.count(view("new")) is None


async def test_an_id_is_charged_once_and_its_account_ends(counting: Counting, stored: Stored) -> None:
    for _ in range(3):
        await counting.count(ping("e", "p"))
    assert (120, 120) == (charged(stored, EVENTS), charged(stored, PLAYBACKS))
    lives = [stored.redis.ttl(str(key)) for key in sorted(stored.redis.keys("alive:*"))]
    assert [True, True] == [1790 < lives[0] <= 1800, 172_790 < lives[1] <= 172_800]


async def test_the_segments_of_a_playback_are_charged_by_their_bytes(counting: Counting, stored: Stored) -> None:
    await counting.count(ping(None, "p", 0))
    assert 120 + 120 + 1 == charged(stored, PLAYBACKS)
    await counting.count(ping(None, "p", 0, 358))
    (bitmap,) = stored.seen("b")
    assert 45 == stored.redis.strlen(bitmap)
    assert 120 + 120 + 45 == charged(stored, PLAYBACKS)


async def test_the_first_segments_of_a_playback_are_charged_as_another_key(counting: Counting, stored: Stored) -> None:
    await counting.count(ping(None, "p"))
    await counting.count(ping(None, "p", 0))
    assert 120 + 120 + 1 == charged(stored, PLAYBACKS)


async def test_a_playback_that_goes_on_in_a_new_window_is_charged_with_all_its_segments(
    counting: Counting, stored: Stored
) -> None:
    await counting.count(ping(None, "p", 358))
    (account,), (ids,) = stored.redis.keys(f"{PLAYBACKS}*"), stored.seen("p")
    stored.redis.delete(account)
    window = int(ids.rpartition(":p")[2])
    stored.redis.rename(ids, ids.replace(f":p{window}", f":p{window - 1}"))
    await counting.count(ping(None, "p", 0))
    assert 120 + 120 + 45 == charged(stored, PLAYBACKS)


async def test_ids_and_segments_of_one_commit_are_those_of_their_own_pings(counting: Counting, stored: Stored) -> None:
    await counting.count(ping("e", None, 0), ping(None, "p", 1))
    watched = {"segment_watched:0": 100, "segment_watched:1": 100}
    assert {"playbacks": 1, **watched, "segment_views:1": 1} == stored.lecture()


async def test_a_playback_lives_on_whatever_a_large_commit_holds_beside_it(counting: Counting, stored: Stored) -> None:
    await counting.count(ping(None, "p", 0))
    (bitmap,) = stored.seen("b")
    stored.redis.expire(bitmap, 100)
    await counting.count(ping(None, "p"), *(ping(None, "other", user=b"bob") for _ in range(1000)))
    assert stored.redis.ttl(bitmap) > 100


async def test_a_watch_key_is_charged_when_it_begins(counting: Counting, stored: Stored) -> None:
    for _ in range(2):
        await counting.count(ping(None), credit=60)
    assert 120 == charged(stored, EVENTS)


async def test_an_account_that_holds_no_number_begins_anew(counting: Counting, stored: Stored) -> None:
    window = int(time.time()) // script_call.EVENT_SECONDS
    for account in (f"{EVENTS}{window}", f"{EVENTS}{window + 1}"):
        stored.redis.hset(account, script_call._account_of(b"ann"), "odd")
    await counting.count(view("e"))
    assert "120" in [stored.redis.hvals(account)[0] for account in stored.redis.keys(f"{EVENTS}*")]


async def test_an_id_that_completes_no_step_has_no_account(
    counting: Counting, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_call, "STEP_BYTES", 2**20)  # more than any start within it and an id
    await counting.count(view("e"))
    assert ([], 1) == (stored.redis.keys("alive:*"), stored.ids("v"))


async def test_of_so_many_ids_one_is_charged_for_all(
    counting: Counting, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_call, "USER_BYTES", 2**20)
    monkeypatch.setattr(script_call, "STEP_BYTES", 960)
    assert await counting.count(*(view(f"e{number}") for number in range(80))) is None
    assert 80 * 120 == charged(stored, EVENTS)


async def test_no_order_of_events_hides_some_bytes(
    counting: Counting, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_call, "USER_BYTES", 2**20)
    monkeypatch.setattr(script_call, "STEP_BYTES", 960)
    repeats = [ping(None, "p", 4319)] * 6  # they add nothing
    playbacks = [[ping(None, f"p{number}", 4319), *repeats] for number in range(20)]
    assert await counting.count(ping(None, "p", 4319), *(each for some in playbacks for each in some)) is None
    needed = 21 * (120 + 120 + 541)
    assert needed - 960 < charged(stored, PLAYBACKS) < needed + 960


async def test_single_ids_are_charged_by_chance(
    counting: Counting, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_call, "STEP_BYTES", 240)
    told = [await counting.count(view(f"e{number}")) for number in range(60)]
    reached = told.index({0: "USER_LIMIT"})
    assert 5 <= reached  # 5 charges of 240 bytes are the limit
    assert {None} == set(told[:reached])
    assert [reached, reached] == [60 - told.count({0: "USER_LIMIT"}), stored.ids("v")]


def before_it(stored: Stored, kind: str, text: str, *, earlier: bool = False) -> None:
    """An id as the version before has kept it: as a key, beside an account of its user, `earlier` in the last window.

    In the last minute of a window that means this one, which may be the last when Redis is asked.
    """
    digest = base64.urlsafe_b64encode(hashlib.blake2b(text.encode(), digest_size=16).digest()).decode().rstrip("=")
    stored.redis.set(f"seen:{{{partition()}}}:{kind}{digest}", "")
    seconds_long = 86_400 if kind == "p" else 900
    window = int(time.time() + 60) // seconds_long - 1 if earlier else int(time.time()) // seconds_long
    stored.redis.hset(f"alive:{{{partition()}}}:{'p' if kind == 'p' else 'e'}{window}", "ann", "120")


async def test_a_playback_of_the_previous_version_is_not_a_new_view(counting: Counting, stored: Stored) -> None:
    before_it(stored, "p", f"{COURSE}\0{FIRST}\0p\0ann")
    assert await counting.count(ping(None, "p"), ping(None, "q")) is None
    assert 1 == stored.counters()[views(FIRST)]


async def test_an_event_of_the_version_before_is_a_repeat(counting: Counting, stored: Stored) -> None:
    before_it(stored, "v", f"{COURSE}\0e\0ann")
    before_it(stored, "t", f"{COURSE}\0f\0ann")
    assert await counting.count(view("e"), view("f"), ping("e"), ping("f")) is None
    assert {"course_views": 1, views(FIRST): 1, seconds(FIRST): 5} == stored.counters()
    assert 2 == stored.not_counted()["not_counted:REPEATED"]


async def test_ids_of_the_version_before_are_known_through_the_next_window(counting: Counting, stored: Stored) -> None:
    before_it(stored, "v", f"{COURSE}\0e\0ann", earlier=True)
    assert await counting.count(view("e"), view("f")) is None
    assert 1 == stored.not_counted()["not_counted:REPEATED"]
    stored.redis.flushdb()
    before_it(stored, "p", f"{COURSE}\0{FIRST}\0p\0ann", earlier=True)
    assert await counting.count(ping(None, "p"), ping(None, "q")) is None
    assert 1 == stored.counters()[views(FIRST)]


async def test_what_is_charged_is_about_what_redis_needs(counting: Counting, stored: Stored) -> None:
    await counting.count(ping("e", "p", *range(100)))
    needed = sum(stored.redis.memory_usage(key) or 0 for key in stored.redis.keys("seen:*"))
    assert needed * 0.75 < charged(stored, EVENTS) + charged(stored, PLAYBACKS) < needed * 2


async def test_a_caller_gets_the_reason(player: Player, stored: Stored) -> None:
    window = int(time.time()) // script_call.EVENT_SECONDS
    for account in (f"{EVENTS}{window}", f"{EVENTS}{window + 1}"):
        stored.redis.hset(account, mapping={script_call._account_of(b"ann"): 2**20, "": 1})
    refused = await refusal(player.view(event="new"))
    assert ("RESOURCE_EXHAUSTED", "USER_LIMIT") == (refused.code.name, refused.reason)
