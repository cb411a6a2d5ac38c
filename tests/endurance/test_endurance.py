from pathlib import Path

import pytest

from tests.endurance.__main__ import PING_SECONDS, run


@pytest.mark.timeout(180)
async def test_without_mongodb_every_ping_is_counted_later_and_no_program_grows(tmp_path: Path) -> None:
    audit = await run(5, tmp_path)
    assert [] == audit.findings(PING_SECONDS)
