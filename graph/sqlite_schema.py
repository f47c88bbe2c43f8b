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
    (
        # Identities by number: relations and their indexes are a third of the size, and so are the pages a walk or a heartbeat touches.
        "create table name(id integer primary key, ref text not null unique, kind text not null)",
        """create table entity_interval(
            id integer not null, attributes text not null, sources text not null,
            first_seen integer not null, last_seen integer not null, told integer not null, opened integer not null, closed integer)""",
        """create table relation_interval(
            source integer not null, kind text not null, target integer not null, sources text not null, confidence real not null, statistics text,
            first_seen integer not null, last_seen integer not null, opened integer not null, closed integer)""",
        """create table structure_change(
            at integer not null, event text not null, entity integer not null, source integer, kind text, target integer, detail text not null)""",
        """insert or ignore into name(ref, kind) select ref, kind from entity order by ref""",
        """insert or ignore into name(ref, kind) select ref, substr(ref, 1, instr(ref, ':') - 1)
           from (select source as ref from relation union select target from relation union select entity from change)""",
        """insert into entity_interval select name.id, attributes, sources, first_seen, last_seen, last_seen, opened, closed
           from entity join name using (ref) order by entity.rowid""",
        """insert into relation_interval select source.id, relation.kind, target.id, sources, confidence, statistics, first_seen, last_seen, opened, closed
           from relation join name source on source.ref = relation.source join name target on target.ref = relation.target order by relation.rowid""",
        """insert into structure_change select at, event, entity.id, source.id, change.kind, target.id, ''
           from change join name entity on entity.ref = change.entity
           left join name source on source.ref = change.source left join name target on target.ref = change.target order by change.rowid""",
        "drop table entity",
        "drop table relation",
        "drop table change",
        "create unique index entity_now on entity_interval(id) where closed is null",
        "create index entity_past on entity_interval(id, closed) where closed is not null",
        "create unique index relation_now on relation_interval(source, target, kind) where closed is null",
        "create index relation_now_target on relation_interval(target) where closed is null",
        "create index relation_past on relation_interval(source, target, kind, closed) where closed is not null",
        "create index relation_past_target on relation_interval(target) where closed is not null",
        "create index structure_change_at on structure_change(at, entity)",
    ),
    (
        # Entities of one kind have the same attributes: the texts stand once.
        "create table shared_text(id integer primary key, content text not null unique)",
        "create table attribute(entity integer primary key, held integer not null)",
        """create table dependency(source integer not null, kind text not null, target integer not null, held integer not null,
            primary key(source, target, kind)) without rowid""",
        "create index dependency_target on dependency(target)",
    ),
    (
        """create table entity_change(at integer not null, entity text not null, kind text not null, detail text not null,
            primary key(at, entity, kind, detail)) without rowid""",
    ),
)


def layout_of(connection: sqlite3.Connection) -> int:
    """The number of the last migration that ran; 0 for a new file."""
    version: int = connection.execute("pragma user_version").fetchone()[0]
    return version


def checked_layout(connection: sqlite3.Connection, known: int = len(MIGRATIONS)) -> int:
    """The same. Raises StoreVersionError for a file of a newer Whence."""
    layout = layout_of(connection)
    if layout > known:
        raise StoreVersionError(f"The store has layout {layout}, this Whence knows up to {known}: upgrade Whence, or choose another --data-dir.")
    return layout


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Runs the migrations that are missing, each in one transaction. Raises StoreVersionError for a file of a newer Whence."""
    version = checked_layout(connection, len(migrations))
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
