"""The production store: Neo4j 5.26 or later, on the official driver. docs/graph/model.md draws what it writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction, AsyncSession, TrustCustomCAs, unit_of_work
from neo4j.api import AsyncBookmarkManager
from neo4j.exceptions import AuthError, DriverError, Neo4jError, ServiceUnavailable, SessionExpired

from graph import neo4j_schema
from graph import neo4j_statements as cypher
from graph.memory_store import key_texts
from graph.neo4j_address import Neo4jAddress
from graph.neo4j_rows import (
    change_of,
    entity_of,
    entity_row,
    incident_of,
    incident_row,
    key_row,
    kind_label,
    milliseconds,
    relation_of,
    relation_row,
    relation_type,
)
from graph.store import StoreError, StoreUnavailableError
from graph.topology import Entity, Relation, RelationKey, Snapshot, StructureChange
from graph.walks import shortest_paths, snapshot_of
from schema.identity import EntityRef
from schema.verdicts import Incident, IncidentState

Result = TypeVar("Result")
Item = TypeVar("Item")
Transaction = AsyncManagedTransaction
Rows = list[dict[str, Any]]

BATCH = 5_000
CONNECT_SECONDS = 5.0
ACQUIRE_SECONDS = 10.0
RETRY_SECONDS = 5.0  # the pipeline waits that long for a store that is away, each window
TRANSACTION_SECONDS = 120.0
# What these say is wrong with a statement: ours, and a bug.
OUR_FAULT = ("Neo.ClientError.Statement.", "Neo.ClientError.Schema.ConstraintValidationFailed")


class Neo4jGraphStore:
    """GraphStore on one database of a Neo4j server or cluster. Times are kept to the millisecond.

    Everything runs in managed transactions: the driver repeats what met a deadlock or a leader that moved. Bookmarks let every read see
    what was written through this store before. Transactions carry the metadata {app: "whence", verb}, for SHOW TRANSACTIONS and the query log.
    """

    def __init__(self, address: Neo4jAddress, retry_seconds: float = RETRY_SECONDS) -> None:
        self._address = address
        self._retry_seconds = retry_seconds
        self._driver: AsyncDriver | None = None
        self._bookmarks: AsyncBookmarkManager | None = None
        self._closed = False

    async def ensure_schema(self) -> None:
        async with self._told():
            if self._driver is None:
                self._driver = _driver(self._address, self._retry_seconds)
                self._bookmarks = AsyncGraphDatabase.bookmark_manager()
            async with self._session() as session:
                await neo4j_schema.ensure(session)

    async def close(self) -> None:
        self._closed = True
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        rows = [entity_row(entity) for entity in entities]

        async def work(transaction: Transaction) -> None:
            for batch in _batches(rows):
                await _run(transaction, cypher.RETURN_ENTITIES, rows=batch)
                await _run(transaction, cypher.UPSERT_ENTITIES, rows=batch)

        await self._write("upsert_entities", work)

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        by_kind = [(kind, [relation_row(relation) for relation in of_kind]) for kind, of_kind in _by_kind(relations, lambda relation: relation.key.kind)]

        async def work(transaction: Transaction) -> None:
            written = 0
            for kind, rows in by_kind:
                statement = cypher.of_type(cypher.UPSERT_RELATIONS, relation_type(kind))
                for batch in _batches(rows):
                    written += (await _rows(transaction, statement, rows=batch, kind=kind))[0]["written"]
            if written < len(relations):
                raise StoreError(await _missing_end(transaction, relations))

        await self._write("upsert_relations", work)

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        async def work(transaction: Transaction) -> None:
            for ids in _batches([str(ref) for ref in entities]):
                await _run(transaction, cypher.TOUCH_ENTITIES, ids=ids, at=milliseconds(at))
            await _run_by_type(transaction, cypher.TOUCH_RELATIONS, relations, at)

        await self._write("touch", work)

    async def expire(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        rows = [{"id": str(ref), "label": kind_label(ref.kind)} for ref in sorted(set(entities))]

        async def work(transaction: Transaction) -> None:
            await _run_by_type(transaction, cypher.EXPIRE_RELATIONS, sorted(set(relations)), at)
            for batch in _batches(rows):
                await _run(transaction, cypher.EXPIRE_RELATIONS_OF_ENTITIES, ids=[row["id"] for row in batch], at=milliseconds(at))
                await _run(transaction, cypher.EXPIRE_ENTITIES, rows=batch, at=milliseconds(at))

        await self._write("expire", work)

    async def get(self, ref: EntityRef, at: int | None = None) -> Entity | None:
        rows = await self._read("get", _asking(_at(cypher.ENTITIES_AMONG, cypher.ENTITIES_AMONG_THEN, at), ids=[str(ref)], **_then(at)))
        return entity_of(rows[0]["properties"]) if rows else None

    async def find(self, kind: str | None = None, text: str = "", limit: int = 100, after: EntityRef | None = None) -> Sequence[Entity]:
        sought = {"start": f"{kind}:" if kind else "", "text": text.lower(), "after": str(after) if after else "", "limit": limit}
        return [entity_of(row["properties"]) for row in await self._read("find", _asking(cypher.FIND, **sought))]

    async def neighbours(self, ref: EntityRef, depth: int = 1, at: int | None = None) -> Snapshot:
        async def work(transaction: Transaction) -> Snapshot:
            ids = await _reached(transaction, str(ref), depth, at)
            entities = await _rows(transaction, _at(cypher.ENTITIES_AMONG, cypher.ENTITIES_AMONG_THEN, at), ids=ids, **_then(at))
            relations = await _rows(transaction, _at(cypher.RELATIONS_AMONG, cypher.RELATIONS_AMONG_THEN, at), ids=ids, **_then(at))
            return _snapshot(entities, relations, at)

        return await self._read("neighbours", work)

    async def paths(self, source: EntityRef, target: EntityRef, limit: int = 10, longest: int = 8) -> Sequence[Sequence[RelationKey]]:
        async def work(transaction: Transaction) -> list[RelationKey]:
            found, seen, frontier = list[RelationKey](), {str(source)}, [str(source)]
            for _ in range(longest):
                rows = await _rows(transaction, cypher.RELATIONS_ONWARD, ids=frontier)
                found += [RelationKey(EntityRef.parse(row["source"]), row["kind"], EntityRef.parse(row["target"])) for row in rows]
                frontier = sorted({row["target"] for row in rows} - seen)
                seen.update(frontier)
                if not frontier:
                    break
            return found

        return shortest_paths(await self._read("paths", work), source, target, limit, longest)

    async def snapshot(self, at: int | None = None) -> Snapshot:
        async def work(transaction: Transaction) -> Snapshot:
            entities = await _rows(transaction, _at(cypher.ENTITIES, cypher.ENTITIES_THEN, at), **_then(at))
            return _snapshot(entities, await _rows(transaction, _at(cypher.RELATIONS, cypher.RELATIONS_THEN, at), **_then(at)), at)

        return await self._read("snapshot", work)

    async def changes(self, since: int, until: int | None = None) -> Sequence[StructureChange]:
        bounds = {"since": milliseconds(since), "until": None if until is None else milliseconds(until)}
        found = [change_of(**row) for row in await self._read("changes", _asking(cypher.CHANGES, **bounds))]
        return sorted(found, key=lambda change: (change.at, change.event, str(change.entity), key_texts(change.relation) if change.relation else ()))

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        await self._write("save_incidents", _asking(cypher.SAVE_INCIDENTS, rows=[incident_row(incident) for incident in incidents]))

    async def incidents(self, state: IncidentState | None = None, limit: int = 100) -> Sequence[Incident]:
        rows = await self._read("incidents", _asking(cypher.INCIDENTS, state=state.value if state else None, limit=limit))
        return [incident_of(row["properties"]) for row in rows]

    async def save_state(self, name: str, content: bytes) -> None:
        await self._write("save_state", _asking(cypher.SAVE_STATE, name=name, content=content))

    async def load_state(self, name: str) -> bytes | None:
        rows = await self._read("load_state", _asking(cypher.LOAD_STATE, name=name))
        return bytes(rows[0]["content"]) if rows else None

    async def _read(self, verb: str, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        async with self._told(), self._session() as session:
            return await session.execute_read(_tagged(verb, work))

    async def _write(self, verb: str, work: Callable[[Transaction], Awaitable[object]]) -> None:
        async with self._told(), self._session() as session:
            await session.execute_write(_tagged(verb, work))

    def _session(self) -> AsyncSession:
        if self._driver is None:
            raise StoreUnavailableError(f"The store {self._address} is not open: call ensure_schema first.")
        return self._driver.session(database=self._address.database, bookmark_manager=self._bookmarks)

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """What a server refuses or a network loses is the user's to mend; a wrong statement is our own bug and stays one."""
        if self._closed:
            raise StoreUnavailableError(f"The store {self._address} is closed.")
        try:
            yield
        except AuthError as refused:
            raise StoreUnavailableError(
                f"Neo4j at {self._address} does not let the user {self._address.user!r} in: check WHENCE_STORE_USER and WHENCE_STORE_PASSWORD."
            ) from refused
        except Neo4jError as refused:
            code = refused.code or ""
            if code.startswith(OUR_FAULT):
                raise
            if code.endswith("DatabaseNotFound"):
                raise StoreUnavailableError(
                    f"Neo4j at {self._address.uri} has no database {self._address.database!r}: create it, or name another at the end of --store."
                ) from refused
            raise StoreUnavailableError(f"Neo4j at {self._address} refuses: {refused.message} ({code}).") from refused
        except (ServiceUnavailable, SessionExpired) as away:
            raise StoreUnavailableError(f"Neo4j at {self._address} can't be reached ({_first_line(away)}): check that it runs, and --store.") from away
        except DriverError as trouble:
            raise StoreUnavailableError(f"Neo4j at {self._address} does not work ({_first_line(trouble)}): check that it runs, and --store.") from trouble


