"""What a log never holds."""

import json
from collections.abc import Iterator

import pytest
import structlog

from shared import logs
from shared.serving import refusals

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


def test_a_bug_is_an_error_with_its_stack_and_request_id_and_without_the_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure()  # to the error output that capsys has taken
    monkeypatch.setattr(refusals, "log", structlog.get_logger())
    metadata = [("authorization", f"Bearer {SECRET}"), ("x-request-id", "request-1")]
    try:
        fail(SECRET)
    except LookupError as error:
        refusals.refused("TrackCourseView", "INTERNAL", error, cause="bug", metadata=metadata)

    printed = capsys.readouterr().err
    line = json.loads(printed)
    assert ("error", "INTERNAL", "request-1") == (line["level"], line["code"], line["request_id"])
    assert "fail" in {frame["name"] for frame in line["exception"][0]["frames"]}
    assert SECRET not in printed
