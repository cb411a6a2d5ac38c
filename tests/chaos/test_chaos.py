from pathlib import Path

import pytest

from tests.chaos.__main__ import run


@pytest.mark.timeout(180)
async def test_nothing_is_lost_doubled_or_seen_to_dip_while_everything_is_killed(tmp_path: Path) -> None:
    audit = await run(10, tmp_path)
    assert audit.clean(), audit
    assert audit.kills > 0
    assert audit.reads > 0
    assert audit.comparisons > 0
