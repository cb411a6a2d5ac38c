import resource
import subprocess
from pathlib import Path

import pytest
import yaml

from devstack.child import StartError
from devstack.gateway import check_open_files
from devstack.servers import packaged

ROOT = Path(__file__).parent.parent.parent
CONFIGURATION = ROOT / "gateway" / "envoy.yaml"


def test_the_file_is_valid_as_it_stands() -> None:
    envoy, file = str(packaged("envoy/_bin/envoy")), str(CONFIGURATION)
    command = [envoy, "--mode", "validate", "--log-level", "warning", "-c", file]

    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)

    assert (0, "") == (checked.returncode, checked.stderr)


def test_a_gateway_that_may_open_too_few_files_is_not_started() -> None:
    configuration = yaml.safe_load(CONFIGURATION.read_text())

    check_open_files(configuration, 15_001)
    check_open_files(configuration, resource.RLIM_INFINITY)
    with pytest.raises(StartError, match="more than 15000 open files, and may have 15000"):
        check_open_files(configuration, 15_000)


def test_only_this_machine_reaches_the_admin_port() -> None:
    admin = yaml.safe_load(CONFIGURATION.read_text())["admin"]

    assert "127.0.0.1" == admin["address"]["socket_address"]["address"]
