"""A program's life cycle: readiness that follows its stores, and a stop that finishes the calls in flight."""

import asyncio
import faulthandler
import gc
import multiprocessing
import signal
from collections.abc import Awaitable, Callable, Mapping

import grpc
import structlog
from course_analytics.v1 import dashboard_pb2, ingest_pb2
from grpc_health.v1 import health, health_pb2

from shared import metrics
from shared.serving import accepting, reasons
from shared.serving.calls import Calls
from shared.serving.health import Health
from shared.serving.program import CannotRun
from shared.serving.reflection import add_reflection

STOP_SECONDS = 20
# Calls in flight take 2 s at most; only health watchers stay longer.
CALLS_SECONDS = 5
PROBE_SECONDS = 0.5

# What one caller, malicious or not, can use of a server: see docs/limits.md.
MAX_MESSAGE_BYTES = 64 * 1024  # unpacked
# Accepted compression of messages; gRPC's numbers.
IDENTITY, GZIP = grpc.Compression.NoCompression.value, grpc.Compression.Gzip.value
# More than the gateway passes. By default gRPC refuses at random between 8 and 16 KiB.
MAX_METADATA_BYTES = 20 * 1024
MAX_CONNECTIONS = 4_000
MAX_STREAMS = 256  # of a connection, at the same time; a call that has only begun costs 20 KB
# What a call may have sent before the server reads it. By default gRPC lets it grow to 4 MiB on a fast link: 40 streams
# on one connection, whose sender did not read its answers, took 4.5 GB; with this limit they take 170 MB.
STREAM_WINDOW_BYTES = 256 * 1024
# Calls that may wait to be accepted, in a burst. The default is 1,000; further calls of any caller end as CANCELLED,
# but the servers themselves should report overload.
MAX_PENDING_CALLS = 50_000
# Long-lived callers connect again, and so reach new servers. Calls in flight continue: a stream of batches for an hour
# at most (ingest_server/stream.py).
CONNECTION_AGE_MS = 10 * 60 * 1000
CONNECTION_GRACE_MS = 61 * 60 * 1000
# A peer that does not answer a ping is gone: its calls end. (By `ping_timeout_ms`: `keepalive_timeout_ms` alone does
# not close the connection.)
KEEPALIVE_MS = 60_000
PING_TIMEOUT_MS = 20_000
# How often a client may ping while its stream is quiet. The default is once in 5 min: a client with a keepalive of 30 s
# would lose its connection.
LEAST_PING_MS = 1_000

# SERVING as long as the server answers at all, for a probe that restarts a hung program. The other names are readiness.
LIVENESS = "liveness"

Probe = Callable[[], Awaitable[object]]

# Each server's reflection knows both services, because a gateway asks one server about both.
DESCRIPTORS = (ingest_pb2.DESCRIPTOR, dashboard_pb2.DESCRIPTOR)

log = structlog.get_logger()


