"""`make alerts`: real programs are killed, cut off and mended, and the alerts of their real metrics fire and end.

Not a part of the suite, because each takes a whole local stack. Time is ours: a scrape every 15 s, without the wait.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient

from devstack.child import free_port, wait_until
from devstack.seed import DEMO_COURSE, write_course
from devstack.stack import Ports, Stack, local_stack
from devstack.tokens import mint
from tests.alerts.promql import Sample, Samples
from tests.alerts.rules import rules
from tests.servers import JWT_SECRET, PATIENCE, running

STEP = 15.0
JOBS = ("ingest", "query", "flusher", "gateway")


class Watched:
    """A local stack, and a Prometheus that looks at it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.samples = Samples()
        self.alerts = rules()
        self.now = time.time()
        self.http = httpx.Client(trust_env=False, timeout=10)

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
        return [(_own_name(one.name, names), one.labels, one.value) for one in samples]

    def firing(self, minutes: float, *, calls: int = 0) -> set[str]:
        """The alerts that fire after so many minutes, with so many pings between any two scrapes."""
        fired: set[str] = set()
        for _ in range(int(minutes * 60 / STEP)):
            for _ in range(calls):
                self.ping()
            self.now += STEP
            for job in JOBS:
                self.samples.scraped(self.now, {"job": f"analytics-{job}", "instance": job}, self.scrape(job))
            fired = {name for name, alert in self.alerts.items() if alert.fires(self.samples, self.now)}
        return fired - {"AnalyticsFlushLag", "AnalyticsOldestCount"}  # our clock is ahead of the programs'

    def ping(self) -> int:
        """The status of one ping through the gateway."""
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
        with MongoClient[Mapping[str, object]](stack.mongo.url()) as client:
            write_course(client.get_default_database(), DEMO_COURSE)
        watched = Watched(stack)
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


def test_a_gateway_without_servers_is_told(watched: Watched) -> None:
    watched.stack.ingest.kill()
    assert "AnalyticsGatewayErrors" in watched.firing(4, calls=1)

    watched.stack.ingest.start(PATIENCE)
    wait_until(lambda: watched.ping() == httpx.codes.OK, PATIENCE, "no ping was counted")
    assert "AnalyticsGatewayErrors" not in watched.firing(10, calls=1)


def test_a_redis_that_is_away_is_told_by_those_who_need_it(watched: Watched) -> None:
    watched.stack.redis.kill()
    wait_until(lambda: _ready(watched) == 0, PATIENCE, "nobody noticed")
    assert {"AnalyticsNotReady", "AnalyticsErrorRate", "AnalyticsRedisErrors"} <= watched.firing(7, calls=1)

    watched.stack.redis.start(PATIENCE)
    wait_until(lambda: _ready(watched) == 1, PATIENCE, "it did not recover")
    assert not {"AnalyticsNotReady", "AnalyticsErrorRate", "AnalyticsRedisErrors"} & watched.firing(10, calls=1)


def _ready(watched: Watched) -> float | None:
    ready = (value for name, _, value in watched.scrape("ingest") or () if name == "analytics_ready_processes")
    return next(ready, None)
