"""Tables as CSV files that a spreadsheet opens without running anything. Pure.

RFC 4180: lines end in CR LF, cells with commas, quotes or line breaks are quoted. A byte order mark says that it is
UTF-8. A cell that a spreadsheet would run as a formula gets an apostrophe in front, which makes it text.
"""

import csv
import io
from collections.abc import Iterable, Sequence

from course_analytics.v1 import dashboard_pb2

from shared.serving.errors import InvalidRequest, Violation

Report = dashboard_pb2.GetCourseReportResponse
Heatmap = dashboard_pb2.GetLectureHeatmapResponse

CONTENT_TYPE = "text/csv; charset=utf-8"
TABLES = ("days", "funnel", "notCounted")
FORMULA = ("=", "+", "-", "@", "\t", "\r")

Cell = str | int | float


def check_table(table: str) -> str:
    """The table's name, `days` for none. Raises InvalidRequest."""
    if table and table not in TABLES:
        raise InvalidRequest([Violation("table", f"must be one of {', '.join(TABLES)}")])
    return table or TABLES[0]


def report_file(report: Report, table: str) -> bytes:
    """A table of the report: the rows and numbers of the answer."""
    rows: dict[str, tuple[Sequence[str], Iterable[Sequence[Cell]]]] = {
        "days": (
            ("day", "courseViews", "uniqueUsers", "watchTimeSeconds", "lectureViews"),
            (
                (day.day, day.course_views, day.unique_users, day.watch_time_seconds, day.lecture_views)
                for day in report.days
            ),
        ),
        "funnel": (
            ("lectureId", "title", "views", "watchTimeSeconds", "retentionRate", "dropOffRate"),
            (
                (
                    step.lecture_id,
                    step.title,
                    step.views,
                    step.watch_time_seconds,
                    step.retention_rate,
                    step.drop_off_rate,
                )
                for step in report.engagement_funnel
            ),
        ),
        "notCounted": (
            ("reason", "events", "seconds"),
            (
                (dashboard_pb2.NotCounted.Reason.Name(each.reason), each.events, each.seconds)
                for each in report.not_counted
            ),
        ),
    }
    return _file(*rows[table])


def heatmap_file(heatmap: Heatmap) -> bytes:
    """The segments of the heatmap."""
    return _file(
        ("startSeconds", "views", "watchedSeconds", "retentionRate", "passes"),
        (
            (segment.start_seconds, segment.views, segment.watched_seconds, segment.retention_rate, segment.passes)
            for segment in heatmap.segments
        ),
    )


def disposition(name: str) -> tuple[str, str]:
    """The header that makes a browser save the file under this name, of letters, digits, dots and dashes."""
    return "content-disposition", f'attachment; filename="{name}.csv"'


def _file(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig", errors="replace")


def _cell(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA) else cell
    return int(cell) if cell == int(cell) else cell
