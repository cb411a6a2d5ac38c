"""The ingest server: `python -m ingest_server`. Configured by environment variables, see docs/settings.md."""

import sys

from ingest_server.server import serve
from shared import logs
from shared.serving import program, workers
from shared.settings import ServerSettings, load


def start() -> int:
    """Serves as the environment says. Returns the exit code; raises CannotRun."""
    settings = load(ServerSettings)
    logs.configure(settings.log_level)
    return workers.run(
        serve,
        settings,
        workers=settings.ingest_workers,
        address=settings.ingest_address,
        metrics_address=settings.ingest_metrics_address,
    )


def main() -> int:
    """Entry point; returns the exit code."""
    program.command_line("analytics-ingest", "Counts course views and watch-time pings in Redis.").parse_args()
    logs.configure()
    return program.exit_code(start)


if __name__ == "__main__":
    sys.exit(main())
