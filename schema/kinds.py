"""The kinds of entity Whence knows. Adding one is a declaration here, a file in schema/causal/, and a test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EntityKind:
    """A kind of thing that can fail. `identity`: the canonical resource or span attributes that name it, most specific first."""

    name: str
    summary: str
    identity: tuple[str, ...]


SERVICE = EntityKind("service", "An application component that serves requests or works on messages.", ("service.name",))
ENDPOINT = EntityKind("endpoint", "One operation a service offers, e.g. GET /cart/{id}.", ("http.route", "rpc.method"))
DATABASE = EntityKind("database", "A database seen through its clients or its own telemetry.", ("db.namespace", "server.address"))
CACHE = EntityKind("cache", "An in-memory store whose misses cost its users time.", ("server.address",))
TOPIC = EntityKind("topic", "A stream of messages with consumers that may lag.", ("messaging.destination.name",))
QUEUE = EntityKind("queue", "A line of messages, each taken once.", ("messaging.destination.name",))
EXTERNAL_SERVICE = EntityKind("external_service", "A peer outside the estate that sends no telemetry.", ("server.address",))
WORKLOAD = EntityKind("workload", "A Kubernetes controller: deployment, stateful set, daemon set, job.", ("k8s.deployment.name",))
POD = EntityKind("pod", "A Kubernetes pod.", ("k8s.pod.name",))
CONTAINER = EntityKind("container", "A container of a pod.", ("k8s.container.name",))
NODE = EntityKind("node", "A machine that runs pods.", ("k8s.node.name", "host.name"))
NETWORK_PATH = EntityKind("network_path", "The network between a caller and the service it calls, named caller->callee.", ())
NAMESPACE = EntityKind("namespace", "A Kubernetes namespace.", ("k8s.namespace.name",))
CLUSTER = EntityKind("cluster", "A Kubernetes cluster.", ("k8s.cluster.name",))
VOLUME = EntityKind("volume", "A persistent volume.", ("k8s.volume.name",))

ENTITY_KINDS: dict[str, EntityKind] = {
    kind.name: kind
    for kind in (
        SERVICE, ENDPOINT, DATABASE, CACHE, TOPIC, QUEUE, EXTERNAL_SERVICE, WORKLOAD,
        POD, CONTAINER, NODE, NETWORK_PATH, NAMESPACE, CLUSTER, VOLUME,
    )
}  # fmt: skip
