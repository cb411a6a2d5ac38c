"""What the catalog asks MongoDB, and what it remembers and for how long."""

import asyncio

import pytest
from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from ingest_server import catalog
from ingest_server.catalog import Catalog
from shared.serving.errors import InvalidRequest, NotFound
from shared.stores.mongo import Document
from tests.ingest_server.catalog.conftest import COURSE, FIRST, NONE, SECOND, SECTION, Clock, Requests, has, write


async def test_a_course_of_the_platform_is_there(courses: Catalog) -> None:
    assert await has(courses, COURSE)


async def test_a_lecture_of_the_course_is_there(courses: Catalog) -> None:
    assert await has(courses, COURSE, FIRST)


async def test_a_lecture_of_no_course_is_not_there(courses: Catalog) -> None:
    assert not await has(courses, COURSE, SECOND)


async def test_a_course_that_nobody_wrote_is_not_there(courses: Catalog) -> None:
    assert not await has(courses, NONE)


async def test_a_course_without_sections_is_there(courses: Catalog, database: AsyncDatabase[Document]) -> None:
    await database.courses.insert_one({"_id": ObjectId(NONE)})
    assert await has(courses, NONE)
    assert not await has(courses, NONE, FIRST)


async def test_a_section_whose_lectures_are_null_has_none(courses: Catalog, database: AsyncDatabase[Document]) -> None:
    await database.sections.update_one({"_id": ObjectId(SECTION)}, {"$set": {"lectures": None}})
    assert not await has(courses, COURSE, FIRST)


async def test_a_section_with_malformed_lectures_has_none_and_affects_no_other_course(
    courses: Catalog, database: AsyncDatabase[Document]
) -> None:
    await database.courses.insert_one({"_id": ObjectId(NONE)})
    await database.sections.update_one({"_id": ObjectId(SECTION)}, {"$set": {"lectures": 5}})
    assert [False, True] == list(await asyncio.gather(has(courses, COURSE, FIRST), has(courses, NONE)))


async def test_a_refusal_names_what_is_missing(courses: Catalog) -> None:
    with pytest.raises(NotFound, match=f"there is no course {NONE}"):
        await courses.require(NONE)
    with pytest.raises(NotFound, match=f"course {COURSE} has no lecture {SECOND}"):
        await courses.require(COURSE, SECOND)


async def test_a_course_is_remembered_for_five_minutes(courses: Catalog, clock: Clock, requests: Requests) -> None:
    await has(courses, COURSE)
    clock.wait(299.9)
    await has(courses, COURSE, FIRST)
    assert 1 == requests.count


async def test_a_deleted_course_is_gone_after_five_minutes(
    courses: Catalog, clock: Clock, database: AsyncDatabase[Document]
) -> None:
    await has(courses, COURSE)
    await database.courses.delete_one({})
    clock.wait(300)
    assert not await has(courses, COURSE)


async def test_a_missing_course_is_remembered_for_thirty_seconds(
    courses: Catalog, clock: Clock, requests: Requests
) -> None:
    await has(courses, NONE)
    clock.wait(29.9)
    assert not await has(courses, NONE, FIRST)
    assert 1 == requests.count


async def test_a_new_course_is_there_after_thirty_seconds(
    courses: Catalog, clock: Clock, database: AsyncDatabase[Document]
) -> None:
    await has(courses, NONE)
    await database.courses.insert_one({"_id": ObjectId(NONE)})
    clock.wait(30)
    assert await has(courses, NONE)


async def test_a_new_lecture_is_looked_for_after_ten_seconds(
    courses: Catalog, clock: Clock, database: AsyncDatabase[Document]
) -> None:
    await has(courses, COURSE)
    await write(database, FIRST, SECOND)
    clock.wait(10)
    assert await has(courses, COURSE, SECOND)


async def test_unknown_lectures_cost_one_request_in_ten_seconds(
    courses: Catalog, clock: Clock, requests: Requests
) -> None:
    await has(courses, COURSE)
    for _ in range(100):  # of a tenth of a second
        clock.wait(0.1)
        assert not await has(courses, COURSE, SECOND)
    assert requests.count <= 1 + 1


