"""How a database or cache is named: by the host it is dialled at and the database asked for, whoever speaks of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

CACHES = frozenset({"redis", "valkey", "keydb", "dragonfly", "memcached", "hazelcast", "infinispan"})
EMBEDDED = frozenset({"sqlite", "h2", "hsqldb", "derby", "duckdb"})
DEFAULT_PORTS: Mapping[str, frozenset[str]] = {
    "postgresql": frozenset({"5432"}),
    "mysql": frozenset({"3306"}),
    "mariadb": frozenset({"3306"}),
    "redis": frozenset({"6379"}),
    "memcached": frozenset({"11211"}),
    "mongodb": frozenset({"27017"}),
    "cassandra": frozenset({"9042"}),
    "elasticsearch": frozenset({"9200", "443"}),
    "opensearch": frozenset({"9200", "443"}),
    "clickhouse": frozenset({"8123", "9000"}),
    "microsoft.sql_server": frozenset({"1433"}),
    "mssql": frozenset({"1433"}),
    "oracle.db": frozenset({"1521"}),
    "oracle": frozenset({"1521"}),
}
ANY_DEFAULT_PORT = frozenset().union(*DEFAULT_PORTS.values())


def server_kind(system: str) -> str:
    """`cache` or `database`. `system`: db.system.name."""
    return "cache" if system in CACHES else "database"


def database_of(system: str, namespace: str) -> str:
    """The database in a db.namespace, which may carry a schema (postgresql) or an instance (SQL Server); a cache's numbers are no databases."""
    if server_kind(system) == "cache":
        return ""
    if system == "postgresql":
        return namespace.partition("|")[0].partition(".")[0]
    return namespace.rpartition("|")[2] if system in {"mssql", "microsoft.sql_server"} else namespace.partition("|")[0]


def server_name(host: str, port: str, system: str, database: str) -> str:
    """`host[:port][/database]`; the system's usual port goes without saying. An unknown system may use anybody's usual port."""
    usual = not port or port in DEFAULT_PORTS.get(system, ANY_DEFAULT_PORT)
    return "/".join(part for part in (host if usual else f"{host}:{port}", database) if part) or system
