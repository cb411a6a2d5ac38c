"""What the description of the REST face says is true: Schemathesis calls everything through the real gateway."""

import subprocess
import sys
from pathlib import Path

from devstack.generate import OPENAPI
from devstack.seed import DEMO_COURSE
from devstack.tokens import mint
from tests.gateway.conftest import Service
from tests.servers import JWT_SECRET

# What JSON means follows from protobuf: a number may come as a string, a field that nobody knows is ignored. Rules over
# several fields, such as a period or days, no schema can say. And a wrong method is 404, as is every unknown path.
NOT_MEANT = "positive_data_acceptance,negative_data_rejection,unsupported_method"
SECONDS = 100


def test_schemathesis_finds_nothing(service: Service, tmp_path: Path) -> None:
    token = mint(JWT_SECRET, DEMO_COURSE.creator)
    found = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            str(OPENAPI),
            f"--url={service.gateway.url}",
            f"--header=Authorization: Bearer {token}",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=10",
            f"--exclude-checks={NOT_MEANT}",
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
