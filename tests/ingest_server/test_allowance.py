"""Events are charged to the user who sends them, by whatever token, call or stream."""

import asyncio
import gzip

import pytest
from course_analytics.v1 import ingest_pb2

from ingest_server import allowance as allowance_module
from ingest_server.admission import UNPACKED_BYTES, Admission
from ingest_server.allowance import BURST_EVENTS, EVENTS_A_SECOND, Allowance
from shared.identity.auth import Caller
from shared.serving.errors import InvalidRequest, Overloaded
from shared.serving.sent import Sent
from tests.servers import PATIENCE

ANN, BOB = Caller("ann", 0), Caller("bob", 0)
BACKEND = Caller("backend", 0, frozenset({"analytics:write"}))


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowance(clock: Clock) -> Allowance:
    return Allowance(clock)


def test_a_burst_is_taken_at_once_and_not_more(allowance: Allowance) -> None:
    for _ in range(BURST_EVENTS // 1000):
        allowance.charge(ANN, 1000)
    with pytest.raises(Overloaded, match="5,000 events a second"):
        allowance.charge(ANN, 1)


def test_it_fills_up_at_its_rate(allowance: Allowance, clock: Clock) -> None:
    allowance.charge(ANN, BURST_EVENTS)
    clock.time += 0.5
    allowance.charge(ANN, EVENTS_A_SECOND // 2)
    with pytest.raises(Overloaded):
        allowance.charge(ANN, 1)


def test_what_is_refused_costs_nothing(allowance: Allowance, clock: Clock) -> None:
    allowance.charge(ANN, BURST_EVENTS)
    for _ in range(10):
        with pytest.raises(Overloaded):
            allowance.charge(ANN, 1000)
    clock.time += 1000 / EVENTS_A_SECOND
    allowance.charge(ANN, 1000)


def test_it_never_holds_more_than_a_burst(allowance: Allowance, clock: Clock) -> None:
    allowance.charge(ANN, 1)
    clock.time += 3600
    allowance.charge(ANN, BURST_EVENTS)
    with pytest.raises(Overloaded):
        allowance.charge(ANN, 1)


def test_each_user_has_one(allowance: Allowance) -> None:
    allowance.charge(ANN, BURST_EVENTS)
    allowance.charge(BOB, BURST_EVENTS)


def test_all_tokens_of_a_user_share_one(allowance: Allowance) -> None:
    allowance.charge(Caller("ann", 1), BURST_EVENTS)
    with pytest.raises(Overloaded):
        allowance.charge(Caller("ann", 2, frozenset({"another:scope"})), 1)


def test_a_backend_that_reports_for_its_users_is_not_charged(allowance: Allowance) -> None:
    for _ in range(10):
        allowance.charge(BACKEND, BURST_EVENTS)


def test_the_users_it_remembers_are_bounded_and_first_those_who_owe_nothing_are_forgotten(
    allowance: Allowance, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance_module, "USERS", 100)
    for number in range(99):
        allowance.charge(Caller(f"user {number}", 0), 1)
    clock.time += 1
    allowance.charge(ANN, BURST_EVENTS)
    allowance.charge(BOB, 1)
    with pytest.raises(Overloaded):
        allowance.charge(ANN, 1)
    assert len(allowance._full_again) <= 100


async def test_a_stream_waits_until_it_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance_module, "EVENTS_A_SECOND", 100_000)
    allowance = Allowance()
    async with asyncio.timeout(PATIENCE):
        for _ in range(100):
            await allowance.wait(ANN, 1000)


def batch(events: int) -> Sent:
    return Sent(ingest_pb2.TrackBatchRequest(events=[ingest_pb2.Event()] * events).SerializeToString())


def test_a_batch_is_charged_by_its_events_before_it_is_parsed(allowance: Allowance) -> None:
    admission = Admission(allowance)
    for _ in range(BURST_EVENTS // 1000):
        admission.check("TrackBatch", batch(1000), ANN)
    with pytest.raises(Overloaded):
        admission.check("TrackBatch", batch(1), ANN)
    admission.check("TrackBatch", batch(1000), BOB)


@pytest.mark.parametrize("method", ["TrackTelemetry", "TrackCourseView"])
def test_a_single_call_is_charged_as_one_event(allowance: Allowance, method: str) -> None:
    admission = Admission(allowance)
    allowance.charge(ANN, BURST_EVENTS - 1)
    admission.check(method, Sent(b"whatever"), ANN)
    with pytest.raises(Overloaded):
        admission.check(method, Sent(b"whatever"), ANN)


@pytest.mark.parametrize("sent", [batch(0), batch(1001)])
def test_a_malformed_batch_is_not_charged(allowance: Allowance, sent: Sent) -> None:
    admission = Admission(allowance)
    with pytest.raises(InvalidRequest):
        admission.check("TrackBatch", sent, ANN)
    allowance.charge(ANN, BURST_EVENTS)


def test_unpacking_is_charged_before_it_is_done(allowance: Allowance) -> None:
    long = ingest_pb2.Event(course_view=ingest_pb2.TrackCourseViewRequest(course_id="x" * 1_000_000))
    packed = Sent(gzip.compress(ingest_pb2.TrackBatchRequest(events=[long]).SerializeToString()))
    admission = Admission(allowance)
    unpacking = 1 + packed.size // UNPACKED_BYTES

    for _ in range(BURST_EVENTS // (unpacking + 1)):
        admission.check("TrackBatch", packed, ANN)
    with pytest.raises(Overloaded):
        admission.check("TrackBatch", packed, ANN)
