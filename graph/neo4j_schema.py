"""What a Neo4j database must be and have before the store uses it: a server new enough, our layout, and nobody else's nodes under our labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from neo4j import AsyncManagedTransaction, AsyncSession

from graph.store import StoreUnavailableError, StoreVersionError

# What makes each layout of the one before it, one transaction each; the first two are made of constraints and indexes alone.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (),
    (),
    ("MATCH (i:Incident) SET i.evidence = coalesce(i.evidence, '[]'), i.impacts = coalesce(i.impacts, '[]'), i.changes = coalesce(i.changes, '[]')",),
)
LAYOUT = len(MIGRATIONS)
OLDEST = (5, 26)
# The labels that each layout is the first to write under.
NEW_LABELS = (("Entity", "Gone", "EntityVersion", "RelationVersion", "StructureChange", "Incident", "SavedState"), ("Attribute",), ("Change",))
LABELS = tuple(label for labels in NEW_LABELS for label in labels)
# Idempotent, and run at every start: what was dropped by hand comes back.
SCHEMA = (
    "CREATE CONSTRAINT whence_entity IF NOT EXISTS FOR (n:Entity) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT whence_gone IF NOT EXISTS FOR (n:Gone) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT whence_attribute IF NOT EXISTS FOR (n:Attribute) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT whence_change IF NOT EXISTS FOR (n:Change) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT whence_incident IF NOT EXISTS FOR (n:Incident) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT whence_saved_state IF NOT EXISTS FOR (n:SavedState) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT whence_layout IF NOT EXISTS FOR (n:WhenceLayout) REQUIRE n.name IS UNIQUE",
    "CREATE INDEX whence_entity_version IF NOT EXISTS FOR (n:EntityVersion) ON (n.id, n.opened)",
    "CREATE INDEX whence_relation_version IF NOT EXISTS FOR (n:RelationVersion) ON (n.source, n.kind, n.target)",
    "CREATE INDEX whence_relation_version_source IF NOT EXISTS FOR (n:RelationVersion) ON (n.source, n.opened)",
    "CREATE INDEX whence_relation_version_target IF NOT EXISTS FOR (n:RelationVersion) ON (n.target, n.opened)",
    "CREATE INDEX whence_entity_version_closed IF NOT EXISTS FOR (n:EntityVersion) ON (n.closed)",
    "CREATE INDEX whence_relation_version_closed IF NOT EXISTS FOR (n:RelationVersion) ON (n.closed)",
    "CREATE INDEX whence_structure_change IF NOT EXISTS FOR (n:StructureChange) ON (n.at, n.entity)",
    "CREATE INDEX whence_change_at IF NOT EXISTS FOR (n:Change) ON (n.at)",
    "CREATE INDEX whence_incident_opened IF NOT EXISTS FOR (n:Incident) ON (n.opened_at)",
)
WAIT_SECONDS = 300


async def ensure(session: AsyncSession, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Checks the server and the database, runs the migrations that are due, and creates what is missing. Raises StoreUnavailableError, StoreVersionError."""
    pending = await due(session, migrations)
    for statement in SCHEMA:
        await session.execute_write(_run, statement)
    await session.execute_write(_run, f"CALL db.awaitIndexes({WAIT_SECONDS})")
    for number in pending:
        await session.execute_write(_migrate, number, migrations[number - 1])


async def due(session: AsyncSession, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> Sequence[int]:
    """The layouts still to be made, in order; nothing is written. Raises StoreUnavailableError, StoreVersionError."""
    version = await session.execute_read(_server_version)
    if _series(version) < OLDEST:
        raise StoreUnavailableError(f"The server is Neo4j {version}, and Whence needs {OLDEST[0]}.{OLDEST[1]} or later: upgrade it.")
    layout, known = await session.execute_read(_layout), len(migrations)
    if layout is not None and layout > known:
        raise StoreVersionError(f"The store has layout {layout}, this Whence knows up to {known}: upgrade Whence, or choose another database.")
    if stranger := await session.execute_read(_stranger, layout or 0):
        if await session.execute_read(_layout) != layout:  # another Whence brought it up to date meanwhile
            return await due(session, migrations)
        raise StoreUnavailableError(f"The database holds nodes labelled {stranger} that Whence did not write: choose another database.")
    return range((layout or 0) + 1, known + 1)


async def _migrate(transaction: AsyncManagedTransaction, number: int, statements: Sequence[str]) -> None:
    # Takes the lock first: of several that start at once, one migrates.
    record = await (await transaction.run("MERGE (n:WhenceLayout {name: 'whence'}) SET n.name = n.name RETURN n.number AS number")).single(strict=True)
    if (record["number"] or 0) < number:
        for statement in statements:
            await _run(transaction, statement)
        await (await transaction.run("MATCH (n:WhenceLayout {name: 'whence'}) SET n.number = $number", number=number)).consume()


async def _run(transaction: AsyncManagedTransaction, statement: str) -> None:
    await (await transaction.run(statement)).consume()


async def _server_version(transaction: AsyncManagedTransaction) -> str:
    found = await transaction.run("CALL dbms.components() YIELD name, versions WHERE name = 'Neo4j Kernel' RETURN versions[0] AS version")
    record = await found.single()
    return str(record["version"]) if record else "of unknown version"


def _series(version: str) -> tuple[int, ...]:
    """5.26.30: (5, 26)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


async def _layout(transaction: AsyncManagedTransaction) -> int | None:
    record = await (await transaction.run("MATCH (n:WhenceLayout {name: 'whence'}) RETURN n.number AS number")).single()
    return int(record["number"]) if record else None


async def _stranger(transaction: AsyncManagedTransaction, layout: int) -> str | None:
    """A label that later layouts write under, and somebody else does already."""
    for label in (label for labels in NEW_LABELS[layout:] for label in labels):
        if await (await transaction.run(f"MATCH (n:{label}) RETURN 1 AS one LIMIT 1")).single() is not None:
            return f":{label}"
    return None
