import pytest
from playwright.async_api import Page, expect

from tests.browser.page.answers import Answers
from tests.browser.page.instructor import Instructor
from tests.browser.service import Service

expect.set_options(timeout=30_000)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def instructor(page: Page, service: Service, answers: Answers, complaints: list[str]) -> Instructor:
    """An instructor who has not opened the page yet; the service's answers are made up."""
    del complaints  # a test that expects none asks for them
    await answers.install(page)
    return Instructor(page, f"{service.gateway.url}/instructor/", answers)
