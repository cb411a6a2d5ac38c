"""What an operator has to repair things: the sweep, `replay` and `status`."""

import json
import time
from collections.abc import Callable

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from devstack.programs import Program
from flusher.tools import status
from shared.data import keys
from shared.data.batch_id import batch_id, born
from shared.stores.mongo import COURSE_ANALYTICS
from tests.flusher.conftest import Ask
from tests.flusher.stage import ONE_PING, Stage, course, pings
from tests.servers import PATIENCE

COURSE = course(1)
PARTITION = keys.partition_of(COURSE)
HOT = keys.course_counters(PARTITION, COURSE)
FLUSHING = keys.flushing_counters(PARTITION, COURSE)
QUARANTINED = keys.quarantined_counters(PARTITION, COURSE)
DIRTY = keys.dirty_courses(PARTITION)


def last_line(answer: tuple[int, str]) -> tuple[int, str]:
    code, said = answer
    return code, said.splitlines()[-1]


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

    async def test_without_one_store_the_other_is_shown_and_one_line_says_what_is_unknown(
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
