"""What the stages of most packages are made of: a database with courses, and programs that run side by side."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pymongo import MongoClient

from devstack.child import free_port
from devstack.gateway import local_gateway
from devstack.programs import Program
from devstack.seed import Course, write_course
from devstack.servers import EnvoyServer
from tests.servers import JWT_SECRET, PATIENCE, assert_ends_well, fresh_database, program, running


@contextmanager
def platform(server_url: str, *courses: Course) -> Iterator[str]:
    """The address of a database that has these courses; dropped at the end."""
    with fresh_database(server_url) as url:
        with MongoClient[Mapping[str, object]](url) as client:
            for course in courses:
                write_course(client.get_default_database(), course)
        yield url


@contextmanager
def at_work(*programs: Program) -> Iterator[None]:
    """Starts programs at the same time, until all are ready. At the end each must end well."""
    with ExitStack() as stack:
        for each in programs:
            each.launch()
            stack.callback(assert_ends_well, each)
        for each in programs:
            each.wait_until_ready(PATIENCE)
        yield


@contextmanager
def servers(folder: Path, **settings: object) -> Iterator[tuple[Program, Program]]:
    """Ingest and query. Settings are those of `program`; at least both stores."""
    given = {"jwt_secret": JWT_SECRET, **settings}
    ingest, query = program("ingest_server", folder, given), program("query_server", folder, given)
    with at_work(ingest, query):
        yield ingest, query


@contextmanager
def gateway_before(ingest: Program, query: Program, folder: Path) -> Iterator[EnvoyServer]:
    """The gateway in front of them."""
    gateway = local_gateway(folder / "envoy", port=free_port(), ingest=ingest.address, query=query.address)
    with running(gateway):
        yield gateway
