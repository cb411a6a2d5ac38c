"""What reaches the gateway over HTTP/1.1: one error of the one shape for each trick, and nothing counted by it."""

import gzip
import json
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.gateway.rest import ANALYTICS, DASHBOARD, TELEMETRY, TRACKED, VIEW, ping
from tests.ingest_server.client import COURSE, token
from tests.ingest_server.stored import Stored
from tests.security.stage import Response, Service, request, speak
from tests.security.test_bytes import HOSTILE

BATCH = f"{ANALYTICS}/events:batch"
NATIVE = "/course_analytics.v1.IngestService/TrackTelemetry"
LEARNER = f"authorization: Bearer {token()}"
JSON = "content-type: application/json"
GOOD = json.dumps(ping()).encode()


def with_field(text: str) -> bytes:
    """A good ping with one more field, as it stands here."""
    return GOOD[:-1] + b"," + text.encode() + b"}"


def seconds(text: str) -> bytes:
    """A ping whose seconds stand there as these characters."""
    return GOOD.replace(b"5}", text.encode() + b"}")


def post(path: str, body: bytes = b"", *headers: str, **options: Any) -> bytes:
    return request("POST", path, body, JSON, LEARNER, *headers, **options)


def assert_refused(response: Response, status: int, code: int) -> None:
    """The one shape of all errors."""
    assert (status, "application/json") == (response.status, response.content_type), response.body
    error = json.loads(response.body)
    assert ({"code", "message", "details"}, code) == (set(error), error["code"])
    assert error["message"]
    assert "<class" not in error["message"]


REFUSED = {
    # JSON that is none, or none of ours
    "a byte-order mark": (post(TELEMETRY, b"\xef\xbb\xbf" + GOOD), 400, 3),
    "UTF-16": (post(TELEMETRY, GOOD.decode().encode("utf-16")), 400, 3),
    "something behind it": (post(TELEMETRY, GOOD + b"x"), 400, 3),
    "null": (post(TELEMETRY, b"null"), 400, 3),
    "nothing": (post(TELEMETRY), 400, 3),
    "half a surrogate pair": (post(TELEMETRY, with_field('"eventId":"\\ud800"')), 400, 3),
    "a NUL in a string": (post(TELEMETRY, with_field('"eventId":"a\\u0000b"')), 400, 3),
    "both spellings, one of them bad": (post(TELEMETRY, with_field('"course_id":"x"')), 400, 3),
    "400 digits": (post(TELEMETRY, seconds("1" * 400)), 400, 3),
    "a negative zero": (post(TELEMETRY, seconds("-0")), 400, 3),
    "a hexadecimal number": (post(TELEMETRY, seconds("0x5")), 400, 3),
    "an operator for a string": (post(TELEMETRY, json.dumps(ping(courseId={"$gt": ""})).encode()), 400, 3),
    "a list for a string": (post(TELEMETRY, json.dumps(ping(courseId=[COURSE])).encode()), 400, 3),
    "an event of two kinds": (post(BATCH, b'{"events":[{"courseView":{},"telemetry":{}}]}'), 400, 3),
    "a batch of nothing": (post(BATCH, b'{"events":[null]}'), 400, 3),
    "a body in gzip": (post(TELEMETRY, gzip.compress(GOOD), "content-encoding: gzip"), 400, 3),
    # paths
    "a path parameter": (post(f"{VIEW};x=1"), 400, 3),
    "an encoded question mark": (post(f"{VIEW}%3Fx=1"), 400, 3),
    "an empty query": (post(f"{VIEW}?"), 400, 3),
    "a fragment": (post(f"{VIEW}#x"), 400, 3),
    "a broken escape": (post(f"{ANALYTICS}/view/%zz"), 400, 3),
    "an overlong UTF-8 slash": (post(f"{ANALYTICS}/view/%c0%af"), 400, 3),
    "half a character": (post(f"{ANALYTICS}/view/%ff"), 400, 3),
    "digits of another script": (post(f"{ANALYTICS}/view/{quote('٦' * 24)}"), 400, 3),
    "raw UTF-8": (post(f"{ANALYTICS}/view/é"), 400, 3),
    "dots to somebody else's course": (request("GET", f"{VIEW}/../../instructor/{COURSE}", b"", LEARNER), 403, 7),
    "an encoded colon": (post(f"{ANALYTICS}/events%3Abatch", b"{}"), 400, 3),
    "a very long path": (post(f"{ANALYTICS}/view/{'a' * 20_000}"), 431, 3),
    # methods
    "a method in a header": (request("GET", VIEW, b"", LEARNER, "x-http-method-override: POST"), 404, 5),
    "TRACE": (request("TRACE", VIEW, b"", LEARNER), 404, 5),
    "CONNECT": (request("CONNECT", "elsewhere:443", b"", LEARNER), 404, 5),
    "a method of its own": (request("FOO", VIEW, b"", LEARNER), 400, 3),
    "gRPC's path with JSON": (post(NATIVE, GOOD), 404, 5),
    "gRPC-Web": (request("POST", NATIVE, GOOD, LEARNER, "content-type: application/grpc-web"), 404, 5),
    # headers
    "two tokens": (post(TELEMETRY, GOOD, LEARNER), 401, 16),
    "a token of raw bytes": (request("POST", TELEMETRY, GOOD, "authorization: Bearer \udcff"), 401, 16),
    "a NUL in a header": (post(TELEMETRY, GOOD, "x-a: a\0b"), 400, 3),
    "a space in a header's name": (post(TELEMETRY, GOOD, "x a: b"), 400, 3),
    "a pseudo-header": (post(TELEMETRY, GOOD, ":path: /"), 400, 3),
    "a header of 16 KiB": (post(TELEMETRY, GOOD, f"x-a: {'a' * 16_384}"), 431, 3),
    "two hundred headers": (post(TELEMETRY, GOOD, *(f"x-{n}: a" for n in range(200))), 431, 3),
    # framing and protocol
    "two lengths": (post(TELEMETRY, GOOD, "content-length: 3"), 400, 3),
    "a length and chunks": (post(TELEMETRY, b"0\r\n\r\n", "transfer-encoding: chunked"), 400, 3),
    "a negative length": (post(TELEMETRY, GOOD, "content-length: -1", length=False), 400, 3),
    "a broken chunk": (post(TELEMETRY, b"zz\r\n", "transfer-encoding: chunked", length=False), 400, 3),
    "an unknown encoding": (post(TELEMETRY, GOOD, "transfer-encoding: zip", length=False), 501, 12),
    "HTTP/1.0": (post(TELEMETRY, GOOD, version="HTTP/1.0"), 426, 3),
    "another scheme": (post(f"https://elsewhere{TELEMETRY}", GOOD), 403, 3),
    "a websocket": (request("GET", VIEW, b"", LEARNER, "upgrade: websocket", "connection: upgrade"), 403, 3),
    "an upgrade to HTTP/2": (
        request("GET", DASHBOARD, b"", LEARNER, "upgrade: h2c", "connection: upgrade", "http2-settings: AAMAAABk"),
        403,
        7,  # the upgrade is ignored, and the dashboard is not this caller's
    ),
    "no HTTP": (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, 3),
}


