"""What `verify` finds in what is stored, and what it says of it."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from flusher.tools import invariants
from flusher.tools.strays import CountersKey
from shared.data.tallies import COURSE as COURSE_KIND
from shared.data.tallies import COURSE_VIEWS, PLAYBACKS, course_tally, day_tally
from shared.data.tallies import LECTURE as LECTURE_KIND
from shared.stores.mongo import ANALYTICS_SETTINGS, COURSES
from tests.flusher.conftest import Ask
from tests.flusher.stage import ONE_PING, Stage, course, pings
from tests.flusher.test_repair import COURSE, DIRTY, HOT, PARTITION, last_line


async def test_nothing_is_found_in_what_the_programs_wrote(stage: Stage, ask: Ask) -> None:
    await stage.ping(COURSE, course(2))
    await stage.flush()
    await stage.ping(COURSE, user=b"another")

    assert (0, "everything is as it must be\n") == ask("verify")


async def test_what_is_found_is_said_in_plain_words(stage: Stage, ask: Ask) -> None:
    await stage.ping(COURSE)
    await stage.call("DEL", DIRTY)

    assert (1, "1 findings") == last_line(ask("verify"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"batch": "b", "course_views": "-1"}, "has a field that is not a counter: course_views = -1"),
        ({"batch": "b", "course_views": "many"}, "has a field that is not a counter: course_views = many"),
        ({"batch": "b", "stars": "5"}, "has a field that is not a counter: stars = 5"),
        ({"course_views": "1"}, "names no batch: the next flush quarantines it"),
    ],
)
def test_impossible_hashes(fields: Mapping[str, str], said: str) -> None:
    assert [said] == list(invariants.about_hash(CountersKey(HOT, "course", PARTITION, COURSE), fields))


def test_a_hash_in_the_wrong_partition() -> None:
    misplaced = CountersKey("x", "course", PARTITION + 1, COURSE)
    assert ["is in the wrong partition: nothing reads it"] == list(invariants.about_hash(misplaced, {}))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"totalViews": -3}, "goes to quarantine with its next counts: totalViews is -3, not a count"),
        ({"totalViews": math.nan}, "goes to quarantine with its next counts: totalViews is nan, not a count"),
        ({"recentBatches": None}, "goes to quarantine with its next counts: recentBatches is not an array"),
        ({"epoch": "x"}, "goes to quarantine with its next counts: epoch is 'x', not a number"),
        ({"recentBatches": ["b"] * 33}, "remembers more than 32 batches"),
        ({"uniqueActiveUsers": -1}, "has a uniqueActiveUsers that is not a count: -1; unset it"),
        ({"lectureStats": []}, "goes to quarantine with its next counts: lectureStats is [], not a count"),
        (
            {"uniqueActiveUsers": 9, "totalViews": 5},
            "has more users (9) than views (5): Redis has lost counts",
        ),
    ],
)
def test_impossible_documents(document: dict[str, Any], said: str) -> None:
    assert [said] == list(invariants.about_document(COURSE_KIND, document, hot={}))


def test_users_whose_views_are_still_in_redis_are_not_a_finding() -> None:
    document = {"uniqueActiveUsers": 9, "totalViews": 5}
    assert [] == list(invariants.about_document(COURSE_KIND, document, hot={COURSE_VIEWS.field(): 4}))


async def test_days_that_have_more_than_their_course_are_a_finding(stage: Stage, ask: Ask) -> None:
    days = [day_tally(COURSE, day) for day in ("2026-11-24", "2026-11-25")]
    await stage.count(course_tally(COURSE), pings(2))
    for day in days:
        await stage.count(day, ONE_PING)
    await stage.flush()
    await stage.count(days[0], ONE_PING)
    await stage.count(course_tally(COURSE), ONE_PING)
    assert (0, "everything is as it must be\n") == ask("verify")

    await stage.count(days[1], {COURSE_VIEWS.field(): 1})

    code, said = ask("verify")
    assert 1 == code
    assert f"the days of course {COURSE} have course_views 4, and its totals 3\n" in said


@pytest.mark.parametrize(("recorded_since", "code"), [("2020-01-01", 1), ("2100-01-01", 0)])
async def test_days_that_have_less_are_one_where_the_course_is_younger_than_the_days(
    stage: Stage, ask: Ask, recorded_since: str, code: int
) -> None:
    for tally in (course_tally(COURSE), day_tally(COURSE, "2026-11-25")):
        await stage.count(tally, pings(2))
    await stage.flush()
    await stage.count(course_tally(COURSE), ONE_PING)
    await stage.count(day_tally(COURSE, "2026-11-26"), ONE_PING)
    settings = {"$set": {"zone": "UTC", "recordedSince": recorded_since}}
    await stage.database[ANALYTICS_SETTINGS].update_one({"_id": "days"}, settings, upsert=True)
    assert (0, "everything is as it must be\n") == ask("verify")

    await stage.count(course_tally(COURSE), {COURSE_VIEWS.field(): 1})

    found, said = ask("verify")
    assert code == found
    assert bool(code) == (f"the days of course {COURSE} have only course_views 3, and its totals 4\n" in said)


async def test_a_missing_index_for_the_list_of_courses_is_reported_but_not_a_finding(stage: Stage, ask: Ask) -> None:
    await stage.database[COURSES].insert_one({"creator": "ann"})
    lacks = "courses has no index {creator: 1, _id: -1}: each page of the list of courses reads all of them\n"
    assert (0, f"{lacks}everything is as it must be\n") == ask("verify")

    await stage.database[COURSES].create_index([("creator", 1), ("_id", -1)])
    assert (0, "everything is as it must be\n") == ask("verify")


def test_more_views_of_a_segment_than_playbacks() -> None:
    document = {"playbacks": 1, "segments": {"7": {"watched": 50, "views": 2}}}
    said = "has more views of a segment (segment_views:7 = 2) than playbacks (1)"
    assert [said] == list(invariants.about_document(LECTURE_KIND, document, hot={}))
    assert [] == list(invariants.about_document(LECTURE_KIND, document, hot={PLAYBACKS.field(): 1}))


async def test_a_key_of_another_type_is_a_finding(stage: Stage) -> None:
    await stage.call("SET", HOT, "x")
    await stage.call("SET", DIRTY, "x")

    found = [sentence async for sentence in invariants.findings([stage.redis], stage.database)]

    assert [
        f"{HOT} is not a hash: its tally is neither counted nor shown; rename the key",
        f"{DIRTY} is not a set: nothing of its partition is flushed; rename the key",
    ] == found


@pytest.mark.parametrize(
    ("collection", "document", "said"),
    [
        ("courseanalytics", {"courseId": COURSE}, "has a courseId that is not an ObjectId"),
        ("courseanalytics", {"courseId": None}, "has a courseId that is not an ObjectId"),
        ("courseanalyticsdays", {"_id": COURSE}, "is not named like a tally of its kind"),
        ("lectureanalytics", {"_id": 5}, "is not named like a tally of its kind"),
    ],
)
async def test_a_document_that_no_program_finds_is_a_finding(
    stage: Stage, collection: str, document: dict[str, Any], said: str
) -> None:
    await stage.database[collection].insert_one(document)
    found = [sentence async for sentence in invariants.findings([stage.redis], stage.database)]
    assert [True] == [said in sentence for sentence in found]


@pytest.mark.usefixtures("refused")
async def test_what_is_quarantined_is_a_finding(ask: Ask) -> None:
    code, said = ask("verify")
    assert 1 == code
    assert f"of {COURSE} is quarantined: Cannot create field" in said


async def test_a_counter_of_every_kind_has_its_place_in_the_document(stage: Stage) -> None:
    await stage.ping(COURSE)
    await stage.flush()
    assert {COURSE_VIEWS.field(), *ONE_PING} == set((await stage.flushed(COURSE))[COURSE])
