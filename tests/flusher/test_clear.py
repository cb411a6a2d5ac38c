import json
from itertools import islice
from typing import Any

import pytest

from flusher.steps import aside, clear
from flusher.steps.take import Batch, Malformed, Nothing
from shared.data import keys
from shared.data.tallies import course_tally
from tests.flusher.stage import ONE_PING, Stage, course, courses_of, pings

COURSE = course(1)
PARTITION = keys.partition_of(COURSE)
FLUSHING = keys.flushing_counters(PARTITION, COURSE)
FLUSHED = keys.flushed_batch(PARTITION, COURSE)
NOTHING = Nothing(PARTITION, COURSE)
TOKEN = "ours"


async def clear_one(stage: Stage, done: Batch | Nothing) -> Any:
    ((reply,),) = await clear.send(stage.redis, [clear.clearing(done)])
    return reply


async def put_aside(stage: Stage, batch: Batch | Malformed, *, holder: str = TOKEN, reason: str = "why") -> Any:
    await stage.redis.call(("SET", keys.flush_lock(PARTITION), holder), timeout=1)
    kept = [
        aside.read(PARTITION, COURSE, name, text.encode())
        for name, text in (await stage.hash(keys.quarantined_counters, COURSE)).items()
    ]
    entry = aside.entry_for(batch, reason, kept, spare_id="spare")
    (reply,) = await clear.send(stage.redis, [clear.quarantining(batch, entry, token=TOKEN)])
    return reply


@pytest.fixture
async def taken(stage: Stage) -> Batch:
    """A batch of one ping."""
    await stage.ping(COURSE)
    (batch,) = await stage.taken(COURSE)
    return batch


@pytest.fixture
async def next_taken(stage: Stage, taken: Batch) -> Batch:
    """The batch of the next ping, taken after the first was cleared by somebody else."""
    await clear_one(stage, taken)
    await stage.ping(COURSE)
    (batch,) = await stage.taken(COURSE)
    return batch


async def test_a_cleared_course_leaves_redis(stage: Stage, taken: Batch) -> None:
    assert 1 == await clear_one(stage, taken)

    assert 0 == await stage.call("EXISTS", FLUSHING)
    assert set() == await stage.dirty()


async def test_the_batch_cleared_last_is_remembered_for_two_minutes(stage: Stage, taken: Batch) -> None:
    await clear_one(stage, taken)

    assert taken.id.encode() == await stage.call("GET", FLUSHED)
    assert 110 < await stage.call("TTL", FLUSHED) <= 120


async def test_a_course_with_new_counts_stays_dirty(stage: Stage, taken: Batch) -> None:
    await stage.ping(COURSE)

    assert 1 == await clear_one(stage, taken)

    assert {COURSE} == await stage.dirty()


async def test_nothing_is_touched_when_another_batch_is_under_way(
    stage: Stage, taken: Batch, next_taken: Batch
) -> None:
    assert 0 == await clear_one(stage, taken)

    assert next_taken.id == (await stage.hash(keys.flushing_counters, COURSE))["batch"]
    assert {COURSE} == await stage.dirty()


async def test_clearing_again_changes_nothing(stage: Stage, taken: Batch) -> None:
    await clear_one(stage, taken)
    await stage.call("DEL", FLUSHED)

    assert 0 == await clear_one(stage, taken)

    assert None is await stage.call("GET", FLUSHED)


async def test_a_course_without_counts_is_no_longer_dirty(stage: Stage) -> None:
    await stage.call("SADD", keys.dirty_courses(PARTITION), COURSE)

    assert 1 == await clear_one(stage, NOTHING)

    assert set() == await stage.dirty()
    assert None is await stage.call("GET", FLUSHED)


async def test_a_course_that_was_empty_and_is_not_any_more_stays_dirty(stage: Stage) -> None:
    await stage.ping(COURSE)

    assert 1 == await clear_one(stage, NOTHING)

    assert {COURSE} == await stage.dirty()


@pytest.mark.usefixtures("taken")
async def test_a_course_that_was_empty_and_is_being_flushed_is_not_touched(stage: Stage) -> None:
    assert 0 == await clear_one(stage, NOTHING)

    assert {COURSE} == await stage.dirty()


async def test_a_key_of_the_wrong_type_does_not_block_other_courses_of_its_partition(stage: Stage) -> None:
    broken, whole = islice(courses_of(PARTITION), 2)
    await stage.ping(whole)
    (batch,) = await stage.taken(whole)
    await stage.call("SET", keys.flushing_counters(PARTITION, broken), "text")

    ((first, second),) = await clear.send(stage.redis, [clear.clearing(Nothing(PARTITION, broken), batch)])

    assert "WRONGTYPE" in str(first)
    assert 1 == second
    assert set() == await stage.dirty()


async def test_what_is_put_aside_is_kept_with_its_reason_and_still_shown(stage: Stage, taken: Batch) -> None:
    assert 1 == await put_aside(stage, taken)

    (kept,) = (await stage.hash(keys.quarantined_counters, COURSE)).items()
    batch_id, text = kept
    assert (taken.id, ONE_PING, "why") == (batch_id, json.loads(text)["counters"], json.loads(text)["reason"])
    assert 0 == await stage.call("EXISTS", FLUSHING)
    assert set() == await stage.dirty()
    await stage.assert_exact()


async def test_a_course_with_new_counts_stays_dirty_when_a_batch_is_put_aside(stage: Stage, taken: Batch) -> None:
    await stage.ping(COURSE)

    assert 1 == await put_aside(stage, taken)

    assert {COURSE} == await stage.dirty()


