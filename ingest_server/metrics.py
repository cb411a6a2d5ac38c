"""What the ingest server measures beyond `shared/metrics.py`. A ping that the catalog knows touches nothing here."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import SECONDS

EVENTS = Counter(
    "analytics_events_total",
    "Events that Redis has counted, repeated ones included (counted); events of commits that it refused or did not "
    "answer (failed).",
    ["outcome"],
)
COUNTED = EVENTS.labels("counted")
FAILED = EVENTS.labels("failed")

WITHOUT_ID = Counter(
    "analytics_events_without_id_total",
    "Events sent to Redis that have no eventId, so that a retry counts again. A player that is counted here although "
    "it sends ids misspells the field, which REST then ignores.",
)

EVENTS_REJECTED = Counter(
    "analytics_events_rejected_total",
    "Events rejected individually in batches and streams, by short cause. A rejected single call is in "
    "analytics_calls_refused_total.",
    ["cause"],
)

rejected = cache(EVENTS_REJECTED.labels)  # which takes a third of the time that judging an event does

COMMIT_EVENTS = Histogram(
    "analytics_commit_events",
    "Events that one commit carries to Redis.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000),
)

COMMIT_SECONDS = Histogram(
    "analytics_commit_seconds",
    "Time from sending a commit to the last answer of Redis, in seconds.",
    buckets=SECONDS,
)

WEIGHT_WAITING = Gauge(
    "analytics_waiting_weight",
    "Weight of the events waiting for Redis, commits in flight included, in units of about 4 µs of its time; a plain "
    "event is 1, one with both ids 5. Beyond 125,000 a process rejects more.",
    multiprocess_mode="livesum",
)

COURSES_FETCHED = Counter(
    "analytics_catalog_courses_fetched_total",
    "Courses that were not in the catalog's cache, or had expired: MongoDB had them (found), did not have them "
    "(missing), or did not answer, or in a way that cannot be decoded (failed).",
    ["result"],
)
COURSES_FOUND = COURSES_FETCHED.labels("found")
COURSES_MISSING = COURSES_FETCHED.labels("missing")
COURSES_FAILED = COURSES_FETCHED.labels("failed")

FETCH_SECONDS = Histogram(
    "analytics_catalog_fetch_seconds",
    "Time of one request of the catalog to MongoDB, for one course or several, in seconds.",
    buckets=SECONDS,
)

EVENTS_UNCHECKED = Counter(
    "analytics_events_unchecked_total",
    "Events accepted without checking the catalog, because it was unavailable.",
)

CATALOG_ENTRIES = Gauge(
    "analytics_catalog_entries",
    "Courses and lectures in the catalog's cache.",
    multiprocess_mode="livesum",
)
