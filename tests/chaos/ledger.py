"""What was asked and what was promised, to hold against what is shown. Pure.

The unit is one event: a course view, or a ping of `PING_SECONDS` that counts as one view of its lecture and as so many
seconds of one of its segments.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from course_analytics.v1 import dashboard_pb2

PING_SECONDS = 5
PING_TENTHS = 10 * PING_SECONDS

Document = Mapping[str, Any]


@dataclass(slots=True)
class Account:
    """One course. With `retried`, every event has an id and is sent until acknowledged: the count must be equal."""

    course_id: str
    retried: bool
    attempted: int = 0
    acknowledged: int = 0
    acknowledged_pings: int = 0
    counted: int = 0


class Shown(NamedTuple):
    """How many events the tallies of a course account for, read in this order; of its lectures only pings."""

    lectures: int
    days: int
    course: int


@dataclass(slots=True)
class Audit:
    """What the readers saw, and the differences at the end, of the totals as well as of days and lectures."""

    reads: int = 0
    comparisons: int = 0
    dips: int = 0
    below_acknowledged: int = 0
    above_attempted: int = 0
    torn: int = 0
    days_above_totals: int = 0
    lectures_above_totals: int = 0
    views_above_playbacks: int = 0
    unexpected_errors: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    warehouse_differs: bool = False

    def clean(self) -> bool:
        """Whether nothing at all was wrong."""
        wrong = self.dips + self.below_acknowledged + self.above_attempted + self.torn
        wrong += self.days_above_totals + self.lectures_above_totals + self.views_above_playbacks
        return wrong + self.unexpected_errors + self.lost + self.doubled + self.warehouse_differs == 0

    def read(self, dashboard: dashboard_pb2.GetCourseDashboardResponse, shown_before: int, low: int, high: int) -> int:
        """Notes one answer: acknowledged before it was asked for are `low` events, attempted until it came `high`."""
        shown = events_shown(dashboard)
        self.reads += 1
        self.dips += shown < shown_before
        self.below_acknowledged += shown < low
        self.above_attempted += shown > high
        self.torn += any(step.watch_time_seconds != PING_SECONDS * step.views for step in dashboard.engagement_funnel)
        return shown

    def compare(self, shown: Shown, before: Shown, low: Shown) -> Shown:
        """Notes one look at all tallies; returns the most that was seen of each. `low` had been acknowledged before."""
        self.comparisons += 1
        self.dips += sum(now < then for now, then in zip(shown, before, strict=True))
        self.below_acknowledged += sum(now < least for now, least in zip(shown, low, strict=True))
        self.days_above_totals += shown.days > shown.course
        self.lectures_above_totals += shown.lectures > shown.course
        return Shown(*map(max, shown, before))

    def settle(
        self, account: Account, course: Document, days: Iterable[Document], lectures: Iterable[Document]
    ) -> None:
        """Notes what is stored of a course in the end: days and lectures must have what its totals have."""
        stored = course.get("lectureStats", {}).values()
        views, pings = course.get("totalViews", 0), sum(lecture["views"] for lecture in stored)
        account.counted = views + pings
        self.lost += max(0, account.acknowledged - account.counted)
        self.doubled += max(0, account.counted - account.attempted)
        in_days = sum(day.get("totalViews", 0) + day.get("lectureViews", 0) for day in days)
        in_lectures = (
            sum(segment["watched"] for each in lectures for segment in each["segments"].values()) / PING_TENTHS
        )
        for found, expected in ((in_days, account.counted), (in_lectures, pings)):
            self.lost += max(0, round(expected - found))
            self.doubled += max(0, round(found - expected))


def events_of_days(report: dashboard_pb2.GetCourseReportResponse) -> int:
    """How many events the days of a report account for, today included."""
    past = sum(day.course_views + day.lecture_views for day in report.days)
    return past + report.today.course_views + report.today.lecture_views


def pings_watched(heatmap: dashboard_pb2.GetLectureHeatmapResponse) -> int:
    """How many pings the segments of a lecture account for."""
    return round(sum(segment.watched_seconds for segment in heatmap.segments) / PING_SECONDS)


def exceeds_playbacks(heatmap: dashboard_pb2.GetLectureHeatmapResponse) -> bool:
    """Whether a segment has more views than the lecture has playbacks."""
    return any(segment.views > heatmap.playbacks or segment.retention_rate > 1 for segment in heatmap.segments)


def events_shown(dashboard: dashboard_pb2.GetCourseDashboardResponse) -> int:
    """How many events a dashboard accounts for."""
    return dashboard.overview.total_views + sum(step.views for step in dashboard.engagement_funnel)
