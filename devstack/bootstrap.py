"""Makes .venv with everything that running and testing need: `make setup`.

Uses the standard library only, because nothing is installed yet, and syntax that an old python3 accepts, so that it can
look for a newer one. It may be interrupted at any time and run again: it writes `.venv/.ready` last.
"""

import ast
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
READY = VENV / ".ready"
LOG = VENV / "setup.log"
LOCK = ROOT / "requirements.lock"
PYTHONS = range(11, 15)  # CPython 3.x
GLIBC = (2, 34)  # the packaged mongod is linked with it


class SetupError(Exception):
    """Says in one sentence what is wrong, and how to fix it."""


def main() -> int:
    """Entry point; returns the exit code."""
    try:
        use_supported_python()
        check_machine()
        set_up()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"setup failed, `make setup` tries again: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; `make setup` goes on from here", file=sys.stderr)
        return 1
    return 0


def check_machine() -> None:
    """Raises SetupError if the packaged servers cannot run here."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise SetupError(f"needs Linux on x86_64, which its servers are built for; here is {system} on {machine}")
    libc, version = platform.libc_ver()
    if libc != "glibc":
        raise SetupError("needs a Linux with glibc, which its servers are built for (Alpine's musl is none)")
    if tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
        raise SetupError(f"needs glibc 2.{GLIBC[1]} or newer (Debian 12, Ubuntu 22.04); here is {version}")


def use_supported_python() -> None:
    """Returns in a supported Python; restarts this program in another one if necessary. Raises SetupError."""
    major, minor = sys.version_info[:2]
    if sys.implementation.name == "cpython" and major == 3 and minor in PYTHONS:
        if importlib.util.find_spec("ensurepip") is None:
            raise SetupError(f"python3.{minor} cannot make virtual environments: `apt install python3.{minor}-venv`")
        return
    for candidate in reversed(PYTHONS):
        other = shutil.which(f"python3.{candidate}")
        if other and succeeds(other, "-c", "import ensurepip"):
            os.execv(other, [other, __file__])  # noqa: S606  no shell is wanted
    raise SetupError(f"needs CPython 3.11 to 3.14, and finds only {platform.python_version()} ({sys.executable})")


def succeeds(*command: str) -> bool:
    """Whether a command succeeds; discards its output."""
    silent = subprocess.DEVNULL
    return subprocess.run(command, stdout=silent, stderr=silent, check=False).returncode == 0


def set_up() -> None:
    """Brings .venv up to date; does nothing when it is."""
    state = wanted_state()
    if READY.exists() and READY.read_text() == state:
        READY.touch()
        return
    if not is_usable():
        print("making .venv", flush=True)
        venv.create(VENV, with_pip=True, clear=True, symlinks=True)
    READY.unlink(missing_ok=True)
    LOG.write_text("")
    started = time.monotonic()
    install_all()
    READY.write_text(state)
    print(f"ready after {time.monotonic() - started:.0f} s", flush=True)


def wanted_state() -> str:
    """Identifies everything that .venv is made from, and its folder."""
    made_from = [bytes(ROOT), LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes()]
    return hashlib.sha256(b"".join(made_from)).hexdigest()


def is_usable() -> bool:
    """Whether .venv works, has a supported Python, and was made in this folder, whose path its scripts contain."""
    pip = VENV / "bin" / "pip"
    if not (pip.exists() and str(PYTHON) in pip.read_text()):
        return False
    return succeeds(str(PYTHON), "-c", f"import pip, sys; assert sys.version_info >= (3, {PYTHONS[0]})")


def install_all() -> None:
    """Installs every package of the lock, and this project itself. Raises SetupError."""
    locked = ("--require-hashes", "--no-deps", "-r", str(LOCK))
    project = ("--no-deps", "--no-build-isolation", "-e", str(ROOT))
    print("installing about 110 packages (250 MB to fetch the first time): about a minute", flush=True)
    try:
        install_uv()
        uv = [
            str(VENV / "bin" / "uv"),
            "pip",
            "install",
            "--python",
            str(PYTHON),
            "--no-progress",
            "--compile-bytecode",
        ]
        environment = {**os.environ, **indexes_for_uv()}
        run([*uv, *locked], environment)
        run([*uv, *project], environment)
    except SetupError:
        print("uv could not install them, pip tries instead", flush=True)
        run([*PIP, *locked])
        run([*PIP, *project])


def install_uv() -> None:
    """Installs uv, which downloads in parallel; pip does not. Raises SetupError."""
    pinned = re.search(r"^uv==(?:.*\\\n)*.*\n", LOCK.read_text(), re.MULTILINE)
    if pinned is None:
        raise SetupError(f"{LOCK.name} has no uv")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(pinned[0])
        requirement.flush()
        run([*PIP, "--require-hashes", "--no-deps", "-r", requirement.name])


def indexes_for_uv() -> dict[str, str]:
    """The package indexes that pip is configured with, as uv's variables: uv does not read pip's."""
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}
    listed = subprocess.run([*PIP[:3], "config", "list"], capture_output=True, text=True, check=False).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        variable = names.get(name.rpartition(".")[2])
        if variable:
            found.setdefault(variable, ast.literal_eval(value))  # the environment takes precedence
    # It searches all indexes, as pip does: the hashes of the lock decide.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **found}


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs an installer and prints its progress. Raises SetupError with the end of its output if it fails."""
    installer = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with installer, LOG.open("a") as log:
        for line in installer.stdout or ():
            log.write(line)
            show(line)
    if installer.returncode != 0:
        tail = "".join(f"  {line}\n" for line in LOG.read_text().splitlines()[-8:])
        raise SetupError(
            f"the packages could not be installed; `make setup` goes on from here. {LOG} ends with:\n{tail}"
        )


def show(line: str) -> None:
    """Prints the lines of an installer's output that show its progress."""
    line = line.strip()
    if line.startswith(("Collecting ", "Installing ", "Downloading ", "Downloaded ", "Prepared ", "Installed ")):
        print(line.partition(" (from ")[0][:100], flush=True)


if __name__ == "__main__":
    sys.exit(main())
