"""What more than one program measures. Each metric is declared once, with its meaning, in a `metrics.py`.

`docs/metrics.md` lists them all. With several workers each keeps its numbers in a file named after the worker, not
after its process: the successor of a killed worker continues counting where it stopped.
"""

import os
from multiprocessing import current_process

from prometheus_client import Counter, Gauge, disable_created_metrics, values

# Set before the first metric is created. The supervisor sets the variable for its workers.
WORKERS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
if WORKERS_FOLDER in os.environ:
    values.ValueClass = values.MultiProcessValue(lambda: current_process().name)  # type: ignore[no-untyped-call] # it has no types
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Upper bounds for durations between half a millisecond and some seconds."""

HEARTBEAT = Gauge(
    "analytics_heartbeat_timestamp_seconds",
    "When the event loop last ran, in seconds since 1970; of several workers the oldest.",
    multiprocess_mode="livemin",
)
HEARTBEAT.set_to_current_time()  # a process is alive from its start, not only from its first probe

READY = Gauge(
    "analytics_ready_processes",
    "Processes of this program that are ready: all their dependencies answer.",
    multiprocess_mode="livesum",
)

PROBE_UP = Gauge(
    "analytics_probe_up",
    "1 if the dependency answered its last probe, else 0; of several workers the lowest.",
    ["probe"],
    multiprocess_mode="livemin",
)

CALLS_REFUSED = Counter(
    "analytics_calls_refused_total",
    "Calls that were not answered OK, by method, gRPC code and short cause.",
    ["method", "code", "cause"],
)

TOKENS_VERIFIED = Counter(
    "analytics_tokens_verified_total",
    "Valid tokens whose signature was checked, because they were not cached from an earlier call.",
)

REDIS_ERRORS = Counter(
    "analytics_redis_errors_total",
    "Connections to Redis that failed to open (connect), or broke or stopped answering during a request (lost).",
    ["kind"],
)
REDIS_NO_CONNECTION = REDIS_ERRORS.labels("connect")
REDIS_LOST = REDIS_ERRORS.labels("lost")

MONGODB_ERRORS = Counter(
    "analytics_mongodb_errors_total",
    "Requests that MongoDB did not answer in time, or rejected as a whole.",
)
