"""How often the stores are asked, by their own counters; and that the answers fit together."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pymongo.asynchronous.database import AsyncDatabase
from redis.exceptions import ResponseError

from query_server.cold import OUTLINE_SECONDS, ColdStore
from query_server.cold import Course as ColdCourse
from query_server.hot import HotStore
from query_server.replies import GROUP, Look
from shared.data.days import every_day
from shared.data.tallies import day_tally
from shared.stores.mongo import Document
from shared.stores.redis_connection import Command, RedisUnreachable, Reply
from tests.query_server.conftest import Dashboards, recorded, report, serving
from tests.query_server.platform import VIEWS, Course, Platform

READS = ("aggregate", "find", "getMore", "count", "distinct")


async def redis_commands(platform: Platform) -> Counter[str]:
    """What Redis has carried out so far, this question and connecting apart."""
    stats: Mapping[str, Any] = await platform.redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return Counter({name: number for name, number in calls.items() if name != "info" and "|" not in name})


async def mongo_reads(platform: Platform) -> Counter[str]:
    """How often MongoDB was read so far."""
    status = await platform.database.command("serverStatus")
    return Counter({name: status["metrics"]["commands"][name]["total"] for name in READS})


async def course_of_200_lectures(platform: Platform) -> Course:
    return await platform.add_course(*(["Lecture"] * 20 for _ in range(10)))


@pytest.mark.parametrize("outline_is_cached", [False, True])
async def test_a_dashboard_is_one_transaction_and_one_aggregation(
    outline_is_cached: bool, platform: Platform, dashboards: Dashboards
) -> None:
    course = await course_of_200_lectures(platform)
    await dashboards.of(course if outline_is_cached else await platform.add_course())  # connects
    redis_before, mongo_before = await redis_commands(platform), await mongo_reads(platform)

    await dashboards.of(course)

    once = {"multi": 1, "hgetall": 3, "get": 1, "pfcount": 1, "time": 1, "exec": 1}
    assert once == await redis_commands(platform) - redis_before
    assert {"aggregate": 1} == await mongo_reads(platform) - mongo_before


async def test_a_report_of_many_days_is_one_aggregation_once_its_blocks_are_kept(
    platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-01-01")
    days = every_day("2026-05-30", "2026-11-25")  # 180: more than MongoDB sends at once unless it is asked to
    for day in days:
        await platform.stored(course, day, "A", totalViews=1)
    asked = []
    for _ in range(2):
        before = await mongo_reads(platform)
        shown = await report(reports, course, from_day=days[90], to_day=days[-1])
        assert (90, 90) == (shown.overview.course_views, shown.previous.course_views)
        asked.append(await mongo_reads(platform) - before)
    first, again = asked
    assert {"aggregate", "find"} == set(first)
    assert {"aggregate": 1} == again


async def test_dashboards_one_after_another_share_a_connection(platform: Platform, dashboards: Dashboards) -> None:
    async def connections() -> int:
        stats: Mapping[str, Any] = await platform.redis.info("stats")
        return int(stats["total_connections_received"])

    course = await platform.add_course(["Welcome"])
    await dashboards.of(course)
    before = await connections()
    for _ in range(3):
        await dashboards.of(course)
    assert before == await connections()


async def test_lectures_are_not_read_again_while_the_outline_is_kept(
    platform: Platform, dashboards: Dashboards
) -> None:
    async def scanned() -> int:
        status = await platform.database.command("serverStatus")
        return int(status["metrics"]["queryExecutor"]["scanned"])

    course = await course_of_200_lectures(platform)
    before = await scanned()
    await dashboards.of(course)
    first = await scanned() - before
    await dashboards.of(course)
    second = await scanned() - before - first
    assert second < 200 <= first


async def test_the_outline_is_kept_for_a_minute_and_then_read_again(
    platform: Platform, database: AsyncDatabase[Document], hot_store: HotStore
) -> None:
    clock = [0.0]
    course = await platform.add_course(["Old"])
    async with serving(hot_store, ColdStore(database, now=lambda: clock[0])) as dashboards:
        titles = []
        for clock[0] in (0, OUTLINE_SECONDS - 1, OUTLINE_SECONDS):
            titles.append((await dashboards.of(course)).engagement_funnel[0].title)
            await platform.database["lectures"].update_many({}, {"$set": {"lectureTitle": "New"}})
    assert ["Old", "Old", "New"] == titles


async def test_counts_are_never_kept(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    await dashboards.of(course)
    await platform.flushed(course, "A", totalViews=1)
    await platform.counting(course, "B", {VIEWS: 20})
    assert 21 == (await dashboards.of(course)).overview.total_views


async def test_mongodb_is_read_again_when_it_has_not_the_batch_that_left_redis_last(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    await dashboards.of(course)
    await platform.cleared(course, "unknown to MongoDB")
    redis_before, mongo_before = await redis_commands(platform), await mongo_reads(platform)

    await dashboards.of(course)

    assert {"aggregate": 2} == await mongo_reads(platform) - mongo_before
    assert 1 == (await redis_commands(platform) - redis_before)["exec"]


class ReadEarly(ColdStore):
    """A read of MongoDB that was over before a flush which Redis then shows as done."""

    def __init__(self, database: AsyncDatabase[Document], early: ColdCourse) -> None:
        super().__init__(database)
        self._early = early

    async def read(self, *_: object) -> ColdCourse:
        """The early answer."""
        return self._early


async def test_a_flush_between_the_two_reads_leaves_no_dip(
    platform: Platform, database: AsyncDatabase[Document], hot_store: HotStore
) -> None:
    course = await platform.add_course(["Welcome"])
    await platform.flushed(course, "A", totalViews=100)
    early = await ColdStore(database).read(course.course_id, course.creator)
    await platform.flushed(course, "A", "B", totalViews=120)
    await platform.cleared(course, "B")
    await platform.counting(course, "C", {VIEWS: 3})
    async with serving(hot_store, ReadEarly(database, early)) as dashboards:
        assert 123 == (await dashboards.of(course)).overview.total_views


async def test_how_often_mongodb_is_read_again_is_counted(platform: Platform, dashboards: Dashboards) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("analytics_dashboard_rereads_total") or 0.0

    course = await platform.add_course(["Welcome"])
    before = counted()

    await dashboards.of(course)
    assert 0 == counted() - before

    await platform.cleared(course, "unknown to MongoDB")
    await dashboards.of(course)
    assert 1 == counted() - before


async def test_a_report_is_one_transaction_while_redis_has_none_of_its_days(
    platform: Platform, hot_store: HotStore
) -> None:
    before = await redis_commands(platform)
    found = await hot_store.read_days(day_tally("0" * 24, "2026-01-02"), ["2026-01-01"])
    assert ([f"{'0' * 24}/2026-01-02"], None) == (list(found.tallies), found.first_day)
    asked = await redis_commands(platform) - before
    assert (1, 3) == (asked["exec"], asked["hgetall"])


async def test_a_day_that_is_always_read_brings_no_other_with_it(platform: Platform, hot_store: HotStore) -> None:
    course = await platform.add_course(["A"])
    await platform.tally(course, "2026-01-02", "counting", "A", {"course_views": 1})
    before = await redis_commands(platform)
    today = day_tally(course.course_id, "2026-01-02")
    found = await hot_store.read_days(today, ["2026-01-01"])
    assert ({today.name}, "2026-01-02") == (set(found.tallies), found.first_day)
    assert 3 == (await redis_commands(platform) - before)["hgetall"]


async def test_only_the_days_near_one_that_redis_has_are_read(platform: Platform, hot_store: HotStore) -> None:
    course = await platform.add_course(["A"])
    days = every_day("2026-01-01", "2026-01-28")
    await platform.tally(course, days[20], "quarantined", "A", {"course_views": 1})
    today = day_tally(course.course_id, "2026-01-29")
    found = await hot_store.read_days(today, days)
    near = {day_tally(course.course_id, day).name for day in days[20 - 20 % GROUP : 20 - 20 % GROUP + GROUP]}
    assert {today.name, *near} == set(found.tallies)
    assert [{"course_views": 1}] == [batch.counts for batch in found.tallies[f"{course.course_id}/{days[20]}"].batches]


async def test_totals_are_read_in_one_transaction_with_the_days_that_redis_has(
    platform: Platform, hot_store: HotStore
) -> None:
    course = await platform.add_course(["A"])
    await platform.tally(course, "2026-01-01", "flushing", "A", {"course_views": 1})
    before = await redis_commands(platform)
    found = await hot_store.read_courses([course.course_id], ["2026-01-01"])
    assert {course.course_id, f"{course.course_id}/2026-01-01"} == set(found)
    asked = await redis_commands(platform) - before
    assert (2, 2) == (asked["exec"], asked["pfcount"])  # the totals twice


def test_each_found_day_is_of_the_course_that_has_it() -> None:
    courses, days = ["a" * 24, "b" * 24], every_day("2026-01-01", "2026-01-28")
    look = Look(0, [], courses, days)
    groups = len(look.commands()) - 1  # and TIME
    for course_id, day in ((courses[0], days[0]), (courses[1], days[-1])):
        has = [int(f"course_counters:{{0}}:{course_id}/{day}" in command) for command in look.commands()[:-1]]
        found, _ = look.found([*has, (1, 0)])
        assert (1, {course_id}) == (sum(has), {tally.course_id for tally in found})
        assert day in {tally.item for tally in found}
    assert groups == 2 * -(-28 // GROUP)


@pytest.mark.parametrize("refusal", [RedisUnreachable("lost"), ResponseError("EXECABORT")])
async def test_partitions_that_are_not_answered_together_are_asked_one_by_one(
    refusal: Exception, platform: Platform, hot_store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, other = await platform.add_course(["A"]), await platform.add_course(["B"])
    await platform.counting(course, "A", {VIEWS: 1})
    ask = hot_store._ask

    async def refused(node: str, *commands: Any) -> Any:
        if commands.count(("EXEC",)) > 1:
            raise refusal
        return await ask(node, *commands)

    monkeypatch.setattr(hot_store, "_ask", refused)
    found = await hot_store.read_courses([course.course_id, other.course_id], ["2026-01-01"])
    assert [[{VIEWS: 1}], []] == [[batch.counts for batch in found[each.course_id].batches] for each in (course, other)]


async def test_several_partitions_are_a_transaction_each_and_all_of_a_node_one_write(
    platform: Platform, hot_store: HotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    courses = [f"{number:024x}" for number in range(3)]
    writes = []
    ask = hot_store._ask

    async def counted(node: str, *commands: Command) -> list[Reply]:
        writes.append(commands)
        return await ask(node, *commands)

    monkeypatch.setattr(hot_store, "_ask", counted)
    before = await redis_commands(platform)
    found = await hot_store.read_courses(courses, ["2026-01-01"])
    assert set(courses) == set(found)
    assert 3 == (await redis_commands(platform) - before)["exec"]
    assert 1 == len(writes)
