"""Any bytes to any method: refused by a status that the contract has, and nothing of them is counted."""

import grpc
import pytest
from course_analytics.v1 import dashboard_pb2, ingest_pb2
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest_server.backend import BACKEND
from tests.ingest_server.stored import Stored
from tests.security.stage import BATCH, DASHBOARD, METHODS, STREAM, TELEMETRY, VIEW, Attacker, Service

# What a text field may hold that nobody would mean. None of it is the id of a course.
HOSTILE = [
    *('{"$gt": ""}', "$where", "[$ne]=1", "1; return true", "' || 1 == 1", "a.b", "$", "\0", "*", "{0}", "{}:{}"),
    *("\r\nFLUSHALL\r\n", "../../x", "%00", "\u202e", "\ufeff", "\U0001f600", "٦" * 24, "６" * 24, "A" * 24, "a" * 23),
    *("a" * 25, f"{'a' * 24}\n", "ffffffffffffffffffffffff", "x" * 5000, "", "-1", "null", "__proto__"),
]
texts = st.sampled_from(HOSTILE) | st.text(max_size=30)
numbers = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 300.0, 300.1, 2.0**63, -(2.0**63), 1e308])
views = st.builds(ingest_pb2.TrackCourseViewRequest, course_id=texts, event_id=texts, user_id=texts)
pings = st.builds(
    ingest_pb2.TrackTelemetryRequest,
    course_id=texts,
    lecture_id=texts,
    watch_time_delta=numbers,
    event_id=texts,
    playback_id=texts,
    user_id=texts,
)
events = st.builds(ingest_pb2.Event, course_view=views) | st.builds(ingest_pb2.Event, telemetry=pings)
MESSAGES = {
    VIEW: views,
    TELEMETRY: pings,
    BATCH: st.builds(ingest_pb2.TrackBatchRequest, events=st.lists(events, max_size=5)),
    STREAM: st.builds(ingest_pb2.TrackStreamRequest, events=st.lists(events, max_size=5)),
    DASHBOARD: st.builds(dashboard_pb2.GetCourseDashboardRequest, course_id=texts),
}


@st.composite
def attacks(draw: st.DrawFn) -> tuple[str, bytes]:
    """A method, and what is sent to it: bytes, a hostile message, or one that was cut, bent or sent on."""
    method = draw(st.sampled_from(METHODS))
    message = draw(MESSAGES[draw(st.sampled_from(METHODS))])  # as often as not that of another method
    data = draw(st.binary(max_size=200)) if draw(st.booleans()) else message.SerializeToString()
    if data and draw(st.booleans()):
        place = draw(st.integers(0, len(data) - 1))
        data = draw(st.sampled_from([data[:place], data[:place] + b"\xff" + data[place + 1 :], data + data[place:]]))
    return method, data


# A batch of bad events is answered with OK, and each of them with its reason.
EXPECTED = {StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.OK}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])  # nothing is ever stored
@given(attack=attacks())
def test_any_bytes_are_refused_and_count_nothing(attacker: Attacker, stored: Stored, attack: tuple[str, bytes]) -> None:
    method, data = attack

    answer = attacker.send(method, data, BACKEND)

    assert answer.code in EXPECTED, answer
    assert stored.has_counted_nothing()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [b"\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x7f"], ids=["no tag", "no UTF-8", "cut off"])
def test_malformed_bytes_are_a_bad_request_in_plain_words(attacker: Attacker, method: str, data: bytes) -> None:
    if data == b"\x0a\x02\xff\xfe" and method in (BATCH, STREAM):
        data = b"\x0a\x06\x0a\x04" + data  # in the first event's course view

    answer = attacker.send(method, data, BACKEND)

    words = "the request cannot be read: it is not the protobuf message of this method"
    assert (StatusCode.INVALID_ARGUMENT, words) == answer


def test_a_message_that_is_unpacked_to_more_than_the_limit_is_refused(attacker: Attacker) -> None:
    answer = attacker.send(BATCH, b"\0" * 20_000_000, BACKEND, compression=grpc.Compression.Gzip)

    assert StatusCode.RESOURCE_EXHAUSTED == answer.code


@pytest.mark.parametrize("method", ["/course_analytics.v1.IngestService/Nope", "/nope", "/api/v1/analytics/telemetry"])
def test_a_method_that_does_not_exist_is_unimplemented(attacker: Attacker, method: str) -> None:
    assert StatusCode.UNIMPLEMENTED == attacker.send(method, b"", BACKEND).code


def test_grpc_writes_no_line_for_whom_it_refuses(attacker: Attacker, service: Service) -> None:
    answer = attacker.send(TELEMETRY, bytes(100), BACKEND, grpc.Compression.Deflate)

    assert StatusCode.UNIMPLEMENTED == answer.code
    assert "deflate" not in service.logs()
