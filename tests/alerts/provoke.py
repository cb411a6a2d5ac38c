"""`make alerts`: real programs are killed, cut off and mended, and the alerts of their real metrics fire and end.

Not a part of the suite, because each takes a whole local stack. Time is ours: a scrape every 15 s, without the wait.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from bson import ObjectId
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient
from pymongo.database import Database

from devstack.child import free_port, wait_until
from devstack.programs import PROBE_OPTIONS
from devstack.seed import DEMO_COURSE, Course, write_course
from devstack.stack import Ports, Stack, local_stack
from devstack.tokens import mint
from tests.alerts.promql import Sample, Samples
from tests.alerts.rules import rules
from tests.chaos.senders import Lecture, Sent, send
from tests.servers import JWT_SECRET, PATIENCE, program, running

STEP = 15.0
JOBS = ("ingest", "query", "flusher", "gateway")
# Of backends that send more than is taken.
CROWD = [Course(f"{number:024x}", "A course", DEMO_COURSE.creator, DEMO_COURSE.sections) for number in range(1, 5)]
RUSH_SECONDS = 20
A_THIRD = 40_000  # of the weight that may wait


class Watched:
    """A local stack, and a Prometheus that looks at it, whose clock runs ahead."""

    def __init__(self, stack: Stack, database: Database[Mapping[str, object]]) -> None:
        self.stack = stack
        self.database = database
        self.samples = Samples()
        self.alerts = rules()
        self.now = time.time()
        self.http = httpx.Client(trust_env=False, timeout=10)
        self._moments: dict[tuple[str, float], float] = {}

    def child(self, job: str) -> Any:
        return getattr(self.stack, job)

    def scrape(self, job: str) -> list[Sample] | None:
        """What a program shows; None when it cannot be asked."""
        gateway = f"{self.stack.gateway.admin_url}/stats/prometheus"
        url = gateway if job == "gateway" else f"http://{self.stack.metrics[job]}/metrics"
        try:
            text = self.http.get(url).text
        except httpx.TransportError:
            return None
        names = {re.split(r"[ {]", line, maxsplit=1)[0] for line in text.splitlines()}
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        # The parser gives every counter the ending _total, which Envoy's do not have.
        return [(_own_name(one.name, names), one.labels, self._on_our_clock(one.name, one.value)) for one in samples]

    def _on_our_clock(self, name: str, value: float) -> float:
        """A moment as it is by our clock: as far ahead of the programs' as it was when we first heard of it."""
        if not name.endswith("_timestamp_seconds") or not value:
            return value
        return value + self._moments.setdefault((name, value), self.now - time.time())

    def value(self, job: str, name: str) -> float | None:
        """The sum of a metric's samples now; None while there are none."""
        found = [value for sample, _, value in self.scrape(job) or () if sample == name]
        return sum(found) if found else None

    def firing(self, minutes: float, *, calls: int = 0, pace: float = 0) -> set[str]:
        """The alerts that fire after so many minutes, with so many pings between any two scrapes.

        With a pace of 1 the minutes are real ones; otherwise the flusher is late by our clock, and that says nothing.
        """
        fired: set[str] = set()
        for _ in range(int(minutes * 60 / STEP)):
            for _ in range(calls):
                self.ping()
            time.sleep(STEP * pace)
            self.now += STEP
            for job in JOBS:
                self.samples.scraped(self.now, {"job": f"analytics-{job}", "instance": job}, self.scrape(job))
            fired = {name for name, alert in self.alerts.items() if alert.fires(self.samples, self.now)}
        return fired if pace else fired - {"AnalyticsFlushLag", "AnalyticsOldestCount"}

    def ping(self) -> int:
        """The status of one ping through the gateway. A backend's goes to the server itself."""
        with (
            suppress(grpc.RpcError),
            grpc.insecure_channel(self.stack.ingest.address, options=PROBE_OPTIONS) as channel,
        ):
            stub = ingest_pb2_grpc.IngestServiceStub(channel)
            view = ingest_pb2.TrackCourseViewRequest(course_id=DEMO_COURSE.id)
            stub.TrackCourseView(
                view, metadata=(("authorization", f"Bearer {mint(JWT_SECRET, 'backend')}"),), timeout=5
            )
        course = DEMO_COURSE
        body = {"courseId": course.id, "lectureId": course.lectures[0].id, "watchTimeDelta": 5}
        headers = {"authorization": f"Bearer {mint(JWT_SECRET, 'learner')}", "content-type": "application/json"}
        url = f"{self.stack.gateway.url}/api/v1/analytics/telemetry"
        return self.http.post(url, content=json.dumps(body), headers=headers).status_code


