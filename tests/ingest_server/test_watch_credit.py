"""A server that bounds watch time: what it refuses, what is left of that, and what a lost reply changes: nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from grpc import StatusCode

from devstack.programs import Program
from tests.faults.loss import End, containing
from tests.faults.proxy import Proxy
from tests.ingest_server.backend import BACKEND, Report, exchange, ping, report, view
from tests.ingest_server.client import COURSE, FIRST, SECOND, Player, bearer, refusal, token
from tests.ingest_server.conftest import OTHER_COURSES, assert_no_error_was_logged, connected
from tests.ingest_server.stored import Stored, seconds, views
from tests.servers import JWT_SECRET, program
from tests.stage import at_work

CREDIT = 60
MESSAGE = "watchTimeDelta: the user has not had the time to watch so much of this course"
COMMIT = containing(b"EVALSHA")


@pytest.fixture(scope="module")
def proxy_of_module(redis_server_url: str) -> Iterator[Proxy]:
    with Proxy(redis_server_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def bounded_server(
    tmp_path_factory: pytest.TempPathFactory, proxy_of_module: Proxy, platform_url: str
) -> Iterator[Program]:
    stores = {"redis_url": proxy_of_module.url, "mongo_url": platform_url, "jwt_secret": JWT_SECRET}
    started = program("ingest_server", tmp_path_factory.mktemp("ingest"), {"watch_credit_seconds": CREDIT, **stores})
    with at_work(started):
        yield started
    assert_no_error_was_logged(started)


@pytest.fixture
async def player(bounded_server: Program, redis_url: str) -> AsyncIterator[Player]:  # noqa: ARG001 - which has been emptied
    async with connected(bounded_server.address) as player:
        yield player


@pytest.fixture
def proxy(proxy_of_module: Proxy) -> Iterator[Proxy]:
    yield proxy_of_module
    proxy_of_module.heal()


@pytest.fixture
async def full(player: Player, stored: Stored) -> list[str]:
    """Ann has watched as much of the course as she can have; what is in Redis since."""
    await player.ping(seconds=CREDIT)
    return stored.keys()


def time_passes(stored: Stored) -> None:
    """The clock comes up with what has been watched."""
    stored.redis.delete(*stored.redis.keys("watch:*"))


async def test_a_ping_beyond_the_credit_is_refused(player: Player) -> None:
    await player.ping(seconds=CREDIT - 5)
    await player.ping(seconds=5)
    refused = await refusal(player.ping(seconds=5))
    assert (StatusCode.FAILED_PRECONDITION, "IMPLAUSIBLE", MESSAGE) == (refused.code, refused.reason, refused.message)


async def test_a_first_ping_has_the_credit_and_no_more(player: Player) -> None:
    assert "IMPLAUSIBLE" == (await refusal(player.ping(seconds=CREDIT + 1))).reason
    assert "tracked" == await player.ping(seconds=CREDIT)


@pytest.mark.usefixtures("full")
async def test_the_clock_gives_back_a_second_each_second(player: Player, stored: Stored) -> None:
    (watched,) = stored.redis.keys("watch:*")
    a_second_ago = int(stored.redis.get(watched)) - 1000  # type: ignore[arg-type] # not awaited
    stored.redis.set(watched, a_second_ago, keepttl=True)
    assert "IMPLAUSIBLE" == (await refusal(player.ping(seconds=30))).reason
    assert "tracked" == await player.ping(seconds=1)


@pytest.mark.usefixtures("full")
async def test_all_lectures_of_a_course_have_one_clock(player: Player) -> None:
    assert "IMPLAUSIBLE" == (await refusal(player.ping(lecture=SECOND))).reason


@pytest.mark.usefixtures("full")
async def test_another_user_has_a_clock_of_their_own(player: Player) -> None:
    assert "tracked" == await player.ping(metadata=bearer(token(sub="bob")))


@pytest.mark.usefixtures("full")
async def test_course_views_are_not_bounded(player: Player, stored: Stored) -> None:
    await player.view()
    await player.view(event="e")
    assert 2 == stored.counters()["course_views"]


async def test_a_refused_ping_leaves_nothing_but_its_refusal(player: Player, stored: Stored, full: list[str]) -> None:
    await refusal(player.ping(event="e", playback="p", lecture=SECOND))
    assert [key for key in stored.keys() if not key.startswith("refused:")] == full  # noqa: SIM118 - a method of ours
    assert {views(FIRST): 1, seconds(FIRST): CREDIT} == stored.counters()
    for tally in (COURSE, *stored.days()):
        assert {"not_counted:IMPLAUSIBLE": 1, "not_counted_seconds:IMPLAUSIBLE": 5} == stored.not_counted(tally)


async def test_a_user_whose_every_ping_was_refused_is_not_counted(player: Player, stored: Stored) -> None:
    await refusal(player.ping(seconds=CREDIT + 1))
    assert (0, {}) == (stored.users(), stored.counters())


async def test_a_counted_ping_has_its_user(player: Player, stored: Stored) -> None:
    await player.ping()
    await player.ping(event="e", playback="p", metadata=bearer(token(sub="bob")))
    assert 2 == stored.users()


@pytest.mark.usefixtures("full")
async def test_a_refused_event_may_be_repeated_when_its_time_has_come(player: Player, stored: Stored) -> None:
    await refusal(player.ping(event="e", playback="p"))
    time_passes(stored)
    await player.ping(event="e", playback="p")
    assert {views(FIRST): 2, seconds(FIRST): CREDIT + 5} == stored.counters()


async def test_a_repeat_of_what_was_counted_is_tracked_and_costs_no_credit(player: Player, stored: Stored) -> None:
    for _ in range(3):
        assert "tracked" == await player.ping(seconds=CREDIT / 2, event="e")
    assert "tracked" == await player.ping(seconds=CREDIT / 2)
    assert "tracked" == await player.ping(seconds=CREDIT / 2, event="e")
    assert {views(FIRST): 2, seconds(FIRST): CREDIT} == stored.counters()


async def test_a_ping_that_rounds_to_nothing_is_tracked(player: Player, stored: Stored) -> None:
    assert "tracked" == await player.ping(seconds=0.4)
    assert {views(FIRST): 1, seconds(FIRST): 0} == stored.counters()


async def test_watched_time_is_remembered_until_the_clock_has_reached_it(player: Player, stored: Stored) -> None:
    await player.ping(seconds=CREDIT)
    (watched,) = stored.redis.keys("watch:*")
    assert CREDIT * 1000 - 10_000 < stored.redis.pttl(watched) <= CREDIT * 1000


@pytest.mark.usefixtures("full")
async def test_the_commit_number_is_a_number(player: Player, stored: Stored) -> None:
    await refusal(player.ping())
    (commit,) = stored.redis.keys("commit:*")
    assert str(stored.redis.get(commit)).isdigit()


async def test_pings_at_once_are_counted_up_to_the_credit(player: Player, stored: Stored) -> None:
    outcomes = await asyncio.gather(*(player.ping() for _ in range(100)), return_exceptions=True)
    counted = outcomes.count("tracked")
    assert CREDIT // 5 <= counted < 50
    assert {views(FIRST): counted, seconds(FIRST): 5 * counted} == stored.counters()


BATCH = [ping(seconds=CREDIT), ping(), view(), ping(seconds=0), ping(OTHER_COURSES[0]), ping(user="bob"), ping()]


async def test_in_a_batch_the_others_count(player: Player, stored: Stored) -> None:
    answer = await report(player, BATCH, BACKEND)
    assert 3 == answer.accepted
    assert [1, 3, 4, 6] == [index for index, _ in answer.rejected]
    assert [MESSAGE, MESSAGE] == [answer.rejected[0][1], answer.rejected[3][1]]
    assert {"course_views": 1, views(FIRST): 2, seconds(FIRST): CREDIT + 5} == stored.counters()


async def test_in_a_stream_the_others_count(bounded_server: Program, stored: Stored) -> None:
    answered = await exchange(bounded_server.address, [[ping(seconds=CREDIT), ping()], [view(), ping()]])
    assert StatusCode.OK == answered.code
    assert [Report(1, [(1, MESSAGE)]), Report(1, [(1, MESSAGE)])] == answered.answers
    assert {"course_views": 1, views(FIRST): 1, seconds(FIRST): CREDIT} == stored.counters()


class TestALostReply:
    @pytest.fixture(autouse=True)
    async def script_is_known(self, player: Player, stored: Stored) -> None:
        """Otherwise what is lost first is only that it is not."""
        await player.view()
        stored.redis.flushdb()

    @pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
    async def test_of_a_refusal_is_a_refusal(self, player: Player, proxy: Proxy, stored: Stored, end: End) -> None:
        loss = proxy.lose_reply(COMMIT, end=end)
        refused = await refusal(player.ping(seconds=CREDIT + 1))
        assert loss.happened
        assert ("IMPLAUSIBLE", {}) == (refused.reason, stored.counters())

    async def test_of_a_ping_that_took_the_whole_credit_is_tracked(
        self, player: Player, proxy: Proxy, stored: Stored
    ) -> None:
        loss = proxy.lose_reply(COMMIT)
        assert "tracked" == await player.ping(seconds=CREDIT)
        assert loss.happened
        assert {views(FIRST): 1, seconds(FIRST): CREDIT} == stored.counters()

    async def test_after_a_refusal_has_the_verdicts_of_its_own_commit(self, player: Player, proxy: Proxy) -> None:
        await refusal(player.ping(seconds=CREDIT + 1))
        loss = proxy.lose_reply(COMMIT)
        assert "tracked" == await player.ping(seconds=CREDIT)
        assert loss.happened

    async def test_of_a_batch_refuses_the_same_events(self, player: Player, proxy: Proxy, stored: Stored) -> None:
        events = [ping(seconds=40, user=user) for user in ("ann", "bob", "ann", "eve", "bob", "ann")]
        loss = proxy.lose_reply(COMMIT)
        answer = await report(player, events, BACKEND)
        assert loss.happened
        assert Report(3, [(2, MESSAGE), (4, MESSAGE), (5, MESSAGE)]) == answer
        assert ({views(FIRST): 3, seconds(FIRST): 120}, 3) == (stored.counters(), stored.users())
