"""The flusher: `python -m flusher`. Configured by environment variables, see docs/settings.md."""

import argparse
import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from functools import partial

from pymongo.errors import PyMongoError
from redis.exceptions import ResponseError

from flusher import commands
from flusher.cycle import collect_garbage_seldom
from flusher.tools.forget import is_forgettable
from shared import logs
from shared.serving import program
from shared.settings import Settings, load
from shared.stores import mongo
from shared.stores.redis_connection import RedisUnreachable

Command = Callable[[Settings], Awaitable[int]]

COMMANDS: dict[str, tuple[Command, str]] = {
    "init": (commands.init, "make the indexes in MongoDB, and exit"),
    "status": (commands.show_status, "show what waits where: dirty, in flight, quarantined, locks, last success"),
    "verify": (commands.verify, "check the invariants of what is stored; exit 1 when something is wrong"),
    "migrate": (commands.show_migration, "say what is to be done to the documents that a platform wrote before"),
    "replay": (commands.replay, "send quarantined batches again; exit 3 when some stay"),
}
# The commands that need a name.
NAMED: dict[str, tuple[Callable[[str, Settings], Awaitable[int]], str]] = {
    "forget": (commands.forget, "with <courseId> or <courseId>/<lectureId>: empty all counts of it, and its users"),
    "compare": (
        commands.compare,
        "with <database>: show in which courses its counts differ from ours; exit 1 when some do",
    ),
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = program.command_line("analytics-flusher", "Adds the counts in Redis to MongoDB, exactly once.")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    texts = {name: text for name, (_, text) in (*COMMANDS.items(), *NAMED.items())}
    parser.epilog = "\n".join(["commands:", *(f"  {name:8} {text}" for name, text in texts.items())])
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--once", action="store_true", help="flush once; exit 0 when all is done, 3 when something stayed"
    )
    what.add_argument("command", nargs="?", choices=texts, help="without any: flush now and at every interval")
    parser.add_argument("name", nargs="?", default="", help="with forget and compare: what")
    parser.add_argument("--apply", action="store_true", help="with migrate: do it")
    given = parser.parse_args()
    if given.apply and given.command != "migrate":
        parser.error("--apply belongs to migrate")
    if (given.command in NAMED) != bool(given.name):
        parser.error(
            "forget needs <courseId> or <courseId>/<lectureId>, compare <database>, and no other command a name"
        )
    if given.command == "forget" and not is_forgettable(given.name):
        parser.error(f"{given.name} is no <courseId> and no <courseId>/<lectureId>: 24 lower-case hexadecimal digits")
    return given


async def answer(command: Command, settings: Settings) -> int:
    """The exit code of a command: 3, with one line on standard error, when a store is away."""
    try:
        return await command(settings)
    except (RedisUnreachable, ResponseError) as error:
        print(f"Redis: {error}", file=sys.stderr)
    except PyMongoError as error:
        print(f"MongoDB: {mongo.in_short(error)}", file=sys.stderr)
    return commands.INCOMPLETE


def main() -> int:
    """Entry point; returns the exit code."""
    given = arguments()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names in Redis may hold any bytes
    collect_garbage_seldom()
    flush = commands.once if given.once else commands.loop
    command: Command = COMMANDS[given.command][0] if given.command in COMMANDS else flush
    if given.apply:
        command = commands.migrate
    if given.command in NAMED:
        named, _ = NAMED[given.command]
        command = partial(named, given.name)
    logs.configure("warning" if given.command else "info")  # the output of a command is its answer alone

    def run() -> int:
        settings = load(Settings)
        if not given.command:
            logs.configure(settings.log_level)
        return asyncio.run(answer(command, settings))

    return program.exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
