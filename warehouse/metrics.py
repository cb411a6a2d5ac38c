"""What the warehouse measures beyond `shared/metrics.py`."""

from prometheus_client import Counter, Gauge

RECORDS = Counter("analytics_warehouse_records_total", "Records delivered: by the relay to Kafka, or to the store.")
ROWS = Counter("analytics_warehouse_rows_total", "Rows inserted into ClickHouse.")
REJECTED = Counter(
    "analytics_warehouse_rejected_total",
    "Malformed records, and numbers in documents that are not whole numbers of 0 or more.",
)
LAG = Gauge(
    "analytics_warehouse_lag_seconds",
    "Age of the last delivered change while more are waiting, in seconds; 0 when all have been delivered.",
)
STORE_AWAY = Counter(
    "analytics_warehouse_away_total", "Times that Kafka, ClickHouse or MongoDB was unavailable for reading or writing."
)
SNAPSHOTS = Counter("analytics_warehouse_snapshots_total", "Snapshots started, including the first one.")
