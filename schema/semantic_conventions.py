"""Which attributes Whence reads, under their names of semantic conventions 1.44, and the older names that mean the same."""

from __future__ import annotations

RENAMED: dict[str, str] = {
    "deployment.environment": "deployment.environment.name",
    "peer.service": "service.peer.name",
    "db.system": "db.system.name",
    "db.name": "db.namespace",
    "db.statement": "db.query.text",
    "db.operation": "db.operation.name",
    "db.sql.table": "db.collection.name",
    "db.mongodb.collection": "db.collection.name",
    "db.redis.database_index": "db.namespace",
    "messaging.destination": "messaging.destination.name",
    "messaging.kafka.consumer.group": "messaging.consumer.group.name",
    "messaging.kafka.consumer_group": "messaging.consumer.group.name",
    "messaging.operation": "messaging.operation.type",
    "rpc.grpc.status_code": "rpc.response.status_code",
    "http.method": "http.request.method",
    "http.status_code": "http.response.status_code",
    "http.url": "url.full",
    "http.target": "url.path",
    "http.host": "server.address",
    "net.peer.name": "server.address",
    "net.peer.port": "server.port",
    "net.peer.ip": "network.peer.address",
    "net.sock.peer.addr": "network.peer.address",
    "net.host.name": "server.address",
    "net.host.port": "server.port",
    "exception.escaped": "exception.escaped",
}
"""Old name -> the name in force."""

READ: frozenset[str] = frozenset({
    "service.name", "service.namespace", "service.version", "service.instance.id", "service.criticality", "service.peer.name",
    "db.system.name", "db.namespace", "db.query.text", "db.query.summary", "db.operation.name", "db.collection.name", "db.client.connection.state",
    "db.client.connection.pool.name", "postgresql.database.name",
    "messaging.system", "messaging.destination.name", "messaging.consumer.group.name", "messaging.operation.type", "messaging.operation.name",
    "rpc.system", "rpc.system.name", "rpc.service", "rpc.method", "rpc.response.status_code",
    "http.request.method", "http.response.status_code", "http.route", "url.full", "url.path", "error.type",
    "server.address", "server.port", "network.peer.address", "network.peer.port",
    "k8s.cluster.name", "k8s.namespace.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.job.name", "k8s.replicaset.name",
    "k8s.pod.name", "k8s.pod.uid", "k8s.pod.ip", "k8s.container.name", "k8s.node.name", "k8s.volume.name", "k8s.event.reason",
    "k8s.object.kind", "k8s.object.name", "k8s.object.fieldpath", "k8s.cronjob.name", "k8s.replicationcontroller.name",
    "container.id", "container.name", "container.image.name", "container.image.tags", "host.name", "host.id", "host.ip", "cloud.provider", "cloud.region", "cloud.availability_zone",
    "deployment.environment.name", "exception.type", "exception.message", "exception.escaped",
})  # fmt: skip
"""The canonical names that some part of Whence reads."""


def canonical(key: str) -> str | None:
    """The name in force for an attribute key, or None when Whence does not read it."""
    name = RENAMED.get(key, key)
    return name if name in READ else None
