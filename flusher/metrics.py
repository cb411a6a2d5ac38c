"""What the flusher measures beyond `shared/metrics.py`."""

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import SECONDS

PHASE_SECONDS = Histogram(
    "analytics_flush_phase_seconds",
    "Time of one step of a phase of a wave, in seconds: lock, fence, take (of some tallies), barrier, apply (one bulk "
    "write), verify (reading back), clear, users.",
    ["phase"],
    buckets=SECONDS,
)
LOCK, FENCE, TAKE, BARRIER, APPLY, VERIFY, CLEAR, USERS = (
    PHASE_SECONDS.labels(phase) for phase in ("lock", "fence", "take", "barrier", "apply", "verify", "clear", "users")
)

BATCHES = Counter(
    "analytics_flush_batches_total",
    "Batches sent to MongoDB: added by this write (applied); there before it (already_applied); kept out, because a "
    "newer flusher has been at the tally (fenced); not certain, to be sent again (left).",
    ["outcome"],
)
APPLIED = BATCHES.labels("applied")
ALREADY_APPLIED = BATCHES.labels("already_applied")
FENCED = BATCHES.labels("fenced")
LEFT = BATCHES.labels("left")

QUARANTINED = Counter(
    "analytics_flush_quarantined_total",
    "Batches put aside: MongoDB will never take them (refused); Redis came back older (resurrected); the hash is none "
    "of ours (malformed).",
    ["reason"],
)
REFUSED = QUARANTINED.labels("refused")
RESURRECTED = QUARANTINED.labels("resurrected")
MALFORMED = QUARANTINED.labels("malformed")

QUARANTINED_BATCHES = Gauge(
    "analytics_flush_quarantined_batches",
    "Batches in quarantine that this flusher knows of: those that it put aside, and what others did as of its last "
    "search of Redis, at most an hour ago.",
)

WAVES = Counter(
    "analytics_flush_waves_total",
    "Waves, by how they ended: to the end (done), because a store did not answer (store_away), because a lock was over "
    "(lock_lost), or otherwise early, by the barrier or a stop (early).",
    ["end"],
)
DONE, STORE_AWAY, LOCK_LOST, EARLY = (WAVES.labels(end) for end in ("done", "store_away", "lock_lost", "early"))

LOCK_LOSSES = Counter(
    "analytics_flush_lock_losses_total",
    "Locks that passed to somebody else, or may have, while a wave still needed them.",
)

SWEEPS = Counter(
    "analytics_flush_sweeps_total",
    "Searches of Redis for counters whose tally is in no dirty set.",
)

SWEPT = Counter(
    "analytics_flush_swept_total",
    "Hashes found by a sweep, and put back among the dirty ones. No step of the protocol leaves any.",
)

CYCLE_SECONDS = Histogram(
    "analytics_flush_cycle_seconds",
    "Time of one cycle: everything that was dirty at its start, in seconds.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500),
)

INTERVAL = Gauge(
    "analytics_flush_interval_seconds",
    "ANALYTICS_FLUSH_INTERVAL_SECONDS of this flusher.",
)

LAST_CYCLE = Gauge(
    "analytics_flush_last_cycle_timestamp_seconds",
    "When the last cycle ended that no store cut short, in seconds since 1970; 0 before the first.",
)

LEFT_TALLIES = Gauge(
    "analytics_flush_left_tallies",
    "Tallies that the last cycle did not flush, those that another flusher is at included.",
)

OLDEST_COUNT = Gauge(
    "analytics_flush_oldest_count_age_seconds",
    "Age of the oldest count outside MongoDB that the last cycle met, in seconds, by the ids of the batches: of every "
    "one that it took, and of 1,000 tallies at its start. 0 when nothing was due.",
)
