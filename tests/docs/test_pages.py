"""The pages are true as far as a program can tell: links lead somewhere, every setting has its row."""

import re
import subprocess
from pathlib import Path

import pytest

from shared.setting_names import PREFIX
from shared.settings import ServerSettings

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
PAGES = [ROOT / name for name in LISTED.stdout.split()]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]*))?\)")


def anchors(page: Path) -> set[str]:
    """What a heading is linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert [] == broken


def test_every_setting_has_its_row() -> None:
    rows = (ROOT / "docs/settings.md").read_text()
    names = [f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields]
    assert [] == [name for name in names if f"`{name}`" not in rows]


def test_the_readme_is_a_door_and_not_the_house() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
