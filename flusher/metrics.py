"""What the flusher measures beyond `shared/metrics.py`."""

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import SECONDS

PHASE_SECONDS = Histogram(
    "analytics_flush_phase_seconds",
    "Time of one step of a wave by phase, in seconds: lock, fence, take (of some tallies), barrier, apply (one bulk "
    "write), verify (reading back), clear, users.",
    ["phase"],
    buckets=SECONDS,
)
LOCK, FENCE, TAKE, BARRIER, APPLY, VERIFY, CLEAR, USERS = (
    PHASE_SECONDS.labels(phase) for phase in ("lock", "fence", "take", "barrier", "apply", "verify", "clear", "users")
)

BATCHES = Counter(
    "analytics_flush_batches_total",
    "Batches sent to MongoDB: added by this write (applied); added earlier (already_applied); rejected, because a "
    "newer flusher has flushed the tally (fenced); unknown, so sent again (left).",
    ["outcome"],
)
APPLIED = BATCHES.labels("applied")
ALREADY_APPLIED = BATCHES.labels("already_applied")
FENCED = BATCHES.labels("fenced")
LEFT = BATCHES.labels("left")

QUARANTINED = Counter(
    "analytics_flush_quarantined_total",
    "Batches put into quarantine: MongoDB rejects them permanently (refused); Redis restarted with older data "
    "(resurrected); the hash is malformed (malformed).",
    ["reason"],
)
REFUSED = QUARANTINED.labels("refused")
RESURRECTED = QUARANTINED.labels("resurrected")
MALFORMED = QUARANTINED.labels("malformed")

QUARANTINED_BATCHES = Gauge(
    "analytics_flush_quarantined_batches",
    "Batches in quarantine that this flusher knows of: its own, and those of others as of its last search of Redis, "
    "at most an hour ago.",
)

WAVES = Counter(
    "analytics_flush_waves_total",
    "Waves by how they ended: complete (done), because a store did not answer (store_away), because a lock expired "
    "(lock_lost), or early for another reason, the barrier or a stop (early).",
    ["end"],
)
DONE, STORE_AWAY, LOCK_LOST, EARLY = (WAVES.labels(end) for end in ("done", "store_away", "lock_lost", "early"))

LOCK_LOSSES = Counter(
    "analytics_flush_lock_losses_total",
    "Locks that expired or were lost, or may have been, while a wave still needed them.",
)

SWEEPS = Counter(
    "analytics_flush_sweeps_total",
    "Searches of Redis for counters whose tally is missing from the dirty set.",
)

SWEPT = Counter(
    "analytics_flush_swept_total",
    "Hashes that a sweep found and added back to the dirty set. No step of the protocol leaves any.",
)

CYCLE_SECONDS = Histogram(
    "analytics_flush_cycle_seconds",
    "Time of one cycle, in seconds: a cycle flushes everything that was dirty at its start.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500),
)

INTERVAL = Gauge(
    "analytics_flush_interval_seconds",
    "ANALYTICS_FLUSH_INTERVAL_SECONDS of this flusher.",
)

LAST_CYCLE = Gauge(
    "analytics_flush_last_cycle_timestamp_seconds",
    "When the last complete cycle ended, in seconds since 1970; 0 before the first. A cycle that a store cut short is "
    "not complete.",
)

LEFT_TALLIES = Gauge(
    "analytics_flush_left_tallies",
    "Tallies that the last cycle did not flush, including those that another flusher has locked.",
)

OLDEST_COUNT = Gauge(
    "analytics_flush_oldest_count_age_seconds",
    "Age of the oldest count outside MongoDB that the last cycle found, in seconds, from the ids of the batches: every "
    "batch that it took, and 1,000 tallies at its start. A lecture's is counted from when it is due, an hour later. 0 "
    "when nothing was due.",
)
