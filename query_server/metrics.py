"""What the query server measures beyond `shared/metrics.py`."""

from prometheus_client import Counter, Histogram

from shared.metrics import SECONDS

PART_SECONDS = Histogram(
    "analytics_dashboard_seconds",
    "Time of a part of a dashboard, in seconds: redis and mongodb, which are read at once; merge, the arithmetic and "
    "the answer; read, from the question to both stores until their answers fit together.",
    ["part"],
    buckets=SECONDS,
)
REDIS_SECONDS = PART_SECONDS.labels("redis")
MONGODB_SECONDS = PART_SECONDS.labels("mongodb")
READ_SECONDS = PART_SECONDS.labels("read")
MERGE_SECONDS = PART_SECONDS.labels("merge")

REREADS = Counter(
    "analytics_dashboard_rereads_total",
    "Dashboards for which MongoDB was read once more, because a flush came between the two reads.",
)
