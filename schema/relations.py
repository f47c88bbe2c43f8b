"""The typed, directed edges of the estate. One declaration each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelationKind:
    """A kind of edge: `source` -name-> `target`. `carries_requests`: requests travel along it, so it has request statistics."""

    name: str
    summary: str
    carries_requests: bool = False
    synchronous: bool = False


CALLS = RelationKind("calls", "The source waits for the target's answer.", carries_requests=True, synchronous=True)
QUERIES = RelationKind("queries", "The source waits for a database or cache.", carries_requests=True, synchronous=True)
PUBLISHES_TO = RelationKind("publishes_to", "The source hands messages to a topic or queue.", carries_requests=True)
CONSUMES_FROM = RelationKind("consumes_from", "The source takes messages from a topic or queue.", carries_requests=True)
TRAVERSES = RelationKind("traverses", "The source's calls cross this network path.", carries_requests=True, synchronous=True)
LEADS_TO = RelationKind("leads_to", "A network path ends at the target.")
RUNS_ON = RelationKind("runs_on", "The source needs the target to run: a service its pods, a pod its node.")
PART_OF = RelationKind("part_of", "The source belongs to the target: endpoint to service, container to pod, pod to workload.")
MOUNTS = RelationKind("mounts", "The source reads or writes the target volume.")
SELECTS = RelationKind("selects", "The source sends traffic to the pods it selects.")
ROUTES_TO = RelationKind("routes_to", "The source forwards outside requests to the target.", carries_requests=True)
CHANGED_BY = RelationKind("changed_by", "The source was altered by the target change.")

RELATION_KINDS: dict[str, RelationKind] = {
    kind.name: kind for kind in (CALLS, QUERIES, PUBLISHES_TO, CONSUMES_FROM, TRAVERSES, LEADS_TO, RUNS_ON, PART_OF, MOUNTS, SELECTS, ROUTES_TO, CHANGED_BY)
}
