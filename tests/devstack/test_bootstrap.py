import platform
import sys
from pathlib import Path

import pytest

from devstack import bootstrap


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("system", "Darwin", "needs Linux on x86_64.*here is Darwin on x86_64$"),
        ("machine", "aarch64", "needs Linux on x86_64.*here is Linux on aarch64$"),
        ("libc_ver", ("", ""), "needs a Linux with glibc"),
        ("libc_ver", ("glibc", "2.31"), r"needs glibc 2\.34 or newer.*here is 2\.31$"),
    ],
)
def test_an_unsupported_machine_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, sentence: str
) -> None:
    monkeypatch.setattr(platform, name, lambda: value)

    with pytest.raises(bootstrap.SetupError, match=sentence):
        bootstrap.check_machine()


def test_an_old_python_with_no_other_on_the_path_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "PYTHONS", range(3, 5))

    with pytest.raises(bootstrap.SetupError, match="needs CPython"):
        bootstrap.use_supported_python()


def test_a_python_without_ensurepip_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(bootstrap.SetupError, match=r"apt install python3\.\d+-venv"):
        bootstrap.use_supported_python()


def test_nothing_is_done_when_all_is_up_to_date(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = tmp_path / "ready"
    ready.write_text(bootstrap.wanted_state())
    monkeypatch.setattr(bootstrap, "READY", ready)
    monkeypatch.setattr(bootstrap, "install_all", lambda: pytest.fail("it installs"))

    bootstrap.set_up()

    assert "" == capsys.readouterr().out


def test_uv_uses_the_indexes_that_pip_is_configured_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "PIP", [sys.executable, "-m", "pip"])
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://a.example/simple https://b.example/simple")

    indexes = bootstrap.indexes_for_uv()

    assert "https://mirror.example/simple" == indexes["UV_DEFAULT_INDEX"]
    assert "https://a.example/simple https://b.example/simple" == indexes["UV_INDEX"]


def test_when_uv_fails_pip_installs_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], _: object = None) -> None:
        commands.append(command)
        if command[0].endswith("/uv"):
            raise bootstrap.SetupError("no index")

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "indexes_for_uv", dict)

    bootstrap.install_all()

    installed = [command[-1] for command in commands if command[1:3] == ["-m", "pip"]]
    assert [str(bootstrap.LOCK), str(bootstrap.ROOT)] == installed[1:]  # after uv itself
    assert "pip tries instead" in capsys.readouterr().out


def test_a_waiting_person_sees_what_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "log")
    bootstrap.run(["/bin/sh", "-c", "echo 'Resolved 9 packages'; echo ' Downloading mypy (12.3MiB)' >&2"])

    assert "Downloading mypy (12.3MiB)\n" == capsys.readouterr().out


def test_a_failed_installer_is_reported_with_the_end_of_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "log")

    with pytest.raises(bootstrap.SetupError, match=r"(?s)make setup` goes on from here.*no room left"):
        bootstrap.run(["/bin/sh", "-c", "echo no room left; exit 1"])
