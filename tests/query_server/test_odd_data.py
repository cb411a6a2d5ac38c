"""What others have stored: whatever it is, the rest is shown, and no number is negative and no rate above 1."""

import datetime as dt
import math
from collections.abc import Callable, Iterator
from typing import Any

import bson
import grpc
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.dbref import DBRef
from bson.raw_bson import RawBSONDocument
from course_analytics.v1 import dashboard_pb2
from google.protobuf.message import Message
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from query_server.cold import RAW, Documents
from shared.stores.mongo import COURSE_ANALYTICS
from tests.query_server.conftest import TODAY, Dashboards, recorded, report, token
from tests.query_server.platform import VIEWS, Course, Platform, seconds, views
from tests.undecodable import undecodable

DAY = "2026-11-25"

ids = [ObjectId() for _ in range(3)]
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.integers(-5, 300),
    st.floats(),
    st.sampled_from([Decimal128(text) for text in ("10", "NaN", "sNaN", "-Infinity", "1E+6000", "0.5", "-1")]),
    st.text(max_size=5),
    st.sampled_from([Code("x"), Code("x", {}), Regex("("), MinKey(), MaxKey(), Timestamp(1, 1), DBRef("a", 1)]),
    st.sampled_from([dt.datetime(1, 1, 1, tzinfo=dt.UTC), Binary(b"HYLL\x01"), Binary(b"\xff", 128), *ids]),
)
names = st.sampled_from(["views", "totalWatchTime", "events", "seconds", "0", "12", "99999", "A", "OVERLOADED"])
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)


