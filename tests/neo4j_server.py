"""A real Neo4j for the tests: NEO4J_URI names one, else infra/neo4j/local.py starts one, else testcontainers does where Docker answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from neo4j import AsyncGraphDatabase

from graph.neo4j_address import Neo4jAddress, parse_neo4j
from graph.neo4j_schema import LABELS

LAUNCHER = Path(__file__).parent.parent / "infra" / "neo4j" / "local.py"
QUICKLY = "--java=-XX:TieredStopAtLevel=1"  # half the CPU of a start goes into compiling what a test's few statements never repay
IMAGE = "neo4j:5.26.30"
HOW = (
    "No Neo4j for the tests: install Java 17 or later and Maven (Debian: apt-get install default-jre-headless maven), or start Docker with testcontainers "
    "installed, or name a server whose Whence data may be deleted in NEO4J_URI (neo4j://USER:PASSWORD@HOST:PORT)."
)


@dataclass(frozen=True)
class Neo4jServer:
    """A running server. `home`: the launcher's folder, None where something else runs the server."""

    address: Neo4jAddress
    home: Path | None = None


@contextmanager
def neo4j_for_tests(home: Path) -> Iterator[Neo4jServer]:
    """One server, ended afterwards unless it was there before. Without any, the test is skipped; in CI it fails."""
    if url := os.environ.get("NEO4J_URI"):
        yield Neo4jServer(parse_neo4j(url, os.environ.get("NEO4J_USER", ""), os.environ.get("NEO4J_PASSWORD", "")))
    elif launches_here():
        try:
            yield Neo4jServer(launch(home), home)
        finally:
            ask(home, "stop")
    elif find_spec("testcontainers") and shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        with import_module("testcontainers.community.neo4j").Neo4jContainer(IMAGE) as container:
            yield Neo4jServer(parse_neo4j(container.get_connection_url(), container.username, container.password))
    elif os.environ.get("CI"):
        pytest.fail(HOW)
    else:
        pytest.skip(HOW)


def launches_here() -> bool:
    """Whether the launcher finds what it needs."""
    return bool(shutil.which("mvn") and shutil.which("java"))


def launch(home: Path, *options: str) -> Neo4jAddress:
    """Starts the launcher's server in `home`; the same address while it runs."""
    state = json.loads(ask(home, "start", "--json", QUICKLY, *(options or ("--port", "0"))))
    return parse_neo4j(state["uri"], state["user"], state["password"])


def command(home: Path, verb: str, *options: str) -> list[str]:
    """How infra/neo4j/local.py is called."""
    return [sys.executable, str(LAUNCHER), verb, "--dir", str(home), *options]


def ask(home: Path, verb: str, *options: str) -> str:
    """What it answers."""
    done = subprocess.run(command(home, verb, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def empty(address: Neo4jAddress) -> None:
    """Deletes what Whence wrote, its layout too; constraints stay."""
    async with AsyncGraphDatabase.driver(address.uri, auth=(address.user, address.password), notifications_min_severity="OFF") as driver:
        for label in (*LABELS, "WhenceLayout"):
            await driver.execute_query(f"MATCH (n:{label}) DETACH DELETE n", database_=address.database)
