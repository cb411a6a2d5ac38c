"""Values of any shape, and what holds of every answer nevertheless."""

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.dbref import DBRef
from course_analytics.v1 import dashboard_pb2
from google.protobuf.message import Message
from hypothesis import strategies as st

from tests.query_server.conftest import Dashboards, report, token
from tests.query_server.platform import Course

ids = [ObjectId() for _ in range(3)]
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.integers(-5, 300),
    st.floats(),
    st.sampled_from([Decimal128(text) for text in ("10", "NaN", "sNaN", "-Infinity", "1E+6000", "0.5", "-1")]),
    st.text(max_size=5),
    st.sampled_from([Code("x"), Code("x", {}), Regex("("), MinKey(), MaxKey(), Timestamp(1, 1), DBRef("a", 1)]),
    st.sampled_from([dt.datetime(1, 1, 1, tzinfo=dt.UTC), Binary(b"HYLL\x01"), Binary(b"\xff", 128), *ids]),
)
names = st.sampled_from(["views", "totalWatchTime", "events", "seconds", "0", "12", "99999", "A", "OVERLOADED"])
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=8,
)
references = values | st.lists(values | st.sampled_from([*ids, *map(str, ids)]), max_size=3)


def every(message: Message) -> Iterator[tuple[str, Any]]:
    """Every number of an answer, with the name of its field."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if isinstance(each, Message):
                yield from every(each)
            elif isinstance(each, int | float):
                yield field.name, each


def assert_sound(message: Message) -> None:
    for name, number in every(message):
        assert math.isfinite(number), name
        assert number >= 0, name
        assert number <= 1 or not name.endswith("rate"), name


async def everything(callers: Dashboards, course: Course) -> list[Message]:
    """Every answer about a course."""
    who = [("authorization", f"Bearer {token(course.creator)}")]
    id_ = course.course_id
    lecture = course.lectures[0]
    return [
        await callers.of(course),
        await report(callers, course, period=dashboard_pb2.GetCourseReportRequest.LAST_7_DAYS),
        await callers.stub.ListCourses(dashboard_pb2.ListCoursesRequest(), metadata=who),
        await callers.stub.GetLectureHeatmap(
            dashboard_pb2.GetLectureHeatmapRequest(course_id=id_, lecture_id=lecture), metadata=who
        ),
    ]
