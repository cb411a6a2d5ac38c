"""Courses, sections and lectures that the platform has stored oddly: whatever can be shown of them is."""

from typing import Any

import grpc
import pytest
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.query_server.conftest import Dashboards, report, token
from tests.query_server.odd import assert_sound, everything, references, values
from tests.query_server.platform import Platform

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


@pytest.mark.parametrize(("title", "shown"), [(7, "7"), (1.5, "1.5"), (True, ""), (["x"], ""), (None, ""), ("é", "é")])
async def test_a_malformed_title_is_shown_as_far_as_possible(
    title: object, shown: str, platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["A"])
    await platform.database["lectures"].update_many({}, {"$set": {"lectureTitle": title}})
    assert [shown] == [step.title for step in (await dashboards.of(course)).engagement_funnel]


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


async def test_nobody_owns_a_course_by_the_name_of_a_field(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["A"])
    refused = await dashboards.refusal(course.course_id, token("$creator"))
    assert grpc.StatusCode.PERMISSION_DENIED is refused.code()
