"""deploy/redis/users.acl: with it each program can do all of its work, and nothing else."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase
from redis.exceptions import ResponseError

from flusher.cycle import Flusher
from flusher.steps import barrier
from flusher.steps.lease import Lease, LeaseLost
from flusher.steps.take import take
from flusher.steps.wave import Stores
from flusher.tools import invariants, quarantine, status
from flusher.tools.forget import forget
from ingest_server.commit import Commit
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry
from ingest_server.recorder import Recorder
from ingest_server.script_call import STEP_BYTES
from query_server.hot import HotStore
from shared.data import keys
from shared.data.tallies import day_tally, lecture_tally
from shared.settings import Barrier
from shared.stores.durability import HIDDEN
from shared.stores.fitness import UnsuitableRedis
from shared.stores.mongo import COURSE_ANALYTICS, Document
from shared.stores.redis_connection import RedisConnection
from shared.stores.topology import Topology
from tests.deploy.guarded import GuardedRedis, granted, keys_of
from tests.flusher.stage import AOF, LECTURE, course
from tests.servers import running

INGEST, QUERY, FLUSHER = "analytics-ingest", "analytics-query", "analytics-flusher"
COURSE, REFUSED, STRAY = course(1), course(2), course(3)
DAY = day_tally(course(4), "2026-11-25")  # its users are in MongoDB, and no longer in Redis
PARTITION = keys.partition_of(COURSE)


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    with running(GuardedRedis(tmp_path_factory.mktemp("redis"), flavour=request.param)) as server:
        yield server


@pytest.fixture
def guarded(server: GuardedRedis) -> GuardedRedis:
    """One of each kind, empty, with the rights of the file."""
    server.admin.flushdb()
    server.admin.acl_load()
    server.forget()
    return server


@pytest.fixture
async def administrator(guarded: GuardedRedis) -> AsyncIterator[RedisConnection]:
    connection = await RedisConnection.open(guarded.url_of("admin"), timeout=5)
    yield connection
    await connection.close()


async def ask_a_cluster(url: str) -> None:
    """What a program asks a cluster before anything else; this server answers that it is none."""
    with pytest.raises(UnsuitableRedis, match="no cluster"):
        await Topology(url, cluster=True).look(timeout=5)


async def ingest(url: str) -> None:
    """Everything that the ingest server does with Redis. Raises what a partition is refused with."""
    async with Recorder(url, AOF, "tests") as recorder:
        await recorder.probe()
        for number, course_id in enumerate((COURSE, REFUSED)):
            commit = Commit(watch_credit=300)
            user, event_id = b"learner", f"event-{number}"
            played = Played([Segment(0, 50, is_view=True)], 600)
            ping = Telemetry(course_id, user, event_id, LECTURE, 5, "one", played)
            too_much = Telemetry(course_id, user, None, LECTURE, 300, None)
            # So many that at least one is charged.
            views = [CourseView(course_id, user, f"{event_id}-{each}") for each in range(STEP_BYTES // 120)]
            events: list[Event] = [ping, too_much, CourseView(course_id, user, None), *views]
            for event in events:
                commit.add(event, asyncio.get_running_loop().create_future())
            for outcome in (await recorder.record(commit)).values():
                if isinstance(outcome, Exception):
                    raise outcome


async def query(url: str) -> None:
    """Everything that the query server does with Redis."""
    async with HotStore(url) as hot_store:
        await hot_store.ping()
        await hot_store.read(COURSE)
        await hot_store.read_days(day_tally(COURSE, "2026-11-26"), ["2026-11-25"])
        await hot_store.read_courses([COURSE], ["2026-11-25"])


def flusher(url: str, database: AsyncDatabase[Document]) -> Flusher:
    return Flusher(Stores(redis_url=url, database=database, barrier=AOF, lock_ttl=60.0))


async def leave_work(guarded: GuardedRedis, admin: RedisConnection, database: AsyncDatabase[Document]) -> None:
    """Every kind of work that a flusher can find."""
    await ingest(guarded.url_of(INGEST))
    stray = keys.course_counters(keys.partition_of(STRAY), STRAY)
    live = keys.course_users(PARTITION, COURSE)
    _, sketch = await admin.call(("HSET", stray, keys.BATCH, "a", "course_views", 1), ("GET", live), timeout=5)
    await admin.call(("SADD", keys.unsaved_users(keys.partition_of(DAY.name)), DAY.name), timeout=5)
    await database[DAY.kind.collection].insert_one({"_id": DAY.name, "usersSketch": sketch})
    await database[COURSE_ANALYTICS].insert_many(
        [
            {"courseId": ObjectId(REFUSED), "lectureStats": "of another type"},
            {"courseId": ObjectId(COURSE), "usersSketch": sketch},
        ]
    )


async def fail_halfway(url: str) -> None:
    """Takes a course's counts and goes no further, after a flusher without the lock has tried to."""
    connection = await RedisConnection.open(url, timeout=5)
    lease = Lease(connection, token="mine", ttl=60.0, now=lambda: 0.0)
    try:
        await lease.acquire([PARTITION])
        with pytest.raises(LeaseLost):
            await take(connection, Lease(connection, token="another", ttl=60.0, now=lambda: 0.0), PARTITION, [COURSE])
        await take(connection, lease, PARTITION, [COURSE])
    finally:
        await lease.release(url)


