"""`python -m flusher compare <database>`: compares the counts of two databases, course by course. Reads only."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from pymongo.asynchronous.database import AsyncDatabase

from flusher.tools.migrate import course_of
from shared.data.tallies import COURSE, COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME, count_of
from shared.stores.mongo import Document

USERS = "uniqueActiveUsers"

Totals = Mapping[str, float]  # by what is counted


async def totals_of(database: AsyncDatabase[Document]) -> dict[str, Totals]:
    """The totals of each course, by its id. Raises PyMongoError."""
    courses: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    async for document in database[COURSE.collection].find({}, {"usersSketch": 0}):
        counts = COURSE.counts_of(document)
        totals = courses[course_of(document) or str(document.get("courseId"))]
        totals["course views"] += sum(counts[COURSE_VIEWS.name].values())
        totals["lecture views"] += sum(counts[LECTURE_VIEWS.name].values())
        totals["watch seconds"] += sum(counts[LECTURE_WATCH_TIME.name].values())
        totals["users"] = max(totals["users"], count_of(document.get(USERS)))
    return {course_id: dict(totals) for course_id, totals in courses.items()}


def differences(here: Mapping[str, Totals], there: Mapping[str, Totals]) -> Iterator[str]:
    """One sentence for each course whose totals differ. Pure."""
    for course_id in sorted(here.keys() | there.keys()):
        if course_id not in there or course_id not in here:
            yield f"course {course_id}: only {'there' if course_id in there else 'here'}"
        elif changed := [
            f"{name} {number:.10g} here, {other:.10g} there ({number - other:+.10g})"
            for name, number in here[course_id].items()
            if number != (other := there[course_id][name])
        ]:
            yield f"course {course_id}: {'; '.join(changed)}"
