"""Several processes of one server on one port: the kernel distributes the connections (SO_REUSEPORT).

One small supervisor reports and restarts a worker that dies, and stops all of them gracefully.
"""

import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import structlog
import uvloop

from shared import logs
from shared.serving import endpoint, lifecycle, program
from shared.serving.program import CannotRun
from shared.settings import ServerSettings

# The minimum time between two starts of a worker: a fault at start would otherwise spin.
RESTART_SECONDS = 1.0

log = structlog.get_logger()

# Runs a server until a signal; `shared_port`: other processes listen on its port too.
Serve = Callable[[ServerSettings, bool], Coroutine[Any, Any, None]]


def run(
    serve: Serve, settings: ServerSettings, *, workers: int, address: str, metrics_address: str | None = None
) -> int:
    """Serves in this process, or in `workers` processes at `address`. Returns the exit code; raises CannotRun.

    This process serves `metrics_address`, for itself or for all workers.
    """
    if not settings.jwt_audience:
        log.warning("ANALYTICS_JWT_AUDIENCE is unset: a token that its issuer made for another service counts here too")
    if workers == 1:
        with endpoint.served(metrics_address):
            uvloop.run(serve(settings, False))  # noqa: FBT003 - the one argument of a one-method protocol
        return 0
    with reserved(address), endpoint.served_for_workers(metrics_address, workers):
        return Supervisor(serve, settings, workers).run()


def reserved(address: str) -> socket.socket:
    """A socket that reserves `address` for workers, and accepts no connections. Raises CannotRun if it is taken."""
    host, _, port = address.rpartition(":")
    try:
        family, _, _, _, name = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(name)
            alone.listen()  # binding alone does not detect a listener that shares its port
        kept = socket.socket(family)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(name)
    except OSError:
        raise CannotRun(lifecycle.cannot_listen(address)) from None
    return kept


class Supervisor:
    """Keeps so many workers alive until a signal, or until one finds that it can never run."""

    def __init__(self, serve: Serve, settings: ServerSettings, workers: int) -> None:
        self._serve = serve
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")  # gRPC's threads do not survive a fork
        self._workers: dict[int, SpawnProcess] = {}
        self._started: dict[int, float] = {}
        self._numbers = range(1, workers + 1)
        self._wakeup, self._signals = socket.socketpair()

    def run(self) -> int:
        """Returns 0 after a stop in which every worker succeeded; else 1, or the code of a worker that cannot run."""
        self._signals.setblocking(False)  # noqa: FBT003 - the standard library's signature
        signal.set_wakeup_fd(self._signals.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _noted)
        for worker in self._numbers:
            self._start(worker)
        while not self._signalled():
            for worker, process in self._dead():
                if process.exitcode == program.CANNOT_RUN:
                    self._stop()
                    return program.CANNOT_RUN
                self._restart(worker, process)
        return self._stop()

    def _signalled(self) -> bool:
        """Waits for a signal or the end of a worker. Returns whether it was a signal."""
        sentinels = [process.sentinel for process in self._workers.values()]
        return self._wakeup in wait([self._wakeup, *sentinels])

    def _dead(self) -> list[tuple[int, SpawnProcess]]:
        return [(worker, process) for worker, process in self._workers.items() if not process.is_alive()]

    def _start(self, worker: int) -> None:
        process = self._context.Process(
            target=_work, args=(self._serve, self._settings, worker), name=f"worker-{worker}"
        )
        process.start()
        self._workers[worker] = process
        self._started[worker] = time.monotonic()

    def _restart(self, worker: int, process: SpawnProcess) -> None:
        log.error("worker died, starting another", worker=worker, exit_code=process.exitcode)
        process.join()
        endpoint.forget(process.name)
        too_soon = self._started[worker] + RESTART_SECONDS - time.monotonic()
        if too_soon > 0:
            wait([self._wakeup], too_soon)
        self._start(worker)

    def _stop(self) -> int:
        for process in self._workers.values():
            process.terminate()
        for process in self._workers.values():
            process.join()  # each has its own watchdog
        # A worker that was just starting may have missed the signal; it has no calls in flight yet.
        ended_well = {0, -signal.SIGTERM}
        return 0 if all(process.exitcode in ended_well for process in self._workers.values()) else 1


def _noted(_number: int, _frame: FrameType | None) -> None:
    """A handler, so that the signal does not kill us; `set_wakeup_fd` wakes the supervisor."""


def _work(serve: Serve, settings: ServerSettings, worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the supervisor's SIGTERM is meant for us
    logs.configure(settings.log_level)
    structlog.contextvars.bind_contextvars(worker=worker)
    sys.exit(program.exit_code(lambda: uvloop.run(serve(settings, True))))  # noqa: FBT003 - see run()