def every(message: Message) -> Iterator[tuple[str, Any]]:
    """Every number of an answer, with the name of its field."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if isinstance(each, Message):
                yield from every(each)
            elif isinstance(each, int | float):
                yield field.name, each


def assert_sound(message: Message) -> None:
    for name, number in every(message):
        assert math.isfinite(number), name
        assert number >= 0, name
        assert number <= 1 or not name.endswith("rate"), name


async def everything(callers: Dashboards, course: Course) -> list[Message]:
    """Every answer about a course."""
    who = [("authorization", f"Bearer {token(course.creator)}")]
    id_ = course.course_id
    lecture = course.lectures[0]
    return [
        await callers.of(course),
        await report(callers, course, period=dashboard_pb2.GetCourseReportRequest.LAST_7_DAYS),
        await callers.stub.ListCourses(dashboard_pb2.ListCoursesRequest(), metadata=who),
        await callers.stub.GetLectureHeatmap(
            dashboard_pb2.GetLectureHeatmapRequest(course_id=id_, lecture_id=lecture), metadata=who
        ),
    ]


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


references = values | st.lists(values | st.sampled_from([*ids, *map(str, ids)]), max_size=3)
of_the_platform = st.fixed_dictionaries(
    {"sections": references, "title": values, "lectures": references, "lectureTitle": values, "recordedSince": values}
)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(of_the_platform)
async def test_documents_of_the_platform_of_any_shape_break_no_answer_and_no_other_course(
    platform: Platform, reports: Dashboards, odd: dict[str, Any]
) -> None:
    course = await platform.add_course(["A"])
    other = await platform.add_course(["B"], creator=ObjectId(course.creator))
    await platform.flushed(other, totalViews=3)
    database, lecture = platform.database, ObjectId(course.lectures[0])
    await database["sections"].update_one({"lectures": lecture}, {"$set": {"lectures": odd["lectures"]}})
    await database["lectures"].update_one({"_id": lecture}, {"$set": {"lectureTitle": odd["lectureTitle"]}})
    changed = {"sections": odd["sections"], "title": odd["title"]}
    await database["courses"].update_one({"_id": ObjectId(course.course_id)}, {"$set": changed})
    since = {"recordedSince": odd["recordedSince"]}
    await database["analyticssettings"].update_one({"_id": "days"}, {"$set": since}, upsert=True)
    week = dashboard_pb2.GetCourseReportRequest.LAST_7_DAYS
    of_course = [await reports.of(course), await report(reports, course, period=week)]
    for answer in (*await everything(reports, other), *of_course):
        assert_sound(answer)
    shown = await reports.of(other)
    assert (3, ["B"]) == (shown.overview.total_views, [step.title for step in shown.engagement_funnel])


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


@pytest.mark.parametrize(
    ("collection", "field", "shown"),
    [
        ("courses", "title", ("", 3, 2)),
        (COURSE_ANALYTICS, "lectureStats", ("odd", 0, 2)),
        ("courseanalyticsdays", "lectureViews", ("odd", 3, 0)),
    ],
)
async def test_a_document_that_cannot_be_decoded_is_empty_and_spoils_nothing_else_of_the_list(
    platform: Platform, reports: Dashboards, collection: str, field: str, shown: tuple[str, int, int]
) -> None:
    odd = await platform.add_course(["A"], title="odd")
    other = await platform.add_course(["B"], creator=ObjectId(odd.creator), title="other")
    await recorded(platform, "2026-11-01")
    for course in (odd, other):
        await platform.flushed(course, totalViews=3)
        await platform.stored(course, DAY, lectureViews=2)
    its = {"$in": [ObjectId(odd.course_id), f"{odd.course_id}/{DAY}"]}
    document = await platform.database[collection].find_one_and_delete({"$or": [{"_id": its}, {"courseId": its}]})
    await platform.database[collection].insert_one(undecodable(document or {}, field))

    who = [("authorization", f"Bearer {token(odd.creator)}")]
    listed = await reports.stub.ListCourses(dashboard_pb2.ListCoursesRequest(), metadata=who)

    assert [("other", 3, 2), shown] == [
        (each.title, each.total_views, sum(day.lecture_views for day in each.last28_days)) for each in listed.courses
    ]
    for answer in await everything(reports, odd):
        assert_sound(answer)


def test_a_document_is_named_without_decoding_what_is_below_its_fields() -> None:
    """A dashboard of 1,000 lectures would take 0.6 ms longer."""
    document = {"lectureStats": undecodable({}, "views"), "_id": DAY}
    nested = RawBSONDocument(bson.encode({"": document}), RAW)[""]  # at the top `_id` would come first
    assert [DAY] == [*Documents("", [nested])]


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


@pytest.mark.parametrize("spoilt", [None, "all", 7, {"a": 1}, [None], [[], {}, "no id", 7], [{"_id": None}]])
async def test_a_malformed_list_of_references_is_empty(
    spoilt: object, platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["A"], ["B"])
    first = await platform.database["sections"].find_one({"lectures": ObjectId(course.lectures[0])}) or {}
    await platform.database["sections"].update_one({"_id": first["_id"]}, {"$set": {"lectures": spoilt}})
    assert ["B"] == [step.title for step in (await dashboards.of(course)).engagement_funnel]
    other = await platform.add_course(["A"])
    await platform.database["courses"].update_one({"_id": ObjectId(other.course_id)}, {"$set": {"sections": spoilt}})
    assert [] == list((await dashboards.of(other)).engagement_funnel)


@pytest.mark.parametrize("spelled", [str, lambda key: {"_id": key, "more": 1}, lambda key: {"_id": str(key)}])
async def test_a_reference_may_be_a_string_or_a_document(
    spelled: Any, platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["A", "B"], ["C"])
    for name, listed in (("courses", "sections"), ("sections", "lectures")):
        async for document in platform.database[name].find():
            changed = [spelled(key) for key in document[listed]]
            await platform.database[name].update_one({"_id": document["_id"]}, {"$set": {listed: changed}})
    shown = (await dashboards.of(course)).engagement_funnel
    assert (course.lectures, ["A", "B", "C"]) == ([step.lecture_id for step in shown], [step.title for step in shown])


async def test_a_lecture_whose_title_cannot_be_decoded_has_none(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    lecture = await platform.database["lectures"].find_one_and_delete({"_id": ObjectId(course.lectures[0])})
    await platform.database["lectures"].insert_one(undecodable(lecture or {}, "lectureTitle"))
    assert [""] == [step.title for step in (await dashboards.of(course)).engagement_funnel]


@pytest.mark.parametrize(("title", "shown"), [(7, "7"), (1.5, "1.5"), (True, ""), (["x"], ""), (None, ""), ("é", "é")])
async def test_a_malformed_title_is_shown_as_far_as_possible(
    title: object, shown: str, platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await platform.database["lectures"].update_many({}, {"$set": {"lectureTitle": title}})
    assert [shown] == [step.title for step in (await dashboards.of(course)).engagement_funnel]


async def test_a_batch_that_is_listed_beside_code_is_counted_once(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    await platform.flushed(course, "A", Code("x"), totalViews=3)
    await platform.flushing(course, "A", {VIEWS: 3})
    assert 3 == (await dashboards.of(course)).overview.total_views


@pytest.mark.parametrize(
    ("sections", "lectures"), [(1, 10_001), (3, 80_000), (10_001, 1)], ids=["too many", "far too many", "sections"]
)
async def test_a_course_that_is_too_large_is_refused_after_whose_it_is(
    sections: int, lectures: int, platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course()
    stored = [{"_id": ObjectId(), "lectures": [ObjectId() for _ in range(lectures)]} for _ in range(sections)]
    await platform.database["sections"].insert_many(stored)
    await platform.database["courses"].update_one({}, {"$set": {"sections": [each["_id"] for each in stored]}})
    refused = await dashboards.refusal(course.course_id, token(course.creator))
    assert grpc.StatusCode.INVALID_ARGUMENT is refused.code()
    assert "10,000 lectures" in (refused.details() or "")
    stranger = await dashboards.refusal(course.course_id, token(str(ObjectId())))
    assert grpc.StatusCode.PERMISSION_DENIED is stranger.code()


async def test_a_permanent_refusal_of_mongodb_is_not_retried(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    fails = [{"$set": {"courseId": {"$divide": [1, 0]}}}]
    await platform.database.create_collection("courseanalytics", viewOn="courses", pipeline=fails)
    refused = await dashboards.refusal(course.course_id, token(course.creator))
    assert (grpc.StatusCode.FAILED_PRECONDITION, "MongoDB refuses to answer") == (refused.code(), refused.details())


async def test_nobody_owns_a_course_by_the_name_of_a_field(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    refused = await dashboards.refusal(course.course_id, token("$creator"))
    assert grpc.StatusCode.PERMISSION_DENIED is refused.code()
