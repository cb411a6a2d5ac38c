"""The arithmetic of the dashboard: from totals and an outline to what the instructor sees. Pure.

Rates are in 0..1; where the denominator is zero they are 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from query_server.merge import Totals
from query_server.outline import Outline
from shared.counters import COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME


class Step(NamedTuple):
    """A current lecture in the funnel."""

    lecture_id: str
    title: str
    views: int
    watch_seconds: int
    retention_rate: float
    drop_off_rate: float


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What an instructor sees of a course; times in seconds."""

    total_views: int
    users: int
    watch_seconds: int
    average_watch_seconds: float
    drop_off_rate: float
    most_watched: Step | None
    steps: Sequence[Step]


def dashboard_of(totals: Totals, outline: Outline) -> Dashboard:
    """The totals count every lecture that the course ever had, the steps are its current lectures in course order."""
    steps = _steps(totals, outline)
    watched = _watch_seconds(totals)
    return Dashboard(
        total_views=totals.counts.get(COURSE_VIEWS.field(), 0),
        users=totals.users,
        watch_seconds=watched,
        average_watch_seconds=watched / totals.users if totals.users else 0.0,
        drop_off_rate=_lost(steps[-1].views, steps[0].views) if steps else 0.0,
        most_watched=_most_watched(steps),
        steps=steps,
    )


def _steps(totals: Totals, outline: Outline) -> list[Step]:
    counts = totals.counts
    views = [counts.get(LECTURE_VIEWS.field(lecture.lecture_id), 0) for lecture in outline]
    seconds = [counts.get(LECTURE_WATCH_TIME.field(lecture.lecture_id), 0) for lecture in outline]
    first = views[0] if views else 0
    return [
        Step(*lecture, here, watched, _kept(here, first), _lost(here, before))
        for lecture, here, watched, before in zip(outline, views, seconds, [0, *views], strict=False)
    ]


def _watch_seconds(totals: Totals) -> int:
    every_lecture = LECTURE_WATCH_TIME.field("")
    return sum(count for field, count in totals.counts.items() if field.startswith(every_lecture))


def _most_watched(steps: Sequence[Step]) -> Step | None:
    most = max(steps, key=lambda step: (step.views, step.watch_seconds), default=None)
    return most if most is not None and most.views > 0 else None


def _kept(views: int, before: int) -> float:
    if views >= before:
        return 1.0 if before else 0.0
    return views / before


def _lost(views: int, before: int) -> float:
    return 1.0 - views / before if views < before else 0.0
