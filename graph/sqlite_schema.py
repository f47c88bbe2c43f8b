"""The layout of the embedded store, as numbered migrations. `user_version` says which have run."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from graph.store import StoreVersionError

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """create table entity(
            ref text not null, kind text not null, attributes text not null, sources text not null,
            first_seen integer not null, last_seen integer not null, opened integer not null, closed integer)""",
        "create unique index entity_present on entity(ref) where closed is null",
        "create index entity_past on entity(ref, opened)",
        "create index entity_kind on entity(kind, ref) where closed is null",
        """create table relation(
            source text not null, kind text not null, target text not null, sources text not null, confidence real not null, statistics text,
            first_seen integer not null, last_seen integer not null, opened integer not null, closed integer)""",
        "create unique index relation_present on relation(source, kind, target) where closed is null",
        "create index relation_target on relation(target) where closed is null",
        "create index relation_past on relation(source, kind, target, opened)",
        "create index relation_past_target on relation(target, opened)",
        """create table change(
            at integer not null, event text not null, entity text not null, source text, kind text, target text)""",
        "create index change_at on change(at)",
        "create table incident(id text primary key, state text not null, opened_at integer not null, content text not null)",
        "create index incident_opened on incident(opened_at)",
        "create table state(name text primary key, content blob not null)",
    ),
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Runs the migrations that are missing, each in one transaction. Raises StoreVersionError for a file of a newer Whence."""
    (version,) = connection.execute("pragma user_version").fetchone()
    if version > len(migrations):
        raise StoreVersionError(f"The store has layout {version}, this Whence knows up to {len(migrations)}: upgrade Whence, or choose another --data-dir.")
    for number, statements in enumerate(migrations[version:], start=version + 1):
        connection.execute("begin immediate")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"pragma user_version = {number}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
