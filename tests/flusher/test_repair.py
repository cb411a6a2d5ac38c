"""What an operator has: the sweep, `status`, `verify` and `replay`."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from devstack.programs import Program
from flusher.tools import invariants, status
from flusher.tools.strays import CountersKey
from shared.data import keys
from shared.data.batch_id import batch_id, born
from shared.data.tallies import COURSE as COURSE_KIND
from shared.data.tallies import COURSE_VIEWS, PLAYBACKS, course_tally, day_tally
from shared.data.tallies import LECTURE as LECTURE_KIND
from shared.stores.mongo import ANALYTICS_SETTINGS, COURSE_ANALYTICS, COURSES
from tests.flusher.stage import ONE_PING, Stage, course, pings
from tests.servers import PATIENCE

COURSE = course(1)
PARTITION = keys.partition_of(COURSE)
HOT = keys.course_counters(PARTITION, COURSE)
FLUSHING = keys.flushing_counters(PARTITION, COURSE)
QUARANTINED = keys.quarantined_counters(PARTITION, COURSE)
DIRTY = keys.dirty_courses(PARTITION)

Ask = Callable[[str], tuple[int, str]]


@pytest.fixture
def ask(start_program: Callable[..., Program]) -> Ask:
    """Runs a command of the flusher: its exit code, and what it says."""

    def run(command: str) -> tuple[int, str]:
        flusher = start_program("flusher", command)
        code = flusher.wait(20)
        return code, flusher.output()

    return run


@pytest.fixture
async def refused(stage: Stage) -> Stage:
    """A ping in quarantine, because its document is not as it should be."""
    await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(COURSE), "lectureStats": 5})
    await stage.ping(COURSE)
    await stage.flush()
    assert {} != await stage.hash(keys.quarantined_counters, COURSE)
    return stage


async def mend(stage: Stage) -> None:
    await stage.database[COURSE_ANALYTICS].update_one({"courseId": ObjectId(COURSE)}, {"$unset": {"lectureStats": 1}})


@given(st.text("0123456789abcdef", min_size=1), st.integers(1, 10**9), st.floats(0, 1e10))
def test_a_batch_id_tells_when_it_was_born(process: str, commit: int, now: float) -> None:
    assert abs((born(batch_id(process, commit, now)) or 0) - now) <= 0.001


class TestSweep:
    @pytest.mark.parametrize("name", [HOT, FLUSHING])
    async def test_counters_that_fell_out_of_the_dirty_set_are_swept_back_and_flushed(
        self, stage: Stage, name: str
    ) -> None:
        await stage.ping(COURSE)
        if name == FLUSHING:
            await stage.call("RENAME", HOT, FLUSHING)
        await stage.call("DEL", DIRTY)

        await stage.flush()

        await stage.assert_all_flushed()

    async def test_quarantined_counters_are_not_swept(self, refused: Stage) -> None:
        await refused.flush()
        assert set() == await refused.dirty()


class TestReplay:
    async def test_a_mended_document_gets_its_batch_once(self, refused: Stage, ask: Ask) -> None:
        await mend(refused)

        code, said = ask("replay")

        assert (0, "1 batches sent again, 1 tallies flushed, 0 batches stay quarantined") == last_line((code, said))
        await refused.assert_all_flushed()

    async def test_what_mongodb_still_refuses_stays_and_is_named(self, refused: Stage, ask: Ask) -> None:
        code, said = ask("replay")

        assert 3 == code
        assert f"stays quarantined: tally {COURSE}" in said
        await refused.assert_exact()

    async def test_every_batch_of_a_course_is_replayed(self, refused: Stage, ask: Ask) -> None:
        await refused.ping(COURSE)
        await refused.flush()
        text = json.dumps({"reason": "why", "counters": ONE_PING})
        await refused.call("HSET", keys.quarantined_counters(PARTITION, COURSE), "of an older version", text)
        await mend(refused)

        code, said = ask("replay")

        assert (0, "2 batches sent again, 2 tallies flushed, 0 batches stay quarantined\n") == (code, said)
        assert {COURSE: pings(3)} == await refused.flushed(COURSE)

    async def test_3_when_another_flusher_has_the_partition(self, refused: Stage, ask: Ask) -> None:
        await mend(refused)
        await refused.call("SET", keys.flush_lock(PARTITION), "another")

        code, said = ask("replay")

        assert 3 == code
        assert "not everything was flushed: locked by another flusher (1)" in said
        await refused.assert_exact()

    async def test_3_and_nothing_leaves_quarantine_when_mongodb_is_away(
        self, refused: Stage, start_program: Callable[..., Program]
    ) -> None:
        flusher = start_program("flusher", "replay", mongo_url="mongodb://127.0.0.1:1/away")

        assert 3 == flusher.wait(20)
        assert 1 == len(await refused.hash(keys.quarantined_counters, COURSE))

    async def test_a_resurrected_batch_is_never_replayed(self, stage: Stage, ask: Ask) -> None:
        kept = {"reason": keys.RESURRECTED, "counters": ONE_PING, "unreadable": {}}
        await stage.call("HSET", QUARANTINED, "b1", json.dumps(kept))

        code, _ = ask("replay")

        assert 3 == code
        assert {"b1": json.dumps(kept)} == await stage.hash(keys.quarantined_counters, COURSE)

    async def test_a_batch_with_unreadable_fields_stays(self, stage: Stage, ask: Ask) -> None:
        kept = {"reason": "unreadable: stars", "counters": ONE_PING, "unreadable": {"stars": "5"}}
        await stage.call("HSET", QUARANTINED, "b1", json.dumps(kept))

        code, _ = ask("replay")

        assert 3 == code


class TestStatus:
    @pytest.mark.usefixtures("stage")
    async def test_nothing_to_say_of_idle_partitions(self, ask: Ask) -> None:
        code, said = ask("status")
        expected = ["0 tallies dirty, 0 in flight, 0 batches quarantined", "last success never"]
        assert (0, expected) == (code, said.splitlines()[-2:])

    async def test_a_partition_shows_when_it_was_flushed_last(self, stage: Stage, ask: Ask) -> None:
        await stage.ping(COURSE)
        await stage.flush()
        await stage.ping(COURSE)

        (_, row, *_) = ask("status")[1].splitlines()
        assert (str(PARTITION), True) == (row.split()[0], row.split()[-1].startswith("20"))

    async def test_every_state_of_a_partition_is_read(self, refused: Stage) -> None:
        other = next(n for n in range(2, 2000) if keys.partition_of(course(n)) == PARTITION)
        await refused.ping(COURSE, course(other))
        await refused.call("RENAME", HOT, FLUSHING)
        await refused.call("SET", keys.flush_lock(PARTITION), "somebody")

        read = (await status.read([refused.redis], refused.database))[PARTITION]

        assert (2, 1, 1, "somebody") == (read.dirty, read.in_flight, read.quarantined, read.holder)
        assert read.last_success is None  # nothing has ever been cleared there

    async def test_the_last_success_is_when_a_course_was_cleared(self, stage: Stage) -> None:
        await stage.ping(COURSE)
        await stage.flush()

        read = (await status.read([stage.redis], stage.database))[PARTITION]

        assert abs(time.time() - (read.last_success or 0)) < 60

    async def test_what_is_in_flight_shows_its_age(self, stage: Stage) -> None:
        await stage.call("HSET", FLUSHING, "batch", batch_id("p", 1, 1000.0), "course_views", 1)

        read = await status.read([stage.redis], stage.database)

        (_, row, _) = status.table(read, now=1090.0).splitlines()
        assert [str(PARTITION), "0", "1", "90", "s"] == row.split()[:5]

    @pytest.mark.usefixtures("refused")
    async def test_quarantined_batches_are_listed_with_their_reason(self, ask: Ask) -> None:
        code, said = ask("status")
        assert 0 == code
        assert f"quarantined: tally {COURSE}" in said
        assert "Cannot create field" in said

    async def test_what_waits_shows_its_age_also_when_no_flusher_has_taken_it(self, stage: Stage) -> None:
        await stage.call("HSET", HOT, "batch", batch_id("p", 1, 1000.0), "course_views", 1)
        await stage.call("SADD", DIRTY, COURSE)

        read = await status.read([stage.redis], stage.database)

        (_, row, _) = status.table(read, now=1090.0).splitlines()
        assert [str(PARTITION), "1", "0", "90", "s"] == row.split()[:5]

    async def test_with_a_store_away_the_other_is_shown_and_one_line_says_what_is_not_known(
        self, refused: Stage, start_program: Callable[..., Program], mongo_url: str
    ) -> None:
        await refused.ping(course(2))
        await refused.flush()
        no_redis = start_program("flusher", "status", redis_url="redis://127.0.0.1:1/0", mongo_url=mongo_url)
        no_mongo = start_program("flusher", "status", mongo_url="mongodb://127.0.0.1:1/away")
        assert [3, 3] == [flusher.wait(PATIENCE) for flusher in (no_redis, no_mongo)]

        lines = no_redis.output().splitlines()
        assert [True] == [line.startswith("last success 20") for line in lines if not line.startswith("Redis: ")]
        assert [True] == [
            line.endswith("what waits in it is not known") for line in lines if line.startswith("Redis: ")
        ]

        assert f"quarantined: tally {COURSE}" in no_mongo.output()
        (line,) = [text for text in no_mongo.output().splitlines() if text.startswith("MongoDB: ")]
        assert line.endswith("('127.0.0.1', 1): when the last flush was is not known")


def last_line(answer: tuple[int, str]) -> tuple[int, str]:
    code, said = answer
    return code, said.splitlines()[-1]


class TestVerify:
    async def test_nothing_is_found_in_what_the_programs_wrote(self, stage: Stage, ask: Ask) -> None:
        await stage.ping(COURSE, course(2))
        await stage.flush()
        await stage.ping(COURSE, user=b"another")

        assert (0, "everything is as it must be\n") == ask("verify")

    async def test_what_is_found_is_said_in_plain_words(self, stage: Stage, ask: Ask) -> None:
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
    def test_impossible_hashes(self, fields: Mapping[str, str], said: str) -> None:
        assert [said] == list(invariants.about_hash(CountersKey(HOT, "course", PARTITION, COURSE), fields))

    def test_a_hash_in_the_wrong_partition(self) -> None:
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
    def test_impossible_documents(self, document: dict[str, Any], said: str) -> None:
        assert [said] == list(invariants.about_document(COURSE_KIND, document, hot={}))

    def test_users_whose_views_are_still_in_redis_are_no_finding(self) -> None:
        document = {"uniqueActiveUsers": 9, "totalViews": 5}
        assert [] == list(invariants.about_document(COURSE_KIND, document, hot={COURSE_VIEWS.field(): 4}))

    async def test_days_that_have_more_than_their_course_are_a_finding(self, stage: Stage, ask: Ask) -> None:
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
        self, stage: Stage, ask: Ask, recorded_since: str, code: int
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

    async def test_an_index_that_the_list_of_courses_needs_is_asked_for_and_is_no_finding(
        self, stage: Stage, ask: Ask
    ) -> None:
        await stage.database[COURSES].insert_one({"creator": "ann"})
        lacks = "courses has no index {creator: 1, _id: -1}: each page of the list of courses reads all of them\n"
        assert (0, f"{lacks}everything is as it must be\n") == ask("verify")

        await stage.database[COURSES].create_index([("creator", 1), ("_id", -1)])
        assert (0, "everything is as it must be\n") == ask("verify")

    def test_more_views_of_a_segment_than_playbacks(self) -> None:
        document = {"playbacks": 1, "segments": {"7": {"watched": 50, "views": 2}}}
        said = "has more views of a segment (segment_views:7 = 2) than playbacks (1)"
        assert [said] == list(invariants.about_document(LECTURE_KIND, document, hot={}))
        assert [] == list(invariants.about_document(LECTURE_KIND, document, hot={PLAYBACKS.field(): 1}))

    async def test_a_key_of_another_type_is_a_finding(self, stage: Stage) -> None:
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
        self, stage: Stage, collection: str, document: dict[str, Any], said: str
    ) -> None:
        await stage.database[collection].insert_one(document)
        found = [sentence async for sentence in invariants.findings([stage.redis], stage.database)]
        assert [True] == [said in sentence for sentence in found]

    @pytest.mark.usefixtures("refused")
    async def test_what_is_quarantined_is_a_finding(self, ask: Ask) -> None:
        code, said = ask("verify")
        assert 1 == code
        assert f"of {COURSE} is quarantined: Cannot create field" in said

    async def test_a_counter_of_every_kind_has_its_place_in_the_document(self, stage: Stage) -> None:
        await stage.ping(COURSE)
        await stage.flush()
        assert {COURSE_VIEWS.field(), *ONE_PING} == set((await stage.flushed(COURSE))[COURSE])
