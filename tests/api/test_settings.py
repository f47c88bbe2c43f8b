"""Settings: flags before environment before file before defaults, and mistakes told with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.settings import Address, SettingsError, read_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP", "STORE", "OTLP_HTTP", "LOG_LEVEL", "KNOWLEDGE", "DATA_DIR"):
        monkeypatch.delenv(f"WHENCE_{name}", raising=False)


def test_every_listener_is_on_loopback_unless_told_otherwise() -> None:
    settings = read_settings({})
    assert {settings.http.host, settings.otlp_grpc.host, settings.otlp_http.host} == {"127.0.0.1"}
    assert (settings.http.port, settings.otlp_grpc.port, settings.otlp_http.port) == (8080, 4317, 4318)


def test_flags_go_before_environment_before_file_before_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "whence.toml"
    file.write_text('http = "127.0.0.1:1"\nstore = "memory"\notlp-http = "127.0.0.1:3"\n')
    monkeypatch.setenv("WHENCE_HTTP", "127.0.0.1:10")
    monkeypatch.setenv("WHENCE_STORE", "sqlite")
    settings = read_settings({"http": "127.0.0.1:100", "store": None}, file)
    assert settings.http == Address("127.0.0.1", 100)
    assert settings.store == "sqlite"
    assert settings.otlp_http == Address("127.0.0.1", 3)
    assert settings.otlp_grpc == Address("127.0.0.1", 4317)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":0", Address("127.0.0.1", 0)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:80", Address("::1", 80)),
        ("whence.example:1", Address("whence.example", 1)),
    ],
)
def test_addresses_are_written_as_they_are_read(text: str, address: Address) -> None:
    settings = read_settings({"http": text})
    assert settings.http == address
    assert read_settings({"http": str(address)}).http == address


@pytest.mark.parametrize("text", ["", "8080", "host:", "host:port", "host:65536", "::1:80", "host:-1", "host:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--http: .* is no address: write HOST:PORT, e\.g\. 127\.0\.0\.1:8080\.$"):
        read_settings({"http": text})


def test_mistakes_name_where_they_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--log-level: Input should be 'debug', 'info', 'warning' or 'error' \('loud'\)\.$"):
        read_settings({"log_level": "loud"})
    file = tmp_path / "whence.toml"
    file.write_text('http = "x"\n')
    with pytest.raises(SettingsError, match=r"whence\.toml: http: 'x' is no address"):
        read_settings({}, file)
    monkeypatch.setenv("WHENCE_HTTP", "y")
    with pytest.raises(SettingsError, match=r"^WHENCE_HTTP: 'y' is no address"):
        read_settings({}, file)


@pytest.mark.parametrize(
    ("content", "told"),
    [('htp = "x"', "'htp' is no setting. Did you mean 'http'?"), ("http = [", "is no TOML"), ("zzz = 1", "'zzz' is no setting. There are: data_dir, store")],
)
def test_a_file_that_makes_no_sense_is_refused(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "whence.toml"
    file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        read_settings({}, file)
    assert told in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"can't be read \(No such file or directory\): check --config"):
        read_settings({}, tmp_path / "nowhere.toml")


def test_who_asks_the_store_comes_from_the_environment_and_the_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHENCE_STORE_USER", "ada")
    monkeypatch.setenv("WHENCE_STORE_PASSWORD", "pass-word")
    settings = read_settings({"store": "neo4j://grace:in-the-url@h"})
    assert (settings.store_user, settings.store_password.get_secret_value()) == ("ada", "pass-word")
    assert "pass-word" not in repr(settings)
    assert "in-the-url" not in repr(settings)
