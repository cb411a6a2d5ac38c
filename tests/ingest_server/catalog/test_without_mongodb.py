"""The catalog without MongoDB: everything is accepted, and soon."""

import asyncio
import time

import pytest

from ingest_server.catalog import Catalog
from tests.faults.proxy import Proxy
from tests.ingest_server.catalog.conftest import COURSE, FIRST, NONE, SECOND, Clock, has


async def test_anything_is_accepted_within_a_fifth_of_a_second(courses: Catalog, proxy: Proxy) -> None:
    proxy.black_hole()
    before = time.monotonic()
    assert await has(courses, NONE, FIRST)
    assert 0.2 == pytest.approx(time.monotonic() - before, abs=0.15)


async def test_then_at_once_for_five_seconds(courses: Catalog, proxy: Proxy, clock: Clock) -> None:
    proxy.black_hole()
    await has(courses, NONE)
    clock.wait(4.9)
    before = time.monotonic()
    assert await has(courses, COURSE, SECOND)
    assert time.monotonic() - before < 0.1


async def test_a_server_that_refuses_is_one_that_is_silent(courses: Catalog, proxy: Proxy) -> None:
    proxy.refuse()
    proxy.reset()
    assert await has(courses, NONE, FIRST)


async def test_what_is_remembered_still_counts(courses: Catalog, proxy: Proxy) -> None:
    await has(courses, COURSE)
    await has(courses, NONE)
    proxy.black_hole()
    assert [True, False] == [await has(courses, COURSE, FIRST), await has(courses, NONE)]


async def test_a_lecture_that_may_be_new_is_accepted(courses: Catalog, proxy: Proxy, clock: Clock) -> None:
    await has(courses, COURSE)
    proxy.black_hole()
    clock.wait(10)
    assert await has(courses, COURSE, SECOND)


async def test_a_course_that_was_forgotten_is_accepted(courses: Catalog, proxy: Proxy, clock: Clock) -> None:
    await has(courses, NONE)
    proxy.black_hole()
    clock.wait(30)
    assert await has(courses, NONE)


async def test_it_is_asked_again_once_it_is_back(courses: Catalog, proxy: Proxy, clock: Clock) -> None:
    proxy.black_hole()
    await has(courses, NONE)
    proxy.heal()
    async with asyncio.timeout(10):
        while await has(courses, NONE):
            clock.wait(5)