def _own_name(name: str, names: set[str]) -> str:
    return name if name in names else name.removesuffix("_total")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Everything is up, and no alert fires."""
    given = {"ANALYTICS_FLUSH_INTERVAL_SECONDS": "1"}
    folder = tmp_path_factory.mktemp("stack")
    stack = local_stack(folder, Ports(free_port(), free_port(), free_port()), JWT_SECRET, given)
    with ExitStack() as children:
        for child in stack.children:
            children.enter_context(running(child))
        client = children.enter_context(MongoClient[Mapping[str, object]](stack.mongo.url()))
        for course in (DEMO_COURSE, *CROWD):
            write_course(client.get_default_database(), course)
        watched = Watched(stack, client.get_default_database())
        wait_until(lambda: watched.ping() == httpx.codes.OK, PATIENCE, "no ping was counted")
        assert set() == watched.firing(6, calls=1)
        yield watched
        watched.http.close()


@pytest.mark.parametrize("job", JOBS)
def test_a_program_that_is_killed_is_missed_until_it_is_started_again(watched: Watched, job: str) -> None:
    watched.child(job).kill()
    assert f"Analytics{job.title()}Absent" in watched.firing(5)

    watched.child(job).start(PATIENCE)
    wait_until(lambda: watched.scrape(job) is not None, PATIENCE, "it is not back")
    assert f"Analytics{job.title()}Absent" not in watched.firing(1)


def test_a_gateway_without_servers_raises_an_alert(watched: Watched) -> None:
    watched.stack.ingest.kill()
    assert "AnalyticsGatewayErrors" in watched.firing(4, calls=1)

    watched.stack.ingest.start(PATIENCE)
    wait_until(lambda: watched.ping() == httpx.codes.OK, PATIENCE, "no ping was counted")
    assert "AnalyticsGatewayErrors" not in watched.firing(10, calls=1)


def test_a_missing_redis_raises_the_alert_of_each_program_that_needs_it(watched: Watched) -> None:
    watched.stack.redis.kill()
    wait_until(lambda: _ready(watched) == 0, PATIENCE, "nobody noticed")
    told = {"AnalyticsNotReady", "AnalyticsErrorRate", "AnalyticsRedisErrors", "AnalyticsGatewayErrors"}
    assert told <= watched.firing(7, calls=1)

    watched.stack.redis.start(PATIENCE)
    wait_until(lambda: _ready(watched) == 1, PATIENCE, "it did not recover")
    assert not told & watched.firing(10, calls=1)


def _ready(watched: Watched) -> float | None:
    return watched.value("ingest", "analytics_ready_processes")


def test_a_quarantined_batch_raises_an_alert_until_it_is_replayed(watched: Watched, tmp_path: Path) -> None:
    course = {"courseId": ObjectId(DEMO_COURSE.id)}
    documents = watched.database["courseanalytics"]
    documents.update_one(course, {"$set": {"lectureStats": 5}}, upsert=True)
    assert watched.ping() == httpx.codes.OK
    wait_until(lambda: _aside(watched) > 0, PATIENCE, "nothing was put aside")
    assert "AnalyticsQuarantine" in watched.firing(2)

    documents.update_one(course, {"$set": {"lectureStats": {}}})
    stores = {"redis_url": watched.stack.redis.url, "mongo_url": watched.stack.mongo.url()}
    replay = program("flusher", tmp_path, stores, "replay")
    replay.launch()
    assert 0 == replay.wait(PATIENCE), replay.tail()
    wait_until(lambda: _aside(watched) == 0, PATIENCE, "it is still there")
    assert "AnalyticsQuarantine" not in watched.firing(1)


def _aside(watched: Watched) -> float:
    return watched.value("flusher", "analytics_flush_quarantined_batches") or 0


def test_a_flusher_without_mongodb_is_late_until_it_is_back(watched: Watched) -> None:
    last = watched.value("flusher", "analytics_flush_last_cycle_timestamp_seconds")
    watched.stack.mongo.kill()
    assert "AnalyticsFlushLag" in watched.firing(1.5, calls=1, pace=1)

    watched.stack.mongo.start(PATIENCE)
    wait_until(lambda: _last_cycle(watched) != last, PATIENCE, "it did not recover")
    assert "AnalyticsFlushLag" not in watched.firing(0.25, pace=1)


def _last_cycle(watched: Watched) -> float | None:
    return watched.value("flusher", "analytics_flush_last_cycle_timestamp_seconds")


def test_a_queue_that_is_a_third_full_raises_an_alert(watched: Watched) -> None:
    lectures = [Lecture(course.id, course.lectures[0].id) for course in CROWD]
    with ProcessPoolExecutor(len(CROWD), mp_context=get_context("spawn")) as pool:
        rush = [pool.submit(send, watched.stack.ingest.address, JWT_SECRET, each, RUSH_SECONDS) for each in lectures]
        wait_until(lambda: _waiting(watched) > A_THIRD, PATIENCE, "the queue did not fill")
        fired = watched.firing(2)
        sent: list[Sent] = [each.result() for each in rush]
    assert "AnalyticsQueue" in fired, sent
    assert "AnalyticsQueue" not in watched.firing(1)


def _waiting(watched: Watched) -> float:
    return watched.value("ingest", "analytics_waiting_weight") or 0
