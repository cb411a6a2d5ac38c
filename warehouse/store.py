"""The store: ClickHouse, over HTTP or in this process. The official client has the same interface for both.

The client is synchronous, so each call runs in a thread; one at a time, because a client is one session.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeVar

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from shared.serving.errors import Unavailable
from shared.serving.program import CannotRun
from warehouse.rows import NO_DAY, Key, Row

STATEMENTS = resources.files(__package__).joinpath("tables.sql").read_text().split(";\n")
COLUMNS = (*Key._fields, "at", "total")
DAY = COLUMNS.index("day")
QUERY_SECONDS = 10

Result = TypeVar("Result")


class Store:
    """Tables and queries. Methods raise Unavailable if ClickHouse does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, *, url: str | None, folder: Path | None) -> Self:
        """The store at a URL, or in a folder of this process. Raises CannotRun, Unavailable."""
        try:
            if url is not None:
                client = await asyncio.to_thread(
                    clickhouse_connect.get_client, dsn=url, send_receive_timeout=QUERY_SECONDS, connect_timeout=2
                )
            else:
                client = await asyncio.to_thread(clickhouse_connect.get_client, interface="chdb", path=str(folder))
        except ImportError:
            raise CannotRun("ClickHouse in process needs the extra: pip install course-analytics[embedded]") from None
        except (ClickHouseError, OSError) as error:
            raise Unavailable(f"ClickHouse: {error}", cause="clickhouse") from None
        store = cls(client)
        await store.prepare()
        return store

    async def prepare(self) -> None:
        """Creates the missing tables."""
        for statement in STATEMENTS:
            if statement.strip():
                await self._call(self._client.command, statement)

    async def close(self) -> None:
        """Closes the client."""
        await asyncio.to_thread(self._client.close)

    async def insert(self, rows: Mapping[Key, Row]) -> None:
        """Writes rows. A failed write may have written some of them; repeating it changes nothing."""
        if not rows:
            return
        await self._call(
            self._client.insert,
            "tallies",
            _columns(rows),
            column_names=COLUMNS,
            column_oriented=True,
            # A snapshot's days may be in more monthly partitions than ClickHouse accepts in one insert by default.
            settings={"max_partitions_per_insert_block": 0},
        )

    async def query(self, sql: str, **parameters: object) -> Sequence[Sequence[Any]]:
        """The rows of an answer."""
        result = await self._call(self._client.query, sql, parameters=parameters)
        rows: Sequence[Sequence[Any]] = result.result_rows
        return rows

    async def save(self, name: str, value: str) -> None:
        """Saves a value under a name."""
        row = [[name, value, dt.datetime.now(dt.UTC)]]
        await self._call(self._client.insert, "progress", row, column_names=("name", "value", "written"))

    async def saved(self, name: str) -> str | None:
        """The value that was saved last."""
        rows = await self.query("SELECT value FROM progress FINAL WHERE name = {name:String}", name=name)
        return rows[0][0] if rows else None

    async def totals(self, course_ids: Iterable[str]) -> dict[Key, tuple[int, int]]:
        """Every row of the courses: `at` and total by key."""
        rows = await self.query(
            "SELECT kind, counter, course, lecture, day, item, at, total FROM tallies FINAL "
            "WHERE course IN {courses:Array(String)}",
            courses=list(course_ids),
        )
        return {
            Key(kind, counter, _text(course), lecture, _day(day), item): (at, total)
            for kind, counter, course, lecture, day, item, at, total in rows
        }

    async def courses(self) -> dict[str, int]:
        """The number of rows of each course that has any."""
        rows = await self.query("SELECT course, count() FROM tallies GROUP BY course")
        return {_text(course): count for course, count in rows}

    async def _call(self, function: Callable[..., Result], *arguments: object, **named: object) -> Result:
        async with self._turn:
            try:
                return await asyncio.to_thread(function, *arguments, **named)
            except DatabaseError:
                raise  # ClickHouse has answered: the query is wrong, and a retry does not help
            except (ClickHouseError, OSError) as error:
                raise Unavailable(f"ClickHouse: {error}", cause="clickhouse") from None


def _columns(rows: Mapping[Key, Row]) -> list[list[Any]]:
    """The rows by column, in the order of `COLUMNS`."""
    columns: list[list[Any]] = [
        list(column) for part in (rows.keys(), rows.values()) for column in zip(*part, strict=True)
    ]
    days = {day: dt.date.fromisoformat(day) for day in set(columns[DAY])}  # the client wants dates
    columns[DAY] = [days[day] for day in columns[DAY]]
    return columns


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _day(value: dt.date) -> str:
    return value.isoformat() if value.year > 1970 else NO_DAY
