"""What `npm pack` makes of the script, in a project that has never heard of it."""

import gzip
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.browser.check import SCRIPT, TSC
from tests.browser.install import node, npm

GOOD = """
import {track, type Tracker, type State} from "course-analytics-player";

const video = document.createElement("video");
const tracker: Tracker = track(video, {
    endpoint: "https://analytics.example/api/v1/analytics",
    courseId: "650000000000000000000001",
    lectureId: "650000000000000000000011",
    token: async () => "jwt",
    pingSeconds: 5,
    credentials: "omit",
    onState: (state: State) => console.log(state.dropped),
});
tracker.lecture("650000000000000000000012");
await tracker.flush();
tracker.stop();
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, as it would be published."""
    folder = tmp_path_factory.mktemp("package")
    npm("pack", "--silent", "--pack-destination", str(folder), cwd=SCRIPT.parent)
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def project(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty project that has installed the package."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text(json.dumps({"name": "a-site", "private": True, "type": "module"}))
    npm("install", "--offline", "--silent", "--no-audit", "--no-fund", str(package), cwd=folder)
    return folder


def check(project: Path, code: str) -> None:
    """Type checks a file of the project. CalledProcessError: there are errors."""
    (project / "site.ts").write_text(code)
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]
    node(str(TSC), *options, "site.ts", cwd=project)


def test_the_package_is_one_module_its_types_and_its_manual(package: Path) -> None:
    with tarfile.open(package) as files:
        names = {Path(name).name for name in files.getnames()}
    assert {"track.js", "track.d.ts", "package.json", "README.md"} == names


def test_it_needs_nothing_else(project: Path) -> None:
    assert ["course-analytics-player"] == [path.name for path in (project / "node_modules").iterdir() if path.is_dir()]


def test_a_fresh_project_uses_it_with_types(project: Path) -> None:
    check(project, GOOD)


@pytest.mark.parametrize(
    ("right", "wrong"), [("pingSeconds: 5", 'pingSeconds: "5"'), ("state.dropped", "state.lost"), ("token:", "jwt:")]
)
def test_its_types_find_mistakes(project: Path, right: str, wrong: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        check(project, GOOD.replace(right, wrong))


def test_the_script_is_at_most_6_kb_compressed() -> None:
    assert 6 * 1024 >= len(gzip.compress(SCRIPT.read_bytes(), 9))


def test_node_can_import_it(project: Path) -> None:
    node("--input-type=module", "-e", 'import {track} from "course-analytics-player"; track.name', cwd=project)
