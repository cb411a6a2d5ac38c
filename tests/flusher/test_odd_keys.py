"""Keys of any type and bytes: they spoil at most their own tally or partition."""

from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from shared.data import keys
from shared.stores.mongo import COURSE_ANALYTICS
from tests.flusher.stage import ONE_PING, Stage
from tests.flusher.test_odd import (
    BESIDE,
    FUZZ,
    NEIGHBOUR,
    PARTITION,
    THEIRS,
    assert_the_tools_can_say_something,
    emptied,
)

OF_ANOTHER_TYPE: list[tuple[str | bytes | int, ...]] = [
    ("SET", b"\xff\xfe"),
    ("RPUSH", "a"),
    ("SADD", b"\xff", "650000000000000000000001/nothing", "\n", ""),
    ("ZADD", 1, "a"),
    ("XADD", "*", "a", "b"),
    ("HSET", b"\xff", b"\xfe"),
    ("HSET", keys.BATCH, b"\xff", "course_views", 1),
    ("HSET", keys.BATCH, "b", "course_views", "-1"),
    ("HSET", "x", "no JSON"),
    ("HSET", "x", '{"reason": 5, "counters": []}'),
    ("HSET", "x", "[]"),
    ("PFADD", "a"),
]
OF_THE_TALLY = [
    keys.course_counters,
    keys.flushing_counters,
    keys.quarantined_counters,
    keys.flushed_batch,
    keys.course_users,
    keys.saved_users,
]
OF_THE_PARTITION = [keys.dirty_courses, keys.unsaved_users, keys.flush_lock]


async def put(stage: Stage, name: str, content: tuple[str | bytes | int, ...]) -> None:
    command, *arguments = content
    await stage.call("DEL", name)
    await stage.call(command, name, *arguments)


@FUZZ
@given(st.dictionaries(st.sampled_from(OF_THE_TALLY), st.sampled_from(OF_ANOTHER_TYPE), min_size=1, max_size=3))
async def test_keys_of_a_tally_of_any_type_block_no_other_tally(stage: Stage, odd: dict[Any, Any]) -> None:
    await emptied(stage)
    await stage.ping(THEIRS, NEIGHBOUR, BESIDE)
    for key, content in odd.items():
        await put(stage, key(PARTITION, THEIRS), content)

    report = await stage.flush()

    assert not report.store_away
    others = (NEIGHBOUR, BESIDE)
    assert dict.fromkeys(others, ONE_PING) == await stage.flushed(*others)
    await assert_the_tools_can_say_something(stage)


@pytest.mark.parametrize("key", OF_THE_PARTITION)
@pytest.mark.parametrize("content", OF_ANOTHER_TYPE)
async def test_keys_of_a_partition_of_any_type_stop_no_other_partition(
    stage: Stage, key: Any, content: tuple[str | bytes | int, ...]
) -> None:
    await stage.ping(THEIRS, NEIGHBOUR)
    await put(stage, key(PARTITION), content)

    report = await stage.flush()

    assert not report.store_away
    assert {NEIGHBOUR: ONE_PING} == await stage.flushed(NEIGHBOUR)
    await assert_the_tools_can_say_something(stage)


async def test_a_name_of_malformed_utf_8_leaves_the_dirty_set_and_its_counts_are_quarantined(stage: Stage) -> None:
    name = b"course_counters:{7}:\xff"
    await stage.call("HSET", name, keys.BATCH, "b", "course_views", 1)
    await stage.call("SADD", keys.dirty_courses(PARTITION), b"\xff", b"\xfe")

    report = await stage.flush()

    assert (1, 1, {}) == (report.cleared, report.quarantined, report.left)
    assert set() == await stage.dirty()
    assert 1 == await stage.call("HLEN", b"quarantined_counters:{7}:\xff")


async def test_a_quarantined_batch_of_json_that_is_nested_too_deeply_stops_nothing(stage: Stage) -> None:
    await stage.call("HSET", keys.quarantined_counters(PARTITION, THEIRS), "A", "[" * 100_000)
    await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(THEIRS), "lectureStats": 5})
    await stage.ping(THEIRS, BESIDE)

    report = await stage.flush()

    assert (1, 1, {}) == (report.cleared, report.quarantined, report.left)
    await assert_the_tools_can_say_something(stage)