async def test_only_the_holder_of_the_lock_puts_a_batch_aside(stage: Stage, taken: Batch) -> None:
    assert 0 == await put_aside(stage, taken, holder="somebody else")
    assert 1 == await stage.call("EXISTS", FLUSHING)


async def test_only_the_batch_that_was_taken_is_put_aside(stage: Stage, taken: Batch, next_taken: Batch) -> None:
    assert 0 == await put_aside(stage, taken)

    assert next_taken.id == (await stage.hash(keys.flushing_counters, COURSE))["batch"]
    assert {} == await stage.hash(keys.quarantined_counters, COURSE)


async def test_a_batch_without_an_id_is_kept_under_another(stage: Stage) -> None:
    await stage.call("HSET", FLUSHING, "course_views", 3)
    malformed = Malformed(PARTITION, COURSE, "", {"course_views": "3", "stars": "5"}, "the hash names no batch")

    assert 1 == await put_aside(stage, malformed)

    kept = json.loads((await stage.hash(keys.quarantined_counters, COURSE))["spare"])
    assert ({"course_views": 3}, {"stars": "5"}) == (kept["counters"], kept["unreadable"])


async def kept(stage: Stage) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in (await stage.hash(keys.quarantined_counters, COURSE)).items()}


async def test_batches_that_can_be_sent_again_are_kept_as_one(stage: Stage, taken: Batch) -> None:
    await put_aside(stage, taken)
    await stage.unlock()
    await stage.ping(COURSE)
    (second,) = await stage.taken(COURSE)

    assert 1 == await put_aside(stage, second, reason="why now")

    ((name, entry),) = (await kept(stage)).items()
    assert (taken.id, pings(2), "why now") == (name, entry["counters"], entry["reason"])
    await stage.assert_exact()


async def test_entries_of_an_older_version_become_one_too(stage: Stage, taken: Batch) -> None:
    for name in ("a", "b", "c"):
        text = json.dumps({"reason": "why", "counters": ONE_PING})
        await stage.call("HSET", keys.quarantined_counters(PARTITION, COURSE), name, text)

    assert 1 == await put_aside(stage, taken)

    (entry,) = (await kept(stage)).values()
    assert pings(4) == entry["counters"]


async def test_what_cannot_be_sent_again_stays_by_itself(stage: Stage, taken: Batch) -> None:
    await put_aside(stage, taken, reason=keys.RESURRECTED)
    await stage.unlock()
    await stage.ping(COURSE)
    (second,) = await stage.taken(COURSE)

    await put_aside(stage, second)

    assert [keys.RESURRECTED, "why"] == [entry["reason"] for entry in (await kept(stage)).values()]


async def test_an_entry_that_has_changed_meanwhile_is_not_replaced(stage: Stage, taken: Batch) -> None:
    stale = aside.read(PARTITION, COURSE, "a", b'{"reason": "why", "counters": {"course_views": 1}}')
    await stage.call("SET", keys.flush_lock(PARTITION), TOKEN)

    entry = aside.entry_for(taken, "why", [stale], spare_id="spare")
    (reply,) = await clear.send(stage.redis, [clear.quarantining(taken, entry, token=TOKEN)])

    assert 0 == reply
    assert {} == await kept(stage)
    assert await stage.is_taken(COURSE)


def test_no_more_is_kept_as_one_than_one_update_may_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "MERGED_COUNTERS", 3)
    batch = Batch(PARTITION, course_tally(COURSE), "b", ONE_PING, unique_users=0, fresh=True)
    text = json.dumps({"reason": "why", "counters": {f"lecture_views:{7:024x}": 1}}).encode()

    entry = aside.entry_for(batch, "why", [aside.read(PARTITION, COURSE, "a", text)], spare_id="spare")

    assert ("b", ()) == (entry.id, entry.replaced)


STARS = {"stars": "5"}


def malformed(number: int, fields: dict[str, str], *, fresh: bool = True) -> Malformed:
    return Malformed(PARTITION, COURSE, f"b{number}", {"course_views": "1", **fields}, "why", fresh)


def read(entry: aside.Entry) -> aside.Quarantined:
    return aside.read(PARTITION, COURSE, entry.id, entry.text().encode())


def test_batches_with_malformed_counts_are_kept_as_one_of_bounded_size() -> None:
    kept: list[aside.Quarantined] = []
    for number in range(5):
        fields = {f"star {number} {each:03}": "5" * 1000 for each in range(80)}
        entry = aside.entry_for(malformed(number, fields), "why", kept, spare_id=f"{aside.UNNAMED}{number}")
        kept = [one for one in kept if one not in entry.replaced] + [read(entry)]
    (entry_kept,) = kept
    assert {"course_views": 5} == entry_kept.counters
    assert (100, 200) == (len(entry_kept.unreadable), max(map(len, entry_kept.unreadable.values())))
    assert not entry_kept.replayable


def test_what_may_have_been_sent_already_keeps_its_id_and_stays_by_itself() -> None:
    first = read(aside.entry_for(malformed(1, STARS), "why", [], spare_id=f"{aside.UNNAMED}1"))
    entry = aside.entry_for(malformed(2, STARS, fresh=False), "why", [first], spare_id=f"{aside.UNNAMED}2")
    assert ("b2", {"course_views": 1}, ()) == (entry.id, entry.counters, entry.replaced)
    after = aside.entry_for(malformed(3, STARS), "why", [read(entry)], spare_id=f"{aside.UNNAMED}3")
    assert (f"{aside.UNNAMED}3", ()) == (after.id, after.replaced)
