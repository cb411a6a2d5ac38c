"""Generates, in one step, everything that is made from the protos, and parts of the gateway's configuration.

From the protos: Python code and type stubs beside them, the descriptor set that the gateway and `buf` read, and the
REST API as `docs/openapi.yaml`. In one step, because a server and a gateway that disagree about a field's type do not
fail: a REST `-1` would be read as 4294967295 and answered with 200. In `gateway/envoy.yaml` the routes for the files of
the script and the page, with their ETags; `gateway/envoy-tls.yaml` is the same file with TLS.

    python -m devstack.generate           writes them
    python -m devstack.generate --check   exits with 1 if that would change anything
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api
import grpc_tools

from devstack.gateway import GATEWAY
from devstack.gateway_files import PUBLIC, kustomization, with_files
from devstack.gateway_tls import with_tls
from devstack.openapi import openapi

ROOT = Path(__file__).parent.parent
PROTOS = ROOT / "protos"
DESCRIPTOR = GATEWAY / "course_analytics.binpb"
CONFIGURATION = GATEWAY / "envoy.yaml"
WITH_TLS = GATEWAY / "envoy-tls.yaml"
OPENAPI = ROOT / "docs" / "openapi.yaml"
ABOUT = "Counts what learners watch, and shows instructors the live numbers. Made from the protos by `make proto`."
PACKAGE = Path("course_analytics/v1")


def protoc(*arguments: str) -> None:
    """Runs protoc on our protos, with Google's in the include path."""
    includes = [PROTOS, Path(grpc_tools.__path__[0]) / "_proto", Path(google.api.__path__[0]).parent.parent]
    ours = [str(path.relative_to(PROTOS)) for path in sorted((PROTOS / PACKAGE).glob("*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{include}" for include in includes)]
    subprocess.run([*command, *arguments, *ours], check=True)


def generate(code: Path, descriptor: Path) -> None:
    """Writes Python modules below `code` and the descriptor set to `descriptor`.

    The descriptor set also has the error details of `google.rpc`: our messages do not use them, but the gateway prints
    them.
    """
    plugins = Path(sys.executable).parent
    protoc(
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={code}",
        f"--grpc_python_out={code}",
        f"--mypy_out=quiet:{code}",
        f"--mypy_grpc_out=quiet:{code}",
    )
    protoc(
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={descriptor}",
        "google/rpc/error_details.proto",
    )


def main() -> int:
    """Generates into a temporary folder, then either compares or moves the results into place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if anything is out of date")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh, fresh / DESCRIPTOR.name)
        targets = {path: PROTOS / PACKAGE / path.name for path in (fresh / PACKAGE).iterdir()}
        targets[fresh / DESCRIPTOR.name] = DESCRIPTOR
        configuration = with_files(CONFIGURATION.read_text())
        texts = {CONFIGURATION: configuration, WITH_TLS: with_tls(configuration)}
        texts[OPENAPI] = openapi((fresh / DESCRIPTOR.name).read_bytes(), ABOUT)
        texts |= {folder.root / "kustomization.yaml": kustomization(folder) for folder in PUBLIC}
        for path, text in texts.items():
            new = fresh / f"{path.parent.name}-{path.name}"
            new.write_text(text)
            targets[new] = path
        stale = [to for new, to in targets.items() if not (to.exists() and filecmp.cmp(new, to, shallow=False))]
        if check and stale:
            print("out of date, run `make proto`:", *(path.relative_to(ROOT) for path in stale))
            return 1
        if not check:
            for new, to in targets.items():
                shutil.copyfile(new, to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
