"""Settings of `whence serve`: flags before WHENCE_* environment variables before a TOML file before defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "WHENCE_"
CONFIG_VARIABLE = "WHENCE_CONFIG"


class SettingsError(Exception):
    """A setting that can't be used; the message says where it came from and what would do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 picks a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: object) -> Address:
    """Reads HOST:PORT, [IPV6]:PORT, or :PORT for loopback. Raises ValueError."""
    if isinstance(text, Address):
        return text
    host, colon, port = str(text).rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535 or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError(f"{text!r} is no address: write HOST:PORT, e.g. 127.0.0.1:8080")
    return Address(host.strip("[]") or "127.0.0.1", int(port))


ListenAddress = Annotated[Address, NoDecode, BeforeValidator(parse_address)]


class ServeSettings(BaseSettings):
    """What `whence serve` can be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True, arbitrary_types_allowed=True)

    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(Path("~/.local/share/whence"), description="Folder for what Whence keeps.")
    store: str = Field(
        "sqlite",
        repr=False,  # there may be a password in it
        description="Graph store: sqlite (in the data folder), sqlite:///PATH, memory, or a Neo4j: neo4j://HOST:PORT/DATABASE, bolt://, +s, +ssc, "
        "with WHENCE_STORE_USER, WHENCE_STORE_PASSWORD, WHENCE_STORE_CA (file of an own certificate authority).",
    )
    store_user: str = Field("", description="Who asks the graph store, where its URL does not say.")
    store_password: SecretStr = Field(SecretStr(""), description="The password of that user.")
    store_ca: Path | None = Field(None, description="File with the certificates of the graph store's own authority.")
    retention_days: int = Field(30, ge=0, description="Days of event time that the past of the graph is kept; 0 keeps all of it.")
    attributes_up_to: int = Field(
        10_000, ge=0, description="How many entities the estate may have for the attributes of all to be in the graph store; beyond, those of open incidents."
    )
    http: ListenAddress = Field(Address("127.0.0.1", 8080), description="Address of GraphQL, GraphiQL, health and metrics; port 0 picks a free one.")
    otlp_grpc: ListenAddress = Field(Address("127.0.0.1", 4317), description="Address of the OTLP/gRPC receiver.")
    otlp_http: ListenAddress = Field(Address("127.0.0.1", 4318), description="Address of the OTLP/HTTP receiver.")
    default_cluster: str = Field("", description="Cluster of telemetry that does not name its own.")
    knowledge: Path | None = Field(None, description="Folder of causal rule files to lay over the packaged ones.")
    shards: int = Field(1, ge=1, le=64, description="Parts of the estate among which belief is propagated; 1 for all but very large ones.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is told on stderr: debug, info, warning or error.")


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def read_settings(flags: Mapping[str, object], config: Path | None = None) -> ServeSettings:
    """Settings from the flags that were given, the environment, and the file if there is one. Raises SettingsError."""
    content = _file(config) if config is not None else {}

    class _Layered(ServeSettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic-settings passes it by name
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic-settings passes it by name
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=content)

    try:
        return _Layered(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]  # validated here
    except ValidationError as error:
        raise SettingsError(_first_problem(error, flags, config)) from error


def _file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} can't be read ({error.strerror if isinstance(error, OSError) else error}): check --config.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The settings file {path} is no TOML: {error}.") from error
    settings = {name.replace("-", "_"): value for name, value in content.items()}
    for name in settings:
        if name not in ServeSettings.model_fields:
            near = get_close_matches(name, ServeSettings.model_fields, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(ServeSettings.model_fields)}."
            raise SettingsError(f"{path}: {name!r} is no setting. {hint}")
    return settings


def _first_problem(error: ValidationError, flags: Mapping[str, object], config: Path | None) -> str:
    problem = error.errors()[0]
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    if flags.get(name) is not None:
        origin = flag(name)
    elif variable(name) in os.environ:
        origin = variable(name)
    else:
        origin = f"{config}: {name}"
    told = problem["msg"].removeprefix("Value error, ")
    value = "" if problem["type"] == "value_error" else f" ({problem['input']!r})"
    return f"{origin}: {told}{value}."
