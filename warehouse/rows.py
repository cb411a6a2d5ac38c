"""From records to rows of the table `tallies`: one counter a row, the highest `at` of a key wins. Pure."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from shared.data.tallies import DAY, LECTURE, Kind, UnknownCounter, tally_of
from warehouse.record import UNIQUE_USERS, Malformed, Record

# The counter of a row that invalidates the rows of its tally before `at`.
CLEARED = "cleared"

NO_DAY = "1970-01-01"
FIRST_DAY, LAST_DAY = dt.date(1971, 1, 1), dt.date(2149, 6, 6)


class Key(NamedTuple):
    """The sorting key of a row. `item` is a segment, or a duration in seconds."""

    kind: str
    counter: str
    course: str
    lecture: str
    day: str
    item: int


Row = tuple[int, int]  # at, total
Rows = dict[Key, Row]


def key_of(tally_name: str, counter_field: str) -> Key:
    """The key of a tally's counter. Raises Malformed if there is no such tally or counter."""
    (key,) = _keys(tally_name, [counter_field])
    return key


def _keys(tally_name: str, fields: Iterable[str]) -> Iterator[Key]:
    tally = tally_of(tally_name)
    if tally is None or (tally.kind is DAY and not _is_day(tally.item)):
        raise Malformed(f"no tally is called {tally_name[:60]!r}")
    kind = tally.kind.name
    day = tally.item if tally.kind is DAY else NO_DAY
    of_lecture = tally.item if tally.kind is LECTURE else ""
    for field in fields:
        counter, lecture, item = _place(tally.kind, field)
        yield Key(kind, counter, tally.course_id, lecture or of_lecture, day, item)


@lru_cache(maxsize=100_000)  # the same fields recur
def _place(kind: Kind, field: str) -> tuple[str, str, int]:
    """The counter, lecture and item of a hash field. Raises Malformed."""
    if field == CLEARED or (field == UNIQUE_USERS and kind.users):
        return field, "", 0
    try:
        counter, item = kind.counter_of(field)
    except UnknownCounter:
        raise Malformed(f"{field[:60]!r} is not a counter of a {kind.name}") from None
    if kind is LECTURE:
        return counter.name, "", int(item or 0)
    if item.isupper():  # a reason, not a lecture
        return field, "", 0
    return counter.name, item, 0


@lru_cache(maxsize=10_000)
def _is_day(text: str) -> bool:
    """Whether a row can have that day, YYYY-MM-DD. `Date` begins with 1970, which here means no day."""
    try:
        return FIRST_DAY <= dt.date.fromisoformat(text) <= LAST_DAY
    except ValueError:
        return False


def rows_of(record: Record) -> Iterable[tuple[Key, Row]]:
    """The rows of one record. Raises Malformed."""
    if CLEARED in record.totals:
        raise Malformed(f"{CLEARED!r} is not a counter")
    rows = [(record.at, total) for total in record.totals.values()]
    fields = [*record.totals]
    if record.cleared:
        rows.append((record.at, 0))
        fields.append(CLEARED)
    return list(zip(_keys(record.tally, fields), rows, strict=True))


def add(rows: Rows, record: Record) -> None:
    """Adds a record's rows to those of a batch. Adds nothing if it raises Malformed."""
    for key, row in rows_of(record):
        known = rows.get(key)
        if known is None or known < row:
            rows[key] = row


def live(rows: Mapping[Key, Row]) -> dict[Key, int]:
    """The totals in the rows that were not cleared, without zeros, as the queries' common part selects them."""
    cleared = {key._replace(counter=""): at for key, (at, _) in rows.items() if key.counter == CLEARED}
    return {
        key: total
        for key, (at, total) in rows.items()
        if total and at >= cleared.get(tally_key(key), 0) and key.counter != CLEARED
    }


def tally_key(key: Key) -> Key:
    """The key of a row's tally: without its counter and its item."""
    return key._replace(counter="", lecture=key.lecture if key.kind == LECTURE.name else "", item=0)
