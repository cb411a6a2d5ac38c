"""Every call by every kind of token, as one table."""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import jwt
import pytest
from course_analytics.v1 import dashboard_pb2, ingest_pb2
from grpc import StatusCode

from devstack.seed import DEMO_COURSE
from tests.gateway.rest import ANALYTICS
from tests.ingest_server.client import COURSE, FIRST, token
from tests.ingest_server.stored import Stored
from tests.security.stage import BATCH, DASHBOARD, STREAM, TELEMETRY, VIEW, Attacker, Metadata, Service
from tests.servers import JWT_SECRET

OTHER_SECRET = "another secret, also of more than 32 bytes"
NOW = time.time()


def signed(payload: bytes, header: Mapping[str, Any] | None = None) -> str:
    """A token of these very bytes, which `jwt.encode` would refuse to sign."""
    return jwt.api_jws.encode(payload, JWT_SECRET, "HS256", headers=dict(header or {}))


def unsigned(algorithm: str) -> str:
    claims = {"sub": "ann", "exp": NOW + 3600}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": algorithm}, claims)]
    return b".".join([*parts, b""]).decode()


# The tokens. Nobody is known by one of the first group.
REFUSED = {
    "none": None,
    "garbage": "x.y.z",
    "expired": token(exp=NOW - 1),
    "not yet valid": token(nbf=NOW + 3600),
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "another key": token(secret=OTHER_SECRET),
    "another algorithm": token(secret="x" * 64, algorithm="HS512"),
    "no exp": token(exp=None),
    "exp is NaN": signed(b'{"sub": "ann", "exp": NaN}'),
    "exp is text": token(exp="9999999999"),
    "no sub": token(sub=None),
    "sub empty": token(sub=""),
    "sub of 257 bytes": token(sub="x" * 257),
    "sub half a character": signed(b'{"sub": "\\ud800", "exp": 9999999999}'),
    "sub a number": token(sub=7),
    "sub a list": token(sub=["ann"]),
    "sub an operator": token(sub={"$gt": ""}),
    "claims a list": signed(b"[]"),
    "an unknown critical header": signed(b'{"sub": "ann", "exp": 9999999999}', {"crit": ["x"]}),
}
LEARNER, CREATOR, BACKEND = token(), token(sub=DEMO_COURSE.creator), token(sub="backend", scope="analytics:write")
# Scopes that are not it. `scope` is a string of words with spaces between (RFC 8693, 4.2).
NO_SCOPE = {
    "learner": LEARNER,
    "creator": CREATOR,
    "analytics:write2": token(scope="analytics:write2"),
    "xanalytics:write": token(scope="xanalytics:write"),
    "analytics:writ": token(scope="analytics:writ"),
    "Analytics:Write": token(scope="Analytics:Write"),
    "analytics:read,analytics:write": token(scope="analytics:read,analytics:write"),
    "a list": token(scope=["analytics:write"]),
    "an object": token(scope={"analytics:write": True}),
    "another claim": token(scp="analytics:write"),
}
SCOPE = {
    "analytics:write": BACKEND,
    "among others": token(sub="backend", scope="openid analytics:write email"),
}

OK, DENIED, UNKNOWN = StatusCode.OK, StatusCode.PERMISSION_DENIED, StatusCode.UNAUTHENTICATED


def telemetry(**fields: Any) -> ingest_pb2.TrackTelemetryRequest:
    return ingest_pb2.TrackTelemetryRequest(course_id=COURSE, lecture_id=FIRST, watch_time_delta=5, **fields)


def view(**fields: Any) -> ingest_pb2.TrackCourseViewRequest:
    return ingest_pb2.TrackCourseViewRequest(course_id=COURSE, **fields)


def events(**fields: Any) -> list[ingest_pb2.Event]:
    return [ingest_pb2.Event(telemetry=telemetry()), ingest_pb2.Event(course_view=view(**fields))]


