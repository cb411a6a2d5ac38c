"""What others have stored: whatever it is, the rest is shown, and no number is negative and no rate above 1."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from bson import Code, Decimal128, Int64, ObjectId
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.stores.mongo import COURSE_ANALYTICS
from tests.query_server.conftest import TODAY, Dashboards, recorded, token
from tests.query_server.odd import assert_sound, every, everything, values
from tests.query_server.platform import VIEWS, Platform, seconds, views

DAY = "2026-11-25"

FIELDS = """totalViews uniqueActiveUsers lectureStats recentBatches epoch usersSketch usersSketchSavedAt notCounted
lectureViews watchTime playbacks segments durations updatedAt"""
fields = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS.split(), values))
# Not wrong about both: more views than playbacks are shown as they are stored, as a rate above 1.
fields_of_lectures = st.tuples(fields, st.sampled_from(["segments", "playbacks"])).map(
    lambda drawn: {name: value for name, value in drawn[0].items() if name != drawn[1]}
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(fields, fields, fields_of_lectures)
@example({}, {}, {"segments": {"0": {"views": 300}}})
@example({}, {}, {"playbacks": -1.5})
async def test_a_document_of_any_shape_breaks_no_answer(
    platform: Platform, reports: Dashboards, course_fields: Any, day_fields: Any, lecture_fields: Any
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-01")
    await platform.flushed(course)
    await platform.database["courseanalytics"].update_one(
        {"courseId": ObjectId(course.course_id)}, {"$set": {"epoch": 1, **course_fields}}
    )
    await platform.stored(course, DAY, **day_fields)
    await platform.stored(course, TODAY, **day_fields)
    await platform.stored(course, course.lectures[0], **lecture_fields)
    await platform.tally(course, DAY, "counting", "A", {VIEWS: 1})
    for answer in await everything(reports, course):
        assert_sound(answer)


async def spoil(platform: Platform, key: str, data: st.DataObject, fields: st.SearchStrategy[Any]) -> None:
    noise = st.binary(max_size=20)
    match data.draw(st.sampled_from(["nothing", "string", "hash", "set", "list"])):
        case "string":
            await platform.redis.set(key, data.draw(noise))
        case "hash":
            value = data.draw(noise | st.integers(-(2**70), 2**70) | st.just(b'{"counters": []}'))
            await platform.redis.hset(key, mapping={data.draw(noise | fields): value})
        case "set":
            await platform.redis.sadd(key, data.draw(noise | fields))
        case "list":
            await platform.redis.rpush(key, data.draw(noise))


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.data())
async def test_keys_of_any_type_and_bytes_break_no_answer(
    platform: Platform, reports: Dashboards, data: st.DataObject
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-01")
    for kind in ("course_counters", "flushing_counters", "quarantined_counters", "flushed_batch", "course_users"):
        for item in ("", DAY, TODAY, course.lectures[0]):
            fields = st.sampled_from([b"course_views", b"batch", b"lecture_views:"])
            await spoil(platform, platform.key(kind, course, item), data, fields)
    for answer in await everything(reports, course):
        assert_sound(answer)


@pytest.mark.parametrize("content", [("SET", b"\xff"), ("RPUSH", "a"), ("SADD", b"\xff", "no tally", "")])
async def test_sets_of_the_partition_of_any_type_and_bytes_break_no_answer(
    content: Any, platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-01")
    await platform.counting(course, "A", {VIEWS: 1})
    for name in ("dirty_analytics_courses", "unsaved_users"):
        key = f"{name}:{platform.braces(course)}"
        await platform.redis.execute_command(content[0], key, *content[1:])  # type: ignore[no-untyped-call] # it has no types
    for answer in await everything(reports, course):
        assert_sound(answer)
    assert 1 == (await reports.of(course)).overview.total_views


@pytest.mark.parametrize(
    "kept", ["[" * 100_000, r'{"reason": "", "counters": {"not_counted:\ud800": 1, "course_views": 1}}']
)
async def test_a_quarantined_batch_of_any_json_breaks_no_answer(
    kept: str, platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-01")
    for item in ("", DAY, TODAY, course.lectures[0]):
        await platform.redis.hset(platform.key("quarantined_counters", course, item), "A", kept)
    for answer in await everything(reports, course):
        assert_sound(answer)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (Int64(7), 7),
        (Decimal128("10"), 10),
        (100.75, 100.75),
        (Decimal128("0.5"), 0.5),
        (float("nan"), 0),
        (float("inf"), 0),
        (-1, 0),
        ("12", 0),
        (None, 0),
    ],
)
async def test_a_number_of_any_type_is_read_for_what_it_is(
    stored: object, shown: float, platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    stats = {course.lectures[0]: {"views": stored, "totalWatchTime": stored}}
    await platform.flushed(course, lectures=stats, totalViews=stored, uniqueActiveUsers=stored)  # type: ignore[arg-type] # as a platform may store it
    answer = await dashboards.of(course)
    assert (int(shown), shown) == (answer.overview.total_views, answer.overview.total_watch_time_seconds)
    assert shown == answer.engagement_funnel[0].watch_time_seconds


async def test_a_count_beyond_what_an_answer_holds_is_the_largest_that_it_holds(
    platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await recorded(platform, "2026-11-01")
    many = Int64(2**40)
    await platform.flushed(course, totalViews=many, uniqueActiveUsers=many)
    for day in (DAY, TODAY):
        await platform.stored(course, day, totalViews=many, lectureViews=many, uniqueActiveUsers=many)
    await platform.stored(course, course.lectures[0], playbacks=many, segments={"0": {"views": many}})
    for answer in await everything(reports, course):
        assert 2**31 - 1 == max(number for _, number in every(answer))


@pytest.mark.parametrize("holds", [lambda its: [its], lambda its: [its, ObjectId()], lambda its: [[its], its]])
async def test_an_array_of_course_ids_spoils_no_other_course_of_the_list(
    platform: Platform, reports: Dashboards, holds: Callable[[ObjectId], list[object]]
) -> None:
    odd = await platform.add_course(["A"])
    other = await platform.add_course(["B"], creator=ObjectId(odd.creator))
    await recorded(platform, "2026-11-01")
    await platform.flushed(other, totalViews=3)
    await platform.database[COURSE_ANALYTICS].insert_one({"courseId": holds(ObjectId(odd.course_id)), "totalViews": 1})
    for answer in await everything(reports, other):
        assert_sound(answer)


async def test_what_was_acknowledged_is_shown_beside_an_odd_number(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    lecture = course.lectures[0]
    await platform.flushed(course, lectures={lecture: "odd"}, totalViews=Decimal128("10"))  # type: ignore[arg-type] # as a platform may store it
    await platform.counting(course, "A", {VIEWS: 1, views(lecture): 2, seconds(lecture): 30})
    answer = await dashboards.of(course)
    assert (11, 2, 30) == (
        answer.overview.total_views,
        answer.engagement_funnel[0].views,
        answer.overview.total_watch_time_seconds,
    )


async def test_a_batch_that_is_listed_beside_code_is_counted_once(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    await platform.flushed(course, "A", Code("x"), totalViews=3)
    await platform.flushing(course, "A", {VIEWS: 3})
    assert 3 == (await dashboards.of(course)).overview.total_views


async def test_a_permanent_refusal_of_mongodb_is_not_retried(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    fails = [{"$set": {"courseId": {"$divide": [1, 0]}}}]
    await platform.database.create_collection("courseanalytics", viewOn="courses", pipeline=fails)
    refused = await dashboards.refusal(course.course_id, token(course.creator))
    assert (grpc.StatusCode.FAILED_PRECONDITION, "MongoDB refuses to answer") == (refused.code(), refused.details())
