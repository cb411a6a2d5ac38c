"""Documents as a flush writes them."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo import MongoClient

COURSE_ID, LECTURE_ID = "650000000000000000000001", "650000000000000000000011"
YESTERDAY = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).date().isoformat()


def write_day(mongo_url: str, course_id: str = COURSE_ID, *, day: str = YESTERDAY, views: int, users: int = 1) -> None:
    """Adds to a course's day: lecture views, five seconds each, and the course's title."""
    with MongoClient[Mapping[str, Any]](mongo_url) as client:
        database = client.get_default_database()
        database["courses"].update_one(
            {"_id": ObjectId(course_id)}, {"$set": {"title": f"Course {course_id[-2:]}"}}, upsert=True
        )
        lecture = f"lectureStats.{LECTURE_ID}"
        database["courseanalyticsdays"].update_one(
            {"_id": f"{course_id}/{day}"},
            {
                "$inc": {"totalViews": 1, f"{lecture}.views": views, f"{lecture}.totalWatchTime": 5 * views},
                "$max": {"uniqueActiveUsers": users},
                "$set": {"courseId": ObjectId(course_id), "day": day},
            },
            upsert=True,
        )
