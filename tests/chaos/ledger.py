"""What was asked and what was promised, to hold against what is shown. Pure.

The unit is one event: a course view, or a ping of `PING_SECONDS` that counts as one view of its lecture.
"""

from dataclasses import dataclass

from course_analytics.v1 import dashboard_pb2

PING_SECONDS = 5


@dataclass(slots=True)
class Account:
    """One course. With `retried`, every event has an id and is sent until acknowledged: the count must be equal."""

    course_id: str
    retried: bool
    attempted: int = 0
    acknowledged: int = 0
    counted: int = 0


@dataclass(slots=True)
class Audit:
    """What the readers saw, and the differences at the end."""

    reads: int = 0
    dips: int = 0
    below_acknowledged: int = 0
    above_attempted: int = 0
    torn: int = 0
    unexpected_errors: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    warehouse_differs: bool = False

    def clean(self) -> bool:
        """Whether nothing at all was wrong."""
        wrong = self.dips + self.below_acknowledged + self.above_attempted + self.torn
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

    def settle(self, account: Account, counted: int) -> None:
        """Notes what a course's total came to in the end."""
        account.counted = counted
        self.lost += max(0, account.acknowledged - counted)
        self.doubled += max(0, counted - account.attempted)


def events_shown(dashboard: dashboard_pb2.GetCourseDashboardResponse) -> int:
    """How many events a dashboard accounts for."""
    return dashboard.overview.total_views + sum(step.views for step in dashboard.engagement_funnel)
