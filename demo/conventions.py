"""Attribute names of the OpenTelemetry semantic conventions, 1.44 and the older ones some services still send."""

from __future__ import annotations

from collections.abc import Mapping

from demo.declarations import Statement
from demo.telemetry import Value

HTTP_PORT, RPC_PORT, DATABASE_PORT, CACHE_PORT, BROKER_PORT = 8080, 9000, 5432, 6379, 9092

OLD_NAMES: Mapping[str, str] = {
    "http.request.method": "http.method",
    "http.response.status_code": "http.status_code",
    "server.address": "net.peer.name",
    "server.port": "net.peer.port",
    "db.system.name": "db.system",
    "db.namespace": "db.name",
    "db.query.text": "db.statement",
    "db.operation.name": "db.operation",
    "db.collection.name": "db.sql.table",
}
UNKNOWN_TO_OLD = frozenset({"db.query.summary", "error.type"})


def named(attributes: dict[str, Value], *, old: bool) -> dict[str, Value]:
    """The attributes under the names the sender's instrumentation knows."""
    if not old:
        return attributes
    return {OLD_NAMES.get(key, key): value for key, value in attributes.items() if key not in UNKNOWN_TO_OLD}


def is_rpc(operation: str) -> bool:
    """Whether an operation is a gRPC method rather than an HTTP route."""
    return " " not in operation


def incoming(operation: str, status: int) -> dict[str, Value]:
    """What a server says of a request. `status`: the HTTP status it answered."""
    if is_rpc(operation):
        return {"rpc.system.name": "grpc", "rpc.method": operation, "rpc.response.status_code": rpc_status(status)}
    method, route = operation.split(" ", 1)
    return {"http.request.method": method, "http.route": route, "url.scheme": "http", "http.response.status_code": status}


def outgoing(operation: str, host: str) -> dict[str, Value]:
    """What a client says of a call before it knows the answer."""
    if is_rpc(operation):
        return {"rpc.system.name": "grpc", "rpc.method": operation, "server.address": host, "server.port": RPC_PORT}
    method, route = operation.split(" ", 1)
    return {"http.request.method": method, "server.address": host, "server.port": HTTP_PORT, "url.template": route}


def answered(operation: str, status: int) -> dict[str, Value]:
    """What a client adds when it has the answer's status."""
    return {"rpc.response.status_code": rpc_status(status)} if is_rpc(operation) else {"http.response.status_code": status}


def rpc_status(status: int) -> str:
    """The gRPC status nearest to an HTTP one."""
    return {200: "OK", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}.get(status, "INTERNAL")


def query(statement: Statement, address: str, database: str) -> dict[str, Value]:
    """What a database client says of a query."""
    return {
        "db.system.name": "postgresql",
        "db.namespace": database,
        "db.query.summary": statement.summary,
        "db.query.text": statement.text,
        "db.operation.name": statement.summary.split()[0],
        "db.collection.name": statement.summary.split()[1],
        "server.address": address,
        "server.port": DATABASE_PORT,
    }


def cache_command(command: str, address: str) -> dict[str, Value]:
    """What a Redis client says of a command."""
    return {"db.system.name": "redis", "db.namespace": "0", "db.operation.name": command, "server.address": address, "server.port": CACHE_PORT}


def message(topic: str, operation: str, kind: str, partition: int) -> dict[str, Value]:
    """What a producer or consumer says of a message. `operation`: the client's word, `kind`: the conventions' type."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.partition.id": str(partition),
    }
