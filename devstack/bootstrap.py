"""Makes .venv with everything that running and testing need: `make setup`.

Standard library only, as nothing is installed yet, and readable for an old python3, so that it can look for a newer.
It may be interrupted at any time and run again: `.venv/.ready` is written last.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
READY = VENV / ".ready"
LOG = VENV / "setup.log"
LOCK = ROOT / "requirements.lock"
PYTHONS = range(11, 15)  # CPython 3.x
GLIBC = (2, 34)  # what the packaged mongod is linked with


class SetupError(Exception):
    """One sentence: what is wrong, and what helps."""


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
    """SetupError where the packaged servers cannot run."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise SetupError(f"needs Linux on x86_64, which its servers are built for; here is {system} on {machine}")
    libc, version = platform.libc_ver()
    if libc != "glibc":
        raise SetupError("needs a Linux with glibc, which its servers are built for (Alpine's musl is none)")
    if tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
        raise SetupError(f"needs glibc 2.{GLIBC[1]} or newer (Debian 12, Ubuntu 22.04); here is {version}")


def use_supported_python() -> None:
    """Returns in a Python that will do; starts this program again in another if need be. SetupError: there is none."""
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
    """Whether a command runs and ends well; it prints nothing."""
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
    install("--require-hashes", "--no-deps", "-r", str(LOCK))
    install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
    READY.write_text(state)
    print("ready", flush=True)


def wanted_state() -> str:
    """Names all that .venv is made from, its folder included."""
    made_from = [bytes(ROOT), LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes()]
    return hashlib.sha256(b"".join(made_from)).hexdigest()


def is_usable() -> bool:
    """Whether .venv is whole, of a supported Python, and made in this folder, whose path its scripts name."""
    pip = VENV / "bin" / "pip"
    if not (pip.exists() and str(PYTHON) in pip.read_text()):
        return False
    return succeeds(str(PYTHON), "-c", f"import pip, sys; assert sys.version_info >= (3, {PYTHONS[0]})")


def install(*arguments: str) -> None:
    """Runs pip, with a line of progress for each package. SetupError with the end of its output when it fails."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *arguments]
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with pip, LOG.open("a") as log:
        for line in pip.stdout or ():
            log.write(line)
            show(line)
    if pip.returncode != 0:
        tail = "".join(f"  {line}\n" for line in LOG.read_text().splitlines()[-8:])
        raise SetupError(
            f"pip could not install the packages; `make setup` goes on from here. {LOG} ends with:\n{tail}"
        )


def show(line: str) -> None:
    """Passes on what a waiting person wants to know of pip's output."""
    if line.startswith(("Collecting ", "Installing ")):
        print(line.partition(" (from ")[0].strip()[:100], flush=True)


if __name__ == "__main__":
    sys.exit(main())