async def flush_and_repair(url: str, database: AsyncDatabase[Document]) -> None:
    """Everything that the flusher and its commands do with Redis, but for its other barrier."""
    await fail_halfway(url)
    connection = await RedisConnection.open(url, timeout=5)
    try:
        await status.read([connection], database)
        report = await flusher(url, database).cycle(asyncio.Event())
        assert (5, 1, Counter()) == (report.cleared, report.quarantined, report.left)
        assert [] != [finding async for finding in invariants.findings([connection], database)]
        await database[COURSE_ANALYTICS].update_one({"courseId": ObjectId(REFUSED)}, {"$unset": {"lectureStats": 1}})
        report, _ = await quarantine.replay([connection], flusher(url, database), asyncio.Event())
        assert (1, Counter()) == (report.cleared, report.left)
        await forget(url, database, lecture_tally(COURSE, LECTURE).name, lock_ttl=60.0)
    finally:
        await connection.close()


async def test_ingest_has_all_that_it_uses_and_nothing_else(
    guarded: GuardedRedis, administrator: RedisConnection
) -> None:
    await administrator.call(("HSET", keys.forgotten(PARTITION), lecture_tally(COURSE, LECTURE).name, 1), timeout=5)
    guarded.forget()
    url = guarded.url_of(INGEST)
    await ask_a_cluster(url)
    await ingest(url)

    assert granted(INGEST) == guarded.carried_out()
    assert [] == guarded.refused()


async def test_ingest_needs_no_other_right_for_keys_of_the_wrong_type(
    guarded: GuardedRedis, administrator: RedisConnection
) -> None:
    url = guarded.url_of(INGEST)
    await ingest(url)
    names = [name for name in guarded.admin.scan_iter() if not name.startswith("course_counters:")]
    assert {"commit", "seen", "alive", "watch", "refused"} <= {name.partition(":")[0] for name in names}
    for name in names:
        await administrator.call(("UNLINK", name), ("RPUSH", name, "spoilt"), timeout=5)
    guarded.forget()

    for _ in (COURSE, REFUSED):
        with pytest.raises(ResponseError, match="WRONGTYPE"):  # whether the commit has already run is unknown
            await ingest(url)
    await ingest(url)

    assert [] == guarded.refused()


async def test_query_has_all_that_it_uses_and_nothing_else(guarded: GuardedRedis) -> None:
    url = guarded.url_of(QUERY)
    await ask_a_cluster(url)
    await query(url)

    assert granted(QUERY) == guarded.carried_out()
    assert [] == guarded.refused()


