"""Settings from files, as Docker and Kubernetes mount secrets; and what a log shows of a bug."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from shared import logs
from shared.serving.program import CannotRun
from shared.settings import ServerSettings, Settings, load
from tests.shared.test_settings import SECRET, _no_settings, given

__all__ = ["_no_settings"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    given(monkeypatch, secrets_dir=str(tmp_path))
    return tmp_path


def secret_of(settings: Settings) -> str:
    assert settings.jwt_secret is not None
    return settings.jwt_secret.get_secret_value()


@pytest.mark.parametrize("name", ["ANALYTICS_JWT_SECRET", "analytics_jwt_secret"])
def test_a_file_is_a_setting_by_its_name_without_the_end_of_its_line(folder: Path, name: str) -> None:
    (folder / name).write_text(f"{SECRET}\n")
    assert SECRET == secret_of(load(ServerSettings))


def test_addresses_with_passwords_and_the_hash_key_may_be_files_too(folder: Path) -> None:
    (folder / "analytics_redis_url").write_text("redis://:hunter2@10.0.0.1/0")
    (folder / "analytics_mongo_url").write_text("mongodb://ann:hunter2@10.0.0.1/shop")
    (folder / "analytics_user_hash_key").write_text(SECRET)
    settings = load(Settings)
    assert settings.user_hash_key
    assert ("redis://:hunter2@10.0.0.1/0", "mongodb://ann:hunter2@10.0.0.1/shop", SECRET) == (
        settings.redis_url,
        settings.mongo_url,
        settings.user_hash_key.get_secret_value(),
    )


def test_the_files_of_a_kubernetes_volume_are_links(folder: Path) -> None:
    (folder / "..2026").mkdir()
    (folder / "..2026" / "analytics_jwt_secret").write_text(SECRET)
    (folder / "..data").symlink_to("..2026")
    (folder / "analytics_jwt_secret").symlink_to(Path("..data") / "analytics_jwt_secret")
    assert SECRET == secret_of(load(ServerSettings))


def test_a_variable_counts_before_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "analytics_jwt_secret").write_text(SECRET)
    given(monkeypatch, jwt_secret=SECRET.upper())
    assert SECRET.upper() == secret_of(load(ServerSettings))


def test_a_file_whose_content_makes_no_sense_is_refused_as_a_variable_is(folder: Path) -> None:
    (folder / "analytics_jwt_secret").write_text("hunter2")
    with pytest.raises(CannotRun) as refused:
        load(ServerSettings)
    assert "invalid settings:\n  ANALYTICS_JWT_SECRET must have at least 32 bytes" == str(refused.value)


def test_a_file_with_a_misspelled_name_is_an_error_and_one_of_somebody_else_is_not(folder: Path) -> None:
    (folder / "somebody_elses").write_text(SECRET)
    load(Settings)
    (folder / "analytics_jwt_secrets").write_text(SECRET)
    expected = "invalid settings:\n  ANALYTICS_JWT_SECRETS is not a setting: do you mean ANALYTICS_JWT_SECRET?"
    with pytest.raises(CannotRun) as refused:
        load(Settings)
    assert expected == str(refused.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_secret_is_the_same_in_a_variable_and_in_a_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    (folder / "analytics_jwt_secret").write_text(SECRET + end)
    by_file = secret_of(load(ServerSettings))
    given(monkeypatch, jwt_secret=SECRET + end)
    assert SECRET == by_file == secret_of(load(ServerSettings))


def test_a_folder_that_is_not_there_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(folder / "missing")
    given(monkeypatch, secrets_dir=missing)
    with pytest.raises(CannotRun) as refused:
        load(Settings)
    assert f"ANALYTICS_SECRETS_DIR: cannot read {missing}: No such file or directory" == str(refused.value)


def test_a_file_that_is_not_text_is_one_sentence(folder: Path) -> None:
    (folder / "analytics_jwt_secret").write_bytes(b"hunter2 \xff" * 8)
    with pytest.raises(CannotRun) as refused:
        load(Settings)
    assert str(refused.value).startswith("ANALYTICS_SECRETS_DIR: ")
    assert str(refused.value).endswith("not a file of text in UTF-8, or not ours to read")
    assert "jwt_secret" in str(refused.value)


@pytest.fixture
def _logging_as_the_programs_do() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("_logging_as_the_programs_do")
@pytest.mark.parametrize("person", [True, False])
def test_the_stack_of_a_bug_is_logged_without_the_values_of_its_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], person: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: person)
    logs.configure()
    password = "hunter2"
    try:
        len(password) / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("bug")
    logged = capsys.readouterr().err
    assert "ZeroDivisionError" in logged
    assert password not in logged
