"""Every error of the contract as people meet it: by curl, and by grpcurl without proto files, through the gateway."""

import base64
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import redis

from devstack.guide import GRPCURL
from devstack.programs import Program
from devstack.seed import DEMO_COURSE
from devstack.servers import EnvoyServer, RedisServer
from tests.gateway.conftest import Service
from tests.gateway.rest import ANALYTICS, BODY_LIMIT, TELEMETRY, body_of, ping
from tests.ingest_server.client import NONE, token
from tests.ingest_server.stored import Stored

COURSE = DEMO_COURSE.id
SECONDS = "watchTimeDelta"


def unsigned() -> str:
    """A token of `alg: none`."""
    parts = ({"alg": "none"}, {"sub": "ann", "exp": time.time() + 60})
    return "".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() + "." for part in parts)


@dataclass(frozen=True, slots=True)
class Case:
    """A call that is refused, with the HTTP status, the gRPC code, and the bad fields that both kinds of caller get."""

    rpc: str
    request: Mapping[str, object]
    status: int
    code: str
    fields: Sequence[str] = ()
    token: str | None = field(default_factory=token)

    @property
    def rest(self) -> list[str]:
        """The path for curl, and the options for the body."""
        match self.rpc:
            case "IngestService/TrackCourseView":
                return ["-X", "POST", f"{ANALYTICS}/view/{self.request['courseId']}"]
            case "DashboardService/GetCourseDashboard":
                return [f"{ANALYTICS}/instructor/{self.request['courseId']}"]
        path = f"{ANALYTICS}/events:batch" if self.rpc.endswith("TrackBatch") else TELEMETRY
        return ["-d", json.dumps(self.request), path]


def view(course_id: str, status: int, code: str, *fields: str) -> Case:
    return Case("IngestService/TrackCourseView", {"courseId": course_id}, status, code, fields)


def telemetry(given: Mapping[str, object], status: int, code: str, *fields: str) -> Case:
    return Case("IngestService/TrackTelemetry", ping(**given), status, code, fields)


def dashboard(course_id: str, status: int, code: str, *fields: str) -> Case:
    return Case("DashboardService/GetCourseDashboard", {"courseId": course_id}, status, code, fields)


def batch(events: object, status: int, code: str, *fields: str) -> Case:
    return Case("IngestService/TrackBatch", {"events": events}, status, code, fields)


def credentials(text: str | None) -> Case:
    return Case("IngestService/TrackTelemetry", ping(), 401, "Unauthenticated", token=text)


CODES = {"InvalidArgument": 3, "NotFound": 5, "PermissionDenied": 7, "Unauthenticated": 16}
INVALID = 400, "InvalidArgument"
MISSING = 404, "NotFound"
GOOD = telemetry({}, 200, "OK")
CASES = {
    "no token": credentials(None),
    "forged": credentials(token(secret="another secret, also of more than 32 bytes")),
    "expired": credentials(token(exp=time.time() - 1)),
    "alg none": credentials(unsigned()),
    "without exp": credentials(token(exp=None)),
    "without sub": credentials(token(sub=None)),
    "NaN": telemetry({SECONDS: "NaN"}, *INVALID, SECONDS),
    "Infinity": telemetry({SECONDS: "Infinity"}, *INVALID, SECONDS),
    "negative": telemetry({SECONDS: -1}, *INVALID, SECONDS),
    "zero": telemetry({SECONDS: 0}, *INVALID, SECONDS),
    "301": telemetry({SECONDS: 301}, *INVALID, SECONDS),
    "upper case": telemetry({"lectureId": "ABCDEF" * 4}, *INVALID, "lectureId"),
    "dotted": view(f"{COURSE[:-2]}.1", *INVALID, "courseId"),
    "braced": dashboard("{12}", *INVALID, "courseId"),
    "every bad field": telemetry(
        {"courseId": "a", "lectureId": "b", SECONDS: 0, "eventId": "c d", "playbackId": "é"},
        *INVALID,
        *("courseId", "lectureId", SECONDS, "eventId", "playbackId"),
    ),
    "an empty batch": batch([], *INVALID, "events"),
    "a user whom one may not name": batch(
        [{"courseView": {"courseId": COURSE, "userId": "bob"}}], 403, "PermissionDenied"
    ),
    "the course of somebody else": dashboard(COURSE, 403, "PermissionDenied"),
    "an unknown course": view(NONE, *MISSING),
    "an unknown lecture": telemetry({"lectureId": NONE}, *MISSING),
    "no course to show": dashboard(NONE, *MISSING),
}


def said(command: Sequence[str]) -> tuple[str, str]:
    """What a command printed, and what it complained of."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return ended.stdout, ended.stderr


def by_curl(gateway: EnvoyServer, case: Case) -> tuple[int, dict[str, object]]:
    """The status and the body."""
    *options, path = case.rest
    bearer = ["-H", f"authorization: Bearer {case.token}"] if case.token else []
    command = ["curl", "-sS", "--globoff", "--noproxy", "*", "-w", "\n%{http_code}", *bearer, *options]
    body, _, status = said([*command, gateway.url + path])[0].rpartition("\n")
    return int(status), json.loads(body)


def by_grpcurl(gateway: EnvoyServer, case: Case) -> dict[str, object]:
    """The status as JSON."""
    bearer = ["-H", f"authorization: Bearer {case.token}"] if case.token else []
    command = [str(GRPCURL), "-plaintext", "-format-error", *bearer, "-d", json.dumps(case.request)]
    _, text = said([*command, gateway.address, f"course_analytics.v1.{case.rpc}"])
    error: dict[str, object] = json.loads(text)
    return error


def bad_fields(error: Mapping[str, object], violations: str) -> Sequence[str]:
    details = error.get("details") or []
    assert isinstance(details, list)
    return tuple(violation["field"] for detail in details for violation in detail.get(violations, ()))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_curl_and_grpcurl_are_refused_alike_and_nothing_is_counted(
    service: Service, redis_url: str, case: Case
) -> None:
    status, error = by_curl(service.gateway, case)
    assert (case.status, CODES[case.code], case.fields) == (status, error["code"], bad_fields(error, "fieldViolations"))

    error = by_grpcurl(service.gateway, case)
    assert (CODES[case.code], case.fields) == (error["code"], bad_fields(error, "field_violations"))

    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert Stored(client).has_counted_nothing()


def test_curl_gets_413_for_a_body_that_is_too_large(service: Service, redis_url: str) -> None:
    command = ["curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", "-d", body_of(BODY_LIMIT + 1).decode()]
    bearer = ["-H", f"authorization: Bearer {token()}"]

    *_, status = said([*command, *bearer, f"{service.gateway.url}{TELEMETRY}"])[0].rpartition("\n")

    assert "413" == status
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert Stored(client).has_counted_nothing()


def test_a_full_redis_is_429_and_one_that_is_away_is_503(
    service: Service,
    start_redis: Callable[..., RedisServer],
    start_program: Callable[..., Program],
    start_gateway: Callable[..., EnvoyServer],
) -> None:
    store = start_redis()
    ingest = start_program("ingest_server", redis_url=store.url, mongo_url=service.mongo_url)
    gateway = start_gateway(ingest=ingest.address)
    with redis.Redis.from_url(store.url) as client:
        client.config_set("maxmemory", "1")
    answers = [by_curl(gateway, GOOD)]
    store.kill()
    answers.append(by_curl(gateway, GOOD))

    retry = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]
    assert [(429, 8, retry), (503, 14, retry)] == [
        (status, error["code"], error["details"]) for status, error in answers
    ]