@pytest.mark.parametrize(("sent", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_and_not_counted(service: Service, stored: Stored, sent: bytes, status: int, code: int) -> None:
    assert_refused(speak(service.gateway.port, sent), status, code)
    assert stored.has_counted_nothing()


# What has no meaning here changes nothing.
HARMLESS = {
    "a gRPC timeout that is none": "grpc-timeout: abc",
    "a gRPC timeout that is over": "grpc-timeout: 1n",
    "an unknown gRPC encoding": "grpc-encoding: snappy",
    "a gRPC encoding": "grpc-encoding: gzip",
    "a number of attempts": "grpc-previous-rpc-attempts: 99999999999999999999",
    "a binary header that is none": "grpc-trace-bin: !!!",
    "a cookie": "cookie: session=1",
    "te": "te: gzip",
    "who it was for": "x-forwarded-host: elsewhere",
    "whom it came from": "x-forwarded-for: 10.0.0.1",
    "how it came": "x-forwarded-proto: junk",
    "Envoy's timeout": "x-envoy-upstream-rq-timeout-ms: 1",
    "Envoy's retries": "x-envoy-retry-on: 5xx",
    "where it came from": "x-envoy-original-path: /x",
    "an expectation": "expect: 200-ok",
}


@pytest.mark.parametrize("header", HARMLESS.values(), ids=HARMLESS)
def test_counted_once_whatever_this_header_says(service: Service, stored: Stored, header: str) -> None:
    response = speak(service.gateway.port, post(VIEW, b"", header))

    assert (200, TRACKED) == (response.status, json.loads(response.body))
    assert {"course_views": 1} == stored.counters()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(HOSTILE) | st.text(max_size=10)
names = st.sampled_from(["courseId", "course_id", "lectureId", "watchTimeDelta", "events", "telemetry", "$where", ""])
values = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(names, each, max_size=4), max_leaves=8
)
documents = values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)
segments = st.sampled_from(HOSTILE).map(lambda text: quote(text, safe="")) | st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=" "), max_size=30
)
attacks = st.tuples(
    st.sampled_from(["POST", "GET", "PUT"]),
    st.sampled_from([TELEMETRY, BATCH, VIEW]) | segments.map(lambda text: f"{ANALYTICS}/view/{text}"),
    documents,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])  # nothing is ever stored
@given(attack=attacks)
@example(attack=("POST", BATCH, b'{"events": {"$gt": 1}}'))  # a list of this one event, says the gateway
def test_any_json_is_refused_in_the_one_shape(service: Service, stored: Stored, attack: tuple[str, str, bytes]) -> None:
    method, path, body = attack

    response = speak(service.gateway.port, request(method, path, body, JSON, LEARNER))

    if response.status == HTTPStatus.OK:  # a batch of bad events, or a view with fields that nobody knows
        assert path in (BATCH, VIEW)
    else:
        code = {400: 3, 403: 7, 404: 5, 413: 3, 431: 3}[response.status]
        assert_refused(response, response.status, code)
    if path != VIEW:
        assert stored.has_counted_nothing()
    stored.redis.flushdb()
