"""What the query server measures beyond `shared/metrics.py`."""

from prometheus_client import Counter, Histogram

from shared.metrics import SECONDS

PART_SECONDS = Histogram(
    "analytics_dashboard_seconds",
    "Time of a part of a dashboard, in seconds: redis and mongodb, which are read in parallel; merge, the arithmetic "
    "and the response; read, from the request to both stores until their answers are consistent.",
    ["part"],
    buckets=SECONDS,
)
REDIS_SECONDS = PART_SECONDS.labels("redis")
MONGODB_SECONDS = PART_SECONDS.labels("mongodb")
READ_SECONDS = PART_SECONDS.labels("read")
MERGE_SECONDS = PART_SECONDS.labels("merge")

REREADS = Counter(
    "analytics_dashboard_rereads_total",
    "Dashboards for which MongoDB was read again, because a flush happened between the two reads.",
)
