"""The counting rules, through the real program: who sends what, and what is in Redis afterwards."""

import asyncio
import re
import time

import grpc
import pytest

from tests.ingest_server.client import COURSE, FIRST, NONE, SECOND, Player, bearer, token
from tests.ingest_server.stored import Stored, key, partition, seconds, views

BOB = bearer(token(sub="bob"))


async def test_a_course_view_is_answered_tracked(player: Player) -> None:
    assert "tracked" == await player.view()


async def test_a_ping_is_answered_tracked(player: Player) -> None:
    assert "tracked" == await player.ping()


async def test_a_course_view_counts_one(player: Player, stored: Stored) -> None:
    await player.view()
    await player.view()
    assert {"course_views": 2} == stored.counters()


async def test_a_ping_counts_a_view_and_its_seconds(player: Player, stored: Stored) -> None:
    await player.ping(lecture=FIRST, seconds=4.6)
    await player.ping(lecture=FIRST, seconds=4.4)
    await player.ping(lecture=SECOND, seconds=300)
    assert {views(FIRST): 2, seconds(FIRST): 9, views(SECOND): 1, seconds(SECOND): 300} == stored.counters()


async def test_both_kinds_count_the_user_once(player: Player, stored: Stored) -> None:
    await player.view()
    await player.ping()
    await player.ping(metadata=BOB)
    assert 2 == stored.users()


async def test_many_at_once_are_all_counted(player: Player, stored: Stored) -> None:
    await asyncio.gather(*(player.ping() for _ in range(200)))
    assert {views(FIRST): 200, seconds(FIRST): 1000} == stored.counters()


async def test_a_broken_sketch_of_users_does_not_keep_from_counting(player: Player, stored: Stored) -> None:
    stored.redis.set(key("course_users"), "garbage")
    await player.view()
    assert {"course_views": 1} == stored.counters()


async def test_nothing_of_a_partition_is_counted_when_a_key_of_it_is_of_another_type(
    player: Player, stored: Stored
) -> None:
    stored.redis.set(key("course_counters"), "garbage")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await player.view(event="e")
    assert grpc.StatusCode.INTERNAL == refused.value.code()
    stored.redis.delete(key("course_counters"))
    await player.view(event="e")
    assert {"course_views": 1} == stored.counters()


def shift(stored: Stored, kind: str) -> None:
    """Lets a window pass: the sets of each are those of the window before."""
    for name in stored.seen(kind):  # the oldest first
        beginning, _, window = name.rpartition(kind)
        stored.redis.rename(name, f"{beginning}{kind}{int(window) - 1}")


