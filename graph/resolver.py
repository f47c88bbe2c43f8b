"""One resolver of identities: what telemetry calls a thing -> the entity it is. Stable across restarts and sources (docs/graph.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graph.address_book import AddressBook
from graph.addresses import host_and_port, routable_ips
from graph.directory import Directory
from graph.kubernetes_objects import object_ref
from graph.peers import Peers, Vantage
from graph.placement import Placement
from graph.resources import (
    CLUSTER_NAME,
    ENVIRONMENT,
    HOST_IP,
    NAMESPACE_NAME,
    POD_IP,
    WORKLOAD_KEYS,
    ResolvedResource,
    cluster_of,
    identity_part,
    namespace_of,
    resolve,
)
from graph.saved_state import Arrays, SavedStateError, json_array, json_of
from graph.topology import Snapshot
from schema.batches import Resource
from schema.identity import EntityRef

__all__ = ["ResolvedResource", "Resolver"]

NEVER = -1
SERVER_KINDS = frozenset({"database", "cache"})
MESSAGING_KINDS = frozenset({"topic", "queue"})


@dataclass(slots=True)
class _Known:
    """A resource with what others said of its place. `version`: of the placement that completed it; `learnt`: when last learnt from."""

    attributes: Mapping[str, str]
    resolved: ResolvedResource
    version: int
    learnt: int = NEVER


class Resolver:
    """The front over what is known of places, names and addresses. Every table is bounded by `limit`.

    Ask only after `learn` was given all resources of a window: then the order of arrival within it leaves no trace.
    """

    def __init__(self, *, default_cluster: str = "", limit: int = 200_000) -> None:
        self._default_cluster = default_cluster
        self._limit = limit
        self._placement = Placement(limit=limit)
        self._directory = Directory(limit=limit)
        self._book = AddressBook(limit=limit)
        self._peers = Peers(self._directory, self._book)
        self._known: dict[tuple[tuple[str, str], ...], _Known] = {}
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """What could not be kept or resolved, by reason."""
        parts = (self._placement.dropped, self._directory.dropped, self._book.dropped, self._peers.dropped)
        return dict(sum((Counter(part) for part in parts), self._dropped))

    def restore(self, snapshot: Snapshot) -> None:
        """Takes up the names of a stored estate, so that a restart calls everything as before."""
        for entity in snapshot.entities:
            ref = entity.ref
            if ref.kind == "service":
                self._directory.add_service(ref, [(ref.namespace, ref.name)])
            elif ref.kind in SERVER_KINDS:
                host, _, database = ref.name.partition("/")
                self._directory.add_server(ref, host_and_port(host)[0], database)
            elif ref.kind in MESSAGING_KINDS:
                self._directory.add_server(ref, "", ref.name)
            elif ref.kind == "namespace":
                self._directory.add_namespace(ref.name)

    def memory(self) -> Arrays:
        """Names, places and addresses, for `recall`."""
        parts = {"places": self._placement.memory(), "directory": self._directory.memory(), "addresses": self._book.memory()}
        return {name: json_array(part) for name, part in parts.items()}

    def recall(self, memory: Arrays) -> None:
        """Takes up what another remembered, after `restore`. Raises SavedStateError."""
        try:
            self._placement.restore(json_of(memory["places"]))
            self._directory.restore(json_of(memory["directory"]))
            self._book.restore(json_of(memory["addresses"]))
        except (KeyError, TypeError, ValueError) as trouble:
            raise SavedStateError(f"its names do not read ({type(trouble).__name__}: {trouble})") from trouble

    def learn(self, resources: Iterable[Resource], time: int) -> None:
        """Takes note of who is where, under which names and addresses, as of event time `time`."""
        new = [resource for resource in resources if self._learnt(resource) != time]
        for resource in new:
            self._placement.learn(resource.attributes)
        for resource in new:
            known = self._complete(resource)
            known.learnt = time
            self._introduce(known, time)

    def resource(self, resource: Resource, time: int) -> ResolvedResource:
        """The entities of a resource, which is learnt from if `learn` was not given it."""
        self.learn((resource,), time)
        return self._complete(resource).resolved

    def peer(self, caller: ResolvedResource, attributes: Mapping[str, str], time: int) -> EntityRef | None:
        """What stands at the far end of a client, producer or consumer span, if its attributes say so."""
        return self._peers.called(self._vantage(caller), attributes, time)

    def metric_entity(self, resource: Resource, attributes: Mapping[str, str], kinds: tuple[str, ...], time: int) -> EntityRef | None:
        """The entity that a metric point of an attribute with these `kinds` speaks of; the first kind that resolves."""
        known = self._complete(resource)
        for kind in kinds:
            ref = known.resolved.of_kind(kind) or self._measured(kind, known, attributes, time)
            if ref is not None:
                return ref
        self._dropped["metric_without_entity"] += 1
        return None

    def event_entity(self, resource: Resource, attributes: Mapping[str, str]) -> EntityRef | None:
        """The pod, container, node or workload that a Kubernetes event speaks of. `attributes`: the log record's."""
        known = self._complete(resource)
        said = {**known.attributes, **attributes}
        cluster, namespace = cluster_of(said, self._default_cluster), identity_part(said.get(NAMESPACE_NAME, ""))
        subject = object_ref(
            said.get("k8s.object.kind", ""), said.get("k8s.object.name", ""), cluster, namespace, said.get("k8s.object.fieldpath", "")
        ) or next((own for kind in ("container", "pod", "workload", "node") if (own := known.resolved.of_kind(kind))), None)
        if subject is None:
            self._dropped["event_without_entity"] += 1
        return subject

    def service_in_metrics(self, name: str, resource: Resource) -> EntityRef:
        """The service that service-graph metrics call `name`; one that was seen elsewhere if there is just one."""
        attributes = self._complete(resource).attributes
        cluster, namespace = cluster_of(attributes, self._default_cluster), namespace_of(attributes)
        known = self._directory.service(cluster, namespace, name) or self._directory.service_anywhere(name)
        return known or EntityRef("service", cluster, namespace, name)

    def _measured(self, kind: str, known: _Known, attributes: Mapping[str, str], time: int) -> EntityRef | None:
        said = {**known.attributes, **attributes}
        vantage = self._vantage(known.resolved, sure=bool(said.get(CLUSTER_NAME) or said.get(ENVIRONMENT)))
        if kind in SERVER_KINDS:
            return self._peers.measured_server(kind, vantage, said, time)
        return self._peers.measured_destination(kind, vantage, said) if kind in MESSAGING_KINDS else None

    def _learnt(self, resource: Resource) -> int:
        known = self._known.get(tuple(resource.attributes.items()))
        return NEVER if known is None else known.learnt

    def _complete(self, resource: Resource) -> _Known:
        key = tuple(resource.attributes.items())
        known = self._known.get(key)
        if known is None or known.version != self._placement.version:
            attributes = self._placement.complete(resource.attributes)
            learnt = NEVER if known is None else known.learnt
            known = _Known(attributes, resolve(attributes, self._default_cluster), self._placement.version, learnt)
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[key] = known
        return known

    def _introduce(self, known: _Known, time: int) -> None:
        attributes, resolved = known.attributes, known.resolved
        namespace = identity_part(attributes.get(NAMESPACE_NAME, ""))
        if namespace:
            self._directory.add_namespace(namespace)
        service = resolved.service
        if service is not None:
            names = {(service.namespace, service.name)}
            if namespace:
                names |= {(namespace, name) for name in (service.name, *(attributes[key] for key in WORKLOAD_KEYS[:3] if key in attributes))}
            self._directory.add_service(service, sorted(names))
        self._peers.introduce(self._vantage(resolved), attributes, time)
        holder = resolved.pod or resolved.node or service
        if holder is not None:
            for address in routable_ips(f"{attributes.get(POD_IP, '')} {attributes.get(HOST_IP, '')}"):
                self._book.bind(f"{holder.cluster}/{address}", holder, service, time)

    def _vantage(self, home: ResolvedResource, *, sure: bool = True) -> Vantage:
        own = home.service or home.pod or home.node or home.namespace or home.workload
        cluster = own.cluster if own else home.cluster.name if home.cluster else self._default_cluster
        return Vantage(cluster, home.namespace.name if home.namespace else "", home, sure=sure)
