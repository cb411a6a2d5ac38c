"""What the description of the REST face says is true: Schemathesis calls everything through the real gateway."""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.generate import OPENAPI
from devstack.seed import DEMO_COURSE
from devstack.tokens import mint
from tests.gateway.conftest import Service
from tests.servers import JWT_SECRET

# What JSON means follows from protobuf: a number may come as a string, a field that nobody knows is ignored. Rules over
# several fields, such as a period or days, no schema can say. And a wrong method is 404, as is every unknown path.
NOT_MEANT = "positive_data_acceptance,negative_data_rejection,unsupported_method"
SECONDS = 280  # it takes a few, on a machine that has nothing else to do

# Without these nothing but refusals would be seen.
KNOWN = f"""
[parameters]
"path.courseId" = "{DEMO_COURSE.id}"
"path.lectureId" = "{DEMO_COURSE.lectures[0].id}"
"""


@pytest.mark.timeout(SECONDS + 20)
def test_schemathesis_finds_nothing(service: Service, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(KNOWN)
    token = mint(JWT_SECRET, DEMO_COURSE.creator)
    found = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            "--config-file=schemathesis.toml",
            "run",
            str(OPENAPI),
            f"--url={service.gateway.url}",
            f"--header=Authorization: Bearer {token}",
            "--phases=coverage,fuzzing",
            "--max-examples=3",
            f"--exclude-checks={NOT_MEANT}",
            "--exclude-path-regex=/platform/",  # the warehouse's server is not here
            "--seed=1",
            "--no-color",
            "--generation-database=none",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert 0 == found.returncode, found.stdout + found.stderr
