"""What more than one program measures. Each metric is declared once, with its meaning, in a `metrics.py`.

`docs/metrics.md` lists them all. With several workers each keeps its numbers in a file named after the worker, not
after its process: the one that takes over from a worker that was killed goes on counting where that had got to.
"""

import os
from multiprocessing import current_process

from prometheus_client import Counter, Gauge, disable_created_metrics, values

# Said before the first metric is made. The supervisor sets the variable for its workers.
WORKERS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
if WORKERS_FOLDER in os.environ:
    values.ValueClass = values.MultiProcessValue(lambda: current_process().name)  # type: ignore[no-untyped-call] # it has no types
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Upper bounds of what takes between half a millisecond and some seconds."""

HEARTBEAT = Gauge(
    "analytics_heartbeat_timestamp_seconds",
    "When the event loop last turned, in seconds since 1970; of several workers the one that is furthest behind.",
    multiprocess_mode="livemin",
)
HEARTBEAT.set_to_current_time()  # a process is alive from its first moment, and not only from its first probe

READY = Gauge(
    "analytics_ready_processes",
    "Processes of this program that are ready: all that they depend on answers.",
    multiprocess_mode="livesum",
)

PROBE_UP = Gauge(
    "analytics_probe_up",
    "1 when what the readiness depends on answered its last probe, else 0; of several workers the lowest.",
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
    "Good tokens whose signature was checked: those that were not remembered from an earlier call.",
)

REDIS_ERRORS = Counter(
    "analytics_redis_errors_total",
    "Connections to Redis that could not be made (connect), or broke or fell silent during a request (lost).",
    ["kind"],
)
REDIS_NO_CONNECTION = REDIS_ERRORS.labels("connect")
REDIS_LOST = REDIS_ERRORS.labels("lost")

MONGODB_ERRORS = Counter(
    "analytics_mongodb_errors_total",
    "Requests that MongoDB did not answer in time, or refused as a whole.",
)
