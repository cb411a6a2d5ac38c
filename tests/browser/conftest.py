"""A real Chromium in front of the real gateway, servers and flusher.

A test that drives the browser is `async`. It has a course that nobody has seen before, and compares what the service
has counted, which it awaits by `eventually`: no test sleeps.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright
from pymongo import MongoClient

from tests.browser.install import CHROMIUM, FOLDER, READY
from tests.browser.scene import Viewer
from tests.browser.service import Service
from tests.browser.site import Site
from tests.servers import fresh_database
from tests.stage import gateway_before, servers


@pytest.fixture(scope="package")
def service(
    tmp_path_factory: pytest.TempPathFactory, redis_server_url: str, mongo_server_url: str
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("browser")
    with ExitStack() as stack:
        mongo_url = stack.enter_context(fresh_database(mongo_server_url))
        client = stack.enter_context(MongoClient[Mapping[str, object]](mongo_url))
        ingest, query = stack.enter_context(servers(folder, redis_url=redis_server_url, mongo_url=mongo_url))
        gateway = stack.enter_context(gateway_before(ingest, query, folder))
        yield Service(gateway, folder, redis_server_url, mongo_url, client.get_default_database())


@pytest.fixture(scope="package")
def site(service: Service) -> Iterator[Site]:
    """A course site, at an address of its own."""
    with Site(Path(__file__).parent / "site", service.gateway.url) as site:
        yield site


@pytest_asyncio.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for all tests; each has pages of its own."""
    if not READY.exists():
        pytest.fail("the browser is not installed: run `.venv/bin/python -m tests.browser.install`")
    environment: dict[str, str | float | bool] = {
        "HOME": str(FOLDER),
        "LD_LIBRARY_PATH": str(FOLDER / "lib"),
        "FONTCONFIG_FILE": str(FOLDER / "fonts.conf"),
    }
    # Without a sandbox, which root has none of; a video may play before anybody has clicked.
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--enable-bfcache"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=arguments,
            ignore_default_args=["--disable-back-forward-cache"],
            env=environment,
        )
        yield browser
        await browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the page has complained about in its console so far."""
    return []


@pytest_asyncio.fixture
async def page(chromium: Browser, complaints: list[str]) -> AsyncIterator[Page]:
    """A page of a browser that has never been anywhere. No script of it may fail."""
    uncaught: list[str] = []
    async with await chromium.new_context(locale="en-GB", timezone_id="UTC") as context:
        page = await context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: uncaught.append(str(error)))
        yield page
        # A handler that outlives its page would fail with it.
        await context.unroute_all(behavior="wait")
        for each in context.pages:
            await each.unroute_all(behavior="wait")
    assert [] == uncaught


@pytest.fixture
def viewer(page: Page, service: Service, site: Site) -> Viewer:
    """A viewer of a new course, who has not opened the page yet."""
    return Viewer(page, service, site, service.course())
