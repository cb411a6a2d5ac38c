"""What the warehouse measures beyond `shared/metrics.py`."""

from prometheus_client import Counter, Gauge

RECORDS = Counter(
    "analytics_warehouse_records_total", "Records that were handed on: by the relay to Kafka, or to the store."
)
ROWS = Counter("analytics_warehouse_rows_total", "Rows that were inserted into ClickHouse.")
REJECTED = Counter(
    "analytics_warehouse_rejected_total",
    "Records that could not be read, and documents' numbers that are no whole numbers of 0 or more.",
)
LAG = Gauge(
    "analytics_warehouse_lag_seconds",
    "Age of the change that was handed on last when more are waiting, in seconds; 0 when all have been handed on.",
)
STORE_AWAY = Counter(
    "analytics_warehouse_away_total", "Times that Kafka, ClickHouse or MongoDB did not take or give records."
)
SNAPSHOTS = Counter("analytics_warehouse_snapshots_total", "Snapshots that were begun, the first one included.")
