"""The names that services, databases and caches are known by. Bounded; names beyond the bound are counted, not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schema.identity import EntityRef


@dataclass(slots=True)
class _Servers:
    """Servers of one kind, by the host they were dialled at and by the database they were asked for."""

    known: set[EntityRef] = field(default_factory=set)
    by_host: dict[str, set[EntityRef]] = field(default_factory=dict)
    by_database: dict[str, set[EntityRef]] = field(default_factory=dict)


class Directory:
    """Answers only what is unambiguous: a name that two entities bear names neither."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._services: dict[str, dict[tuple[str, str], set[EntityRef]]] = {}
        self._service_names = 0
        self._servers: dict[str, _Servers] = {}
        self._namespaces: set[str] = set()
        self._dropped: Counter[str] = Counter()

    @property
    def namespaces(self) -> set[str]:
        """The Kubernetes namespaces seen so far."""
        return self._namespaces

    @property
    def dropped(self) -> Mapping[str, int]:
        """Names not kept, by reason."""
        return dict(self._dropped)

    def memory(self) -> dict[str, object]:
        """What is known, as JSON."""
        services = [[name, namespace, sorted(map(str, found))] for name, places in self._services.items() for (_, namespace), found in places.items()]
        servers = [
            [sorted(map(str, table.known)), *({name: sorted(map(str, found)) for name, found in names.items()} for names in (table.by_host, table.by_database))]
            for table in self._servers.values()
        ]
        return {"namespaces": sorted(self._namespaces), "services": services, "servers": servers}

    def restore(self, memory: Any) -> None:
        """Knows what `memory` told, and nothing else. Raises KeyError, TypeError or ValueError where it is malformed."""
        self._services, self._service_names, self._servers, self._namespaces = {}, 0, {}, set()
        for name in memory["namespaces"]:
            self.add_namespace(name)
        for name, namespace, services in memory["services"]:
            for service in services:
                self.add_service(EntityRef.parse(service), [(namespace, name)])
        for known, hosts, databases in memory["servers"]:
            for server in known:
                self.add_server(EntityRef.parse(server), "", "")
            for host, servers in hosts.items():
                for server in servers:
                    self.add_server(EntityRef.parse(server), host, "")
            for database, servers in databases.items():
                for server in servers:
                    self.add_server(EntityRef.parse(server), "", database)

    def add_namespace(self, name: str) -> None:
        """A namespace exists."""
        if name in self._namespaces:
            return
        if len(self._namespaces) >= self._limit:
            self._dropped["namespace_table_full"] += 1
            return
        self._namespaces.add(name)

    def add_service(self, service: EntityRef, names: Iterable[tuple[str, str]]) -> None:
        """`service` answers to these (namespace, name) in its cluster."""
        for namespace, name in names:
            place = (service.cluster, namespace)
            if service in self._services.get(name, {}).get(place, ()):
                continue
            if self._service_names >= self._limit:
                self._dropped["service_table_full"] += 1
                return
            self._services.setdefault(name, {}).setdefault(place, set()).add(service)
            self._service_names += 1

    def service(self, cluster: str, namespace: str, name: str, *, here_only: bool = False) -> EntityRef | None:
        """The service of that name in the namespace; failing that, unless `here_only`, the only one of that name in the cluster."""
        places = self._services.get(name, {})
        here = places.get((cluster, namespace), set())
        # The service that bears the name itself goes before those whose workload does.
        exact = [each for each in here if each.name == name]
        if len(exact or here) == 1:
            return next(iter(exact or here))
        if here or here_only:
            return None
        return only(each for place, found in places.items() if place[0] == cluster for each in found)

    def service_anywhere(self, name: str, namespace: str | None = None) -> EntityRef | None:
        """The only service of that name in all clusters, in the given namespace if one is given."""
        found = {each for place, here in self._services.get(name, {}).items() if namespace in {None, place[1]} for each in here}
        return only(each for each in found if each.name == name) or only(found)

    def add_server(self, server: EntityRef, host: str, database: str) -> None:
        """A database, cache, topic or queue was reached at `host` under the name `database`; either may be empty."""
        table = self._servers.setdefault(server.kind, _Servers())
        if server not in table.known:
            if len(table.known) >= self._limit:
                self._dropped["server_table_full"] += 1
                return
            table.known.add(server)
        for names, name in ((table.by_host, host), (table.by_database, database)):
            if name and (name in names or len(names) < self._limit):
                names.setdefault(name, set()).add(server)
            elif name:
                self._dropped["server_table_full"] += 1

    def server(self, kind: str, cluster: str, namespace: str, *, host: str = "", database: str = "") -> EntityRef | None:
        """The only known server that fits: all that is given must match; several in the cluster are told apart by namespace.

        An empty `cluster` fits any; a server whose own cluster is empty is reached from all of them.
        """
        table = self._servers.get(kind, _Servers())
        found = table.known
        if host:
            found = found & table.by_host.get(host, set())
        if database:
            found = found & table.by_database.get(database, set())
        near = [each for each in found if not cluster or each.cluster in {cluster, ""}]
        return only(near) or only(each for each in near if each.namespace == namespace)


def only(found: Iterable[EntityRef]) -> EntityRef | None:
    """The one entity among them, or None if there is none or several."""
    distinct = set(found)
    return distinct.pop() if len(distinct) == 1 else None
