"""What is accepted, what is refused, and that every bad field is named at once."""

import math
import re

import pytest
from course_analytics.v1 import ingest_pb2
from hypothesis import given
from hypothesis import strategies as st

from ingest_server import validation
from ingest_server.events import CourseView, Telemetry
from shared.serving.errors import InvalidRequest

USER = b"a user"
COURSE = "0123456789abcdef01234567"
LECTURE = "fedcba9876543210fedcba98"

NO_OBJECT_IDS = {
    "empty": "",
    "short": COURSE[:-1],
    "long": COURSE + "0",
    "upper case": COURSE.upper(),
    "not hexadecimal": "g" + COURSE[1:],
    "dotted": "0123456789ab.def01234567",
    "braced": "{123456789abcdef0123456}",
    "newline at the end": COURSE + "\n",
    "newline for a digit": COURSE[:-1] + "\n",
    "another script's digits": "\N{ARABIC-INDIC DIGIT ZERO}" + COURSE[1:],
    "NUL": "\0" + COURSE[1:],
}
NO_EVENT_IDS = {
    "present and empty": "",
    "65 characters": "x" * 65,
    "a dot": "a.b",
    "a colon": "a:b",
    "a brace": "{a}",
    "a space": "a b",
    "NUL": "a\0b",
    "newline at the end": "a\n",
    "an umlaut": "ä",
}

object_ids = st.from_regex(re.compile(r"[0-9a-f]{24}", re.ASCII), fullmatch=True)
event_ids = st.from_regex(re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII), fullmatch=True)
durations = st.floats(min_value=0, max_value=300, exclude_min=True)


def ping(**fields: object) -> ingest_pb2.TrackTelemetryRequest:
    """A good ping, but for the fields that are given."""
    good = {"course_id": COURSE, "lecture_id": LECTURE, "watch_time_delta": 5.0}
    return ingest_pb2.TrackTelemetryRequest(**{**good, **fields})  # type: ignore[arg-type] # any field


def bad_fields_of_ping(**fields: object) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        validation.telemetry(ping(**fields), USER)
    return [violation.field for violation in refused.value.violations]


def bad_fields_of_view(request: ingest_pb2.TrackCourseViewRequest) -> list[str]:
    with pytest.raises(InvalidRequest) as refused:
        validation.course_view(request, USER)
    return [violation.field for violation in refused.value.violations]


@given(object_ids, st.none() | event_ids)
def test_a_valid_view_becomes_its_event(course: str, event: str | None) -> None:
    request = ingest_pb2.TrackCourseViewRequest(course_id=course, event_id=event)
    assert CourseView(course, USER, event) == validation.course_view(request, USER)


@given(object_ids, object_ids, durations, st.none() | event_ids, st.none() | event_ids)
def test_a_valid_ping_becomes_its_event(
    course: str, lecture: str, duration: float, event: str | None, playback: str | None
) -> None:
    request = ping(
        course_id=course, lecture_id=lecture, watch_time_delta=duration, event_id=event, playback_id=playback
    )
    seconds = math.floor(duration + 0.5)
    assert Telemetry(course, USER, event, lecture, seconds, playback) == validation.telemetry(request, USER)


@pytest.mark.parametrize("bad", NO_OBJECT_IDS.values(), ids=NO_OBJECT_IDS)
class TestObjectIds:
    def test_no_course_of_a_view(self, bad: str) -> None:
        assert ["courseId"] == bad_fields_of_view(ingest_pb2.TrackCourseViewRequest(course_id=bad))

    def test_no_course_of_a_ping(self, bad: str) -> None:
        assert ["courseId"] == bad_fields_of_ping(course_id=bad)

    def test_no_lecture(self, bad: str) -> None:
        assert ["lectureId"] == bad_fields_of_ping(lecture_id=bad)


@pytest.mark.parametrize("bad", NO_EVENT_IDS.values(), ids=NO_EVENT_IDS)
class TestEventIds:
    def test_no_event_of_a_view(self, bad: str) -> None:
        assert ["eventId"] == bad_fields_of_view(ingest_pb2.TrackCourseViewRequest(course_id=COURSE, event_id=bad))

    def test_no_event_of_a_ping(self, bad: str) -> None:
        assert ["eventId"] == bad_fields_of_ping(event_id=bad)

    def test_no_playback(self, bad: str) -> None:
        assert ["playbackId"] == bad_fields_of_ping(playback_id=bad)


@pytest.mark.parametrize(
    "bad", [0.0, -0.0, -1.0, -5e-324, 300.0000001, 301.0, 1e308, math.inf, -math.inf, math.nan], ids=str
)
def test_no_watch_time(bad: float) -> None:
    assert ["watchTimeDelta"] == bad_fields_of_ping(watch_time_delta=bad)


def test_an_omitted_watch_time_is_rejected() -> None:
    request = ingest_pb2.TrackTelemetryRequest(course_id=COURSE, lecture_id=LECTURE)
    with pytest.raises(InvalidRequest, match="watchTimeDelta"):
        validation.telemetry(request, USER)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [(5e-324, 0), (0.4, 0), (0.5, 1), (1.49, 1), (1.5, 2), (2.5, 3), (299.5, 300), (300.0, 300)],
)
def test_watch_time_is_rounded_half_up(duration: float, seconds: int) -> None:
    assert seconds == validation.telemetry(ping(watch_time_delta=duration), USER).seconds


@given(durations)
def test_rounding_moves_a_watch_time_by_half_a_second_at_most(duration: float) -> None:
    assert validation.telemetry(ping(watch_time_delta=duration), USER).seconds == pytest.approx(
        duration, abs=0.5 + 1e-9
    )


def test_every_bad_field_is_named_at_once() -> None:
    named = bad_fields_of_ping(course_id="", lecture_id="", watch_time_delta=-1.0, event_id="", playback_id="")
    assert ["courseId", "lectureId", "watchTimeDelta", "eventId", "playbackId"] == named


@given(st.text())
def test_a_text_is_an_object_id_or_refused(text: str) -> None:
    request = ingest_pb2.TrackCourseViewRequest(course_id=text)
    if len(text) == 24 and set(text) <= set("0123456789abcdef"):
        assert text == validation.course_view(request, USER).course_id
    else:
        assert ["courseId"] == bad_fields_of_view(request)
