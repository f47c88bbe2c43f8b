"""Who stands at the far end of a call: services by name or address, databases and caches by host and database, topics and queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from graph.address_book import AddressBook
from graph.addresses import Place, Scope, host_and_port, ip_of, place_of
from graph.directory import Directory
from graph.resources import WORKLOAD_KEYS, ResolvedResource
from graph.servers import EMBEDDED, database_of, server_kind, server_name
from schema.identity import EntityRef

QUEUES = frozenset({"rabbitmq", "aws_sqs", "activemq", "servicebus", "jms"})
TEMPORARY_DESTINATIONS = ("amq.gen-", "amq.rabbitmq.", "amq_")


@dataclass(frozen=True, slots=True)
class Vantage:
    """Where something is said from, for names are relative to it. `namespace`: the Kubernetes namespace that completes bare host names.

    `sure`: the speaker says itself which cluster it is in.
    """

    cluster: str
    namespace: str
    home: ResolvedResource
    sure: bool = True


@dataclass(frozen=True, slots=True)
class _Asked:
    """A database or cache as somebody names it. `system` is empty where metrics do not say."""

    kind: str
    system: str
    database: str
    port: str


class Peers:
    """Resolves peers with what the directory and the address book hold, and enters the servers it meets into the directory."""

    def __init__(self, directory: Directory, book: AddressBook) -> None:
        self._directory = directory
        self._book = book
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Peers that are no entity, by reason."""
        return dict(self._dropped)

    def called(self, vantage: Vantage, attributes: Mapping[str, str], time: int) -> EntityRef | None:
        """What a client or producer span reached."""
        system = attributes.get("db.system.name", "")
        address = attributes.get("server.address") or attributes.get("network.peer.address", "")
        if system:
            asked = _Asked(server_kind(system), system, database_of(system, attributes.get("db.namespace", "")), attributes.get("server.port", ""))
            return self._server(vantage, asked, address, time)
        if attributes.get("messaging.destination.name"):
            kind = "queue" if attributes.get("messaging.system", "") in QUEUES else "topic"
            return self._destination(kind, vantage, attributes["messaging.destination.name"], address)
        named = attributes.get("service.peer.name", "")
        if named:
            return self._named(vantage, named, time)
        address = address or attributes.get("url.full", "")
        return self._behind(vantage, address, attributes.get("network.peer.address", ""), time) if address else None

    def introduce(self, vantage: Vantage, attributes: Mapping[str, str], time: int) -> None:
        """A resource that is a database tells its own name before anybody asks."""
        if attributes.get("postgresql.database.name"):
            self.measured_server("database", vantage, attributes, time)

    def measured_server(self, kind: str, vantage: Vantage, said: Mapping[str, str], time: int) -> EntityRef | None:
        """The database or cache that a receiver's metrics are of, by its address, its pod's workload or its database."""
        system = "redis" if kind == "cache" else "postgresql" if said.get("postgresql.database.name") else said.get("db.system.name", "")
        database = database_of(system, said.get("postgresql.database.name") or said.get("db.namespace", ""))
        instance = said.get("service.instance.id", "")
        address = said.get("server.address") or (instance if ":" in instance else "")
        asked = _Asked(kind, system, database, said.get("server.port", ""))
        if address and place_of(host_and_port(address)[0], vantage.namespace, ()).scope != Scope.HOST:
            return self._server(vantage, asked, address, time)
        # A receiver beside the server dials localhost, or says nothing: clients know the server by a better name.
        known = self._directory.server(kind, _searched(vantage), vantage.namespace, database=database) if database else None
        workload = next((said[key] for key in WORKLOAD_KEYS if said.get(key)), "")
        if known is not None or not (workload or address or database):
            return known
        return self._server(vantage, asked, workload or address, time, guessed=True)

    def measured_destination(self, kind: str, vantage: Vantage, said: Mapping[str, str]) -> EntityRef | None:
        """The topic or queue that a receiver's metrics are of."""
        name = said.get("topic") or said.get("messaging.destination.name", "")
        if not name:
            return None
        known = None if vantage.sure else self._directory.server(kind, "", vantage.namespace, database=name)
        return known or self._destination(kind, vantage, name, "")

    def _destination(self, kind: str, vantage: Vantage, name: str, broker: str) -> EntityRef | None:
        """A topic is shared by a whole cluster; a queue belongs to the namespace of its broker, or of those who use it."""
        if name.startswith(TEMPORARY_DESTINATIONS):
            self._dropped["temporary_destination"] += 1
            return None
        place = place_of(host_and_port(broker)[0], vantage.namespace, self._directory.namespaces) if broker else None
        namespace = place.namespace if place and place.given else vantage.namespace
        destination = EntityRef(kind, vantage.cluster, namespace if kind == "queue" else "", name)
        self._directory.add_server(destination, "", name)
        return destination

    def _named(self, vantage: Vantage, named: str, time: int) -> EntityRef | None:
        """A peer's logical name; some instrumentation puts an address there."""
        own = vantage.home.service.namespace if vantage.home.service else vantage.namespace
        known = self._directory.service(vantage.cluster, own, named) or self._directory.service_anywhere(named)
        if known is not None:
            return known
        if "." in named or ":" in named:
            return self._behind(vantage, named, "", time)
        return EntityRef("service", vantage.cluster, "", named)

    def _behind(self, vantage: Vantage, address: str, peer_address: str, time: int) -> EntityRef | None:
        """The service at an address, else the address itself as an external service."""
        host, _ = host_and_port(address)
        place = place_of(host, vantage.namespace, self._directory.namespaces)
        if place.scope == Scope.HOST:
            self._dropped["peer_on_own_host"] += 1
            return None
        if ip_of(place.name) is not None:
            return self._owner(vantage, place.name, time) or self._stranger("external_service", vantage, place, place.name, time)
        if place.scope in {Scope.CLUSTER, Scope.CLUSTERSET}:
            known = self._service_at(vantage, place) or self._owner(vantage, host_and_port(peer_address)[0], time)
            cluster = vantage.cluster if place.scope == Scope.CLUSTER else ""
            return known or EntityRef("external_service", cluster, place.namespace, place.name)
        return EntityRef("external_service", "", "", place.name)

    def _service_at(self, vantage: Vantage, place: Place) -> EntityRef | None:
        directory, cluster = self._directory, vantage.cluster
        if place.scope == Scope.CLUSTERSET:
            found = directory.service_anywhere(place.name, place.namespace)
            return found or directory.service(cluster, place.namespace, place.name, here_only=True)
        if place.namespace:
            found = directory.service(cluster, place.namespace, place.name, here_only=True)
            return found or directory.service(cluster, "", place.name, here_only=True)
        own = vantage.home.service.namespace if vantage.home.service else ""
        return directory.service(cluster, own, place.name)

    def _owner(self, vantage: Vantage, address: str, time: int) -> EntityRef | None:
        return self._book.owner(f"{vantage.cluster}/{address}", time) if ip_of(address) is not None else None

    def _stranger(self, kind: str, vantage: Vantage, place: Place, name: str, time: int) -> EntityRef | None:
        """An IP that nobody is known to hold; a private one means something within the cluster only."""
        cluster = "" if place.scope == Scope.WORLD else vantage.cluster
        return EntityRef(kind, cluster, "", name) if self._book.admits(f"{cluster}/{place.name}", time) else None

    def _server(self, vantage: Vantage, asked: _Asked, address: str, time: int, *, guessed: bool = False) -> EntityRef | None:
        host, port = host_and_port(address, asked.port)
        place = place_of(host, vantage.namespace, self._directory.namespaces) if host else Place(Scope.HOST, "")
        if place.scope == Scope.HOST:
            server = self._local_server(vantage, asked, place.name)
        elif ip_of(place.name) is not None:
            known = self._directory.server(asked.kind, _searched(vantage), vantage.namespace, database=asked.database) if asked.database else None
            name = server_name(place.name, port, asked.system, asked.database)
            server = known or self._stranger(asked.kind, vantage, place, name, time)
        else:
            server = self._server_at(vantage, asked, place, port)
        # A guess is not entered into the directory: it must not stand in the way of what a client says later.
        if server is not None and not guessed:
            self._directory.add_server(server, place.name, asked.database)
        return server

    def _server_at(self, vantage: Vantage, asked: _Asked, place: Place, port: str) -> EntityRef:
        """By host name. Where the namespace or the database is left out, the only server that fits is meant."""
        inside = place.scope == Scope.CLUSTER
        cluster = vantage.cluster if inside else ""
        exact = EntityRef(asked.kind, cluster, place.namespace, server_name(place.name, port, asked.system, asked.database))
        searched = _searched(vantage) if inside else ""
        if (inside and place.namespace and vantage.sure) and (asked.database or asked.kind == "cache"):
            return exact
        known = self._directory.server(asked.kind, searched, place.namespace, host=place.name, database=asked.database)
        return known if known is not None and place.namespace in {"", known.namespace} else exact

    def _local_server(self, vantage: Vantage, asked: _Asked, host: str) -> EntityRef | None:
        """No address, or one that means the caller's own machine: the server belongs to the caller, unless its database is known elsewhere."""
        home = vantage.home
        if not host and asked.database and asked.system not in EMBEDDED:
            known = self._directory.server(asked.kind, _searched(vantage), vantage.namespace, database=asked.database)
            return known or EntityRef(asked.kind, vantage.cluster, vantage.namespace, asked.database)
        beside = home.service or home.pod
        if host and home.pod is None and home.node is not None:
            beside = home.node
        if beside is None:
            return None
        return EntityRef(asked.kind, beside.cluster, beside.namespace, server_name(beside.name, "", asked.system, asked.database or asked.system))


def _searched(vantage: Vantage) -> str:
    """The cluster to search the directory in; empty is all of them."""
    return vantage.cluster if vantage.sure else ""