async def test_the_flusher_and_its_commands_have_all_that_they_use_and_nothing_else(
    guarded: GuardedRedis,
    administrator: RedisConnection,
    database: AsyncDatabase[Document],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await leave_work(guarded, administrator, database)
    guarded.forget()

    url = guarded.url_of(FLUSHER)
    await ask_a_cluster(url)
    await flush_and_repair(url, database)
    monkeypatch.setattr(barrier, "WAIT_MS", 1)
    connection = await RedisConnection.open(url, timeout=5)
    assert not await barrier.safe(connection, Barrier("replicas", 1))
    await connection.close()

    assert granted(FLUSHER) == guarded.carried_out()
    assert [] == guarded.refused()


@pytest.mark.parametrize(
    ("user", "pattern"), [(user, key) for user in (INGEST, QUERY, FLUSHER) for key in keys_of(user)]
)
async def test_a_program_needs_every_kind_of_key_that_it_is_given(
    guarded: GuardedRedis,
    administrator: RedisConnection,
    database: AsyncDatabase[Document],
    user: str,
    pattern: str,
) -> None:
    await leave_work(guarded, administrator, database)
    guarded.change(user, "resetkeys", *(key for key in keys_of(user) if key != pattern))
    guarded.forget()
    work = {INGEST: ingest, QUERY: query}.get(user)
    with contextlib.suppress(ResponseError, AssertionError, LeaseLost):
        await (work(guarded.url_of(user)) if work else flush_and_repair(guarded.url_of(user), database))
    assert [] != guarded.refused()


@pytest.mark.parametrize(
    ("user", "command"),
    [
        (INGEST, ("HGETALL", "quarantined_counters:{1}:x")),
        (INGEST, ("GET", "analytics_flush_lock:{1}")),
        (QUERY, ("HINCRBY", "course_counters:{1}:x", "course_views", "1")),
        (QUERY, ("GET", "seen:{1}:x")),
        (FLUSHER, ("GET", "seen:{1}:x")),
        (FLUSHER, ("FLUSHALL",)),
        (FLUSHER, ("CONFIG", "SET", "appendonly", "no")),
    ],
)
async def test_what_is_another_programs_is_refused(guarded: GuardedRedis, user: str, command: tuple[str, ...]) -> None:
    connection = await RedisConnection.open(guarded.url_of(user), timeout=5)
    with pytest.raises(ResponseError, match=r"(?i)no permissions"):
        await connection.call(command, timeout=5)
    await connection.close()


class TestOneRightLess:
    """What an operator sees who has taken one away."""

    @pytest.mark.parametrize("right", ["info", "config|get"])
    async def test_ingest_says_which_when_it_cannot_check_redis(self, guarded: GuardedRedis, right: str) -> None:
        guarded.change(INGEST, f"-{right}")
        with pytest.raises(UnsuitableRedis, match=HIDDEN[:40]):
            await ingest(guarded.url_of(INGEST))

    @pytest.mark.parametrize(
        ("right", "refusal"),
        [("evalsha", UnsuitableRedis), ("hincrby", ResponseError), ("smismember", ResponseError)],
    )
    async def test_ingest_counts_nothing_silently(
        self, guarded: GuardedRedis, right: str, refusal: type[Exception]
    ) -> None:
        guarded.change(INGEST, f"-{right}")
        with pytest.raises(refusal, match=r"permissions|ACL"):
            await ingest(guarded.url_of(INGEST))
        assert [f"{INGEST}: {right}"] == guarded.refused()

    async def test_the_dashboard_has_no_answer_rather_than_a_part_of_it(self, guarded: GuardedRedis) -> None:
        guarded.change(QUERY, "resetkeys", "%R~course_*")
        with pytest.raises(ResponseError, match=r"(?i)permissions"):
            await query(guarded.url_of(QUERY))

    @pytest.mark.parametrize(("right", "reason"), [("renamenx", "permissions"), ("waitaof", "did not confirm in time")])
    async def test_a_flush_tells_what_stayed(
        self, guarded: GuardedRedis, database: AsyncDatabase[Document], right: str, reason: str
    ) -> None:
        await ingest(guarded.url_of(INGEST))
        guarded.change(FLUSHER, f"-{right}")

        report = await flusher(guarded.url_of(FLUSHER), database).cycle(asyncio.Event())

        assert (0, True) == (report.cleared, reason in " ".join(report.left))
