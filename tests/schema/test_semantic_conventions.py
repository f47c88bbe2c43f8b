"""The names that are read, against the registry of OpenTelemetry's own package."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import opentelemetry.semconv._incubating.attributes as registry
import pytest

from schema.semantic_conventions import NAMES, READ, RENAMED

DECLARATION = re.compile(r'^[A-Z_0-9]+: Final = \(?\s*"([^"]+)"\s*\)?\n"""\n(.*?)"""', re.MULTILINE | re.DOTALL)
REPLACED = re.compile(r"Deprecated: [^`]*`([^`]+)`")
# Names of receivers that no registry holds.
OF_RECEIVERS = {"k8s.event.reason", "k8s.object.kind", "k8s.object.name", "k8s.object.fieldpath", "postgresql.database.name"}
# Too general to mean one thing, or not the same value.
AMBIGUOUS = {"state", "pool.name", "db.connection_string", "rpc.service", "tls.client.server_name"}
# Older than the registry's memory.
FORGOTTEN = {"messaging.destination", "messaging.kafka.consumer_group"}


def registered() -> dict[str, str]:
    """Every registered attribute and its description."""
    found = {}
    for module in pkgutil.iter_modules(registry.__path__):
        path = import_module(f"{registry.__name__}.{module.name}").__file__
        assert path is not None
        found.update({name: " ".join(text.split()) for name, text in DECLARATION.findall(Path(path).read_text(encoding="utf-8"))})
    return found


REGISTERED = registered()


def test_the_registry_was_read() -> None:
    assert len(REGISTERED) > 500
    assert "Deprecated" in REGISTERED["db.system"]


@pytest.mark.parametrize("name", sorted(READ - OF_RECEIVERS))
def test_a_name_that_is_read_is_in_force(name: str) -> None:
    assert name in REGISTERED
    assert "Deprecated: Replaced" not in REGISTERED[name]


def test_every_old_name_of_what_is_read_is_understood() -> None:
    old = {name: found.group(1) for name, text in REGISTERED.items() if (found := REPLACED.search(text))}
    expected = {name: new for name, new in old.items() if new in READ and name not in AMBIGUOUS}
    assert len(expected) > 20
    assert {name: RENAMED.get(name) for name in expected} == expected


def test_every_old_name_is_one() -> None:
    assert not {old for old in RENAMED if old not in FORGOTTEN and "Deprecated" not in REGISTERED[old]}
    assert set(RENAMED.values()) <= READ
    assert not set(RENAMED) & READ


@pytest.mark.parametrize(
    "family",
    [
        "service.",
        "service.peer.name",
        "db.",
        "messaging.",
        "rpc.",
        "http.",
        "server.address",
        "server.port",
        "network.",
        "k8s.",
        "container.",
        "host.",
        "cloud.",
        "deployment.environment.name",
        "service.criticality",
    ],
)
def test_every_family_is_covered(family: str) -> None:
    assert any(name.startswith(family) for name in READ)


def test_a_name_in_force_counts_before_its_old_names() -> None:
    assert NAMES["server.address"].age < NAMES["net.peer.name"].age < NAMES["http.host"].age < NAMES["net.host.name"].age


def test_the_documentation_lists_what_is_read_and_nothing_else() -> None:
    page = Path(__file__).parents[2] / "docs" / "semantic-conventions.md"
    assert set(re.findall(r"`([a-z0-9_.]+)`", page.read_text(encoding="utf-8"))) == READ | set(RENAMED)
