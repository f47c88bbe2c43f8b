"""Which store a URL names."""

from __future__ import annotations

from pathlib import Path

from graph.memory_store import MemoryGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore, StoreUnavailableError


def open_store(url: str, data_directory: Path) -> GraphStore:
    """`sqlite` (in the data directory), `sqlite:///path`, or `memory`. Raises StoreUnavailableError for anything else."""
    if url == "sqlite":
        return SqliteGraphStore(data_directory / "whence.db")
    if url.startswith("sqlite:///"):
        return SqliteGraphStore(Path("/" + url.removeprefix("sqlite:///").lstrip("/")))
    if url == "memory":
        return MemoryGraphStore()
    raise StoreUnavailableError(f"No store answers to {url!r}: use sqlite, sqlite:///path/to/file, or memory.")
