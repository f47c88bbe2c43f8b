"""Which store a URL names."""

from __future__ import annotations

from pathlib import Path
from ssl import create_default_context

from graph.memory_store import MemoryGraphStore
from graph.neo4j_address import is_neo4j, parse_neo4j
from graph.neo4j_store import Neo4jGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore, StoreUnavailableError


def open_store(url: str, data_directory: Path, user: str = "", password: str = "", authority: Path | None = None) -> GraphStore:
    """`sqlite` (in the data directory), `sqlite:///path`, `memory`, or a Neo4j's `bolt://` or `neo4j://` address.

    `user`, `password`: for a Neo4j whose URL holds none; `authority`: its certificate authority's file. Raises StoreUnavailableError for anything else.
    """
    if url == "sqlite":
        return SqliteGraphStore(data_directory / "whence.db")
    if url.startswith("sqlite:///"):
        return SqliteGraphStore(Path("/" + url.removeprefix("sqlite:///").lstrip("/")))
    if url == "memory":
        return MemoryGraphStore()
    if is_neo4j(url):
        address = parse_neo4j(url, user, password, authority)
        if authority is not None:
            _check(authority)
        return Neo4jGraphStore(address)
    shown = f"{url.partition('://')[0]}://…" if "://" in url else repr(url)  # there may be a password in it
    raise StoreUnavailableError(f"No store answers to {shown}: use sqlite, sqlite:///path/to/file, memory, or neo4j://HOST:PORT (bolt://, +s, +ssc).")


def _check(authority: Path) -> None:
    try:
        create_default_context(cafile=authority)
    except OSError as trouble:
        raise StoreUnavailableError(
            f"{authority} holds no certificates that can be read ({trouble.strerror or trouble}): name a PEM file in WHENCE_STORE_CA."
        ) from None
