"""A dashboard is for the course's creator."""

import grpc
from bson import ObjectId

from tests.query_server.conftest import Dashboards, token
from tests.query_server.platform import VIEWS, Platform


async def test_somebody_else_s_course_is_refused(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    refused = await dashboards.refusal(course.course_id, token(str(ObjectId())))
    assert grpc.StatusCode.PERMISSION_DENIED is refused.code()


async def test_a_refusal_tells_nothing_of_the_course(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    await platform.counting(course, "A", {VIEWS: 1})
    refused = await dashboards.refusal(course.course_id, token("ann"))
    assert "the course belongs to somebody else" == refused.details()


async def test_a_course_that_does_not_exist_is_not_found(platform: Platform, dashboards: Dashboards) -> None:
    await platform.add_course(["Welcome"])
    refused = await dashboards.refusal(str(ObjectId()), token("ann"))
    assert grpc.StatusCode.NOT_FOUND is refused.code()


async def test_the_creator_may_be_stored_as_a_string(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"], creator="user_2a")
    assert course.lectures == [step.lecture_id for step in (await dashboards.of(course)).engagement_funnel]


async def test_a_course_without_a_creator_is_nobody_s(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course()
    await platform.database["courses"].update_one({}, {"$set": {"creator": None}})
    refused = await dashboards.refusal(course.course_id, token("None"))
    assert grpc.StatusCode.PERMISSION_DENIED is refused.code()


async def test_a_course_that_changes_hands_does_so_at_once(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    await dashboards.of(course)
    await platform.database["courses"].update_one({}, {"$set": {"creator": "bob"}})
    assert (
        grpc.StatusCode.PERMISSION_DENIED is (await dashboards.refusal(course.course_id, token(course.creator))).code()
    )
    assert (await dashboards.ask(course.course_id, token("bob"))).HasField("overview")


async def test_a_course_that_was_deleted_is_gone_at_once(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course(["Welcome"])
    await dashboards.of(course)
    await platform.database["courses"].delete_one({})
    refused = await dashboards.refusal(course.course_id, token(course.creator))
    assert grpc.StatusCode.NOT_FOUND is refused.code()


async def test_a_course_that_was_deleted_is_gone_although_its_counts_stay(
    platform: Platform, dashboards: Dashboards
) -> None:
    course = await platform.add_course(["Welcome"])
    await platform.flushed(course, "A", totalViews=1)
    await platform.database["courses"].delete_one({})
    refused = await dashboards.refusal(course.course_id, token(course.creator))
    assert grpc.StatusCode.NOT_FOUND is refused.code()
