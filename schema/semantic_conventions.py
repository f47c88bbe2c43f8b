"""Which attributes Whence reads, under their names of semantic conventions 1.44, and the older names that mean the same."""

from __future__ import annotations

from dataclasses import dataclass

RENAMED: dict[str, str] = {
    "deployment.environment": "deployment.environment.name",
    "peer.service": "service.peer.name",
    "db.system": "db.system.name",
    "db.name": "db.namespace",
    "db.redis.database_index": "db.namespace",
    "db.elasticsearch.cluster.name": "db.namespace",
    "db.operation": "db.operation.name",
    "db.sql.table": "db.collection.name",
    "db.mongodb.collection": "db.collection.name",
    "db.cassandra.table": "db.collection.name",
    "db.cosmosdb.container": "db.collection.name",
    "db.client.connections.state": "db.client.connection.state",
    "db.client.connections.pool.name": "db.client.connection.pool.name",
    "messaging.destination": "messaging.destination.name",
    "messaging.kafka.consumer.group": "messaging.consumer.group.name",
    "messaging.kafka.consumer_group": "messaging.consumer.group.name",
    "messaging.eventhubs.consumer.group": "messaging.consumer.group.name",
    "messaging.rocketmq.client_group": "messaging.consumer.group.name",
    "messaging.operation": "messaging.operation.type",
    "rpc.system": "rpc.system.name",
    "rpc.grpc.status_code": "rpc.response.status_code",
    "rpc.connect_rpc.error_code": "rpc.response.status_code",
    "rpc.jsonrpc.error_code": "rpc.response.status_code",
    "http.method": "http.request.method",
    "http.status_code": "http.response.status_code",
    "http.url": "url.full",
    "net.peer.name": "server.address",
    "http.server_name": "server.address",
    "http.host": "server.address",
    "net.host.name": "server.address",
    "net.peer.port": "server.port",
    "net.host.port": "server.port",
    "net.sock.peer.addr": "network.peer.address",
    "net.peer.ip": "network.peer.address",
    "net.sock.peer.port": "network.peer.port",
}
"""Old name -> the name in force. Where a sender uses several old names of one, the one that stands first here counts."""

READ: frozenset[str] = frozenset({
    "service.name", "service.namespace", "service.version", "service.instance.id", "service.criticality", "service.peer.name",
    "db.system.name", "db.namespace", "db.query.summary", "db.operation.name", "db.collection.name", "db.client.connection.state",
    "db.client.connection.pool.name", "postgresql.database.name",
    "messaging.system", "messaging.destination.name", "messaging.consumer.group.name", "messaging.operation.type", "messaging.operation.name",
    "rpc.system.name", "rpc.service", "rpc.method", "rpc.response.status_code",
    "http.request.method", "http.response.status_code", "http.route", "url.full", "error.type",
    "server.address", "server.port", "network.peer.address", "network.peer.port",
    "k8s.cluster.name", "k8s.namespace.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.job.name", "k8s.replicaset.name",
    "k8s.pod.name", "k8s.pod.uid", "k8s.pod.ip", "k8s.container.name", "k8s.node.name", "k8s.volume.name", "k8s.event.reason",
    "k8s.object.kind", "k8s.object.name", "k8s.object.fieldpath", "k8s.cronjob.name", "k8s.replicationcontroller.name",
    "container.id", "container.name", "container.image.name", "container.image.tags", "host.name", "host.id", "host.ip", "cloud.provider", "cloud.region", "cloud.availability_zone",
    "deployment.environment.name", "exception.type",
})  # fmt: skip
"""The canonical names that some part of Whence reads."""


@dataclass(frozen=True, slots=True)
class CanonicalName:
    """A name in force. `age`: 0 when the sender used it itself, else the place of the old name in RENAMED; the youngest counts."""

    name: str
    age: int


NAMES: dict[str, CanonicalName] = {old: CanonicalName(new, age) for age, (old, new) in enumerate(RENAMED.items(), start=1)} | {
    name: CanonicalName(name, 0) for name in READ
}
"""Every attribute key that Whence understands."""


def canonical(key: str) -> str | None:
    """The name in force for an attribute key, or None when Whence does not read it."""
    known = NAMES.get(key)
    return None if known is None else known.name
