"""Trouble with a real Neo4j under a running Whence: it is killed, comes back to read only, comes back whole. `whence store check` is the judge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from neo4j import AsyncGraphDatabase

from graph.neo4j_store import Neo4jGraphStore
from tests.api.processes import check, python, whence
from tests.neo4j_server import Neo4jServer, ask, command, empty, launch

pytestmark = pytest.mark.slow
LIVING = ["-m", "tests.api.living"]
SERVE = ["serve", "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0", "--json"]
READ_ONLY = "server.databases.read_only=neo4j"
THEIRS = "UNWIND range(1, 20) AS n CREATE (:Customer {id: 'service:c/shop/s' + n, name: 'n' + n})-[:CALLS {kind: 'calls'}]->(:Order {at: n})"
TOLD = "MATCH (n) WHERE n:Customer OR n:Order OPTIONAL MATCH (n)-[r]->() RETURN labels(n) AS l, properties(n) AS p, type(r) AS t, properties(r) AS q"


@pytest_asyncio.fixture
async def ours(neo4j_server: Neo4jServer) -> Neo4jServer:
    """A server that may be killed, holding nothing of Whence."""
    if neo4j_server.home is None:
        pytest.skip("The server of NEO4J_URI is not ours to kill.")
    await empty(neo4j_server.address)
    return neo4j_server


def named(server: Neo4jServer, **changed: str) -> dict[str, str]:
    address = server.address
    told = {"WHENCE_STORE": f"{address.uri}/{address.database}", "WHENCE_STORE_USER": address.user, "WHENCE_STORE_PASSWORD": address.password}
    return {**told, **changed}


def kill(home: Path) -> None:
    told = subprocess.run(command(home, "status", "--json"), capture_output=True, text=True, check=False).stdout
    os.kill(json.loads(told)["pid"], signal.SIGKILL)


def start(server: Neo4jServer, *options: str) -> None:
    assert server.home is not None
    launch(server.home, "--port", server.address.uri.rpartition(":")[2], *options)


async def incidents(server: Neo4jServer) -> list[str]:
    store = Neo4jGraphStore(server.address)
    await store.ensure_schema()
    found = sorted(incident.id for incident in await store.incidents(None, 100_000))
    await store.close()
    return found


async def theirs(server: Neo4jServer, statement: str) -> list[dict[str, object]]:
    address = server.address
    async with AsyncGraphDatabase.driver(address.uri, auth=(address.user, address.password)) as driver:
        records, _, _ = await driver.execute_query(statement, database_=address.database)
    return sorted((record.data() for record in records), key=str)


def until(lines: Iterator[str], troubled: bool, number: int = 0) -> int:
    """The first window from `number` on that ended so."""
    for line in lines:
        window, told = line.split()
        if int(window) >= number and (told == "True") == troubled:
            return int(window)
    raise AssertionError("Whence ended.")


def refused(environment: Mapping[str, str], directory: Path) -> str:
    with whence(*SERVE, "--data-dir", directory, environment=environment) as serving:
        _, told = serving.communicate(timeout=60)
    assert serving.returncode == 2
    return told


async def test_whence_goes_on_from_its_journal_while_neo4j_is_killed_or_only_reads_and_all_is_there_once_it_is_back(ours: Neo4jServer, tmp_path: Path) -> None:
    assert ours.home is not None
    await theirs(ours, THEIRS)
    before = await theirs(ours, TOLD)
    with python(*LIVING, tmp_path, 1_000_000, environment=named(ours)) as living:
        try:
            assert living.stdout is not None
            until(living.stdout, troubled=False, number=5)
            kill(ours.home)
            until(living.stdout, troubled=True)
            start(ours)
            until(living.stdout, troubled=False)
            ask(ours.home, "stop")
            start(ours, "--conf", READ_ONLY)
            until(living.stdout, troubled=True)
            assert "read-only" in refused(named(ours), tmp_path / "another")
            ask(ours.home, "stop")
            start(ours)
            last = until(living.stdout, troubled=False)
            (tmp_path / "stop").touch()
            said, trouble = living.communicate(timeout=120)
        finally:
            living.kill()
    assert said.endswith("whole {}\n"), trouble
    last = max([last, *(int(line.split()[0]) for line in said.splitlines()[:-1])])
    assert await incidents(ours) == [f"i{number:06}" for number in range(1, last + 1)]
    assert check(tmp_path, named(ours))["problems"] == []
    assert await theirs(ours, TOLD) == before
    await theirs(ours, "MATCH (n) WHERE n:Customer OR n:Order DETACH DELETE n")


async def test_whence_killed_in_the_middle_of_a_write_to_neo4j_lost_and_doubled_nothing(ours: Neo4jServer, tmp_path: Path) -> None:
    with python(*LIVING, tmp_path, 10_000, environment=named(ours)) as living:
        assert living.stdout is not None
        until(living.stdout, troubled=False, number=7)
        living.send_signal(signal.SIGKILL)
        last = max([7, *(int(line.split()[0]) for line in living.stdout.read().splitlines())])
    with python(*LIVING, tmp_path, 1, environment=named(ours)) as again:
        said, trouble = again.communicate(timeout=120)
    assert said.endswith("whole {}\n"), trouble
    assert (await incidents(ours))[:last] == [f"i{number:06}" for number in range(1, last + 1)]
    assert check(tmp_path, named(ours))["problems"] == []


async def test_serve_refuses_a_wrong_password_and_starts_where_nobody_answers(ours: Neo4jServer, tmp_path: Path) -> None:
    assert "does not let the user 'neo4j' in" in refused(named(ours, WHENCE_STORE_PASSWORD="not-the-password"), tmp_path)
    with whence(*SERVE, "--data-dir", tmp_path, environment=named(ours, WHENCE_STORE="bolt://127.0.0.1:1")) as serving:
        try:
            assert serving.stdout is not None
            assert json.loads(serving.stdout.readline())["ready"]
            serving.send_signal(signal.SIGTERM)
            _, told = serving.communicate(timeout=60)
        finally:
            serving.kill()
    assert (serving.returncode, "takes it up when the store answers" in told) == (0, True)