def _driver(address: Neo4jAddress, retry_seconds: float) -> AsyncDriver:
    options: dict[str, Any] = {
        "connection_timeout": CONNECT_SECONDS,
        "connection_acquisition_timeout": ACQUIRE_SECONDS,
        "max_transaction_retry_time": retry_seconds,
        "notifications_min_severity": "OFF",
        "user_agent": "whence",
    }
    uri = address.uri
    if address.authority is not None:
        # The driver takes own certificates only with the plain scheme.
        options.update(encrypted=True, trusted_certificates=TrustCustomCAs(str(address.authority)))
        uri = uri.replace("+s://", "://", 1)
    return AsyncGraphDatabase.driver(uri, auth=(address.user, address.password), **options)


def _tagged(verb: str, work: Callable[[Transaction], Awaitable[Result]]) -> Callable[[Transaction], Awaitable[Result]]:
    return unit_of_work(metadata={"app": "whence", "verb": verb}, timeout=TRANSACTION_SECONDS)(work)


def _first_line(trouble: Exception) -> str:
    return str(trouble).partition("\n")[0]


def _asking(statement: str, **parameters: object) -> Callable[[Transaction], Awaitable[Rows]]:
    async def work(transaction: Transaction) -> Rows:
        return await _rows(transaction, statement, **parameters)

    return work


