"""Documents of any shape: applied, left or put aside, each for its own tally only, and nobody else's."""

import datetime as dt
import math
from itertools import islice
from typing import Any

import pytest
from bson import Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flusher.schema import EPOCH_ID, FLUSH_EPOCH
from flusher.steps.apply import Outcome, Verdict, apply
from flusher.steps.shape import complaints, misshapen
from flusher.tools import invariants, quarantine, status
from query_server.merge import counts_of
from shared.data import keys
from shared.data.tallies import COURSE, Tally, course_tally, day_tally, fields_of, lecture_tally
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import LECTURE, ONE_PING, Stage, course, courses_of
from tests.undecodable import undecodable

PARTITION = 7
THEIRS, BESIDE = islice(courses_of(PARTITION), 2)
NEIGHBOUR = course(1)  # in another partition
FUZZ = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            None,
            math.nan,
            math.inf,
            -1,
            -0.5,
            5.75,
            1e300,
            2**53,
            Int64(2**62),
            Decimal128("10"),
            Decimal128("NaN"),
            Decimal128("-Infinity"),
            Code("b1"),
            Regex("b1"),
            Timestamp(1, 1),
            MinKey(),
            MaxKey(),
            DatetimeMS(2**62),
            dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            ObjectId(LECTURE),
        ]
    ),
    st.booleans(),
    st.integers(-5, 100),
    st.floats(0, 1e6),
    st.text("abc", max_size=3),
    st.binary(max_size=3),
)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["a", "views"]), scalars, max_size=2)
lecture_stats = values | st.fixed_dictionaries(
    {
        LECTURE: values
        | st.fixed_dictionaries({}, optional={"views": values, "totalWatchTime": values, "rating": values})
    }
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "totalViews": values,
        "lectureStats": lecture_stats,
        "notCounted": values,
        "recentBatches": values,
        "epoch": values,
        "uniqueActiveUsers": values,
        "usersSketch": values,
        "usersSketchEstimate": values,
        "usersSketchSavedAt": values,
        "__v": values,
    },
)


async def emptied(stage: Stage) -> None:
    await stage.call("FLUSHDB")
    await stage.database[COURSE_ANALYTICS].delete_many({})
    stage.acknowledged.clear()


async def assert_the_tools_can_say_something(stage: Stage) -> None:
    await status.read([stage.redis], stage.database)
    [said async for said in invariants.findings([stage.redis], stage.database)]
    [batch async for batch in quarantine.quarantined([stage.redis])]


@FUZZ
@given(st.lists(documents, min_size=3, max_size=6))
async def test_a_flush_changes_nothing_that_is_shown_whatever_the_documents_hold(
    stage: Stage, several: list[Document]
) -> None:
    await emptied(stage)
    odd = [course(number + 2) for number in range(len(several))]
    for course_id, document in zip(odd, several, strict=True):
        await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(course_id), **document})
    await stage.ping(NEIGHBOUR, *odd)
    before = await stage.shown(*odd)

    for _ in range(2):
        report = await stage.flush()
        assert not report.store_away
        assert before == await stage.shown(*odd)

    assert {NEIGHBOUR: ONE_PING} == await stage.flushed(NEIGHBOUR)
    await assert_the_tools_can_say_something(stage)


COUNTED = {
    day_tally(THEIRS, "2026-11-25"): ONE_PING,
    lecture_tally(THEIRS, LECTURE): {"playbacks": 1, "segment_watched:0": 50, "segment_views:0": 1, "duration:60": 1},
}
of_days_and_lectures = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("totalViews", "lectureViews", "watchTime", "notCounted", "uniqueActiveUsers"), values),
        **dict.fromkeys(("usersSketch", "usersSketchEstimate", "recentBatches", "epoch", "playbacks"), values),
        "lectureStats": lecture_stats,
        **dict.fromkeys(("segments", "durations"), values | st.dictionaries(st.sampled_from("0a"), values, max_size=2)),
    },
)


async def shown_of(stage: Stage, tally: Tally) -> dict[str, int]:
    hot = await stage.hot.read_tallies([tally])
    return fields_of(counts_of(tally.kind, hot[tally.name], await stage.document_of(tally)))


@FUZZ
@example({}, {"segments": [], "durations": []})
@given(of_days_and_lectures, of_days_and_lectures)
async def test_the_same_of_days_and_lectures(stage: Stage, of_the_day: Document, of_the_lecture: Document) -> None:
    await emptied(stage)
    for (tally, counts), document in zip(COUNTED.items(), (of_the_day, of_the_lecture), strict=True):
        collection = stage.database[tally.kind.collection]
        await collection.delete_many({})
        await collection.insert_one({**tally.identity(), **document})
        await stage.count(tally, counts, *([b"ann"] if tally.kind.users else []))
    await stage.ping(THEIRS, NEIGHBOUR)
    before = [await shown_of(stage, tally) for tally in COUNTED]

    for _ in range(2):
        report = await stage.flush()
        assert not report.store_away
        assert before == [await shown_of(stage, tally) for tally in COUNTED]

    assert {NEIGHBOUR: ONE_PING, THEIRS: ONE_PING} == await stage.flushed(NEIGHBOUR, THEIRS)
    await assert_the_tools_can_say_something(stage)


@pytest.mark.parametrize("field", ["recentBatches", "epoch", "usersSketch", "usersSketchSavedAt", "lectureStats"])
async def test_a_document_that_cannot_be_decoded_delays_no_other_course(stage: Stage, field: str) -> None:
    await stage.database[COURSE_ANALYTICS].insert_one(
        undecodable({"_id": ObjectId(), "courseId": ObjectId(THEIRS)}, field)
    )
    await stage.ping(THEIRS, BESIDE, NEIGHBOUR)
    for _ in range(2):
        assert not (await stage.flush()).store_away
    assert {BESIDE: ONE_PING, NEIGHBOUR: ONE_PING} == await stage.flushed(BESIDE, NEIGHBOUR)


