"""Trouble with real processes: a disk that fills up, a kill in the middle, two servers on one store. `whence store check` is the judge."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import graph
from graph.sqlite_schema import MIGRATIONS

pytestmark = pytest.mark.slow
ROOT = Path(graph.__file__).parent.parent
SERVE = ["serve", "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0", "--json"]

# A live graph that changes each window, with its writer, store and journal as `serve` wires them; prints each window that is safe.
LIVING = """
import asyncio, resource, sys
from pathlib import Path
from api.graph_writer import GraphWriter, WriterLimits
from api.pipeline import Step
from graph.journal import Journal
from graph.live import LiveGraph
from graph.sqlite_store import SqliteGraphStore
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from ingest.assembler import ClosedWindow
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from schema.identity import EntityRef
from schema.verdicts import DefectRef, Diagnosis, Incident, IncidentState
from schema.windows import TelemetryWindow

SECOND = 1_000_000_000

async def main(directory, windows, most_bytes):
    graph, store = LiveGraph(), SqliteGraphStore(directory / "whence.db")
    writer = GraphWriter(graph, store, Journal(directory / "journal.db"), limits=WriterLimits(retry=0.01))
    await store.ensure_schema()
    await writer.begin()
    graph.restore(await store.snapshot())
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    first = len(await store.incidents(None, 100_000)) + 1
    for number in range(first, first + windows):
        end = (1_700_000_000 + 5 * number) * SECOND
        refs = [EntityRef("pod", "c", f"w{number % 50}", f"p{place}") for place in range(40)]
        seen = tuple(EntityObservation(ref, "t", end, {"service.version": str(number)}) for ref in refs)
        delta = TopologyDelta(end, seen, tuple(RelationObservation(RelationKey(refs[0], "calls", ref), "t", end, 0.9) for ref in refs[1:]))
        counts, intern = WindowCounts(), graph.intern
        tables = (request_table(counts, intern), call_table(counts, intern), behaviour_table(counts, intern), sample_table(counts, intern))
        closed = ClosedWindow(delta, TelemetryWindow(end - 1, end, *tables, log_table(counts, intern), ()), graph.apply(delta))
        incident = Incident(f"i{number}", DefectRef(refs[0], "slow"), IncidentState.OPEN, end, None, None, 0.9, 0.9, ())
        await writer.follow(Step(closed, graph.expire(end), Diagnosis(end, (), (), (), exact=True), (incident,)))
        print(number, bool(writer.trouble), flush=True)
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        while writer.trouble or writer.journalled:
            await writer._settle()
            await asyncio.sleep(0.01)
    await writer.close()
    held = await store.snapshot()
    assert {each.ref for each in held.entities} == {each.ref for each in graph.entities()}
    assert {each.key for each in held.relations} == {each.key for each in graph.relations()}
    await store.close()
    print("whole", dict(writer.dropped), flush=True)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
"""


def python(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def whence(*words: object) -> subprocess.Popen[str]:
    return python("-c", "import sys; from api.cli import main; sys.exit(main())", *words)


def check(directory: Path) -> dict[str, object]:
    with whence("store", "check", "--data-dir", directory, "--json") as checking:
        said, trouble = checking.communicate(timeout=120)
    assert said, trouble
    found: dict[str, object] = json.loads(said)
    return found


def incidents(directory: Path) -> list[str]:
    database = sqlite3.connect(directory / "whence.db")
    found = [row[0] for row in database.execute("select id from incident order by opened_at")]
    database.close()
    return found


@pytest.mark.parametrize("windows", [3, 17])
def test_killed_in_the_middle_nothing_that_was_safe_is_lost_and_nothing_doubled(tmp_path: Path, windows: int) -> None:
    with python("-c", LIVING, tmp_path, 10_000, 0) as living:
        assert living.stdout is not None
        for _ in range(windows):
            living.stdout.readline()
        living.send_signal(signal.SIGKILL)
        last = max([windows, *(int(line.split()[0]) for line in living.stdout.read().splitlines())])
    with python("-c", LIVING, tmp_path, 1, 0) as again:
        said, trouble = again.communicate(timeout=120)
    assert said.endswith("whole {}\n"), trouble
    assert [f"i{number}" for number in range(1, last + 1)] == incidents(tmp_path)[:last]
    assert check(tmp_path)["problems"] == []


def test_a_disk_that_fills_up_and_is_mended_loses_nothing(tmp_path: Path) -> None:
    with python("-c", LIVING, tmp_path, 120, 400_000) as living:
        said, trouble = living.communicate(timeout=300)
    assert said.splitlines()[-1:] == ["whole {}"], trouble
    states = [line.split()[1] for line in said.splitlines()[:-1]]
    assert (states[0], states[-1]) == ("False", "True"), "the disk did fill up"
    assert incidents(tmp_path) == [f"i{number}" for number in range(1, 121)]
    assert check(tmp_path)["problems"] == []


def test_a_second_server_on_one_store_refuses_and_leaves_the_first_alone(tmp_path: Path) -> None:
    with whence(*SERVE, "--data-dir", tmp_path) as first:
        try:
            assert first.stdout is not None
            assert json.loads(first.stdout.readline())["ready"]
            with whence(*SERVE, "--data-dir", tmp_path) as second:
                _, told = second.communicate(timeout=120)
            assert (second.returncode, f"in use by another whence (pid {first.pid})" in told) == (2, True)
            assert check(tmp_path)["problems"] == []
            first.send_signal(signal.SIGTERM)
            assert first.wait(60) == 0
        finally:
            first.kill()
    assert check(tmp_path)["problems"] == []


def test_a_store_of_a_newer_whence_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "whence.db")
    database.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
    database.close()
    before = (tmp_path / "whence.db").read_bytes()
    for words in (SERVE, ["store", "check"], ["store", "migrate"]):
        with whence(*words, "--data-dir", tmp_path) as refused:
            _, told = refused.communicate(timeout=120)
        assert (refused.returncode, f"has layout {len(MIGRATIONS) + 1}" in told) == (2, True)
    assert (tmp_path / "whence.db").read_bytes() == before
