import platform
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
    monkeypatch.setattr(bootstrap, "install", lambda *_: pytest.fail("it installs"))

    bootstrap.set_up()

    assert "" == capsys.readouterr().out
