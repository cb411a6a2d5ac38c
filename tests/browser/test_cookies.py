"""A course site whose session is in an HttpOnly cookie, and another site in the same browser."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.async_api import Error, Page

from devstack.seed import Course
from devstack.tokens import mint
from tests.browser.scene import Viewer
from tests.browser.service import Service, eventually
from tests.browser.site import Site
from tests.gateway.conftest import gateway_of
from tests.gateway.test_cookies import COOKIE, documented
from tests.servers import JWT_SECRET, running
from tests.stage import servers

SITE = Path(__file__).parent / "site"
MOUNTED = """<!doctype html><html lang="en"><title>A site</title><div id="here"></div><script type="module">
import {mount} from "/instructor/mount.js";
mount(document.querySelector("#here"), {endpoint: location.origin + "/api/v1/analytics"});
</script>"""
FORM = """(url) => {
    const form = document.body.appendChild(document.createElement("form"));
    Object.assign(form, {method: "POST", action: url});
    form.submit();
}"""
FETCH = "async ([url, options]) => (await fetch(url, {method: 'POST', credentials: 'include', ...options})).status"


@pytest.fixture(scope="module")
def site_with_cookie(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The one site whose pages may call, and behind it a gateway and servers that take its cookie."""
    folder = tmp_path_factory.mktemp("cookies")
    with ExitStack() as stack:
        stores = {"redis_url": service.redis_url, "mongo_url": service.mongo_url}
        ingest, query = stack.enter_context(servers(folder, jwt_cookie=COOKIE, **stores))
        site = stack.enter_context(Site(SITE, ""))
        gateway = gateway_of(
            folder / "envoy",
            ingest=ingest.address,
            query=query.address,
            change=lambda text: documented(text).replace("https://courses.example.org", site.url),
        )
        site.gateway_url = stack.enter_context(running(gateway)).url
        yield site


@pytest.fixture
def viewer(page: Page, service: Service, site_with_cookie: Site) -> Viewer:
    """A viewer of a new course at that site."""
    return Viewer(page, service, site_with_cookie, service.course())


async def sign_in(viewer: Viewer, user: str) -> None:
    """As the site does, with a cookie that its scripts cannot read."""
    session = {"name": COOKIE, "value": mint(JWT_SECRET, user), "url": viewer.site.url}
    await viewer.page.context.add_cookies([{**session, "httpOnly": True, "sameSite": "Lax"}])  # type: ignore[typeddict-item] # not seen to be a cookie


def views(service: Service, course: Course) -> int:
    """How many course views are counted."""
    return int(service.dashboard(course)["overview"]["totalViews"])


async def test_the_script_reports_by_the_sites_cookie(viewer: Viewer) -> None:
    await sign_in(viewer, viewer.user)
    await viewer.open(byCookie=True)
    await viewer.play(4)
    await viewer.counted()
    assert "" == await viewer.page.evaluate("document.cookie")


async def test_the_instructors_page_asks_by_the_sites_cookie(viewer: Viewer) -> None:
    await sign_in(viewer, viewer.course.creator)
    address = f"{viewer.site.gateway_url}/my/site"
    await viewer.page.route(address, lambda route: route.fulfill(body=MOUNTED, content_type="text/html"))

    await viewer.page.goto(address)

    await viewer.page.get_by_role("link", name=viewer.course.title).first.wait_for()


async def test_another_sites_page_cannot_count_in_the_viewers_name(viewer: Viewer, service: Service) -> None:
    await sign_in(viewer, viewer.user)
    url = f"{viewer.site.gateway_url}/api/v1/analytics/view/{viewer.course.id}"
    header = {"headers": {"x-requested-with": "fetch"}}
    with Site(SITE, "") as another:
        await viewer.page.goto(f"{another.url}/watch.html")
        await viewer.page.evaluate(FETCH, [url, {"mode": "no-cors"}])
        for options in ({}, header):
            with pytest.raises(Error, match="Failed to fetch"):
                await viewer.page.evaluate(FETCH, [url, options])
        async with viewer.page.expect_navigation(url=url) as answer:
            await viewer.page.evaluate(FORM, url)
        assert 401 == (await answer.value).status

    await viewer.page.goto(f"{viewer.site.url}/watch.html")
    assert 200 == await viewer.page.evaluate(FETCH, [url, header])
    await eventually(lambda: views(service, viewer.course), 1)
