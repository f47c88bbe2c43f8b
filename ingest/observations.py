"""What a closing window saw of the estate, as a delta for the live graph."""

from __future__ import annotations

from collections.abc import Iterable

from graph.resolver import ResolvedResource
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from ingest.tables import CallCount, WindowCounts, network_path
from schema.identity import EntityRef

SECOND = 1_000_000_000
TRACES, METRICS, RESOURCE = "otlp.traces", "otlp.metrics", "otlp.resource"
CONFIDENCE = {"answered": 0.99, "client": 0.9, "service_graph": 0.8, "resource": 0.99, "implied": 0.99}


def topology_delta(end: int, homes: Iterable[ResolvedResource], counts: WindowCounts) -> TopologyDelta:
    """Entities and relations seen up to `end`, in ascending order. Resources that differ in their labels are observations of their own:

    while a version rolls out, both are seen.
    """
    homes = list(homes)
    entities = {(ref, RESOURCE, tuple(sorted(home.labels.get(ref, {}).items()))) for home in homes for ref in _entities(home)}
    known = {ref for ref, _, _ in entities}
    entities |= {(ref, TRACES, ()) for ref in counts.requests if ref not in known}
    entities |= {(ref, METRICS, ()) for ref, _ in counts.samples if ref not in known and ref not in counts.requests}
    relations = {RelationKey(*link): ("resource", RESOURCE) for home in homes for link in home.relations}
    relations |= {RelationKey(*link): ("implied", TRACES) for link in counts.links}
    for source, kind, target in counts.calls:
        if kind == "calls" and (source, "traverses", path := network_path(source, target)) in counts.calls:
            relations[RelationKey(path, "leads_to", target)] = ("implied", TRACES)
    observed = {key: RelationObservation(key, source, end, CONFIDENCE[how]) for key, (how, source) in relations.items()}
    observed |= {(key := RelationKey(*call)): _travelled(key, count, end) for call, count in counts.calls.items()}
    return TopologyDelta(
        end,
        tuple(EntityObservation(ref, source, end, dict(labels)) for ref, source, labels in sorted(entities)),
        tuple(observed[key] for key in sorted(observed)),
    )


def _entities(home: ResolvedResource) -> list[EntityRef]:
    every = (home.service, home.pod, home.container, home.node, home.workload, home.namespace, home.cluster)
    return [ref for ref in every if ref is not None]


def _travelled(key: RelationKey, count: CallCount, end: int) -> RelationObservation:
    how = "service_graph" if not count.traced else "answered" if count.answered else "client"
    return RelationObservation(key, TRACES if count.traced else METRICS, end, CONFIDENCE[how], count.calls, count.errors, sum(count.durations) / SECOND)
