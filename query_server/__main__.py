"""The query server: `python -m query_server`. Configured by environment variables, see docs/settings.md."""

import sys

from query_server.server import serve
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
        workers=settings.query_workers,
        address=settings.query_address,
        metrics_address=settings.query_metrics_address,
    )


def main() -> int:
    """Entry point; returns the exit code."""
    program.command_line("analytics-query", "Shows instructors the live numbers of their courses.").parse_args()
    logs.configure()
    return program.exit_code(start)


if __name__ == "__main__":
    sys.exit(main())
