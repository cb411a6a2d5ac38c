"""What a log never holds."""

from collections.abc import Iterator

import pytest
import structlog

from shared import logs

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _configured() -> Iterator[None]:
    before = structlog.get_config()
    logs.configure()
    yield
    structlog.configure(**before)


def fail(token: str) -> None:
    raise LookupError(len(token))


def test_a_stack_has_no_values_of_local_variables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them are tokens, user ids, and addresses with passwords."""
    for person in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=person: answer)
        logs.configure()
        try:
            fail(SECRET)
        except LookupError:
            structlog.get_logger().exception("unexpected error")

    printed = capsys.readouterr().err
    assert 2 == printed.count("unexpected error"), printed
    assert SECRET not in printed
