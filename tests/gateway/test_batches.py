from collections.abc import Iterator

import grpc
import httpx
import pytest
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from devstack.seed import DEMO_COURSE
from devstack.tokens import mint
from tests.gateway.conftest import Service
from tests.gateway.rest import ANALYTICS, INVALID_ARGUMENT, assert_refused, ping
from tests.servers import JWT_SECRET

BATCH = f"{ANALYTICS}/events:batch"
BATCH_LIMIT = 1024 * 1024
PERMISSION_DENIED, UNAUTHENTICATED = 7, 16


def batch_of(size: int) -> bytes:
    """One good event in a body of so many bytes."""
    body = b'{"padding":"%s","events":[{"courseView":{"courseId":"%s"}}]}'
    return body % (b"x" * (size - len(body % (b"", DEMO_COURSE.id.encode()))), DEMO_COURSE.id.encode())


def test_a_batch_is_answered_with_what_was_accepted_and_what_was_not(learner: httpx.Client) -> None:
    response = learner.post(BATCH, json={"events": [{"telemetry": ping()}, {"telemetry": ping(watchTimeDelta=-1)}]})

    assert 200 == response.status_code
    assert {"accepted", "rejected"} == set(response.json())
    assert (1, [1]) == (response.json()["accepted"], [event["index"] for event in response.json()["rejected"]])


def test_an_index_of_zero_and_no_rejections_are_printed(learner: httpx.Client) -> None:
    bad = learner.post(BATCH, json={"events": [{"telemetry": ping(watchTimeDelta=-1)}]}).json()
    good = learner.post(BATCH, json={"events": [{"telemetry": ping()}]}).json()

    assert (0, 0) == (bad["accepted"], bad["rejected"][0]["index"])
    assert {"accepted": 1, "rejected": []} == good


@pytest.mark.parametrize("number", [0, 1001])
def test_too_few_or_too_many_events_are_400_naming_the_field(learner: httpx.Client, number: int) -> None:
    response = learner.post(BATCH, json={"events": [{"telemetry": ping()}] * number})

    assert_refused(400, INVALID_ARGUMENT, response)
    assert ["events"] == [violation["field"] for violation in response.json()["details"][0]["fieldViolations"]]


def test_an_event_that_is_neither_is_rejected(learner: httpx.Client) -> None:
    answer = learner.post(BATCH, json={"events": [{"telemetry": ping()}, {}]}).json()

    assert {"accepted": 1, "rejected": [{"index": 1, "reason": "event: must be a courseView or a telemetry"}]} == answer


def test_a_user_whom_the_caller_may_not_name_is_403(learner: httpx.Client) -> None:
    response = learner.post(BATCH, json={"events": [{"telemetry": ping()}, {"telemetry": ping(userId="bob")}]})

    assert_refused(403, PERMISSION_DENIED, response)


def test_a_batch_without_a_token_is_401(learner: httpx.Client) -> None:
    del learner.headers["authorization"]

    assert_refused(401, UNAUTHENTICATED, learner.post(BATCH, json={"events": []}))


def test_a_thousand_events_fit(learner: httpx.Client) -> None:
    events = [{"telemetry": ping(eventId=f"{number:064}", playbackId="p" * 64)} for number in range(1000)]

    assert {"accepted": 1000, "rejected": []} == learner.post(BATCH, json={"events": events}).json()


def test_a_batch_may_have_1_mib(learner: httpx.Client) -> None:
    assert 200 == learner.post(BATCH, content=batch_of(BATCH_LIMIT)).status_code


GOOD = b'{"courseView": {"courseId": "%s"}}' % DEMO_COURSE.id.encode()


@pytest.mark.parametrize("path", [BATCH, BATCH.replace(":", "%3A")])
@pytest.mark.parametrize(
    "events",
    [b"[null, %s, {}]" % GOOD, b"[%s,\n null]" % GOOD, b"[null]", b'[%s, {"userId": "\\\\", "x": [null]}]' % GOOD],
)
def test_a_null_among_the_events_is_refused_because_their_places_would_change(
    learner: httpx.Client, events: bytes, path: str
) -> None:
    response = learner.post(path, content=b'{"events": %s}' % events, headers={"origin": "http://localhost:3000"})

    assert_refused(400, INVALID_ARGUMENT, response)
    assert "null" in response.json()["message"]
    assert "http://localhost:3000" == response.headers["access-control-allow-origin"]


@pytest.mark.parametrize(
    "field", [b'"eventId": null', b'"padding": "[null, null]"', b'"padding": "\\", null, \\""', b'"null": null, "a": 1']
)
def test_a_null_outside_of_a_list_changes_nothing(learner: httpx.Client, field: bytes) -> None:
    event = b'{"courseView": {"courseId": "%s", %s}}' % (DEMO_COURSE.id.encode(), field)

    assert {"accepted": 2, "rejected": []} == learner.post(
        BATCH, content=b'{"events": [%s, %s]}' % (event, GOOD)
    ).json()


def test_a_batch_over_1_mib_is_413(learner: httpx.Client) -> None:
    assert_refused(413, INVALID_ARGUMENT, learner.post(BATCH, content=batch_of(BATCH_LIMIT + 1)))


def test_an_allowed_page_may_send_batches(learner: httpx.Client) -> None:
    asked = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}

    assert 200 == learner.options(BATCH, headers=asked).status_code


@pytest.mark.parametrize("colon", ["%3A", "%3a"])
def test_the_colon_may_be_encoded(learner: httpx.Client, colon: str) -> None:
    response = learner.post(BATCH.replace(":", colon), content=batch_of(BATCH_LIMIT))

    assert {"accepted": 1, "rejected": []} == response.json()


@pytest.mark.parametrize("path", ["events", "events:other", "events:batch/more", "events%3Abatch/"])
def test_only_the_batchs_own_path_takes_batches(learner: httpx.Client, path: str) -> None:
    assert 404 == learner.post(f"{ANALYTICS}/{path}", json={"events": [{"telemetry": ping()}]}).status_code


def test_a_stream_is_answered_batch_by_batch_in_order(service: Service) -> None:
    metadata = (("authorization", f"Bearer {mint(JWT_SECRET, 'backend')}"),)
    view = ingest_pb2.Event(course_view=ingest_pb2.TrackCourseViewRequest(course_id=DEMO_COURSE.id))

    def batches() -> Iterator[ingest_pb2.TrackStreamRequest]:
        for size in (1, 2, 3):
            yield ingest_pb2.TrackStreamRequest(events=[view] * size)

    with grpc.insecure_channel(service.gateway.address) as channel:
        stream = ingest_pb2_grpc.IngestServiceStub(channel).TrackStream(batches(), metadata=metadata, timeout=10)

        assert [1, 2, 3] == [answer.accepted for answer in stream]
