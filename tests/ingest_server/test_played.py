"""Where in the video: what a ping's ranges leave in the tally of its lecture, through the real program."""

import asyncio

import pytest

from tests.ingest_server.client import COURSE, FIRST, SECOND, Player, bearer, refusal, token
from tests.ingest_server.stored import Stored, partition, views

BOB = bearer(token(sub="bob"))


async def test_the_tenths_of_each_segment_are_counted(player: Player, stored: Stored) -> None:
    await player.ping(played=[(8.5, 12.25)])
    assert {"segment_watched:0": 15, "segment_watched:1": 23} == stored.lecture()


async def test_ranges_without_a_playback_are_not_views_of_segments(player: Player, stored: Stored) -> None:
    await player.ping(event="e", played=[(0, 5)], duration=60)
    assert {"segment_watched:0": 50} == stored.lecture()


async def test_a_playback_views_a_segment_once(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(0, 5)])
    await player.ping(playback="p", played=[(5, 15)])
    await player.ping(playback="p", played=[(0, 15)])
    assert {
        "playbacks": 1,
        "segment_watched:0": 200,
        "segment_views:0": 1,
        "segment_watched:1": 100,
        "segment_views:1": 1,
    } == stored.lecture()


async def test_pings_of_one_commit_are_one_playback(player: Player, stored: Stored) -> None:
    await asyncio.gather(*(player.ping(playback="p", played=[(0, 5)]) for _ in range(50)))
    assert {"playbacks": 1, "segment_watched:0": 2500, "segment_views:0": 1} == stored.lecture()


async def test_what_is_skipped_is_not_seen(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(0, 2), (602, 605)])
    assert {
        "playbacks": 1,
        "segment_watched:0": 20,
        "segment_views:0": 1,
        "segment_watched:60": 30,
        "segment_views:60": 1,
    } == stored.lecture()


async def test_less_than_a_second_is_watched_and_no_view(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(9.1, 11)])
    assert {"playbacks": 1, "segment_watched:0": 9, "segment_watched:1": 10, "segment_views:1": 1} == stored.lecture()


async def test_half_of_a_rest_that_is_shorter_than_a_second_is_a_view(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(60, 60.3)], duration=60.6)
    assert {"playbacks": 1, "duration:61": 1, "segment_watched:6": 3, "segment_views:6": 1} == stored.lecture()


async def test_a_playback_counts_its_duration_once(player: Player, stored: Stored) -> None:
    for playback in ("p", "p", "q"):
        await player.ping(playback=playback, played=[(0, 1)], duration=600.4)
    assert 2 == stored.lecture()["duration:600"]


async def test_the_same_playback_of_another_user_or_lecture_is_another(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(0, 5)])
    await player.ping(playback="p", played=[(0, 5)], metadata=BOB)
    await player.ping(playback="p", played=[(0, 5)], lecture=SECOND)
    assert [(2, 2), (1, 1)] == [
        (tally["playbacks"], tally["segment_views:0"]) for tally in (stored.lecture(FIRST), stored.lecture(SECOND))
    ]


async def test_a_repeat_counts_nothing_of_its_ranges(player: Player, stored: Stored) -> None:
    await player.ping(event="e", playback="p", played=[(0, 5)])
    await player.ping(event="e", playback="p", played=[(0, 5), (10, 15)])
    assert {"playbacks": 1, "segment_watched:0": 50, "segment_views:0": 1} == stored.lecture()


async def test_a_bad_range_counts_nothing_of_the_ping(player: Player, stored: Stored) -> None:
    refused = await refusal(player.ping(played=[(0, 5), (5, 10), (10, 9)]))
    assert ["played[2].toSeconds"] == refused.bad_fields
    assert ({}, {}) == (stored.counters(), stored.lecture())


async def test_a_playback_of_the_previous_version_is_not_a_new_view_and_one_playback(
    player: Player, stored: Stored
) -> None:
    """Its id is there without a bitmap; views of segments never exceed playbacks all the same."""
    await player.ping(playback="p")
    for _ in range(2):
        await player.ping(playback="p", played=[(0, 5)])
    assert 1 == stored.counters()[views(FIRST)]
    assert (1, 1) == (stored.lecture()["playbacks"], stored.lecture()["segment_views:0"])


