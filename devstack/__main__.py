"""`python -m devstack`: the whole service on this machine until Ctrl-C, with a demo course and learners at work."""

import argparse
import asyncio
import os
import secrets
import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo

from pymongo import MongoClient

from devstack import history
from devstack.child import Child, StartError, free_port, port_is_free
from devstack.guide import guide
from devstack.keeper import Keeper
from devstack.learners import learners_at_work
from devstack.seed import DEMO_COURSE, write_course
from devstack.stack import Ports, Stack, local_stack, settings_of

ROOT = Path(__file__).parent.parent


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / ".devstack", help="folder for data and logs (%(default)s)")
    parser.add_argument("--gateway-port", type=int, default=8080, help="(%(default)s)")
    parser.add_argument("--ingest-port", type=int, default=50051, help="(%(default)s)")
    parser.add_argument("--query-port", type=int, default=50052, help="(%(default)s)")
    parser.add_argument("--warehouse-port", type=int, default=50053, help="(%(default)s)")
    parser.add_argument("--warehouse", action="store_true", help="start the warehouse too")
    return parser.parse_args()


def check_ports(ports: Ports, *, with_warehouse: bool = False) -> None:
    """Raises StartError if ports are taken, with all of them and a command that uses free ones."""
    wanted = {"gateway": ports.gateway, "ingest": ports.ingest, "query": ports.query}
    if with_warehouse:
        wanted["warehouse"] = ports.warehouse
    taken = [str(port) for port in wanted.values() if not port_is_free(port)]
    if not taken:
        return
    free = {name: port if port_is_free(port) else free_port() for name, port in wanted.items()}
    options = ["--warehouse"] if with_warehouse else []
    options += [word for name, port in free.items() for word in (f"--{name}-port", str(port))]
    instead = shlex.join([sys.executable, "-m", "devstack", *options])
    are = "port {} is" if len(taken) == 1 else "ports {} are"
    raise StartError(f"{are.format(', '.join(taken))} taken: end what listens there, or take others:\n  {instead}")


def jwt_secret(folder: Path) -> str:
    """The secret of this data folder, created on first use, so that the tokens of earlier runs stay valid."""
    path = folder / "jwt_secret"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()


def start(stack: Stack, ends: ExitStack) -> None:
    """Starts all processes in order; `ends` stops them in the opposite order."""
    for child in stack.children:
        say(f"starting {child.name}")
        child.start()
        ends.callback(stop, child)


def stop(child: Child) -> None:
    """Stops one process, unless it has ended."""
    if child.running:
        say(f"stopping {child.name}")
        child.stop()


def interrupt(*_: object) -> NoReturn:
    """Begins the shutdown, and ignores further signals."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(folder: Path, ports: Ports, *, with_warehouse: bool) -> NoReturn:
    """Runs the stack until something ends it: StartError or KeyboardInterrupt."""
    check_ports(ports, with_warehouse=with_warehouse)
    secret = jwt_secret(folder)
    given, ignored = settings_of(os.environ)
    if ignored:
        say(f"ignored, because the stack sets them itself: {', '.join(ignored)}")
    if given:
        say(f"taken from the environment: {', '.join(given)}")
    stack = local_stack(folder, ports, secret, given, with_warehouse=with_warehouse)
    with ExitStack() as ends:
        start(stack, ends)
        with MongoClient[Mapping[str, object]](stack.mongo.url()) as client:
            database = client.get_default_database()
            write_course(database, DEMO_COURSE)
            if history.is_new(DEMO_COURSE, stack.redis.url, database):
                say("counting what was watched in the weeks before")
                zone = ZoneInfo(given.get("ANALYTICS_DAY_ZONE", "UTC"))
                asyncio.run(history.write(DEMO_COURSE, stack.redis.url, zone))
        ends.enter_context(learners_at_work(stack.gateway.url, DEMO_COURSE, secret))
        say(guide(stack, DEMO_COURSE, secret, folder))
        Keeper(stack.children, say).run()


def say(line: str) -> None:
    """Prints a line, unbuffered even through a pipe."""
    print(line, flush=True)


def main() -> int:
    """Entry point; returns the exit code."""
    options = arguments()
    os.umask(0o077)  # other users of this machine may not read the secret or personal data
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        ports = Ports(options.gateway_port, options.ingest_port, options.query_port, options.warehouse_port)
        run(options.data, ports, with_warehouse=options.warehouse)
    except KeyboardInterrupt:
        return 0
    except StartError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
