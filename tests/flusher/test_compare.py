"""What an old platform has counted beside what the service has counted of the same events."""

from collections.abc import Callable
from urllib.parse import urlsplit

from bson import ObjectId
from pymongo import MongoClient

from devstack.programs import Program
from flusher.tools.compare import Totals, differences
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.servers import fresh_database

ONE, TWO, THREE = (f"65000000000000000000000{n}" for n in (1, 2, 3))
LECTURE = "650000000000000000000011"


def written(course_id: object, views: float, seconds: float = 40) -> Document:
    stats = {LECTURE: {"views": 3, "totalWatchTime": seconds}}
    return {"courseId": course_id, "totalViews": views, "uniqueActiveUsers": 2, "lectureStats": stats}


def test_only_differences_are_listed() -> None:
    here: dict[str, Totals] = {ONE: {"course views": 5, "users": 2}, TWO: {"course views": 1, "users": 1}, THREE: {}}
    there: dict[str, Totals] = {ONE: {"course views": 7.5, "users": 2}, TWO: {"course views": 1, "users": 1}}

    told = [f"course {ONE}: course views 5 here, 7.5 there (-2.5)", f"course {THREE}: only here"]
    assert told == list(differences(here, there))


def test_the_command_says_in_which_courses_two_databases_differ(
    start_program: Callable[..., Program], mongo_url: str, mongo_server_url: str
) -> None:
    with fresh_database(mongo_server_url) as platform_url, MongoClient[Document](mongo_server_url) as client:
        ours, platforms = (urlsplit(url).path.strip("/") for url in (mongo_url, platform_url))
        client[ours][COURSE_ANALYTICS].insert_many([written(ObjectId(ONE), 10), written(ObjectId(TWO), 7)])
        # As old code leaves it: an id that is a string.
        client[platforms][COURSE_ANALYTICS].insert_many([written(ONE, 8, seconds=35.5), written(ObjectId(TWO), 7)])

        flusher = start_program("flusher", "compare", platforms)
        code, said = flusher.wait(30), flusher.output()

        assert (1, 2) == (code, len(said.splitlines()))
        assert f"course {ONE}: course views 10 here, 8 there (+2); watch seconds 40 here, 35.5 there (+4.5)" in said
        assert f"2 courses compared with {platforms}: 1 alike, 1 different" in said

        client[platforms][COURSE_ANALYTICS].replace_one({"courseId": ONE}, written(ONE, 10))
        flusher = start_program("flusher", "compare", platforms)
        assert 0 == flusher.wait(30), flusher.output()
