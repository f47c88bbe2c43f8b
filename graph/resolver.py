"""One resolver of identities: what telemetry calls a thing -> the entity it is. Stable across restarts and sources."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from schema.batches import Resource
from schema.identity import EntityRef

CACHES = frozenset({"redis", "memcached", "valkey"})
QUEUES = frozenset({"rabbitmq", "aws_sqs", "activemq", "servicebus", "jms"})
DEFAULT_PORTS = frozenset({"80", "443", "5432", "3306", "6379", "9092", "27017", "1433", "1521", "11211"})
WORKLOAD_KEYS = ("k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.job.name")
LABEL_KEYS = ("service.version", "service.criticality", "deployment.environment.name")


@dataclass(frozen=True, slots=True)
class ResolvedResource:
    """The entities a resource speaks of, the relations among them, and their labels."""

    service: EntityRef | None
    pod: EntityRef | None
    container: EntityRef | None
    node: EntityRef | None
    workload: EntityRef | None
    namespace: EntityRef | None
    cluster: EntityRef | None
    relations: tuple[tuple[EntityRef, str, EntityRef], ...]
    labels: Mapping[EntityRef, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Binding:
    entity: EntityRef
    since: int


class Resolver:
    """Remembers which entity stood behind which address since when; the table is bounded, the oldest use goes first."""

    def __init__(self, *, default_cluster: str = "", limit: int = 200_000) -> None:
        self._default_cluster = default_cluster
        self._limit = limit
        self._addresses: OrderedDict[str, list[_Binding]] = OrderedDict()
        self._services: dict[tuple[str, str], dict[str, EntityRef]] = {}
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """What could not be kept, by reason."""
        return dict(self._dropped)

    def resource(self, resource: Resource, time: int) -> ResolvedResource:
        """The entities of a resource. Service namespace: service.namespace, else the Kubernetes namespace."""
        get = resource.get
        cluster = get("k8s.cluster.name") or get("deployment.environment.name") or self._default_cluster
        namespace = get("k8s.namespace.name")
        service = _ref("service", cluster, get("service.namespace") or namespace, get("service.name"))
        pod = _ref("pod", cluster, namespace, get("k8s.pod.name"))
        container = _ref("container", cluster, namespace, f"{pod.name}/{get('k8s.container.name')}") if pod and get("k8s.container.name") else None
        node = _ref("node", cluster, "", get("k8s.node.name") or ("" if pod else get("host.name")))
        workload = _ref("workload", cluster, namespace, next((get(key) for key in WORKLOAD_KEYS if get(key)), ""))
        namespace_ref = _ref("namespace", cluster, "", namespace)
        cluster_ref = _ref("cluster", cluster, "", get("k8s.cluster.name"))
        self._remember(service, pod, resource, time)
        links = (
            (service, "runs_on", pod), (container, "part_of", pod), (pod, "part_of", workload), (pod, "runs_on", node),
            (workload, "part_of", namespace_ref), (namespace_ref, "part_of", cluster_ref), (node, "part_of", cluster_ref),
        )  # fmt: skip
        relations = tuple((source, kind, target) for source, kind, target in links if source is not None and target is not None)
        labels = {service: {key: get(key) for key in LABEL_KEYS if get(key)}} if service else {}
        return ResolvedResource(service, pod, container, node, workload, namespace_ref, cluster_ref, relations, labels)

    def peer(self, caller: ResolvedResource, attributes: Mapping[str, str], time: int) -> EntityRef | None:
        """What stands at the far end of a client or producer span, if its attributes say so."""
        home = caller.service or caller.pod
        cluster, namespace = (home.cluster, home.namespace) if home else (self._default_cluster, "")
        if attributes.get("db.system.name"):
            return self._database(cluster, namespace, attributes)
        if attributes.get("messaging.destination.name"):
            kind = "queue" if attributes.get("messaging.system", "") in QUEUES else "topic"
            return EntityRef(kind, cluster, namespace, attributes["messaging.destination.name"])
        named = attributes.get("service.peer.name", "")
        if named:
            return self._service_named(cluster, namespace, named) or EntityRef("service", cluster, namespace, named)
        address = attributes.get("server.address") or attributes.get("network.peer.address", "")
        return self._behind(address, cluster, namespace, time) if address else None

    def metric_entity(self, resource: Resource, attributes: Mapping[str, str], kinds: tuple[str, ...], time: int) -> EntityRef | None:
        """The entity that a metric point of an attribute with these `kinds` speaks of; the first kind that resolves."""
        resolved = self.resource(resource, time)
        own = {"service": resolved.service, "pod": resolved.pod, "container": resolved.container, "node": resolved.node, "workload": resolved.workload}
        merged = {**resource.attributes, **attributes}
        for kind in kinds:
            ref = own.get(kind) or self._measured(kind, resolved, merged)
            if ref is not None:
                return ref
        self._dropped["metric_without_entity"] += 1
        return None

    def service_in_metrics(self, name: str, resource: Resource) -> EntityRef:
        """The service that service-graph metrics call `name`; one that was seen elsewhere if there is just one."""
        cluster = resource.get("k8s.cluster.name") or resource.get("deployment.environment.name") or self._default_cluster
        namespace = resource.get("service.namespace") or resource.get("k8s.namespace.name")
        return self._service_named(cluster, namespace, name) or EntityRef("service", cluster, namespace, name)

    def _measured(self, kind: str, resolved: ResolvedResource, merged: Mapping[str, str]) -> EntityRef | None:
        cluster = resolved.cluster.name if resolved.cluster else self._default_cluster
        namespace = merged.get("service.namespace") or merged.get("k8s.namespace.name", "")
        if kind in {"database", "cache"}:
            name = merged.get("postgresql.database.name") or merged.get("db.namespace", "")
            address = merged.get("server.address") or merged.get("service.instance.id", "")
            system = "redis" if kind == "cache" else "postgresql"
            if not name and not address:
                return None
            return self._database(cluster, namespace, {"db.system.name": system, "db.namespace": name, "server.address": address})
        if kind in {"topic", "queue"}:
            return _ref(kind, cluster, namespace, merged.get("topic") or merged.get("messaging.destination.name", ""))
        return None

    def _remember(self, service: EntityRef | None, pod: EntityRef | None, resource: Resource, time: int) -> None:
        if service is not None:
            self._services.setdefault((service.cluster, service.name), {})[service.namespace] = service
        owner = service or pod
        if owner is None:
            return
        for key in ("k8s.pod.ip", "host.ip"):
            if resource.get(key):
                self._bind(resource.get(key), owner, time)

    def _bind(self, address: str, entity: EntityRef, time: int) -> None:
        bindings = self._addresses.setdefault(address, [])
        self._addresses.move_to_end(address)
        if bindings and bindings[-1].entity == entity:
            return
        bindings.append(_Binding(entity, time))
        del bindings[:-4]
        if len(self._addresses) > self._limit:
            self._addresses.popitem(last=False)
            self._dropped["address_table_full"] += 1

    def _behind(self, address: str, cluster: str, namespace: str, time: int) -> EntityRef:
        for binding in reversed(self._addresses.get(address, [])):
            if binding.since <= time:
                return binding.entity
        name, name_space = _cluster_local(address, namespace)
        return self._service_named(cluster, name_space, name) or EntityRef("external_service", "", "", address.lower())

    def _service_named(self, cluster: str, namespace: str, name: str) -> EntityRef | None:
        known = self._services.get((cluster, name), {})
        return known.get(namespace) or (min(known.values()) if len(known) == 1 else None)

    def _database(self, cluster: str, namespace: str, attributes: Mapping[str, str]) -> EntityRef:
        kind = "cache" if attributes["db.system.name"] in CACHES else "database"
        address, space = _cluster_local(attributes.get("server.address", ""), namespace)
        port = attributes.get("server.port", "")
        host, _, inline_port = address.partition(":")
        port = port or inline_port
        name = host if port in DEFAULT_PORTS or not port else f"{host}:{port}"
        database = attributes.get("db.namespace", "") if kind == "database" else ""
        return EntityRef(kind, cluster, space, "/".join(part for part in (name, database) if part) or attributes["db.system.name"])


def _ref(kind: str, cluster: str, namespace: str, name: str) -> EntityRef | None:
    return EntityRef(kind, cluster, namespace, name) if name else None


def _cluster_local(address: str, namespace: str) -> tuple[str, str]:
    """(`checkout.shop.svc.cluster.local`, ...) -> (`checkout`, `shop`); a bare name stays in the caller's namespace."""
    host, colon, port = address.partition(":")
    parts = host.lower().split(".")
    if len(parts) >= 3 and parts[2] == "svc":
        return parts[0] + colon + port, parts[1]
    if len(parts) == 2 and not parts[1].isdigit() and parts[1] not in {"com", "net", "org", "io", "dev"}:
        return parts[0] + colon + port, parts[1]
    return host.lower() + colon + port, namespace
