"""`python -m flusher` as an operator starts it: what it does, and what its exit code says."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from bson import ObjectId

from devstack.child import HOST, free_port, wait_until
from devstack.programs import Program
from devstack.servers import RedisServer
from shared.data import keys
from shared.stores.mongo import COURSE_ANALYTICS
from tests.faults.loss import End, containing
from tests.faults.proxy import Proxy
from tests.flusher.stage import ONE_PING, Stage, course, pings, staged, until
from tests.servers import PATIENCE

COURSES = [course(number) for number in range(1, 21)]

StartProgram = Callable[..., Program]
FlushOnce = Callable[..., tuple[int, str]]


@pytest.fixture
def flush_once(start_program: StartProgram) -> FlushOnce:
    """Runs `python -m flusher --once`: its exit code and its last line."""

    def run(*arguments: str, **settings: object) -> tuple[int, str]:
        flusher = start_program("flusher", *(arguments or ["--once"]), **settings)
        code = flusher.wait(PATIENCE)
        return code, (flusher.output().splitlines() or [""])[-1]

    return run


async def until_flushed(stage: Stage, course_id: str, expected: dict[str, int]) -> None:
    """Returns when MongoDB has these counts of the course."""

    async def is_flushed() -> bool:
        return {course_id: expected} == await stage.flushed(course_id)

    await until(is_flushed)


class TestOnce:
    async def test_0_when_everything_is_flushed(self, stage: Stage, flush_once: FlushOnce) -> None:
        await stage.ping(*COURSES)

        code, _ = flush_once()

        assert 0 == code
        await stage.assert_all_flushed()

    async def test_3_with_one_line_when_another_flusher_is_at_work(self, stage: Stage, flush_once: FlushOnce) -> None:
        await stage.ping(*COURSES)
        await stage.call("SET", keys.flush_lock(keys.partition_of(COURSES[0])), "another")

        assert (3, "not everything was flushed: locked by another flusher (1)") == flush_once()

    async def test_3_when_what_mongodb_will_never_take_has_gone_aside(
        self, stage: Stage, flush_once: FlushOnce
    ) -> None:
        await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(COURSES[0]), "lectureStats": 5})
        await stage.ping(*COURSES)

        assert (3, "not everything was flushed: MongoDB will never take it: quarantined (1)") == flush_once()
        assert 1 == len(await stage.hash(keys.quarantined_counters, COURSES[0]))

    def test_3_when_redis_is_down(self, flush_once: FlushOnce) -> None:
        code, line = flush_once(redis_url=f"redis://{HOST}:{free_port()}/0")

        assert 3 == code
        assert line.startswith("not everything was flushed: cannot connect to Redis")

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"appendonly": "no"}, "set appendonly yes"),
            ({"appendfsync": "everysec"}, "set appendfsync always"),
            ({"maxmemory-policy": "allkeys-lru"}, "set maxmemory-policy noeviction"),
        ],
    )
    def test_2_with_one_sentence_when_redis_could_lose_counts(
        self, start_redis: Callable[..., RedisServer], flush_once: FlushOnce, options: dict[str, str], sentence: str
    ) -> None:
        server = start_redis(flavour="valkey", **options)

        code, line = flush_once(redis_url=server.url)

        assert 2 == code
        assert sentence in line


# A store, and the request after which nothing gets through to it any more: b"" from the start, None when it is down.
SILENCES = [
    ("mongo", None),
    ("redis", b""),
    ("redis", b"RENAMENX"),
    ("redis", b"WAITAOF"),
    ("redis", b"flushed_batch"),
    ("mongo", b""),
    ("mongo", b"findAndModify"),
    ("mongo", b"recentBatches"),
]


async def test_wherever_a_store_falls_silent_3_comes_within_10_s_and_no_count_is_lost(
    stage: Stage, start_program: StartProgram, mongo_url: str
) -> None:
    async with AsyncExitStack() as stack:
        cases = [Silenced(*silence, number) for number, silence in enumerate(SILENCES, 1)]
        for case in cases:
            await case.begin(stack, stage, mongo_url, start_program)
        for case in cases:
            await case.fall_silent()
        for case in cases:
            assert 3 == await asyncio.to_thread(case.flusher.wait, 10), case.flusher.tail()
        for case in cases:
            await case.assert_recovers()


class Silenced:
    """A flusher with a Redis database of its own, one of whose stores falls silent. They all run at once."""

    stage: Stage
    flusher: Program

    def __init__(self, store: str, request: bytes | None, number: int) -> None:
        self.store = store
        self.request = request
        self.number = number

    async def begin(self, stack: AsyncExitStack, shared: Stage, mongo_url: str, start: StartProgram) -> None:
        redis_url = urlsplit(shared.redis_url)._replace(path=f"/{self.number}").geturl()
        self.stage = await stack.enter_async_context(staged(redis_url, shared.database))
        await self.stage.call("FLUSHDB")
        await self.stage.ping(course(self.number))
        self.proxy = stack.enter_context(Proxy(redis_url if self.store == "redis" else mongo_url))
        if self.request:
            self.loss = self.proxy.lose_request(containing(self.request), end=End.SILENCE)
        elif self.request is None:
            self.proxy.refuse()
        else:
            self.proxy.black_hole()
        urls = {"redis_url": redis_url, "mongo_url": mongo_url, f"{self.store}_url": self.proxy.url}
        self.flusher = start("flusher", "--once", **urls)

    async def fall_silent(self) -> None:
        if self.request:
            await asyncio.to_thread(self.loss.wait, PATIENCE)
            self.proxy.black_hole()

    async def assert_recovers(self) -> None:
        await self.stage.assert_exact()
        self.proxy.heal()
        await self.stage.unlock()
        await self.stage.flush()
        await self.stage.assert_all_flushed()


class TestLoop:
    async def test_it_flushes_at_the_start_and_then_at_every_interval(
        self, stage: Stage, start_program: StartProgram
    ) -> None:
        await stage.ping(COURSES[0])

        start_program("flusher", flush_interval_seconds=0.5)

        await until_flushed(stage, COURSES[0], pings(1))
        for count in (2, 3):
            await stage.ping(COURSES[0])
            await until_flushed(stage, COURSES[0], pings(count))

    async def test_a_signal_lets_the_wave_end(self, stage: Stage, start_program: StartProgram, mongo_url: str) -> None:
        await stage.ping(*COURSES)
        with Proxy(mongo_url) as slow:
            slow.delay(0.1)
            flusher = start_program("flusher", mongo_url=slow.url)
            await until(lambda: stage.is_taken(COURSES[0]))

            code = await asyncio.to_thread(flusher.stop)

        assert 0 == code
        await stage.assert_all_flushed()

    async def test_it_goes_on_when_a_store_was_away(
        self, stage: Stage, start_program: StartProgram, redis_url: str
    ) -> None:
        await stage.ping(COURSES[0])
        with Proxy(redis_url) as proxy:
            proxy.refuse()
            flusher = start_program("flusher", redis_url=proxy.url, flush_interval_seconds=0.3)
            await asyncio.to_thread(
                wait_until, lambda: "cannot connect to Redis" in flusher.output(), PATIENCE, "Redis was not missed"
            )

            proxy.heal()

            await until_flushed(stage, COURSES[0], ONE_PING)
            await asyncio.to_thread(flusher.stop)

    async def test_several_side_by_side_count_everything_once_and_the_last_goes_on_alone(
        self, stage: Stage, start_program: StartProgram
    ) -> None:
        flushers = [start_program("flusher", flush_interval_seconds=0.1) for _ in range(3)]
        async with asyncio.timeout(PATIENCE):
            # Which of them gets which lock is luck; that each tries for it again and again is not.
            while not all(flusher.output().count('"event": "cycle"') > 10 for flusher in flushers):
                await stage.ping(*COURSES)
                await stage.assert_exact()
        *others, last = flushers
        for flusher in others:
            assert 0 == await asyncio.to_thread(flusher.stop)
        await stage.ping(*COURSES)

        for course_id in COURSES:
            await until_flushed(stage, course_id, stage.acknowledged[course_id])

        assert 0 == await asyncio.to_thread(last.stop)
        await stage.assert_all_flushed()

    async def test_a_barrier_of_none_is_warned_of_at_each_start(
        self, stage: Stage, start_redis: Callable[..., RedisServer], start_program: StartProgram
    ) -> None:
        weak = start_redis(appendonly="no")
        flusher = start_program("flusher", redis_url=weak.url, flush_barrier="none", flush_interval_seconds=0.1)

        async with staged(weak.url, stage.database) as other:
            await other.ping(COURSES[0])
            await until_flushed(stage, COURSES[0], ONE_PING)

        assert "ANALYTICS_FLUSH_BARRIER=none: " in flusher.output()


class TestInit:
    async def test_it_makes_the_unique_index_and_again_changes_nothing(
        self, stage: Stage, flush_once: FlushOnce
    ) -> None:
        collection = stage.database[COURSE_ANALYTICS]
        await collection.drop()

        for _ in range(2):
            code, _ = flush_once("init")
            assert 0 == code
            assert (await unique_indexes(stage)) == {"courseId"}

    async def test_2_when_courses_have_two_documents(self, stage: Stage, flush_once: FlushOnce) -> None:
        await stage.database[COURSE_ANALYTICS].drop()
        await stage.database[COURSE_ANALYTICS].insert_many([{"courseId": 1}, {"courseId": 1}])

        code, line = flush_once("init")

        assert 2 == code
        assert line.startswith("cannot make the unique index on courseanalytics.courseId")


async def unique_indexes(stage: Stage) -> set[Any]:
    indexes = await stage.database[COURSE_ANALYTICS].index_information()
    return {index["key"][0][0] for index in indexes.values() if index.get("unique")}
