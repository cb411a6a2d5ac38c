"""Makes the pictures of the page in docs/pictures: `make screenshots`. No test, and so not collected as one."""

from pathlib import Path
from typing import Literal

import pytest

from tests.browser.page.answers import COURSE, lecture_id
from tests.browser.page.instructor import Instructor

FOLDER = Path(__file__).parent.parent.parent.parent / "docs" / "pictures"
COURSE_VIEW = f"?course={COURSE}"
LECTURE_VIEW = f"{COURSE_VIEW}&lecture={lecture_id(0)}"
WIDTHS = {"wide": 1120, "narrow": 390}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("view", "query"), [("course", COURSE_VIEW), ("lecture", LECTURE_VIEW)])
async def test_picture(
    instructor: Instructor, scheme: Literal["light", "dark"], width: str, view: str, query: str
) -> None:
    await instructor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await instructor.page.set_viewport_size({"width": WIDTHS[width], "height": 800})
    await instructor.open(query)
    await instructor.page.locator(".plot svg rect").first.wait_for()
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = f"{view}-{scheme}.png" if width == "wide" else f"{view}-{scheme}-narrow.png"
    await instructor.page.screenshot(path=FOLDER / name, full_page=True)
