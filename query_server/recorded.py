"""Since when days are recorded. Pure."""

from collections.abc import Mapping
from typing import Any

from query_server.documents import FIRST_DAY
from shared.data.days import is_day
from shared.stores.day_zone import DAYS_ID, RECORDED_SINCE


def recorded_since(documents: Mapping[str, Mapping[str, Any]], first_hot_day: str | None) -> str:
    """The first day of the installation or of the course, whichever is earlier; "" while there is none.

    `documents` are those of `documents.beginnings`, by name. A day that only Redis has counts as recorded.
    """
    installation = documents.get(DAYS_ID, {}).get(RECORDED_SINCE)
    first = documents.get(FIRST_DAY, {}).get("day")
    days = [day for day in (installation, first, first_hot_day) if type(day) is str and is_day(day)]
    return min(days, default="")