@pytest.mark.parametrize("epoch", ["x", [3], math.nan, math.inf, 2.5, Decimal128("7"), None])
async def test_without_a_fence_nothing_is_flushed_and_the_flusher_continues(stage: Stage, epoch: object) -> None:
    epochs = stage.database[FLUSH_EPOCH]
    await epochs.update_one({"_id": EPOCH_ID}, {"$set": {"epoch": epoch}}, upsert=True)
    await stage.ping(THEIRS)
    assert (await stage.flush()).store_away
    await stage.assert_exact()

    await epochs.update_one({"_id": EPOCH_ID}, {"$set": {"epoch": 7}})
    await stage.flush()
    await stage.assert_all_flushed()


@pytest.mark.parametrize("flushed", [5, None, [], {"x": 5, "3": "never", str(PARTITION): "x"}])
async def test_a_status_document_of_any_shape_stops_nothing(stage: Stage, flushed: object) -> None:
    noted = {"$set": {"flushed": flushed}}
    await stage.database[FLUSH_EPOCH].update_one({"_id": EPOCH_ID}, noted, upsert=True)
    await assert_the_tools_can_say_something(stage)
    await stage.ping(THEIRS)

    assert not (await stage.flush()).store_away

    await stage.assert_all_flushed()
    assert (await status.read([stage.redis], stage.database))[PARTITION].last_success


@pytest.mark.parametrize("epoch", ["x", [3], math.nan, True, {"$numberLong": "5"}])
async def test_a_malformed_epoch_excludes_every_update(stage: Stage, epoch: object) -> None:
    """Also when it becomes one after the look at the documents: the update itself does not match."""
    collection = stage.database[COURSE_ANALYTICS]
    await collection.insert_one({"courseId": ObjectId(THEIRS), "totalViews": 5, "epoch": epoch})
    await stage.ping(THEIRS)

    (outcome,) = await apply(collection, await stage.taken(THEIRS), await stage.epoch(), timeout=5)

    assert Verdict.REFUSED is outcome.verdict
    assert "epoch is" in outcome.reason
    assert 5 == (await stage.document(THEIRS))["totalViews"]


async def test_after_a_refusal_the_epoch_is_a_number_again_and_shuts_out_older_updates(stage: Stage) -> None:
    await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(THEIRS), "epoch": "x"})
    await stage.ping(THEIRS)
    await stage.flush()
    await stage.ping(THEIRS)

    assert not (await stage.flush()).left

    assert {THEIRS: ONE_PING} == await stage.flushed(THEIRS)
    await stage.assert_exact()


async def test_an_epoch_that_is_spoilt_between_look_and_write_lets_no_update_in(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = stage.database[COURSE_ANALYTICS]
    await stage.ping(THEIRS)
    await stage.flush()
    await stage.ping(THEIRS)
    batches = await stage.taken(THEIRS)

    async def looked(*arguments: Any) -> dict[str, str]:
        seen = await misshapen(*arguments)
        await collection.update_one({"courseId": ObjectId(THEIRS)}, {"$set": {"epoch": "x"}})
        return seen

    monkeypatch.setattr("flusher.steps.apply.misshapen", looked)
    (outcome,) = await apply(collection, batches, 1, timeout=5)

    assert Outcome(Verdict.LEFT, outcome.reason) == outcome
    assert {THEIRS: ONE_PING} == await stage.flushed(THEIRS)


@FUZZ
@given(documents)
async def test_the_reported_problems_of_a_document_agree_with_mongodb(stage: Stage, document: Document) -> None:
    """Numbers to which nothing can be added are found before the write; what is no number MongoDB itself refuses."""
    collection = stage.database[COURSE_ANALYTICS]
    await collection.delete_many({})
    await collection.insert_one({"courseId": ObjectId(THEIRS), **document})

    found = await misshapen(collection, [course_tally(THEIRS)])

    if found:
        assert "its document is not as it was written" != found[THEIRS]
        assert list(complaints(COURSE, await stage.document(THEIRS)))


def test_a_whole_document_gives_no_complaint() -> None:
    whole = {"totalViews": 5, "lectureStats": {LECTURE: {"views": 5.0, "rating": -1}}, "recentBatches": [], "epoch": 3}
    assert [] == list(complaints(COURSE, whole))


async def test_counts_are_added_to_every_number_except_those_that_would_swallow_them(
    stage: Stage,
) -> None:
    swallowing = [math.nan, math.inf, -1, 1e300, Decimal128("NaN"), Int64(2**62)]
    adding = [5, 5.0, 5.75, Int64(5), Decimal128("5")]
    courses = [course(number + 2) for number in range(len(swallowing) + len(adding))]
    for course_id, number in zip(courses, swallowing + adding, strict=True):
        document = {"totalViews": 0, "lectureStats": {LECTURE: {"totalWatchTime": number}}}
        await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(course_id), **document})
    await stage.ping(*courses)
    before = await stage.shown(*courses)

    report = await stage.flush()

    assert (len(adding), len(swallowing)) == (report.cleared, report.quarantined)
    assert before == await stage.shown(*courses)
    aside = [text for each in courses for text in (await stage.hash(keys.quarantined_counters, each)).values()]
    assert all(f"lectureStats.{LECTURE}.totalWatchTime is " in text for text in aside)
