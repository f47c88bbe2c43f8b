"""The demo's estate, as its telemetry shows it, is the estate that was declared: no ghosts, no doubles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.faults import FAULTS, database_identity, service_identity
from demo.shop import SHOP
from demo.world import World
from graph.live import LiveGraph
from graph.resolver import Resolver
from ingest.assembler import AssemblerSettings, WindowAssembler
from ingest.otlp.decode_logs import decode_logs
from ingest.otlp.decode_metrics import decode_metrics
from ingest.otlp.decode_traces import decode_traces
from schema.batches import Batch

pytestmark = pytest.mark.slow
SECOND = 1_000_000_000
START = 1_767_600_000 * SECOND
DECODERS = {"ExportTraceServiceRequest": decode_traces, "ExportMetricsServiceRequest": decode_metrics, "ExportLogsServiceRequest": decode_logs}


def batches(world: World, seconds: float) -> Iterator[Batch]:
    for request in world.run_until(seconds):
        decode = DECODERS[type(request).__name__]
        yield decode(request)[0]  # type: ignore[operator]  # each decoder takes the request of its name


@pytest.fixture(scope="module")
def world() -> World:
    return World(SHOP, seed=5, start=START)


@pytest.fixture(scope="module")
def graph(world: World) -> LiveGraph:
    live = LiveGraph()
    assembler = WindowAssembler(live, Resolver(), settings=AssemblerSettings())
    for batch in batches(world, 40.0):
        assembler.add(batch)
    for _ in assembler.close_until(1 << 62):
        pass
    assert "metric_without_entity" not in assembler.dropped
    return live


def names(graph: LiveGraph, kind: str) -> set[str]:
    return {str(entity.ref) for entity in graph.entities() if entity.ref.kind == kind}


def test_services_and_stores_are_those_declared(world: World, graph: LiveGraph) -> None:
    assert names(graph, "service") == {service_identity(world, service) for service in world.services.values()}
    assert names(graph, "database") == {database_identity(world, database) for database in world.databases.values()}
    assert names(graph, "cache") == {f"cache:{cache.cluster}/{SHOP.namespace}/{cache.name}" for cache in SHOP.caches}
    assert names(graph, "topic") == {f"topic:{topic.cluster}//{topic.name}" for topic in SHOP.topics}
    assert names(graph, "queue") == set()
    assert names(graph, "external_service") == {f"external_service://{external.host}" for external in SHOP.externals}


def test_machines_pods_and_workloads_are_those_that_run(world: World, graph: LiveGraph) -> None:
    placements = [(name, placement) for name, cluster in world.clusters.items() for placement in cluster.placements]
    assert names(graph, "node") == {f"node:{node.cluster}//{node.name}" for node in SHOP.nodes}
    assert names(graph, "pod") == {f"pod:{cluster}/{SHOP.namespace}/{placement.name}" for cluster, placement in placements}
    assert names(graph, "container") == {f"container:{cluster}/{SHOP.namespace}/{each.name}/{each.workload[1]}" for cluster, each in placements}
    assert names(graph, "workload") >= {f"workload:{service.cluster}/{SHOP.namespace}/{service.name}" for service in SHOP.services}
    assert names(graph, "cluster") == {f"cluster:{name}//{name}" for name in world.clusters}


def test_every_fault_breaks_something_the_graph_knows(graph: LiveGraph) -> None:
    """A world of the same seed holds the same pods; what a fault calls broken is named as the graph names it."""
    known = {str(entity.ref) for entity in graph.entities()}
    for fault in FAULTS:
        broken = World(SHOP, seed=5, start=START)
        broken.run_until(2.0)
        truth = fault.inject(broken, broken.random("fault"))
        assert set(truth.entities) <= known, fault.name
