"""What `make run` prints: where everything is, tokens, and what to try."""

import datetime as dt
import json
import shlex
import sys
from pathlib import Path

from devstack.seed import Course
from devstack.stack import Stack
from devstack.tokens import mint

GRPCURL = Path(sys.prefix) / "bin" / "grpcurl"


def guide(stack: Stack, course: Course, secret: str, folder: Path) -> str:
    """The printout. Its curl and grpcurl lines work as they are in another terminal."""
    learner, instructor = mint(secret, "demo-learner"), mint(secret, course.creator)
    ping = {"courseId": course.id, "lectureId": course.lectures[0].id, "watchTimeDelta": 5}
    rest = f"{stack.gateway.url}/api/v1/analytics"
    return f"""
Everything is up. Demo data: "{course.title}", {len(course.lectures)} lectures, and learners who keep watching it.

  gateway        {stack.gateway.url}  (REST and gRPC)
  ingest server  {stack.ingest.address}
  query server   {stack.query.address}
  Redis          {stack.redis.url}
  MongoDB        {stack.mongo.url()}
  metrics        {metrics(stack)}
  data and logs  {folder}  (make clean removes it)

Watch a lecture; from there, or by its own address, open the instructor's page:
  {stack.gateway.url}/demo/#token={learner}&instructor={instructor}
  {stack.gateway.url}/instructor/#token={instructor}

Counts move from Redis to MongoDB every {stack.flush_interval} s here (300 s by default); the dashboard shows both.

Kill anything: it is restarted and reported, and the numbers stay right. The ingest server, for example:
  kill -9 {stack.ingest.pid}

A learner's token:
  {learner}
The instructor's token:
  {instructor}

Open the course as the learner, and watch five seconds of its first lecture:
  {curl(f"{rest}/view/{course.id}", learner, "-X", "POST")}
  {curl(f"{rest}/telemetry", learner, "-d", json.dumps(ping))}

See the dashboard as the instructor:
  {curl(f"{rest}/instructor/{course.id}", instructor)}

The same by gRPC, without proto files:
  {grpcurl(stack.gateway.address)} list
  {call(stack.gateway.address, learner, "IngestService/TrackTelemetry", ping)}
  {call(stack.gateway.address, instructor, "DashboardService/GetCourseDashboard", {"courseId": course.id})}

Ask the flusher what waits where (or `verify`, `replay`, `--once`):
  {flusher(stack)}

{warehouse(stack, secret)}

Ctrl-C ends everything.
"""


def metrics(stack: Stack) -> str:
    """Where each program shows its metrics."""
    return ", ".join(f"http://{address}/metrics ({name})" for name, address in stack.metrics.items())


def flusher(stack: Stack) -> str:
    """A line that asks the flusher, with the addresses of this stack."""
    stores = [f"ANALYTICS_REDIS_URL={stack.redis.url}", f"ANALYTICS_MONGO_URL={stack.mongo.url()}"]
    return shlex.join(["env", *stores, sys.executable, "-m", "flusher", "status"])


def warehouse(stack: Stack, secret: str) -> str:
    """Lines that ask across all courses, or a hint how to get them."""
    if stack.warehouse is None or stack.warehouse.environment is None:
        return "There is more: `make run WAREHOUSE=1` also answers questions across all courses (docs/warehouse.md)."
    analyst = mint(secret, "demo-analyst", scope="analytics:read")
    today = dt.datetime.now(dt.UTC).date().isoformat()
    url = f"{stack.gateway.url}/api/v1/analytics/platform/courses?fromDay={today}&toDay={today}"
    folder = f"ANALYTICS_WAREHOUSE_DIR={stack.warehouse.environment['ANALYTICS_WAREHOUSE_DIR']}"
    audit = ["env", folder, f"ANALYTICS_MONGO_URL={stack.mongo.url()}", sys.executable, "-m", "warehouse", "audit"]
    return f"""See today's top courses of the platform, some seconds after a flush; compare the warehouse with MongoDB:
  {curl(url, analyst)}
  {shlex.join(audit)}"""


def curl(url: str, token: str, *options: str) -> str:
    """A curl line."""
    return shlex.join(["curl", "-sS", "-H", f"authorization: Bearer {token}", *options, url])


def grpcurl(address: str, *options: str) -> str:
    """The beginning of a grpcurl line."""
    return shlex.join([str(GRPCURL), "-plaintext", *options, address])


def call(address: str, token: str, method: str, request: dict[str, object]) -> str:
    """A grpcurl line that calls one of our methods."""
    beginning = grpcurl(address, "-H", f"authorization: Bearer {token}", "-d", json.dumps(request))
    return f"{beginning} course_analytics.v1.{method}"
