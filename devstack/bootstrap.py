"""Makes .venv with everything that running and testing need. Standard library only: nothing is installed yet when it runs."""

import platform
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv"

if not (
    (3, 11) <= sys.version_info[:2] <= (3, 14)
    and platform.system() == "Linux"
    and platform.machine() == "x86_64"
):
    sys.exit("needs CPython 3.11-3.14 on Linux x86_64")
venv.create(VENV, with_pip=True)
python = str(VENV / "bin" / "python")
subprocess.run(
    [python, "-m", "pip", "install", "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock")],
    check=True,
)
subprocess.run(
    [python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True
)
(VENV / ".ready").touch()
