"""The commands to Redis about tallies, and the meaning of its replies. Pure.

Malformed bytes and keys of the wrong type count as empty; the rest of the course is shown.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from query_server.merge import Batch, Hot
from shared.data import keys
from shared.data.tallies import DAY, Tally, day_tally, tally_of
from shared.stores.redis_connection import Command, Reply

TIME: Command = ("TIME",)
GROUP = 8  # days that one EXISTS asks about; all of them are read if it finds any
LONGEST_COUNT = 18  # digits that always fit into 64 bits


def hashes(partition: int, name: str) -> tuple[str, str, str]:
    """The three keys that may hold counts of a tally: hot, flushing, quarantined."""
    return (
        keys.course_counters(partition, name),
        keys.flushing_counters(partition, name),
        keys.quarantined_counters(partition, name),
    )


def reading(partition: int, tally: Tally) -> list[Command]:
    """The commands that read one tally, for one transaction."""
    commands: list[Command] = [("HGETALL", key) for key in hashes(partition, tally.name)]
    commands.append(("GET", keys.flushed_batch(partition, tally.name)))
    if tally.kind.users:
        # Reports unite days, so they need their bytes; a course needs only the estimate.
        commands.append(("GET" if tally.kind is DAY else "PFCOUNT", keys.course_users(partition, tally.name)))
    return commands


def reading_all(partition: int, tallies: Sequence[Tally]) -> list[Command]:
    """The commands that read tallies of one partition at one moment, for `hot_of`."""
    return [*(command for tally in tallies for command in reading(partition, tally)), TIME]


class Look(NamedTuple):
    """What is read of a partition: these tallies always, and the days of these courses for which Redis has keys.

    Redis nearly always has only the last few days, so one transaction reads the tallies and looks for the days.
    """

    partition: int
    always: Sequence[Tally]
    course_ids: Sequence[str]
    days: Sequence[str]

    def commands(self) -> list[Command]:
        """The commands of that transaction.

        Each EXISTS asks about several days, because a reply costs us more than the lookup costs Redis.
        """
        groups = [self.days[start : start + GROUP] for start in range(0, len(self.days), GROUP)]
        existing: list[Command] = []
        for course_id in self.course_ids:
            # A key ends with the tally's name, and that with the day: the rest is put together once.
            beginnings = _any_of(self.partition, f"{course_id}/")
            existing += [("EXISTS", *[key + day for day in group for key in beginnings]) for group in groups]
        return [*existing, *reading_all(self.partition, self.always)]

    def found(self, replies: Sequence[Reply]) -> tuple[list[Tally], dict[str, Hot]]:
        """The days for which Redis has keys, possibly with a few others; and the other tallies by name."""
        each = -(-len(self.days) // GROUP)
        existing = len(self.course_ids) * each
        days = [
            day_tally(self.course_ids[place // each], day)
            for place, number in enumerate(replies[:existing])
            if number
            for day in self.days[place % each * GROUP :][:GROUP]
        ]
        return days, hot_of(self.always, replies[existing:])


def asking_for(partition: int, names: Sequence[str]) -> list[Command]:
    """The commands that tell which of these days have users that MongoDB lacks, and which tallies have counts."""
    return [("SMISMEMBER", keys.unsaved_users(partition), *names), ("SMEMBERS", keys.dirty_courses(partition))]


def unsaved(names: Sequence[str], is_unsaved: Reply) -> set[str]:
    """The days whose users are not all in MongoDB."""
    return {name for name, each in zip(names, _listed(is_unsaved)) if each}  # noqa: B905 - of a spoilt set there is no list


def _any_of(partition: int, name: str) -> tuple[str, ...]:
    """Every key that is there while Redis has anything of a tally."""
    return (*hashes(partition, name), keys.flushed_batch(partition, name))


def first_day(course_id: str, dirty: Reply) -> str | None:
    """The first day of the course in a dirty set."""
    of_course = f"{course_id}/".encode()
    named = (tally_of(_text(name)) for name in _listed(dirty) if name.startswith(of_course))
    return min((tally.item for tally in named if tally is not None and tally.kind is DAY), default=None)


def hot_of(tallies: Sequence[Tally], replies: Sequence[Reply]) -> dict[str, Hot]:
    """The tallies by name, from the replies to `reading` of each of them and to TIME."""
    *rest, (seconds, microseconds) = replies
    replies_left = iter(rest)
    found = {}
    for tally in tallies:
        counting, flushing, quarantined, flushed_batch = (next(replies_left) for _ in range(4))
        users = next(replies_left) if tally.kind.users else 0
        found[tally.name] = Hot(
            batches=tuple(_held(counting, flushing, quarantined)),
            flushed_batch=_text(flushed_batch) if isinstance(flushed_batch, bytes) else None,
            users=users if isinstance(users, int) else 0,
            seconds=int(seconds),
            microseconds=int(microseconds),
            sketch=users if isinstance(users, bytes) else b"",
            is_empty=not (counting or flushing or quarantined),
        )
    return found


def _held(counting: Reply, flushing: Reply, quarantined: Reply) -> Iterator[Batch]:
    for flat in (counting, flushing):
        if fields := _fields(flat):
            batch_id = _text(fields.pop(keys.BATCH, b""))
            # Malformed counts are skipped, as when the flusher quarantines such a batch. Inline: one call per count
            # would take as long as the rest.
            counts = {name: int(text) for name, text in fields.items() if text.isdigit() and len(text) <= LONGEST_COUNT}
            yield Batch(batch_id, counts)
    for batch_id, text in _fields(quarantined).items():
        batch = _quarantined(batch_id, text)
        if batch is not None:
            yield batch


def _fields(flat: Reply) -> dict[str, bytes]:
    listed = _listed(flat)
    return {
        name.decode(errors="backslashreplace"): value for name, value in zip(listed[::2], listed[1::2], strict=True)
    }


def _listed(reply: Reply) -> list[Any]:
    return reply if isinstance(reply, list) else []


def _quarantined(batch_id: str, text: bytes) -> Batch | None:
    """A batch that MongoDB rejected; None when it must not be shown, or is malformed."""
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(kept, dict) or kept.get("reason") == keys.RESURRECTED:
        return None
    counters = kept.get("counters")
    counts: Mapping[str, object] = counters if isinstance(counters, dict) else {}
    return Batch(
        batch_id,
        {name: count for name, count in counts.items() if type(count) is int and 0 <= count < 10**LONGEST_COUNT},
    )


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
