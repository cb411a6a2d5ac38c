"""An instructor in front of the page."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from playwright.async_api import Page, expect

from tests.browser.install import MODULES
from tests.browser.page.answers import COURSE, Answers, lecture_id

AXE = MODULES / "axe-core" / "axe.min.js"
LIST = ""
A_COURSE = f"?course={COURSE}"
A_LECTURE = f"?course={COURSE}&lecture={lecture_id(0)}"
TOKEN = "the.instructors.token"
MOMENT = datetime(2026, 11, 26, 12, 3, 5, tzinfo=UTC)
# A function, and no expression: the page's policy allows no evaluation.
DRAWN = """(width) => (!width || innerWidth === width) && [...document.querySelectorAll(".plot")].every(
    (plot) => !plot.clientWidth || plot.querySelector("svg").viewBox.baseVal.width === plot.clientWidth)"""


@dataclass(frozen=True)
class Instructor:
    """The page of one instructor; what is asked of the service is answered by `answers`."""

    page: Page
    address: str
    answers: Answers

    async def open(self, query: str = LIST, token: str = TOKEN) -> None:
        """Opens the page, and waits until it shows something other than that it loads."""
        await self.page.goto(f"{self.address}{query}#token={token}")
        await self.settled()

    async def settled(self) -> None:
        """The page shows numbers, its charts drawn, or why it has none."""
        await self.page.wait_for_selector(".body:not(.stale) > :not(.skeleton)")
        await self.page.wait_for_function(DRAWN)

    async def stop_the_clock(self) -> None:
        """From now on the page's time stands still, but for `page.clock.run_for`."""
        await self.page.clock.install(time=MOMENT)
        await self.page.clock.pause_at(MOMENT)

    async def sees(self, text: str) -> None:
        """Some visible element has this text."""
        await expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible()

    async def search(self) -> str:
        """The query of the page's address."""
        return str(await self.page.evaluate("location.search"))

    async def rows(self, table: str) -> list[list[str]]:
        """The bare values of a table, once it has rows: cells with a number behind their text have it."""
        await self.page.locator(f"{table} tbody tr").first.wait_for(state="attached")
        script = """(table) => [...table.tBodies[0].rows].map((row) => [...row.cells].map(
            (cell) => cell.querySelector("data")?.value ?? cell.textContent))"""
        found: list[list[str]] = await self.page.locator(f"{table} table").evaluate(script)
        return found

    async def findings(self) -> list[str]:
        """What axe finds."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        result: dict[str, Any] = await self.page.evaluate("axe.run({resultTypes: ['violations']})")
        return [
            f"{found['id']}: {node['html']} {node['failureSummary']}"
            for found in result["violations"]
            for node in found["nodes"]
        ]
