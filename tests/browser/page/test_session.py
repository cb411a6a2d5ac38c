"""Signing in, with a token that stays in the tab and goes to the service alone, and a session that is over."""

import json

from playwright.async_api import expect

from tests.browser.page.instructor import A_COURSE, TOKEN, Instructor


async def test_a_person_who_is_not_signed_in_enters_a_token(instructor: Instructor) -> None:
    await instructor.page.goto(f"{instructor.address}{A_COURSE}")
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert [] == instructor.answers.asked

    await instructor.page.get_by_label("Token").fill(TOKEN)
    await instructor.page.get_by_role("button", name="Sign in").click()
    await instructor.sees("1,932")
    assert A_COURSE == await instructor.search()


async def test_a_session_that_is_over_asks_for_another_token_and_goes_on_where_it_was(instructor: Instructor) -> None:
    await instructor.open(f"{A_COURSE}&range=7")
    instructor.answers.status = 401
    await instructor.page.get_by_role("button", name="Refresh").click()
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text("Your session is over")

    instructor.answers.status = 200
    await instructor.page.get_by_label("Token").fill("another")
    await instructor.page.get_by_role("button", name="Sign in").click()
    await instructor.sees("25 Nov 2026, 7 days.")


async def test_the_token_leaves_the_address_at_once_and_stays_in_the_tab(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    page = instructor.page

    assert f"{instructor.address}{A_COURSE}" == page.url
    kept = await page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]")
    assert TOKEN in json.loads(kept[0]).values()
    assert ["{}", ""] == kept[1:]
    assert not any(TOKEN in url for url in instructor.answers.asked)
    assert TOKEN not in await page.content()

    await page.reload()
    await instructor.sees("1,932")
    await page.get_by_role("button", name="Sign out").click()
    assert "{}" == await page.evaluate("JSON.stringify(sessionStorage)")


async def test_the_token_is_sent_in_the_header_and_to_the_service_alone(instructor: Instructor) -> None:
    sent: dict[str, str] = {}
    instructor.page.on("request", lambda request: sent.update({request.url: request.headers.get("authorization", "")}))
    await instructor.open(A_COURSE)

    assert {f"Bearer {TOKEN}"} == {token for url, token in sent.items() if "/api/" in url}
    assert {""} == {token for url, token in sent.items() if "/api/" not in url}
