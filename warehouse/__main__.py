"""The warehouse: `python -m warehouse`. Configured by environment variables, see docs/warehouse.md."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from shared import logs
from shared.serving import program
from shared.settings import load
from warehouse import commands
from warehouse.settings import PlatformSettings, RelaySettings, SnapshotSettings, StoreSettings, WarehouseSettings

COMMANDS: dict[str | None, tuple[type[WarehouseSettings], Callable[[Any], Awaitable[int]]]] = {
    None: (PlatformSettings, commands.serve),
    "relay": (RelaySettings, commands.relay),
    "snapshot": (SnapshotSettings, commands.snapshot),
    "audit": (StoreSettings, commands.check),
}


def main() -> int:
    """Entry point; returns the exit code."""
    parser = program.command_line(
        "analytics-warehouse", "Keeps MongoDB's totals as rows of ClickHouse, and answers questions about them."
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=[name for name in COMMANDS if name],
        help="relay: MongoDB's changes to Kafka; snapshot: all documents again; audit: compare with MongoDB",
    )
    name = parser.parse_args().command
    kind, command = COMMANDS[name]
    logs.configure("warning" if name in ("snapshot", "audit") else "info")

    async def answer(settings: WarehouseSettings) -> int:
        try:
            return await command(settings)
        except commands.STORES_AWAY as error:
            return commands.away(error)

    def run() -> int:
        settings = load(kind)
        if name in (None, "relay"):
            logs.configure(settings.log_level)
        return asyncio.run(answer(settings))

    return program.exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