def calls(**fields: Any) -> dict[str, bytes]:
    """Good requests of all ingest calls, naming a user or not."""
    return {
        VIEW: view(**fields).SerializeToString(),
        TELEMETRY: telemetry(**fields).SerializeToString(),
        BATCH: ingest_pb2.TrackBatchRequest(events=events(**fields)).SerializeToString(),
        STREAM: ingest_pb2.TrackStreamRequest(events=events(**fields)).SerializeToString(),
    }


# What is called: reports of the caller's own events, of events that name a user, and the dashboard.
CALLS: dict[str, dict[str, bytes]] = {
    "own": calls(),
    "named": calls(user_id="bob"),
    "show": {DASHBOARD: dashboard_pb2.GetCourseDashboardRequest(course_id=COURSE).SerializeToString()},
}

# Who, with which calls, is answered what.
TABLE: list[tuple[Mapping[str, str | None], str, StatusCode]] = [
    (REFUSED, "own", UNKNOWN),
    (REFUSED, "named", UNKNOWN),
    (REFUSED, "show", UNKNOWN),
    (NO_SCOPE, "own", OK),
    (NO_SCOPE, "named", DENIED),
    (SCOPE, "own", OK),
    (SCOPE, "named", OK),
    ({"creator": CREATOR}, "show", OK),
    ({**NO_SCOPE, "creator": token(sub=f"{DEMO_COURSE.creator} ")}, "show", DENIED),
    ({"another creator": token(sub="6500000000000000000000aa")}, "show", DENIED),
    (SCOPE, "show", DENIED),  # it is for reporting, not for reading
]
ROWS = [
    pytest.param(bearer, kind, code, id=f"{who}-{kind}-{code.name}")
    for tokens, kind, code in TABLE
    for who, bearer in tokens.items()
]


def credentials(bearer: str | None) -> Metadata:
    return [("authorization", f"Bearer {bearer}")] if bearer else []


@pytest.mark.parametrize(("bearer", "kind", "code"), ROWS)
def test_a_call_is_for_whom_the_table_says(
    attacker: Attacker, stored: Stored, bearer: str | None, kind: str, code: StatusCode
) -> None:
    calls = CALLS[kind]
    answers = {method: attacker.send(method, data, credentials(bearer)).code for method, data in calls.items()}

    assert dict.fromkeys(calls, code) == answers
    assert (code is OK and kind != "show") == bool(stored.keys()), "counted when it may, and only then"


@pytest.fixture(scope="module")
def rest(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{service.gateway.url}{ANALYTICS}", trust_env=False) as client:
        yield client


def rest_calls(**fields: Any) -> dict[str, tuple[str, object]]:
    """The same requests as REST."""
    ping = {"courseId": COURSE, "lectureId": FIRST, "watchTimeDelta": 5, **fields}
    batch = {"events": [{"telemetry": ping}, {"courseView": {"courseId": COURSE}}]}
    return {f"/view/{COURSE}": ("POST", fields), "/telemetry": ("POST", ping), "/events:batch": ("POST", batch)}


REST_CALLS: dict[str, dict[str, tuple[str, object]]] = {
    "own": rest_calls(),
    "named": rest_calls(userId="bob"),
    "show": {f"/instructor/{COURSE}": ("GET", None)},
}
HTTP = {OK: 200, DENIED: 403, UNKNOWN: 401}


@pytest.mark.parametrize(("bearer", "kind", "code"), ROWS)
def test_rest_is_for_whom_the_table_says_too(
    rest: httpx.Client, stored: Stored, bearer: str | None, kind: str, code: StatusCode
) -> None:
    headers = {name: str(value) for name, value in credentials(bearer)}
    answers = {
        path: rest.request(method, path, json=body, headers=headers).status_code
        for path, (method, body) in REST_CALLS[kind].items()
    }

    assert dict.fromkeys(answers, HTTP[code]) == answers
    assert (code is OK and kind != "show") == bool(stored.keys()), "counted when it may, and only then"


@pytest.mark.parametrize("method", [VIEW, TELEMETRY, BATCH, STREAM, DASHBOARD])
def test_the_token_is_checked_before_malformed_bytes(attacker: Attacker, method: str) -> None:
    assert UNKNOWN == attacker.send(method, b"\xff\xff").code
