"""A live graph that changes each window, with its writer, store and journal as `serve` wires them; prints each window that is safe.

`python -m tests.api.living DIRECTORY WINDOWS [MOST_BYTES]`: MOST_BYTES, where not 0, is how large a file may grow until all windows are closed.
A file `stop` in the directory ends it after the window. WHENCE_STORE chooses the store, as for `serve`.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from api.graph_writer import GraphWriter, WriterLimits
from api.pipeline import Step
from graph.journal import Journal
from graph.live import LiveGraph
from graph.neo4j_address import is_neo4j, parse_neo4j
from graph.neo4j_store import Neo4jGraphStore
from graph.opening import open_store
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from ingest.assembler import ClosedWindow
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from schema.identity import EntityRef
from schema.verdicts import DefectRef, Diagnosis, Incident, IncidentState
from schema.windows import TelemetryWindow

SECOND = 1_000_000_000
PATIENCE = 10.0  # a store that is slow because a machine is busy is not away
RETRY = 0.5  # seconds that the driver repeats what a store that is away did not take
PACE = 1.0  # seconds a window while the store is away: a store catches up faster


def step(graph: LiveGraph, number: int) -> Step:
    """A window in which forty pods of fifty namespaces get a new version, and an incident opens."""
    end = (1_700_000_000 + 5 * number) * SECOND
    refs = [EntityRef("pod", "c", f"w{number % 50}", f"p{place}") for place in range(40)]
    seen = tuple(EntityObservation(ref, "t", end, {"service.version": str(number)}) for ref in refs)
    delta = TopologyDelta(end, seen, tuple(RelationObservation(RelationKey(refs[0], "calls", ref), "t", end, 0.9) for ref in refs[1:]))
    counts, intern = WindowCounts(), graph.intern
    tables = (request_table(counts, intern), call_table(counts, intern), behaviour_table(counts, intern), sample_table(counts, intern))
    closed = ClosedWindow(delta, TelemetryWindow(end - 1, end, *tables, log_table(counts, intern), ()), graph.apply(delta))
    incident = Incident(f"i{number:06}", DefectRef(refs[0], f"slow{number}"), IncidentState.OPEN, end, None, None, 0.9, 0.9, ())
    return Step(closed, graph.expire(end), Diagnosis(end, (), (), (), exact=True), (incident,))


async def main(directory: Path, windows: int, most_bytes: int) -> None:
    """Goes on after the incidents that the store holds."""
    graph = LiveGraph()
    url, user, password = (os.environ.get(name, "") for name in ("WHENCE_STORE", "WHENCE_STORE_USER", "WHENCE_STORE_PASSWORD"))
    store = Neo4jGraphStore(parse_neo4j(url, user, password), retry_seconds=RETRY) if is_neo4j(url) else open_store(url or "sqlite", directory)
    writer = GraphWriter(graph, store, Journal(directory / "journal.db"), limits=WriterLimits(patience=PATIENCE, retry=0.01))
    await store.ensure_schema()
    await writer.begin()
    graph.restore(await store.snapshot())
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    first = len(await store.incidents(None, 100_000)) + 1
    for number in range(first, first + windows):
        await writer.follow(step(graph, number))
        print(number, bool(writer.trouble), flush=True)
        await asyncio.sleep(PACE if writer.trouble and not most_bytes else 0)
        if (directory / "stop").exists():
            break
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


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
