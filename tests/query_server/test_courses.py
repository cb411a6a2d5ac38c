"""The list of an instructor's courses, from real stores, through a real server."""

from typing import Any

import grpc
import pytest
from bson import Decimal128, ObjectId
from course_analytics.v1 import dashboard_pb2
from hypothesis import given
from hypothesis import strategies as st
from pymongo.asynchronous.database import AsyncDatabase

from query_server.cold import ColdStore
from query_server.pages import last_of, token_after
from shared.serving.errors import InvalidRequest
from shared.stores.mongo import Document
from tests.query_server.conftest import TODAY, Dashboards, HotStoreAt, recorded, serving, token
from tests.query_server.platform import VIEWS, Platform, seconds

ANN = str(ObjectId())


async def listed(callers: Dashboards, bearer: str | None = None, **fields: Any) -> dashboard_pb2.ListCoursesResponse:
    metadata = [("authorization", f"Bearer {bearer or token(ANN)}")]
    return await callers.stub.ListCourses(dashboard_pb2.ListCoursesRequest(**fields), metadata=metadata)


async def test_a_course_is_listed_with_what_both_stores_have(platform: Platform, reports: Dashboards) -> None:
    course = await platform.add_course(["A"], creator=ObjectId(ANN), title="Rust")
    (lecture,) = course.lectures
    await recorded(platform, "2026-11-24")
    stats = {lecture: {"views": 6, "totalWatchTime": 60.5}}
    await platform.flushed(course, "A", lectures=stats, totalViews=10, uniqueActiveUsers=2)
    await platform.counting(course, "B", {VIEWS: 1, seconds(lecture): 10})
    await platform.visited_by(course, "ann", "bob", "eve")
    await platform.stored(course, "2026-11-24", "A", lectureViews=2)
    await platform.tally(course, "2026-11-25", "counting", "B", {f"lecture_views:{lecture}": 4})
    await platform.tally(course, TODAY, "counting", "B", {f"lecture_views:{lecture}": 100})

    shown = await listed(reports)

    days = [
        dashboard_pb2.DayViews(day="2026-11-24", lecture_views=2),
        dashboard_pb2.DayViews(day="2026-11-25", lecture_views=4),
    ]
    expected = dashboard_pb2.CourseSummary(
        course_id=course.course_id,
        title="Rust",
        total_views=11,
        unique_active_users=3,
        total_watch_time_seconds=70.5,
        last28_days=days,
    )
    assert ([expected], "") == (list(shown.courses), shown.next_page_token)


async def test_a_list_has_the_caller_s_courses_newest_first_however_the_creator_is_stored(
    platform: Platform, reports: Dashboards
) -> None:
    mine = [await platform.add_course(creator=creator) for creator in (ObjectId(ANN), ANN, ObjectId(ANN))]
    await platform.add_course(creator=ObjectId())
    expected = [course.course_id for course in reversed(mine)]
    assert expected == [course.course_id for course in (await listed(reports)).courses]


async def test_pages_follow_one_another_without_a_gap(platform: Platform, reports: Dashboards) -> None:
    mine = [(await platform.add_course(creator=ANN)).course_id for _ in range(5)]
    found, page_token = [], ""
    sizes = []
    while True:
        page = await listed(reports, page_size=2, page_token=page_token)
        found += [course.course_id for course in page.courses]
        sizes.append(len(page.courses))
        page_token = page.next_page_token
        if not page_token:
            break
    assert ([2, 2, 1], mine[::-1]) == (sizes, found)


async def test_a_course_made_between_two_pages_moves_none(platform: Platform, reports: Dashboards) -> None:
    mine = [(await platform.add_course(creator=ANN)).course_id for _ in range(2)]
    first = await listed(reports, page_size=1)
    await platform.add_course(creator=ANN)
    second = await listed(reports, page_size=1, page_token=first.next_page_token)
    assert (mine[0], "") == (second.courses[0].course_id, second.next_page_token)