def stop_on_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets. A program still there 20 s later prints all stacks and exits with 1."""
    stop = asyncio.Event()

    def begin() -> None:
        if not stop.is_set():
            log.info("stopping")
            faulthandler.dump_traceback_later(STOP_SECONDS, exit=True)
            stop.set()

    def orphaned(sentinel: int) -> None:
        loop.remove_reader(sentinel)
        begin()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin)
    parent = multiprocessing.parent_process()
    if parent is not None:  # a worker must not outlive its supervisor
        loop.add_reader(parent.sentinel, orphaned, parent.sentinel)
    return stop


async def grpc_server(
    address: str,
    services: list[str],
    *,
    shared_port: bool,
    credentials: grpc.ServerCredentials | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> tuple[grpc.aio.Server, Health]:
    """A server bound to `address` (host:port), with health (NOT_SERVING at first) and reflection. Raises CannotRun."""
    server = accepting.server(
        options=[
            # By default a second process would silently bind the same port and get half of the calls.
            ("grpc.so_reuseport", int(shared_port)),
            ("grpc.max_receive_message_length", max_message_bytes),
            # Messages are decompressed once their sender is known (shared/serving/sent.py).
            ("grpc.per_message_decompression", 0),
            ("grpc.compression_enabled_algorithms_bitset", 1 << IDENTITY | 1 << GZIP),
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
            ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
            ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
            # Behind a gateway callers share a connection, and the compression state of its headers. When gRPC could not
            # parse a header's value, it refuses that header also in later calls that name it by this state: one
            # caller's `grpc-timeout: x` would fail everybody's. Without a table nothing is left for the next call.
            ("grpc.http2.hpack_table_size.decoder", 0),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
            ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
            ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_MS),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_MS),
        ],
    )
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError:
        raise CannotRun(cannot_listen(address)) from None
    servicer = Health(["", *services])
    servicer.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
    servicer.add_to(server)
    add_reflection([*services, health.SERVICE_NAME], server)
    return server, servicer


def cannot_listen(address: str) -> str:
    """The error for an address that cannot be bound."""
    return f"cannot listen on {address}: the address is taken, or not one of this machine"


class Readiness:
    """Updates the metrics, and a server's `grpc.health.v1`, from the stores: ready while every probe answers.

    Probes have the names of their dependencies. The same loop records that the event loop runs.
    """

    def __init__(self, servicer: Health | None = None, service: str = "") -> None:
        self._servicer = servicer
        self._names = ("", service)
        self._reported: str | None = None  # nothing yet
        self._closed = False

    def set(self, problems: Mapping[str, Exception]) -> None:
        """Reports ready (no problems) or not; logs every change of that or of the reason.

        Problems have the names of their dependencies.
        """
        metrics.HEARTBEAT.set_to_current_time()
        if self._closed:
            return
        ready = not problems
        reason = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        if reason == self._reported:
            return
        reasons.tell(reason)
        if ready:
            log.info("ready")
        else:
            log.warning("not ready", reason=reason)
        self._reported = reason
        self._report(ready=ready)

    def close(self) -> None:
        """Not ready from now on, whatever the probes say."""
        self._closed = True
        reasons.tell("stopping")
        self._report(ready=False)

    def _report(self, *, ready: bool) -> None:
        metrics.READY.set(ready)
        if self._servicer is None:
            return
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            self._servicer.set(name, status)

    async def until_first_contact(self, **probes: Probe) -> None:
        """Returns once all have answered. Raises a probe's CannotRun: the dependency is unsuitable."""
        while not _is_cancelled():
            problems = await _problems(probes)
            for problem in problems.values():
                if isinstance(problem, CannotRun):
                    raise problem
            if not problems:
                return
            self.set(problems)
            await asyncio.sleep(PROBE_SECONDS)

    async def follow(self, **probes: Probe) -> None:
        """Runs every probe twice a second, each within one second; until it is cancelled."""
        while not _is_cancelled():
            self.set(await _problems(probes))
            await asyncio.sleep(PROBE_SECONDS)


def _is_cancelled() -> bool:
    """Ends when cancelled, even if a driver turned that into another error: a probe's errors end nothing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _problems(probes: Mapping[str, Probe]) -> dict[str, Exception]:
    """The problem of each probe that does not succeed."""
    answers = await asyncio.gather(*(_problem(probe) for probe in probes.values()))
    for name, problem in zip(probes, answers, strict=True):
        metrics.PROBE_UP.labels(name).set(problem is None)
    return {name: problem for name, problem in zip(probes, answers, strict=True) if problem is not None}


async def _problem(probe: Probe) -> Exception | None:
    try:
        async with asyncio.timeout(1):
            await probe()
    except TimeoutError:
        return TimeoutError("no answer within 1 s")
    except Exception as error:  # noqa: BLE001 - whatever fails, the program is not ready
        return error
    return None


async def serve_until(
    stop: asyncio.Event,
    server: grpc.aio.Server,
    readiness: Readiness,
    calls: Calls,
) -> None:
    """Serves until `stop`; then not ready, a time for callers to go elsewhere, and some seconds for calls in hand."""
    # What has been imported and wired stays to the end. Looked through again and again by the garbage collector, it
    # would stop all calls for 40 ms each time.
    gc.collect()
    gc.freeze()
    await server.start()
    await stop.wait()
    readiness.close()
    await calls.drained()
    await server.stop(CALLS_SECONDS)
