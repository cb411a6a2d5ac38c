"""The arithmetic of the dashboard: from totals and an outline to what the instructor sees. Pure.

Rates are in 0..1; where the denominator is zero they are 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from query_server.merge import Totals
from query_server.outline import Outline
from shared.data.tallies import LECTURE_VIEWS, LECTURE_WATCH_TIME


@dataclass(frozen=True, slots=True)
class Funnel:
    """The current lectures in course order, one column per number; times in seconds.

    Columns, because an object and its calls for each lecture cost more than its arithmetic: 0.5 of 1 µs.
    """

    views: Sequence[int]
    watch_seconds: Sequence[float]
    retention_rates: Sequence[float]
    drop_off_rates: Sequence[float]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What an instructor sees of a course; times in seconds. `most_watched` is a place in the funnel."""

    total_views: int
    users: int
    watch_seconds: float
    average_watch_seconds: float
    drop_off_rate: float
    most_watched: int | None
    funnel: Funnel


def dashboard_of(totals: Totals, outline: Outline) -> Dashboard:
    """The totals count every lecture that the course ever had, the funnel has its current lectures in course order."""
    watch_seconds = totals.counts[LECTURE_WATCH_TIME.name]
    funnel = funnel_of(totals.counts[LECTURE_VIEWS.name], watch_seconds, outline)
    watched = sum(watch_seconds.values())
    return Dashboard(
        total_views=totals.views,
        users=totals.users,
        watch_seconds=watched,
        average_watch_seconds=watched / totals.users if totals.users else 0.0,
        drop_off_rate=drop_off_rate(funnel),
        most_watched=most_watched(funnel),
        funnel=funnel,
    )


def funnel_of(views: Mapping[str, float], watch_seconds: Mapping[str, float], outline: Outline) -> Funnel:
    """The funnel of views and seconds by lecture."""
    column = [int(count) for count in _column(views, outline)]
    return Funnel(
        views=column,
        watch_seconds=_column(watch_seconds, outline),
        retention_rates=_kept(column),
        drop_off_rates=_lost(column, [0, *column]),
    )


def drop_off_rate(funnel: Funnel) -> float:
    """The share of the first lecture's views that did not reach the last."""
    return _lost(funnel.views[-1:], funnel.views[:1])[0] if funnel.views else 0.0


def most_watched(funnel: Funnel) -> int | None:
    """The place with the most views, then the most seconds, then the first; None while there is no view."""
    numbers = list(zip(funnel.views, funnel.watch_seconds, strict=True))
    most = max(numbers, default=(0, 0))
    return numbers.index(most) if most[0] > 0 else None


def _column(counts: Mapping[str, float], outline: Outline) -> list[float]:
    return [counts.get(lecture_id, 0) for lecture_id, _ in outline]


def _kept(views: Sequence[int]) -> list[float]:
    """The share of the first lecture's views that each has."""
    first = views[0] if views else 0
    if first == 0:
        return [0.0] * len(views)
    return [here / first if here < first else 1.0 for here in views]


def _lost(views: Sequence[int], before: Sequence[int]) -> list[float]:
    """The share of the views before that each has lost."""
    return [1.0 - here / previous if here < previous else 0.0 for here, previous in zip(views, before, strict=False)]