async def test_the_lecture_is_dirty_and_a_batch_of_its_own(player: Player, stored: Stored) -> None:
    await player.ping(played=[(0, 5)])
    lecture = f"{COURSE}/{FIRST}"
    assert stored.redis.sismember(f"dirty_analytics_courses:{{{partition()}}}", lecture)
    assert stored.redis.hget(f"course_counters:{{{partition()}}}:{lecture}", "batch")


async def test_what_a_playback_has_seen_is_a_bitmap_that_lives_24_h(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(20, 25)])
    (bitmap,) = stored.seen("b")
    assert [0, 3] == [bit for bit in range(16) if stored.redis.getbit(bitmap, bit)]
    stored.redis.expire(bitmap, 100)
    await player.ping(playback="p", played=[(20, 25)])
    assert 86_390 < stored.redis.ttl(bitmap) <= 86_400


async def test_a_ping_without_ranges_lets_it_live_on_like_the_playback(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(20, 25)])
    (bitmap,) = stored.seen("b")
    stored.redis.expire(bitmap, 100)
    await player.ping(playback="p")
    assert 86_390 < stored.redis.ttl(bitmap) <= 86_400


async def test_without_ranges_a_playback_has_no_bitmap(player: Player, stored: Stored) -> None:
    for _ in range(2):
        await player.ping(playback="p")
    assert ([], {}) == (stored.seen("b"), stored.lecture())


def forget_the_curve(stored: Stored, lecture: str = FIRST) -> None:
    """As `flusher forget` leaves it."""
    seconds, microseconds = stored.redis.time()
    stored.redis.delete(f"course_counters:{{{partition()}}}:{COURSE}/{lecture}")
    stored.redis.hset(f"forgotten:{{{partition()}}}", f"{COURSE}/{lecture}", seconds * 1000 + microseconds // 1000)


async def test_after_a_reset_of_the_heatmap_a_continuing_playback_counts_in_it(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(0, 5)], duration=60)
    forget_the_curve(stored)
    await player.ping(playback="p")
    for _ in range(2):
        await player.ping(playback="p", played=[(0, 5), (10, 15)], duration=60)
    assert {
        "playbacks": 1,
        "duration:60": 1,
        "segment_watched:0": 100,
        "segment_views:0": 1,
        "segment_watched:1": 100,
        "segment_views:1": 1,
    } == stored.lecture()
    assert 1 == stored.counters()[views(FIRST)]


async def test_after_a_reset_of_the_heatmap_a_playback_without_ranges_has_no_bitmap(
    player: Player, stored: Stored
) -> None:
    forget_the_curve(stored)
    for _ in range(2):
        await player.ping(playback="p")
    assert [] == stored.seen("b")


async def test_the_curves_of_other_lectures_go_on(player: Player, stored: Stored) -> None:
    await player.ping(playback="p", played=[(0, 5)], lecture=SECOND)
    forget_the_curve(stored)
    await player.ping(playback="p", played=[(0, 5), (10, 15)], lecture=SECOND)
    assert (1, 1, 1) == tuple(
        stored.lecture(SECOND)[name] for name in ("playbacks", "segment_views:0", "segment_views:1")
    )


async def test_an_hour_of_a_playback_is_less_than_200_bytes(player: Player, stored: Stored) -> None:
    for minute in range(60):
        await player.ping(playback="p", seconds=60, played=[(60 * minute, 60 * minute + 60)])
    (bitmap,) = stored.seen("b")
    assert 360 == sum(count for name, count in stored.lecture().items() if name.startswith("segment_views:"))
    assert (stored.redis.memory_usage(bitmap) or 200) < 200


@pytest.mark.parametrize("number", [0, 4319])
async def test_every_segment_of_twelve_hours_can_be_viewed(player: Player, stored: Stored, number: int) -> None:
    await player.ping(playback="p", played=[(10 * number, 10 * number + 10)])
    assert 1 == stored.lecture()[f"segment_views:{number}"]
