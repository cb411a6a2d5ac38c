"""The wheel, built from the source distribution and installed in an empty environment, is all that a machine needs."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import pytest
from pymongo import MongoClient

from devstack.child import HOST, Child, free_port
from devstack.programs import is_serving
from devstack.seed import DEMO_COURSE, write_course
from tests.deploy.guarded import DEPLOY
from tests.deploy.test_whole_way import shown, watch
from tests.servers import JWT_SECRET, PATIENCE

ROOT = DEPLOY.parent
UV = Path(sys.executable).with_name("uv")
PACKAGES = {"course_analytics", "shared", "ingest_server", "query_server", "flusher", "warehouse"}
SCRIPTS = {".lua", ".sql"}


def run(*command: str | Path) -> str:
    """What a command prints. CalledProcessError when it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs, installed as the Dockerfile does it: what the lock names, by its hashes."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    python = environment / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    as_locked = ("--no-build", "--constraint", ROOT / "requirements.lock")
    run(UV, "pip", "install", "--quiet", "--python", python, *as_locked, wheel)
    return environment / "bin"


def test_it_holds_the_programs_their_scripts_and_nothing_else(wheel: Path) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    assert PACKAGES == {name.parts[0] for name in names if not name.parts[0].endswith(".dist-info")}
    files = {path for package in PACKAGES for path in ROOT.glob(f"{package}/**/*")}
    in_checkout = {path.relative_to(ROOT) for path in files if path.suffix in SCRIPTS}
    assert in_checkout == {name for name in names if name.suffix in SCRIPTS}


def test_an_installed_program_knows_its_version(programs: Path) -> None:
    assert f"analytics-ingest {metadata.version('course-analytics')}\n" == run(
        programs / "analytics-ingest", "--version"
    )


@pytest.fixture
def start(programs: Path, tmp_path: Path, redis_url: str, mongo_url: str) -> Iterator["Start"]:
    """Starts an installed program, in a folder outside the checkout."""
    with ExitStack() as stack:
        yield Start(programs, tmp_path, {"ANALYTICS_REDIS_URL": redis_url, "ANALYTICS_MONGO_URL": mongo_url}, stack)


class Start:
    """`start("python", "-m", "flusher", "init")`."""

    def __init__(self, programs: Path, folder: Path, stores: dict[str, str], stack: ExitStack) -> None:
        self._programs = programs
        self._folder = folder
        self._stores = stores
        self._stack = stack

    def __call__(self, program: str, *arguments: str, **settings: str) -> Child:
        environment = {**self._stores, "ANALYTICS_JWT_SECRET": JWT_SECRET, **settings}
        command = ["env", "-C", str(self._folder), str(self._programs / program), *arguments]
        child = Child(program, command, self._folder / f"{program}.log", environment)
        child.launch()
        self._stack.callback(child.kill)
        return child

    def server(self, program: str, setting: str) -> tuple[Child, str]:
        """A server that is SERVING, and its address."""
        address = f"{HOST}:{free_port()}"
        child = self(program, **{setting: address})
        child.wait_for(lambda: is_serving(address), PATIENCE, "did not become ready")
        return child, address


def test_installed_programs_do_the_whole_way(start: Start, mongo_url: str) -> None:
    with MongoClient[Mapping[str, object]](mongo_url) as client:
        write_course(client.get_default_database(), DEMO_COURSE)
    assert 0 == start("python", "-m", "flusher", "init").wait(PATIENCE)
    ingest, ingest_address = start.server("analytics-ingest", "ANALYTICS_INGEST_ADDRESS")
    query, query_address = start.server("analytics-query", "ANALYTICS_QUERY_ADDRESS")

    watch(ingest_address)
    assert 0 == start("analytics-flusher", "--once").wait(PATIENCE)

    assert (1, 1, 5) == shown(query_address)
    assert [0, 0] == [ingest.stop(), query.stop()]