class TestEventIds:
    async def test_a_repeated_view_is_answered_tracked_and_counts_nothing(self, player: Player, stored: Stored) -> None:
        assert ["tracked"] * 2 == [await player.view(event="e"), await player.view(event="e")]
        assert {"course_views": 1} == stored.counters()

    async def test_a_repeated_ping_is_answered_tracked_and_counts_nothing(self, player: Player, stored: Stored) -> None:
        assert ["tracked"] * 2 == [await player.ping(event="e"), await player.ping(event="e")]
        assert {views(FIRST): 1, seconds(FIRST): 5} == stored.counters()

    async def test_repeats_in_one_commit_count_once(self, player: Player, stored: Stored) -> None:
        await asyncio.gather(*(player.ping(event="e") for _ in range(50)))
        assert {views(FIRST): 1, seconds(FIRST): 5} == stored.counters()

    async def test_another_event_counts(self, player: Player, stored: Stored) -> None:
        await player.view(event="e")
        await player.view(event="f")
        assert {"course_views": 2} == stored.counters()

    async def test_the_same_id_of_another_kind_counts(self, player: Player, stored: Stored) -> None:
        await player.view(event="e")
        await player.ping(event="e")
        assert {"course_views": 1, views(FIRST): 1, seconds(FIRST): 5} == stored.counters()

    async def test_the_same_id_of_another_user_counts(self, player: Player, stored: Stored) -> None:
        await player.view(event="e")
        await player.view(event="e", metadata=BOB)
        assert {"course_views": 2} == stored.counters()

    async def test_the_same_id_in_another_lecture_is_a_repeat(self, player: Player, stored: Stored) -> None:
        await player.ping(lecture=FIRST, event="e")
        await player.ping(lecture=SECOND, event="e")
        assert {views(FIRST): 1, seconds(FIRST): 5} == stored.counters()

    async def test_an_id_is_remembered_for_at_least_900_s_from_first_sight(
        self, player: Player, stored: Stored
    ) -> None:
        before = int(time.time())
        await player.view(event="e")
        (seen,) = stored.seen("v")
        window = int(seen.rpartition("v")[2])
        assert window in {before // 900, int(time.time()) // 900}
        assert (window + 2) * 900 == stored.redis.expiretime(seen)

    async def test_an_id_of_the_last_window_is_a_repeat_and_one_of_an_earlier_one_is_new(
        self, player: Player, stored: Stored
    ) -> None:
        for counted in (1, 1, 2):
            for _ in range(2):
                await player.view(event="e")
                await player.ping(event="e")
            assert {"course_views": counted, views(FIRST): counted, seconds(FIRST): 5 * counted} == stored.counters()
            shift(stored, "v")
            shift(stored, "t")


class TestPlaybackIds:
    async def test_a_playback_is_one_view_and_all_its_seconds(self, player: Player, stored: Stored) -> None:
        for _ in range(3):
            await player.ping(playback="p")
        assert {views(FIRST): 1, seconds(FIRST): 15} == stored.counters()

    async def test_pings_of_a_playback_in_one_commit_are_one_view(self, player: Player, stored: Stored) -> None:
        await asyncio.gather(*(player.ping(playback="p") for _ in range(50)))
        assert {views(FIRST): 1, seconds(FIRST): 250} == stored.counters()

    async def test_the_same_playback_in_another_lecture_is_a_view_there(self, player: Player, stored: Stored) -> None:
        await player.ping(lecture=FIRST, playback="p")
        await player.ping(lecture=SECOND, playback="p")
        assert {views(FIRST): 1, seconds(FIRST): 5, views(SECOND): 1, seconds(SECOND): 5} == stored.counters()

    async def test_the_same_playback_of_another_user_is_a_view(self, player: Player, stored: Stored) -> None:
        await player.ping(playback="p")
        await player.ping(playback="p", metadata=BOB)
        assert {views(FIRST): 2, seconds(FIRST): 10} == stored.counters()

    async def test_a_repeated_event_of_a_playback_counts_nothing(self, player: Player, stored: Stored) -> None:
        await player.ping(playback="p", event="e")
        await player.ping(playback="p", event="e")
        await player.ping(playback="p", event="f")
        assert {views(FIRST): 1, seconds(FIRST): 10} == stored.counters()

    async def test_it_is_remembered_until_24_h_after_its_last_ping(self, player: Player, stored: Stored) -> None:
        await player.ping(playback="p")
        (seen,) = stored.seen("p")
        assert (int(seen.rpartition("p")[2]) + 3) * 43_200 == stored.redis.expiretime(seen)
        for _ in range(4):  # each ping brings it into the window of today
            shift(stored, "p")
            shift(stored, "p")
            await player.ping(playback="p")
        assert 1 == stored.counters()[views(FIRST)]
        for _ in range(3):
            shift(stored, "p")
        await player.ping(playback="p")
        assert 2 == stored.counters()[views(FIRST)]


class TestWhatIsInRedis:
    async def test_events_without_ids_leave_seven_keys(self, player: Player, stored: Stored) -> None:
        await player.view()
        await player.ping()
        commit, counters, day_counters, users, day_users, dirty, unsaved = stored.keys()
        (day,) = stored.days()
        assert re.fullmatch(rf"commit:\{{{partition()}\}}:[0-9a-f]+", commit)
        assert [key("course_counters"), key("course_counters", day)] == [counters, day_counters]
        assert [key("course_users"), key("course_users", day)] == [users, day_users]
        assert [f"{name}:{{{partition()}}}" for name in ("dirty_analytics_courses", "unsaved_users")] == [
            dirty,
            unsaved,
        ]

    async def test_an_event_id_and_a_playback_id_leave_one_key_each(self, player: Player, stored: Stored) -> None:
        await player.ping(event="e", playback="p")
        accounts = len(stored.redis.keys("alive:*"))  # there by chance
        assert (1, 1, 9) == (len(stored.seen("t")), len(stored.seen("p")), len(stored.keys()) - accounts)

    async def test_the_course_and_its_day_are_dirty(self, player: Player, stored: Stored) -> None:
        await player.view()
        dirty = stored.redis.smembers(f"dirty_analytics_courses:{{{partition()}}}")
        assert {COURSE, *stored.days()} == dirty

    async def test_the_batch_is_named_by_its_first_increment(self, player: Player, stored: Stored) -> None:
        await player.view()
        first = stored.redis.hget(key("course_counters"), "batch")
        await player.view()
        assert first
        assert first == stored.redis.hget(key("course_counters"), "batch")

    async def test_what_comes_after_a_take_is_another_batch(self, player: Player, stored: Stored) -> None:
        await player.view()
        stored.redis.rename(key("course_counters"), key("flushing_counters"))
        await player.view()
        taken, new = (stored.redis.hget(key(kind), "batch") for kind in ("flushing_counters", "course_counters"))
        assert taken != new

    async def test_a_repeat_alone_is_counted_as_one_and_has_no_user(self, player: Player, stored: Stored) -> None:
        await player.view(event="e")
        stored.redis.delete(key("course_counters"), key("course_users"))
        await player.view(event="e")
        assert {"not_counted:REPEATED": 1} == stored.tally(COURSE)
        assert 0 == stored.users()

    async def test_counts_and_users_stay_until_they_are_taken(self, player: Player, stored: Stored) -> None:
        await player.ping()
        assert [-1, -1] == [stored.redis.ttl(key(kind)) for kind in ("course_counters", "course_users")]

    async def test_the_number_of_the_last_commit_stays_for_an_hour(self, player: Player, stored: Stored) -> None:
        await player.view()
        (commit,) = stored.redis.keys("commit:*")
        assert 3590 < stored.redis.ttl(commit) <= 3600

    async def test_a_course_that_does_not_exist_leaves_nothing(self, player: Player, stored: Stored) -> None:
        await asyncio.gather(player.view(NONE), return_exceptions=True)
        assert [] == stored.keys()