async def _rows(transaction: Transaction, statement: str, **parameters: object) -> Rows:
    return await (await transaction.run(statement, parameters)).data()


async def _run(transaction: Transaction, statement: str, **parameters: object) -> None:
    await (await transaction.run(statement, parameters)).consume()


async def _run_by_type(transaction: Transaction, statement: str, keys: Sequence[RelationKey], at: int) -> None:
    for kind, of_kind in _by_kind(keys, lambda key: key.kind):
        for batch in _batches([key_row(key) for key in of_kind]):
            await _run(transaction, cypher.of_type(statement, relation_type(kind)), rows=batch, at=milliseconds(at))


async def _missing_end(transaction: Transaction, relations: Sequence[Relation]) -> str:
    ends = {str(end) for relation in relations for end in (relation.key.source, relation.key.target)}
    missing = {row["id"] for batch in _batches(sorted(ends)) for row in await _rows(transaction, cypher.MISSING_ENTITIES, ids=batch)}
    kind, end = next((each.key.kind, end) for each in relations for end in (each.key.source, each.key.target) if str(end) in missing)
    return f"The relation {kind} needs its end {end}, which the store does not hold: upsert entities first."


async def _reached(transaction: Transaction, ref: str, depth: int, at: int | None) -> list[str]:
    """The entities within `depth` relations in either direction; one statement a step, of the frontier alone."""
    seen, frontier = set[str](), {ref}
    for remaining in range(depth, -1, -1):
        if at is not None or not seen:  # the relations of the present have their ends
            frontier = {row["id"] for row in await _rows(transaction, _at(cypher.THERE, cypher.THERE_THEN, at), ids=list(frontier), **_then(at))}
        seen |= frontier
        if not remaining or not frontier:
            break
        frontier = {row["id"] for row in await _rows(transaction, _at(cypher.STEP, cypher.STEP_THEN, at), ids=list(frontier), **_then(at))} - seen
    return list(seen)


def _snapshot(entity_rows: Rows, relation_rows: Rows, at: int | None) -> Snapshot:
    entities = {row["properties"]["id"]: entity_of(row["properties"]) for row in entity_rows}
    relations = [
        relation_of(entities[row["source"]].ref, row["kind"], entities[row["target"]].ref, row["properties"])
        for row in sorted(relation_rows, key=lambda row: (row["source"], row["kind"], row["target"]))
        if row["source"] in entities and row["target"] in entities
    ]
    return snapshot_of([entities[ref] for ref in sorted(entities)], relations, at)


def _at(now: str, then: str, at: int | None) -> str:
    return now if at is None else then


def _then(at: int | None) -> Mapping[str, int]:
    return {} if at is None else {"at": milliseconds(at)}


def _batches(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _by_kind(items: Sequence[Item], kind_of: Callable[[Item], str]) -> Iterable[tuple[str, list[Item]]]:
    """In order of the kinds, so that all writers take their locks in one order."""
    kinds: dict[str, list[Item]] = {}
    for item in items:
        kinds.setdefault(kind_of(item), []).append(item)
    return sorted(kinds.items())