async def test_a_page_has_20_courses_by_default_and_100_at_most(platform: Platform, reports: Dashboards) -> None:
    await platform.database["courses"].insert_many([{"creator": ANN} for _ in range(101)])
    sizes = [len((await listed(reports, page_size=size)).courses) for size in (0, 100, 2**31 - 1)]
    assert [20, 100, 100] == sizes


async def test_somebody_without_courses_has_an_empty_list(reports: Dashboards) -> None:
    assert dashboard_pb2.ListCoursesResponse() == await listed(reports)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "pageSize"),
        ({"page_token": "no token"}, "pageToken"),
        ({"page_token": "é"}, "pageToken"),
        ({"page_token": token_after("0" * 24, "somebody else")}, "pageToken"),
    ],
)
async def test_a_size_and_a_token_that_cannot_be_are_refused(
    fields: dict[str, Any], field: str, reports: Dashboards
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(reports, **fields)
    assert grpc.StatusCode.INVALID_ARGUMENT is refused.value.code()
    assert (refused.value.details() or "").startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("title", "shown"), [(7, "7"), (None, ""), ({"en": "x"}, ""), (Decimal128("1.5"), "1.5"), ("=1", "=1")]
)
async def test_a_title_of_any_type_is_shown_as_far_as_it_is_text(
    title: object, shown: str, platform: Platform, reports: Dashboards
) -> None:
    await platform.add_course(creator=ANN, title=title)
    assert [shown] == [course.title for course in (await listed(reports)).courses]


@given(st.text(max_size=40), st.text(min_size=1))
def test_a_page_token_is_valid_for_its_own_list_only(noise: str, creator: str) -> None:
    course_id = "0123456789abcdef01234567"
    assert course_id == last_of(token_after(course_id, creator), creator)
    if noise:
        with pytest.raises(InvalidRequest):
            last_of(noise, creator)


class ReadEarly(ColdStore):
    """Its first read of MongoDB was over before a flush which Redis then shows as done."""

    early: dict[str, Document]

    async def tallies_of(self, *_: object) -> dict[str, Document]:
        return self.early


@pytest.mark.parametrize("has_document", [False, True])
async def test_a_flush_between_the_two_reads_leaves_no_dip_in_a_list(
    has_document: bool, platform: Platform, redis_url: str, database: AsyncDatabase[Document]
) -> None:
    course = await platform.add_course(["A"], creator=ANN)
    await recorded(platform, "2026-11-25")
    if has_document:
        await platform.flushed(course, "A", totalViews=2)
        await platform.stored(course, "2026-11-25", "A", lectureViews=2)
    cold_store = ReadEarly(database)
    cold_store.early = await ColdStore(database).tallies_of([course.course_id], ["2026-11-25"])
    await platform.flushed(course, "A", "B", totalViews=5)
    await platform.stored(course, "2026-11-25", "A", "B", lectureViews=4)
    for item in ("", "2026-11-25"):
        await platform.cleared(course, "B", item)

    async with HotStoreAt(redis_url) as hot_store, serving(hot_store, cold_store) as callers:
        (shown,) = (await listed(callers)).courses

    assert (5, [4]) == (shown.total_views, [day.lecture_views for day in shown.last28_days])


@pytest.mark.parametrize(("batches", "views"), [(["A"], 7), (["A", "B"], 4)])
async def test_a_day_that_is_being_flushed_is_counted_once(
    batches: list[str], views: int, platform: Platform, reports: Dashboards
) -> None:
    course = await platform.add_course(["A"], creator=ANN)
    await recorded(platform, "2026-11-25")
    await platform.stored(course, "2026-11-25", *batches, lectureViews=4)
    await platform.tally(course, "2026-11-25", "flushing", "B", {f"lecture_views:{course.lectures[0]}": 3})
    (shown,) = (await listed(reports)).courses
    assert [views] == [day.lecture_views for day in shown.last28_days]
