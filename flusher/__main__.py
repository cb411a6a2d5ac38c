"""The flusher: `python -m flusher`, `--once`, or `init`. Configured by environment variables, see README."""

import argparse
import asyncio
import sys
import time

import structlog
from pymongo.errors import PyMongoError

from flusher import schema
from flusher.cycle import Flusher, seconds_to_next
from flusher.wave import Report, Stores
from shared import lifecycle, logs, mongo, program
from shared.settings import Settings, load

INCOMPLETE = 3

log = structlog.get_logger()


async def flush(settings: Settings, *, once: bool) -> int:
    """Flushes once, or at every interval until a signal; returns the exit code. Raises CannotRun for an unfit store."""
    stop = lifecycle.stop_on_signal()
    if settings.flush_barrier.kind == "none":
        log.warning(
            "ANALYTICS_FLUSH_BARRIER=none: counts can be lost or doubled when Redis fails over or loses its disk"
        )
    async with mongo.connect(settings.mongo_url, program="flusher") as client:
        flusher = Flusher(
            Stores(
                redis_url=settings.redis_url,
                database=mongo.database(client),
                barrier=settings.flush_barrier,
                lock_ttl=settings.flush_lock_ttl_seconds,
            )
        )
        if once:
            return _exit_code(await flusher.cycle(stop))
        started = time.monotonic()
        while not stop.is_set():
            await flusher.cycle(stop)
            await _wait(stop, seconds_to_next(time.monotonic() - started, settings.flush_interval_seconds))
    return 0


async def init(settings: Settings) -> int:
    """Makes what the flusher needs in MongoDB. Returns the exit code."""
    async with mongo.connect(settings.mongo_url, program="flusher") as client:
        try:
            await schema.ensure(mongo.database(client))
        except PyMongoError as error:
            print(f"MongoDB is away: {error}", file=sys.stderr)  # noqa: T201 - the answer to a command
            return INCOMPLETE
    return 0


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def _exit_code(report: Report) -> int:
    if not report.left:
        return 0
    reasons = "; ".join(f"{reason} ({courses})" for reason, courses in report.left.items())
    print(f"not everything was flushed: {reasons}", file=sys.stderr)  # noqa: T201 - the answer to a command
    return INCOMPLETE


def _arguments() -> argparse.Namespace:
    parser = program.command_line("analytics-flusher", "Adds the counts in Redis to MongoDB, exactly once.")
    parser.add_argument(
        "--once", action="store_true", help="flush once; exit 0 when all is done, 3 when something stayed"
    )
    parser.add_argument("command", nargs="?", choices=["init"], help="make the indexes in MongoDB and exit")
    return parser.parse_args()


def main() -> int:
    """Entry point; returns the exit code."""
    arguments = _arguments()
    logs.configure()
    if arguments.command == "init":
        return program.run(lambda: init(load(Settings)))
    return program.run(lambda: flush(load(Settings), once=arguments.once))


if __name__ == "__main__":
    sys.exit(main())
