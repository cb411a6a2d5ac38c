"""Every Redis key: who writes it, who reads it, how long it lives.

All keys of a course's tallies carry its partition in braces, so that in a Redis Cluster everything one script or
transaction touches lies in one slot. The number of partitions is a constant of the data format: with another number,
counters already stored would not be found.
"""

import zlib
from functools import lru_cache

PARTITIONS = 256

# How long a playback is remembered after its last ping.
PLAYBACK_SECONDS = 24 * 60 * 60

# The field of a counters hash with the id of its batch. The id stays with the counts from the first increment, through
# the rename of a flush, into the MongoDB document, where it shows that they have been added.
BATCH = "batch"

# The reason of a quarantined batch that MongoDB already had, because Redis restarted with older data. Some of its
# counts are in the document, some may be new: it is neither added nor shown, even when MongoDB has forgotten its id.
RESURRECTED = "resurrected"


@lru_cache(maxsize=100_000)
def partition_of(tally: str) -> int:
    """The partition, 0 to 255, of a tally's name: that of its course, whose id is the name's first 24 digits."""
    return zlib.crc32(tally[:24].encode(errors="surrogateescape")) % PARTITIONS


def dirty_courses(partition: int) -> str:
    """Set of the tallies with unflushed counts, by name. Ingest adds, the flusher removes."""
    return f"dirty_analytics_courses:{{{partition}}}"


def course_counters(partition: int, tally: str) -> str:
    """Hash of hot counts. Ingest increments, the dashboard reads; lives until a flush renames it to the next."""
    return f"course_counters:{{{partition}}}:{tally}"


def flushing_counters(partition: int, tally: str) -> str:
    """The same hash, taken by a flush. The dashboard reads; the flusher unlinks it once MongoDB has it."""
    return f"flushing_counters:{{{partition}}}:{tally}"


def quarantined_counters(partition: int, tally: str) -> str:
    """Hash from batch id to JSON, `{"reason": text, "counters": {field: number}}`: batches that MongoDB rejected.

    The flusher writes, the dashboard and the flusher read; until replayed.
    """
    return f"quarantined_counters:{{{partition}}}:{tally}"


def flushed_batch(partition: int, tally: str) -> str:
    """Id of the batch cleared last. The flusher writes it, the dashboard compares it with MongoDB; 120 s."""
    return f"flushed_batch:{{{partition}}}:{tally}"


def course_users(partition: int, tally: str) -> str:
    """HyperLogLog of a course's users, or a day's. Ingest adds, flusher and dashboard count.

    A course's never expires, a day's expires 40 days after its day: see `days.users_end`.
    """
    return f"course_users:{{{partition}}}:{tally}"


def saved_users(partition: int, tally: str) -> str:
    """The saved HyperLogLog, for the moment in which the flusher merges it into the live one."""
    return f"saved_users:{{{partition}}}:{tally}"


def unsaved_users(partition: int) -> str:
    """Set of the day tallies whose last sketch MongoDB does not have yet, by name.

    Ingest adds a tally with the birth of its hash; the flusher removes it once the sketch is saved and nothing is hot.
    """
    return f"unsaved_users:{{{partition}}}"


def flush_lock(partition: int) -> str:
    """Token of the flusher that works on the partition; the lock's TTL."""
    return f"analytics_flush_lock:{{{partition}}}"


def seen(partition: int, kind: str, rest: str) -> str:
    """What was counted already; only ingest uses it.

    Sets of the digests of event ids (kinds v and t) and of playback ids (p); `rest` is the number of a window of 900 s
    or 12 h by the clock of Redis. They live until the end of the next window, and of the next but one. And the bitmap
    of the segments that a playback has seen (b); `rest` is its digest. It lives for 24 h after the last ping.
    """
    return f"seen:{{{partition}}}:{kind}{rest}"


def alive(partition: int, kind: str, window: int) -> str:
    """Hash from a user's digest to the bytes of their ids that arrived in that window, as far as they were charged.

    It has an entry with an empty name once a user has reached the limit. Only ingest uses it. It lives for two windows,
    of 900 s for events and 24 h for playbacks.
    """
    return f"alive:{{{partition}}}:{kind}{window}"


def forgotten(partition: int) -> str:
    """Hash from a lecture's tally to when it was emptied, in ms of Redis' clock.

    `flusher forget` writes, ingest reads. It lives for 24 h after the last one: then no older playback is left.
    """
    return f"forgotten:{{{partition}}}"


def watch(partition: int, digest: str) -> str:
    """The time, in ms of Redis' clock, up to which a user has watched a course. Only ingest uses it; until then."""
    return f"watch:{{{partition}}}:{digest}"


def refused(partition: int, process: str) -> str:
    """The positions of the pings refused in the last commit of an ingest process. Only ingest uses it; 1 h."""
    return f"refused:{{{partition}}}:{process}"


def last_commit(partition: int, process: str) -> str:
    """Number of the last commit of an ingest process. Only ingest uses it; 1 h."""
    return f"commit:{{{partition}}}:{process}"
