"""How old the oldest count is that MongoDB lacks, as the flusher's metrics say."""

import asyncio
import time

import pytest

from flusher.cycle import Flusher
from flusher.steps import due
from flusher.steps.due import dirty_tallies, oldest_count
from shared.data import keys
from shared.data.tallies import PLAYBACKS, lecture_tally
from tests.flusher.stage import LECTURE, Stage
from tests.flusher.test_metrics import COURSES, value
from tests.servers import PATIENCE

HOUR = 3600


async def aged(stage: Stage, course_id: str, seconds: float) -> None:
    """Makes the course's counts so much older."""
    name = keys.course_counters(keys.partition_of(course_id), course_id)
    await stage.call("HSET", name, keys.BATCH, f"process-1-{int((time.time() - seconds) * 1000):x}")


async def test_the_age_of_the_oldest_count_is_that_of_the_oldest_batch_taken(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "SAMPLED_TALLIES", 0)
    await stage.ping(*COURSES)
    await aged(stage, COURSES[7], HOUR)

    await stage.flush()
    assert HOUR == pytest.approx(value("analytics_flush_oldest_count_age_seconds"), abs=PATIENCE)

    await stage.flush()
    assert 0 == value("analytics_flush_oldest_count_age_seconds")


async def test_what_cannot_be_taken_has_its_age_too(stage: Stage) -> None:
    await stage.ping(*COURSES)
    await aged(stage, COURSES[7], HOUR)

    age = await oldest_count(stage.redis, (await dirty_tallies(stage.redis)).names)

    assert HOUR == pytest.approx(age, abs=PATIENCE)


@pytest.mark.parametrize(("name", "late"), [(f"{COURSES[7]}/2026-11-25", 3_700), (f"{COURSES[7]}/{COURSES[8]}", 100)])
def test_a_lecture_is_late_only_after_the_hour_that_it_may_wait(name: str, late: int) -> None:
    now = 1_800_000_000
    assert late == due.due_for(name, f"process-1-{(now - 3_700) * 1000:x}", now)
    assert 0 == due.due_for(name, f"process-1-{now * 1000:x}", now)


async def test_a_lecture_that_waited_for_its_hour_is_not_late_by_that(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    born = f"process-1-{int((time.time() - 2 * HOUR) * 1000):x}"
    await stage.count(lecture_tally(COURSES[7], LECTURE), {PLAYBACKS.field(): 1}, batch=born)
    sampled = await oldest_count(stage.redis, (await dirty_tallies(stage.redis)).names)
    monkeypatch.setattr(due, "SAMPLED_TALLIES", 0)
    await stage.flush()
    taken = value("analytics_flush_oldest_count_age_seconds")
    assert [HOUR, HOUR] == pytest.approx([sampled, taken], abs=PATIENCE)


async def test_counts_behind_an_unreadable_dirty_set_are_as_old_as_that(stage: Stage) -> None:
    clock = [0.0]
    flusher = Flusher(stage.stores(now=lambda: clock[0]))
    await stage.call("SET", keys.dirty_courses(7), "garbage")
    ages = []
    for clock[0] in (0.0, HOUR):
        await flusher.cycle(asyncio.Event())
        ages.append(value("analytics_flush_oldest_count_age_seconds"))
    await stage.call("DEL", keys.dirty_courses(7))
    await flusher.cycle(asyncio.Event())

    assert [0, HOUR, 0] == [*ages, value("analytics_flush_oldest_count_age_seconds")]