async def test_any_number_of_lookups_at_once_are_one_request(courses: Catalog, requests: Requests) -> None:
    assert [True] * 50 == await asyncio.gather(*(has(courses, COURSE, FIRST) for _ in range(50)))
    assert 1 == requests.count


async def test_courses_that_are_loaded_together_are_one_request(courses: Catalog, requests: Requests) -> None:
    await courses.load({COURSE: {FIRST}, NONE: set()})
    assert [True, False] == [await has(courses, COURSE, FIRST), await has(courses, NONE)]
    assert 1 == requests.count


async def test_lectures_that_may_be_new_are_looked_for_together(
    courses: Catalog, clock: Clock, requests: Requests
) -> None:
    await has(courses, COURSE)
    clock.wait(10)
    await courses.load({COURSE: {SECOND}, NONE: set()})
    assert not await has(courses, COURSE, SECOND)
    assert 1 + 1 == requests.count


async def test_what_is_remembered_is_not_loaded_again(courses: Catalog, requests: Requests) -> None:
    await courses.load({COURSE: {FIRST}, NONE: set()})
    await courses.load({COURSE: {FIRST}, NONE: set()})
    assert 1 == requests.count


async def test_a_caller_who_goes_away_leaves_the_answer_to_the_others(courses: Catalog, requests: Requests) -> None:
    first, second = (asyncio.create_task(has(courses, COURSE)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert 1 == requests.count


async def test_what_is_remembered_is_bounded(
    requests: Requests, monkeypatch: pytest.MonkeyPatch, database: AsyncDatabase[Document]
) -> None:
    await database.courses.insert_one({"_id": ObjectId(NONE)})
    monkeypatch.setattr(catalog, "CACHED_ENTRIES", 2)
    small = Catalog(database)  # room for the course and its lecture
    for course in (COURSE, COURSE, NONE, NONE, COURSE):
        await has(small, course)
    assert 3 == requests.count


async def test_what_does_not_exist_is_bounded_and_drives_out_nothing_that_does(
    requests: Requests, monkeypatch: pytest.MonkeyPatch, database: AsyncDatabase[Document]
) -> None:
    monkeypatch.setattr(catalog, "CACHED_MISSES", 10)
    monkeypatch.setattr(catalog, "CACHED_ENTRIES", 2)
    small = Catalog(database)
    await has(small, COURSE)
    first, *others = [f"{number:024x}" for number in range(11)]
    for course in (first, *others, COURSE, *others):
        await has(small, course)
    assert 1 + 11 == requests.count
    assert not await has(small, first)
    assert 1 + 11 + 1 == requests.count


async def test_any_number_of_courses_that_do_not_exist_are_two_requests(courses: Catalog, requests: Requests) -> None:
    ids = [f"{number:024x}" for number in range(500)]
    assert [False] * 500 == await asyncio.gather(*(has(courses, course) for course in ids))
    assert requests.count <= 2


async def test_a_course_that_is_gone_is_so_when_its_lectures_are_looked_for(
    courses: Catalog, clock: Clock, database: AsyncDatabase[Document]
) -> None:
    await has(courses, COURSE)
    await database.courses.delete_one({})
    clock.wait(10)
    assert not await has(courses, COURSE, SECOND)
    assert not await has(courses, COURSE, FIRST)


class TestTooLarge:
    """A course of more lectures than can be counted."""

    @pytest.fixture(autouse=True)
    def one_is_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalog, "MAX_LECTURES", 1)

    async def test_its_lectures_are_refused(self, courses: Catalog, database: AsyncDatabase[Document]) -> None:
        await write(database, FIRST, SECOND)
        with pytest.raises(InvalidRequest, match=r"^courseId: the course has more than 10,000 lectures"):
            await courses.require(COURSE, FIRST)

    async def test_it_is_not_fetched_by_every_ping(
        self, courses: Catalog, database: AsyncDatabase[Document], requests: Requests, clock: Clock
    ) -> None:
        await write(database, FIRST, SECOND)
        for _ in range(2):
            with pytest.raises(InvalidRequest):
                await courses.require(COURSE, FIRST)
            clock.wait(11)
        assert 1 == requests.count

    async def test_as_many_as_can_be_counted_are_not_too_many(self, courses: Catalog) -> None:
        assert await has(courses, COURSE, FIRST)
