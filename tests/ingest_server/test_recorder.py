"""What the recorder makes of a Redis that nobody can reach."""

from devstack.child import HOST, free_port
from ingest_server.commit import Commit, PartitionCommit
from ingest_server.recorder import Recorder
from shared.serving.errors import Unavailable
from shared.settings import Barrier


async def test_every_commit_has_an_error_of_its_own() -> None:
    """A shared one's traceback would grow, and hold on to requests, for as long as Redis is away."""
    async with Recorder(f"redis://{HOST}:{free_port()}/0", Barrier("none"), process="p") as recorder:
        first, second = [(await recorder.record(Commit({7: PartitionCommit()})))[7] for _ in range(2)]
    assert isinstance(first, Unavailable)
    assert first is not second
