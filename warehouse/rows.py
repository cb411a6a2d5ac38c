"""From records to the rows of the table `tallies`: one counter a row, the highest `at` of a key wins. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.data.tallies import DAY, LECTURE, UnknownCounter, tally_of
from warehouse.record import UNIQUE_USERS, Malformed, Record

# The counter under which a row says that the rows of its tally before `at` do not count any more.
CLEARED = "cleared"

NO_DAY = "1970-01-01"


class Key(NamedTuple):
    """What a row is about: the sorting key of the table. `item` is a segment, or a duration in seconds."""

    kind: str
    counter: str
    course: str
    lecture: str
    day: str
    item: int


Row = tuple[int, int]  # at, total
Rows = dict[Key, Row]


def key_of(tally_name: str, counter_field: str) -> Key:
    """The row that a tally's counter is. Raises Malformed for what is no tally or no counter of it."""
    tally = tally_of(tally_name)
    if tally is None:
        raise Malformed(f"no tally is called {tally_name[:60]!r}")
    day = tally.item if tally.kind is DAY else NO_DAY
    lecture = tally.item if tally.kind is LECTURE else ""
    if counter_field == CLEARED or (counter_field == UNIQUE_USERS and tally.kind.users):
        return Key(tally.kind.name, counter_field, tally.course_id, lecture, day, 0)
    try:
        counter, item = tally.kind.counter_of(counter_field)
    except UnknownCounter:
        raise Malformed(f"{counter_field[:60]!r} is no counter of a {tally.kind.name}") from None
    if tally.kind is LECTURE:
        return Key(tally.kind.name, counter.name, tally.course_id, lecture, day, int(item or 0))
    if item.isupper():  # a reason, and not a lecture
        return Key(tally.kind.name, counter_field, tally.course_id, lecture, day, 0)
    return Key(tally.kind.name, counter.name, tally.course_id, item, day, 0)


def rows_of(record: Record) -> Iterable[tuple[Key, Row]]:
    """The rows of one record. Raises Malformed."""
    rows = [(key_of(record.tally, field), (record.at, total)) for field, total in record.totals.items()]
    if record.cleared:
        rows.append((key_of(record.tally, CLEARED), (record.at, 0)))
    return rows


def add(rows: Rows, record: Record) -> None:
    """Adds a record's rows to those of a batch. Raises Malformed, and then adds nothing."""
    for key, row in rows_of(record):
        rows[key] = max(rows.get(key, row), row)


def live(rows: Mapping[Key, Row]) -> dict[Key, int]:
    """What the rows say: the totals that were not cleared, without zeros. The same as the queries' common part."""
    cleared = {key._replace(counter=""): at for key, (at, _) in rows.items() if key.counter == CLEARED}
    return {
        key: total
        for key, (at, total) in rows.items()
        if total and at >= cleared.get(tally_key(key), 0) and key.counter != CLEARED
    }


def tally_key(key: Key) -> Key:
    """The key of a row's tally: without its counter and its item."""
    return key._replace(counter="", lecture=key.lecture if key.kind == LECTURE.name else "", item=0)
