"""How the catalog is read: as it comes, however long that takes, as long as MongoDB answers at all."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from prometheus_client import REGISTRY
from pymongo.asynchronous.database import AsyncDatabase

from ingest_server import catalog
from ingest_server.catalog import Catalog
from shared.serving.errors import InvalidRequest
from shared.stores import mongo
from shared.stores.mongo import Document
from tests.faults.loss import End, containing
from tests.faults.proxy import Proxy
from tests.ingest_server.catalog.conftest import COURSE, FIRST, NONE, SECOND, SECTION, Requests, has, write
from tests.query_server.odd import references
from tests.servers import PATIENCE
from tests.undecodable import undecodable

LONG = 60.0
MANY = [f"6600000000000000{number:08x}" for number in range(40)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def write_many(database: AsyncDatabase[Document]) -> None:
    await database.courses.insert_many([{"_id": ObjectId(course), "sections": [ObjectId(SECTION)]} for course in MANY])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks waits, however slow the machine."""
    for name in ("WAIT_SECONDS", "ANSWER_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(catalog, name, LONG)


@pytest.mark.usefixtures("patient")
async def test_many_courses_are_read_although_all_of_them_take_longer_than_one_answer_may(
    courses: Catalog, database: AsyncDatabase[Document], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_many(database)
    monkeypatch.setattr(catalog, "COURSES_A_READ", 10)
    monkeypatch.setattr(catalog, "COURSES_AN_ANSWER", 5)
    proxy.delay(0.05)  # 8 answers; all courses had 0.2 s together
    known = await courses.load({course: {FIRST} for course in MANY})
    assert MANY == [course for course in MANY if known[course].has(FIRST)]


@pytest.mark.usefixtures("patient")
async def test_who_asks_during_a_read_waits_for_the_next_as_long_as_that_takes(courses: Catalog, proxy: Proxy) -> None:
    proxy.delay(0.3)  # whoever was in the queue had what was left of 0.2 s
    first = asyncio.create_task(has(courses, COURSE, FIRST))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [True, False] == list(await asyncio.gather(first, has(courses, NONE)))


async def test_a_slow_answer_is_not_waited_for_and_still_counts(
    courses: Catalog, proxy: Proxy, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(catalog, "READ_SECONDS", LONG)
    proxy.delay(0.5)
    assert await has(courses, COURSE, SECOND)  # unchecked: there is none
    await until(lambda: courses.has(COURSE, FIRST))
    assert not await has(courses, COURSE, SECOND)
    assert 1 == requests.count


async def test_a_slow_answer_opens_no_circuit(courses: Catalog, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "READ_SECONDS", LONG)
    with monkeypatch.context() as hasty:
        hasty.setattr(catalog, "ANSWER_SECONDS", 0.05)
        proxy.delay(0.5)
        assert await has(courses, COURSE, SECOND)
        await until(lambda: courses.has(COURSE))
    proxy.heal()
    monkeypatch.setattr(catalog, "ANSWER_SECONDS", LONG)
    monkeypatch.setattr(catalog, "WAIT_SECONDS", LONG)
    assert not await has(courses, NONE)


async def test_what_has_come_before_mongodb_falls_silent_is_kept(
    courses: Catalog, database: AsyncDatabase[Document], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_many(database)
    monkeypatch.setattr(catalog, "COURSES_AN_ANSWER", 10)
    monkeypatch.setattr(catalog, "ANSWER_SECONDS", LONG)
    monkeypatch.setattr(catalog, "WAIT_SECONDS", LONG)
    monkeypatch.setattr(catalog, "READ_SECONDS", 1.0)
    proxy.lose_reply(containing(b"getMore"), end=End.SILENCE)
    known = await courses.load({course: {FIRST} for course in MANY})
    assert 10 == len(known)
    assert await has(courses, NONE), "MongoDB is out of reach: nothing is checked"


class TestOddData:
    """What other programs have written. What can be an id is one, and no course spoils another."""

    @pytest.mark.parametrize(
        "sections",
        [
            [SECTION],
            [None, SECTION, SECTION, 5, "x", {"$db": 1}, [SECTION]],
            [{"_id": ObjectId(SECTION), "title": "embedded"}],
            [{"_id": SECTION}],
            [{"lectures": [ObjectId(FIRST)]}],
            [{"_id": "of nobody", "lectures": [FIRST]}],
        ],
    )
    @pytest.mark.usefixtures("patient")
    async def test_a_section_is_named_in_many_ways(
        self, courses: Catalog, database: AsyncDatabase[Document], sections: list[object]
    ) -> None:
        await database.courses.update_one({}, {"$set": {"sections": sections}})
        assert [True, False] == [await has(courses, COURSE, FIRST), await has(courses, COURSE, SECOND)]

    @pytest.mark.parametrize(
        "lectures",
        [
            [FIRST],
            [FIRST.upper()],
            [{"_id": ObjectId(FIRST), "lectureTitle": "embedded"}],
            [None, 5, "x", b"\xff", {"_id": {}}, {}, [FIRST], FIRST, FIRST],
        ],
    )
    @pytest.mark.usefixtures("patient")
    async def test_a_lecture_is_named_in_many_ways(
        self, courses: Catalog, database: AsyncDatabase[Document], lectures: list[object]
    ) -> None:
        await database.sections.update_one({}, {"$set": {"lectures": lectures}})
        assert [True, False] == [await has(courses, COURSE, FIRST), await has(courses, COURSE, SECOND)]

    @pytest.mark.parametrize("sections", [None, 5, "x", SECTION, {}, {"a": [SECTION]}, [[]], [None], True])
    @pytest.mark.usefixtures("patient")
    async def test_a_malformed_list_of_sections_has_no_sections(
        self, courses: Catalog, database: AsyncDatabase[Document], sections: object
    ) -> None:
        await database.courses.insert_one({"_id": ObjectId(NONE), "sections": sections})
        loads: Awaitable[object] = courses.load({COURSE: {FIRST}, NONE: set()})
        await loads
        assert [True, False] == [await has(courses, COURSE, FIRST), await has(courses, NONE, FIRST)]

    @pytest.mark.usefixtures("patient")
    async def test_malformed_utf_8_is_not_an_id_and_affects_no_other(
        self, courses: Catalog, database: AsyncDatabase[Document]
    ) -> None:
        text = b"\x02" + b"0\0" + b"\x03\0\0\0\xff\xfe\0"
        array = (4 + len(text) + 1).to_bytes(4, "little") + text + b"\0"
        lectures = b"\x04lectures\0" + array
        section = b"\x07_id\0" + ObjectId(SECOND).binary + lectures
        document = (4 + len(section) + 1).to_bytes(4, "little") + section + b"\0"
        await database.sections.insert_one(RawBSONDocument(document))
        await database.courses.insert_one({"_id": ObjectId(NONE), "sections": [ObjectId(SECOND)]})
        await courses.load({COURSE: {FIRST}, NONE: set()})
        assert [True, True] == [await has(courses, COURSE, FIRST), await has(courses, NONE)]
        assert not await has(courses, NONE, FIRST)

    @pytest.mark.usefixtures("patient")
    async def test_a_course_that_cannot_be_decoded_is_not_checked_and_affects_no_other(
        self, courses: Catalog, database: AsyncDatabase[Document]
    ) -> None:
        before = "640000000000000000000001"  # MongoDB answers in the order of the ids
        await database.sections.insert_one(undecodable({"_id": ObjectId(SECOND)}, "lectures"))
        await database.courses.insert_one({"_id": ObjectId(before), "sections": [ObjectId(SECOND)]})
        await courses.load({before: {FIRST}, COURSE: {FIRST}})
        assert [True, True] == [await has(courses, before, SECOND), await has(courses, COURSE, FIRST)]
        assert not await has(courses, COURSE, SECOND), "the circuit is open, and nothing is checked"

    async def test_a_course_that_cannot_be_decoded_is_a_metric(
        self, courses: Catalog, database: AsyncDatabase[Document]
    ) -> None:
        def failed() -> float:
            return REGISTRY.get_sample_value("analytics_catalog_courses_fetched_total", {"result": "failed"}) or 0.0

        before = failed()
        await database.sections.insert_one(undecodable({"_id": ObjectId(SECOND)}, "lectures"))
        await database.courses.insert_one({"_id": ObjectId(SECOND), "sections": [ObjectId(SECOND)]})
        await courses.load({SECOND: {FIRST}})
        assert 1 == failed() - before


@pytest.mark.usefixtures("patient")
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(references, references)
async def test_documents_of_any_shape_spoil_no_other_course_and_open_no_circuit(
    mongo_url: str, sections: object, lectures: object
) -> None:
    async with mongo.connect(mongo_url, program="tests") as client:
        database = mongo.database(client)
        await write(database, FIRST)
        odd = {"sections": [ObjectId(SECOND), {"lectures": lectures}]}
        await database.courses.replace_one({"_id": ObjectId(NONE)}, odd, upsert=True)
        await database.courses.replace_one({"_id": ObjectId(SECOND)}, {"sections": sections}, upsert=True)
        await database.sections.replace_one({"_id": ObjectId(SECOND)}, {"lectures": lectures}, upsert=True)
        courses = Catalog(database)
        await courses.load({NONE: {FIRST}, SECOND: set(), COURSE: {FIRST}})
        assert [True, True, True] == [await has(courses, *asked) for asked in ((NONE,), (SECOND,), (COURSE, FIRST))]
        assert not await has(courses, COURSE, SECOND), "the circuit is open, and nothing is checked"


@pytest.mark.usefixtures("patient")
async def test_the_lectures_of_a_course_that_is_far_too_large_are_not_even_sent(
    courses: Catalog, database: AsyncDatabase[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "TOO_MANY_ENTRIES", 3)
    monkeypatch.setattr(catalog, "_id_of", None)  # whoever looks at a lecture fails
    await write(database, *[FIRST, SECOND] * 2)
    with pytest.raises(InvalidRequest, match="more than 10,000 lectures"):
        await courses.require(COURSE, FIRST)
