"""The program as it is started: its stores may go and come back, it stays."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import grpc
import pytest
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from pymongo import MongoClient

from devstack.child import Child, free_port, wait_until
from devstack.programs import Program, is_serving
from devstack.servers import MongoServer, RedisServer
from shared.stores.mongo import Document
from tests.query_server.conftest import token
from tests.servers import FLAVOUR, JWT_SECRET, PATIENCE, program, running
from tests.stage import at_work

SERVICE = "course_analytics.v1.DashboardService"
READY_SECONDS = 2.5  # readiness is true within 2 s


@dataclass(frozen=True, slots=True)
class Stage:
    """A program of its own, with stores of its own and a course in them."""

    query: Program
    redis: RedisServer
    mongo: MongoServer
    course_id: str

    def ask(self) -> dashboard_pb2.GetCourseDashboardResponse:
        request = dashboard_pb2.GetCourseDashboardRequest(course_id=self.course_id)
        with grpc.insecure_channel(self.query.address) as channel:
            stub = dashboard_pb2_grpc.DashboardServiceStub(channel)
            return stub.GetCourseDashboard(request, metadata=(("authorization", f"Bearer {token('ann')}"),))

    def refusal(self) -> grpc.Call:
        with pytest.raises(grpc.RpcError) as refused:
            self.ask()
        assert isinstance(refused.value, grpc.Call)
        return refused.value

    def wait_until_ready(self, ready: bool) -> None:
        for name in ("", SERVICE):
            as_told = partial(self.says_ready, name, ready)
            wait_until(as_told, READY_SECONDS, f"{name!r} did not become {ready=}")

    def says_ready(self, name: str, ready: bool) -> bool:
        return ready == is_serving(self.query.address, name)

    def store(self, name: str) -> Child:
        return self.redis if name == "redis" else self.mongo


@pytest.fixture(scope="module")
def going_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    redis, mongo = (
        RedisServer(folder / "redis", flavour=FLAVOUR, port=free_port()),
        MongoServer(folder / "mongo", port=free_port()),
    )
    with running(redis), running(mongo):
        course_id = ObjectId()
        with MongoClient[Document](mongo.url()) as client:
            client.get_default_database()["courses"].insert_one({"_id": course_id, "creator": "ann"})
        stores = {"redis_url": redis.url, "mongo_url": mongo.url(), "jwt_secret": JWT_SECRET}
        query = program("query_server", folder / "program", stores)
        with at_work(query):
            yield Stage(query, redis, mongo, str(course_id))


@pytest.fixture
def stage(going_on: Stage) -> Iterator[Stage]:
    """The same program for all: what a test has taken away comes back, and the program stays."""
    yield going_on
    for store in (going_on.redis, going_on.mongo):
        if store.running:
            store.resume()
        else:
            store.start(PATIENCE)
    wait_until(lambda: is_serving(going_on.query.address, SERVICE), PATIENCE, "it did not become ready again")


def take_away(store: Child, how: str) -> Callable[[], None]:
    """Takes the store away; returns what brings it back."""
    if how == "killed":
        store.kill()
        return store.start
    store.pause()
    return store.resume


AWAY = pytest.mark.parametrize(
    ("name", "how"), [(name, how) for name in ("redis", "mongo") for how in ("killed", "frozen")]
)


@AWAY
def test_with_a_store_away_the_answer_is_unavailable_and_comes_in_time(stage: Stage, name: str, how: str) -> None:
    stage.ask()
    take_away(stage.store(name), how)
    asked = time.monotonic()
    refused = stage.refusal()
    took = time.monotonic() - asked
    assert grpc.StatusCode.UNAVAILABLE is refused.code()
    assert took < 2.5
    (detail,) = rpc_status.from_call(refused).details
    assert detail.Is(RetryInfo.DESCRIPTOR)


@AWAY
def test_readiness_follows_both_stores_and_answers_come_back_without_a_restart(
    stage: Stage, name: str, how: str
) -> None:
    bring_back = take_away(stage.store(name), how)
    stage.wait_until_ready(False)
    bring_back()
    stage.wait_until_ready(True)
    assert stage.ask().HasField("overview")


def test_a_redis_that_was_restarted_costs_no_answer(stage: Stage) -> None:
    stage.ask()
    stage.redis.kill()
    stage.redis.start()
    assert stage.ask().HasField("overview")


def test_a_missing_course_is_not_found_also_with_redis_away(stage: Stage) -> None:
    stage.redis.kill()
    assert grpc.StatusCode.NOT_FOUND is replace(stage, course_id=str(ObjectId())).refusal().code()


def test_started_without_its_stores_it_waits_for_them(
    start_redis: Callable[[], RedisServer], start_program: Callable[..., Program]
) -> None:
    redis = start_redis()
    redis.kill()
    program = start_program("query_server", redis_url=redis.url, wait=False)
    wait_until(lambda: "not ready" in program.output(), PATIENCE, "it did not say that it is not ready")
    assert not is_serving(program.address)
    redis.start()
    wait_until(lambda: is_serving(program.address, SERVICE), READY_SECONDS, "it did not become ready")


@pytest.mark.parametrize("settings", [{"jwt_secret": "short"}, {"query_address": "nowhere"}])
def test_invalid_settings_end_it_with_2_and_every_error(
    settings: dict[str, str], start_program: Callable[..., Program]
) -> None:
    program = start_program("query_server", wait=False, mongo_url="mongodb://127.0.0.1", **settings)
    assert 2 == program.wait(PATIENCE)
    for name in ("mongo_url", *settings):
        assert f"ANALYTICS_{name.upper()} must " in program.output()


def test_an_address_that_is_taken_ends_it_with_2_and_one_sentence(start_program: Callable[..., Program]) -> None:
    first = start_program("query_server")
    second = start_program("query_server", wait=False, query_address=first.address)
    assert 2 == second.wait(PATIENCE)
    expected = f"cannot listen on {first.address}: the address is taken, or not one of this machine"
    assert expected == second.output().splitlines()[-1]


def test_sigterm_ends_it_with_0(start_program: Callable[..., Program]) -> None:
    program = start_program("query_server")
    os.kill(program.pid, 15)
    assert 0 == program.wait(PATIENCE)


@pytest.mark.parametrize(("option", "shown"), [("--help", "usage: analytics-query"), ("--version", "analytics-query ")])
def test_help_and_version_need_no_settings(option: str, shown: str, start_program: Callable[..., Program]) -> None:
    program = start_program("query_server", option, wait=False, jwt_secret="")
    assert 0 == program.wait(PATIENCE)
    assert program.output().startswith(shown)
