"""The HTTP endpoint for Prometheus and Kubernetes: `/metrics`, `/livez` and `/readyz`.

A thread answers from the metrics alone, in the same way for one process and for several workers.
"""

import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Metric, MetricsHandler
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from shared.metrics import WORKERS_FOLDER
from shared.serving import lifecycle, reasons
from shared.serving.program import CannotRun

# An event loop that has not run for so long hangs: there are at most 1.5 s between two probes.
ALIVE_SECONDS = 10.0
CLIENT_SECONDS = 5

log = structlog.get_logger()


def not_alive(registry: CollectorRegistry, now: float) -> str | None:
    """Why the program should be restarted; None if it is healthy. `now` in seconds since 1970."""
    beat = registry.get_sample_value("analytics_heartbeat_timestamp_seconds")
    if beat is None or now - beat <= ALIVE_SECONDS:
        return None  # a supervisor whose workers have all died is about to restart them
    return f"an event loop has not turned for {now - beat:.0f} s"


def not_ready(registry: CollectorRegistry, processes: int, reasons: Iterable[str]) -> str | None:
    """Why the program cannot work now; None if it can. `reasons` come from its processes."""
    ready = registry.get_sample_value("analytics_ready_processes") or 0
    if ready >= processes:
        return None
    return "; ".join([f"{ready:.0f} of {processes} processes ready", *reasons])


@contextmanager
def served(address: str | None, *, registry: CollectorRegistry = REGISTRY, processes: int = 1) -> Iterator[None]:
    """Answers at `address` (host:port); does nothing if it is None. Raises CannotRun if it is taken."""
    if address is None:
        yield
        return
    with _server(address, registry, processes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def served_for_workers(address: str | None, workers: int) -> Iterator[None]:
    """The same for several workers: adds up their metrics."""
    if address is None:
        yield
        return
    with TemporaryDirectory(prefix="analytics-metrics-") as folder:
        os.environ[WORKERS_FOLDER] = folder
        registry = CollectorRegistry()
        registry.register(_Workers(Path(folder)))
        try:
            with served(address, registry=registry, processes=workers):
                yield
        finally:
            del os.environ[WORKERS_FOLDER]


class _Workers(Collector):
    """The metrics that the workers have written into the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        # A new file is empty for a moment, and the client would report it as corrupt.
        files = [str(path) for path in self._folder.glob("*.db") if _size(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call] # it has no types
        return merged


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # of a worker that has just died
        return 0


def forget(worker: str) -> None:
    """Removes a dead worker's gauges; its counters stay."""
    if WORKERS_FOLDER in os.environ:
        mark_process_dead(worker)  # type: ignore[no-untyped-call] # it has no types
        reasons.forget(worker)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # as for a connection that has just been closed
    daemon_threads = True

    def __init__(self, family: int, address: Any, handler: type[MetricsHandler]) -> None:  # noqa: ANN401 - a socket's
        self.address_family = family
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - as socketserver calls it
        log.warning("metrics not answered", exc_info=True)


def _server(address: str, registry: CollectorRegistry, processes: int) -> _Server:
    problems: dict[str, Callable[[], str | None]] = {
        "/livez": lambda: not_alive(registry, time.time()),
        "/readyz": lambda: not_ready(registry, processes, reasons.told()),
    }

    class Handler(MetricsHandler):
        timeout = CLIENT_SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                super().do_GET()
            elif path in problems:
                problem = problems[path]()
                self._say(200 if problem is None else 503, problem or "ok")
            else:
                self._say(404, "/metrics, /livez and /readyz are here")

        def _say(self, status: int, line: str) -> None:
            body = f"{line}\n".encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    Handler.registry = registry
    host, _, port = address.rpartition(":")
    try:
        family, _, _, _, name = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        return _Server(family, name, Handler)
    except OSError:
        raise CannotRun(lifecycle.cannot_listen(address)) from None
