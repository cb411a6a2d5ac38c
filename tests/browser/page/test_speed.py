"""How soon an instructor sees numbers; run by `make browser`, where nothing else keeps the machine busy."""

import pytest
from playwright.async_api import Page

from devstack.tokens import mint
from tests.browser.page.answers import Answers
from tests.browser.page.instructor import Instructor
from tests.browser.service import Service
from tests.servers import JWT_SECRET


@pytest.mark.minutes
async def test_the_first_view_has_its_numbers_within_a_second(page: Page, service: Service) -> None:
    course = service.course()
    instructor = Instructor(page, f"{service.gateway.url}/instructor/", Answers())
    await instructor.open(f"?course={course.id}", mint(JWT_SECRET, course.creator))
    assert await page.evaluate("performance.now()") < 1000
