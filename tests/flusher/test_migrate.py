"""What a platform wrote before is made usable: exactly, once, and only where it is understood."""

from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from flusher.schema import ensure
from flusher.steps.wave import UTC
from flusher.tools.migrate import NotUnderstood, migrate, plan
from shared.data.tallies import COURSE, fields_of
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import Stage

ID = "650000000000000000000001"
L1, L2 = "650000000000000000000011", "650000000000000000000012"


def written(course_id: object = ID, **fields: object) -> Document:
    """A document as Mongoose writes it."""
    stats = {L1: {"views": 3, "totalWatchTime": 40, "_id": ObjectId()}}
    return {"_id": ObjectId(), "courseId": course_id, "totalViews": 7, "lectureStats": stats, "__v": 0, **fields}


async def migrated(stage: Stage, *, apply: bool = True) -> list[tuple[bool, str]]:
    return [found async for found in migrate(stage.database, apply=apply)]


async def test_a_course_id_that_is_a_string_becomes_an_objectid_and_the_rest_stays(stage: Stage) -> None:
    document = written()
    await stage.database[COURSE_ANALYTICS].insert_one(document)

    assert [(True, f"course {ID}: its courseId is a string and becomes an ObjectId")] == await migrated(stage)
    assert {**document, "courseId": ObjectId(ID)} == await stage.database[COURSE_ANALYTICS].find_one()


async def test_a_dry_run_says_the_same_and_writes_nothing(stage: Stage) -> None:
    document = written()
    await stage.database[COURSE_ANALYTICS].insert_one(document)

    assert await migrated(stage, apply=False) == await migrated(stage, apply=False) != []
    assert document == await stage.database[COURSE_ANALYTICS].find_one()


async def test_two_documents_of_one_course_become_one_with_their_sums(stage: Stage) -> None:
    await stage.database[COURSE_ANALYTICS].drop_indexes()
    other = {"totalViews": 10, "uniqueActiveUsers": 4, "lectureStats": {L1: {"views": 1}, L2: {"views": Int64(5)}}}
    await stage.database[COURSE_ANALYTICS].insert_many([written(), {"courseId": ObjectId(ID), **other}])

    await migrated(stage)

    (document,) = await stage.database[COURSE_ANALYTICS].find({}).to_list()
    expected = {
        "course_views": 17,
        f"lecture_views:{L1}": 4,
        f"lecture_views:{L2}": 5,
        f"lecture_watchtime:{L1}": 40,
        f"lecture_watchtime:{L2}": 0,
    }
    assert expected == fields_of(COURSE.counts_of(document))
    assert 4 == document["uniqueActiveUsers"]
    await ensure(stage.database, UTC)  # its unique index can be made now


async def test_doing_it_again_changes_nothing(stage: Stage) -> None:
    await stage.database[COURSE_ANALYTICS].insert_many([written(), written("65000000000000000000000A")])
    await migrated(stage)

    assert [] == await migrated(stage)


async def test_an_unclear_document_is_named_and_left_alone(stage: Stage) -> None:
    odd = [written("my-course"), written(7), written(totalViews="many")]
    await stage.database[COURSE_ANALYTICS].insert_many(odd)

    assert [False, False, False] == [understood for understood, _ in await migrated(stage)]
    assert odd == await stage.database[COURSE_ANALYTICS].find({}).sort("_id").to_list()


@pytest.mark.parametrize(
    ("stored", "whole"),
    [(5.0, 5), (Int64(5), 5), (Decimal128("5"), 5), (100.75, 101), (Decimal128("0.5"), 1), (100.25, 100)],
)
def test_seconds_of_every_number_type_become_whole_seconds(stored: object, whole: int) -> None:
    step = plan([written(ObjectId(ID), lectureStats={L1: {"totalWatchTime": stored}})])
    changes = step.changes if step else {}
    assert whole == changes.get(f"lectureStats.{L1}.totalWatchTime", stored)


NO_NUMBERS: list[object] = ["7", None, True, -1, 1.5, float("nan"), float("inf"), Decimal128("NaN"), 1e300, [1], {}]
NO_LECTURES: list[object] = [[], None, "x", {"x": {"views": 1}}, {L1: 3}, {L1: {"views": "3"}}]


@pytest.mark.parametrize(
    "fields",
    [{"totalViews": value} for value in NO_NUMBERS] + [{"lectureStats": value} for value in NO_LECTURES],
)
def test_a_malformed_number_is_not_guessed(fields: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood):
        plan([written(**fields)])


def test_the_document_that_a_flusher_writes_to_is_kept() -> None:
    ours = {"_id": "z", "courseId": ObjectId(ID), "epoch": 3, "recentBatches": ["A"]}
    step = plan([{"_id": "a", "courseId": ID, "totalViews": 2}, ours])
    assert step is not None
    assert ("z", ["a"], {"totalViews": 2}) == (step.kept, step.removed, step.changes)


def test_two_documents_that_a_flusher_writes_to_are_not_merged() -> None:
    with pytest.raises(NotUnderstood, match="by hand"):
        plan([{"_id": n, "courseId": ObjectId(ID), "epoch": 1} for n in range(2)])


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=4), st.booleans())
def test_nothing_is_lost_in_a_merge(views: list[int], as_double: bool) -> None:
    documents = [written(totalViews=float(count) if as_double else count) for count in views]
    step = plan(documents)
    assert step is not None
    kept = next(document for document in documents if document["_id"] == step.kept)
    assert sum(views) == step.changes.get("totalViews", kept["totalViews"])
