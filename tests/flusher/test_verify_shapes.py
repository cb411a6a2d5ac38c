"""`verify` over documents and keys of any shape: it says in plain words what is wrong, and nothing of what is right."""

from typing import Any

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flusher.steps.shape import misshapen
from flusher.tools import invariants
from shared.data import keys
from shared.data.tallies import COURSE, DAY, KINDS, Kind, Tally, course_tally, day_tally, lecture_tally
from shared.data.tallies import LECTURE as LECTURE_KIND
from tests.flusher.stage import LECTURE, Stage, course
from tests.flusher.test_odd import values
from tests.flusher.test_odd_keys import OF_ANOTHER_TYPE, put

FUZZ = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
COURSE_ID = course(1)
TALLIES: dict[Kind, Tally] = {
    COURSE: course_tally(COURSE_ID),
    DAY: day_tally(COURSE_ID, "2026-01-31"),
    LECTURE_KIND: lecture_tally(COURSE_ID, LECTURE),
}
OTHER_FIELDS = ["recentBatches", "epoch", "uniqueActiveUsers", "usersSketch", "usersSketchEstimate", "updatedAt", "__v"]


def documents_of(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Documents with the fields of a kind, each of any shape; its key is right, missing or anything."""
    numbers: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(OTHER_FIELDS, values)
    for counter in kind.counters.values():
        leaves = st.dictionaries(st.sampled_from([counter.leaf, "a"]), values, max_size=2) if counter.leaf else values
        numbers[counter.parent] = values | st.dictionaries(st.sampled_from(["0", "x", LECTURE]), leaves, max_size=2)
    return st.fixed_dictionaries({}, optional=numbers)


def key_of(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    identity = TALLIES[kind].identity()
    odd = values.filter(lambda value: not isinstance(value, list)) | st.just(str(ObjectId()))
    return st.just(identity) | st.just(identity) | st.fixed_dictionaries({kind.key: odd})


async def said_of(stage: Stage) -> list[str]:
    """What `verify` says. Each is a sentence for an operator, without Python's own words."""
    said = [each async for each in invariants.findings([stage.redis], stage.database)]
    assert [] == [each for each in said if "<class" in each or "Traceback" in each or "\n" in each]
    return said


async def emptied(stage: Stage) -> None:
    await stage.call("FLUSHDB")
    for kind in KINDS:
        await stage.database[kind.collection].delete_many({})


@FUZZ
@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), key_of(kind), documents_of(kind))))
@example((COURSE, {"courseId": ObjectId(COURSE_ID)}, {"uniqueActiveUsers": None}))
@example((COURSE, {"courseId": ObjectId(COURSE_ID)}, {"uniqueActiveUsers": [1]}))
@example((COURSE, {"courseId": COURSE_ID}, {"totalViews": 1}))
async def test_a_document_that_nothing_can_be_added_to_is_named_and_verify_never_fails(
    stage: Stage, found: tuple[Kind, dict[str, Any], dict[str, Any]]
) -> None:
    kind, key, document = found
    await emptied(stage)
    await stage.database[kind.collection].insert_one({**document, **key})

    said = await said_of(stage)

    if key != TALLIES[kind].identity():
        assert any(kind.collection in each for each in said)
    elif await misshapen(stage.database[kind.collection], [TALLIES[kind]]):
        assert any("goes to quarantine" in each for each in said)
    elif set(document) <= {"__v", "updatedAt"}:
        assert [] == said


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
async def test_a_counters_key_of_any_shape_is_named(stage: Stage, kind: Kind) -> None:
    tally = TALLIES[kind].name
    for key in (keys.course_counters, keys.flushing_counters, keys.quarantined_counters):
        for content in OF_ANOTHER_TYPE:
            name = key(keys.partition_of(COURSE_ID), tally)
            await put(stage, name, content)

            assert any(tally in each for each in await said_of(stage)), (name, content)
            await stage.call("DEL", name)
