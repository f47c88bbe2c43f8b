"""The production store: Neo4j 5.26 or later, on the official driver. docs/graph/model.md draws what it writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncSession, TrustCustomCAs, unit_of_work
from neo4j.api import AsyncBookmarkManager
from neo4j.exceptions import AuthError, DriverError, Neo4jError, ServiceUnavailable, SessionExpired

from graph import neo4j_attributes, neo4j_incidents, neo4j_schema
from graph import neo4j_reads as reads
from graph import neo4j_statements as cypher
from graph import neo4j_writes as writes
from graph.attributes import EntityAttributes, RelationDependencies
from graph.neo4j_address import Neo4jAddress, refused_certificate
from graph.neo4j_rows import Row
from graph.neo4j_touch import touch
from graph.neo4j_writes import Transaction, rows_of
from graph.records import Record, SavedState
from graph.store import StoreAwayError, StoreUnavailableError
from graph.topology import Difference, Direction, Entity, Relation, RelationKey, Snapshot, StructureChange
from graph.walks import shortest_paths
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident, IncidentState

Result = TypeVar("Result")
CONNECT_SECONDS = 5.0
ACQUIRE_SECONDS = 10.0
RETRY_SECONDS = 5.0  # the pipeline waits that long for a store that is away, each window
TRANSACTION_SECONDS = 120.0
# What these say is wrong with a statement: ours, and a bug.
OUR_FAULT = ("Neo.ClientError.Statement.", "Neo.ClientError.Schema.ConstraintValidationFailed")
# What a statement found was deleted before it had the lock.
OVERTAKEN = "Neo.ClientError.Statement.EntityNotFound"


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
            self._connect()
            async with self._session() as session:
                await neo4j_schema.ensure(session)

    async def due(self) -> Sequence[int]:
        """The migrations that `ensure_schema` would run; nothing is written. Raises what it raises."""
        async with self._told():
            self._connect()
            async with self._session() as session:
                return await neo4j_schema.due(session)

    def _connect(self) -> None:
        if self._driver is None:
            self._driver = _driver(self._address, self._retry_seconds)
            self._bookmarks = AsyncGraphDatabase.bookmark_manager()

    async def close(self) -> None:
        self._closed = True
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        await self._write("upsert_entities", lambda transaction: writes.upsert_entities(transaction, entities))

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        await self._write("upsert_relations", lambda transaction: writes.upsert_relations(transaction, relations))

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> Sequence[EntityRef | RelationKey]:
        return await self._write("touch", lambda transaction: touch(transaction, entities, relations, at))

    async def expire(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        await self._write("expire", lambda transaction: writes.expire(transaction, entities, relations, at))

    async def get(self, ref: EntityRef, at: int | None = None) -> Entity | None:
        return await self._read("get", lambda transaction: reads.get(transaction, ref, at))

    async def find(self, kind: str | None = None, text: str = "", limit: int = 100, after: EntityRef | None = None) -> Sequence[Entity]:
        return await self._read("find", lambda transaction: reads.find(transaction, kind, text, limit, after))

    async def neighbours(
        self, ref: EntityRef, depth: int = 1, at: int | None = None, *, direction: Direction = Direction.EITHER, most: int | None = None
    ) -> Snapshot:
        return await self._read("neighbours", lambda transaction: reads.neighbours(transaction, ref, depth, at, direction, most))

    async def paths(self, source: EntityRef, target: EntityRef, limit: int = 10, longest: int = 8) -> Sequence[Sequence[RelationKey]]:
        keys = await self._read("paths", lambda transaction: reads.onward(transaction, source, longest))
        return shortest_paths(keys, source, target, limit, longest)

    async def snapshot(self, at: int | None = None) -> Snapshot:
        return await self._read("snapshot", lambda transaction: reads.snapshot(transaction, at))

    async def changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[StructureChange]:
        return await self._read("changes", lambda transaction: reads.changes(transaction, since, until, limit))

    async def diff(self, before: int, after: int) -> Difference:
        return await self._read("diff", lambda transaction: reads.diff(transaction, before, after))

    async def save_attributes(self, entities: Sequence[EntityAttributes], relations: Sequence[RelationDependencies] = ()) -> None:
        await self._write("save_attributes", lambda transaction: neo4j_attributes.save_attributes(transaction, entities, relations))

    async def attributes(self, entities: Sequence[EntityRef]) -> Sequence[EntityAttributes | RelationDependencies]:
        return await self._read("attributes", partial(neo4j_attributes.attributes, ids=[str(ref) for ref in entities]))

    async def compact(self, before: int, most: int) -> int:
        async def work(transaction: Transaction) -> int:
            await neo4j_incidents.compact(transaction, before, most)
            return await writes.compact(transaction, before, most)

        return await self._write("compact", work)

    async def records(self) -> AsyncIterator[Sequence[Record]]:
        kinds: tuple[Callable[..., Awaitable[Sequence[Record]]], ...] = (
            reads.entity_intervals, reads.relation_intervals, neo4j_attributes.entity_attributes, neo4j_attributes.relation_dependencies
        )  # fmt: skip
        for of_entities in kinds:
            after = ""
            while ids := [row["id"] for row in await self._read("records", _asking(cypher.PAGE, after=after, limit=reads.PAGE))]:
                if found := await self._read("records", partial(of_entities, ids=ids)):
                    yield found
                after = ids[-1]
        changes, place = await self._read("records", partial(reads.changes_after, place=[-1], limit=reads.CHANGES_PAGE))
        while changes:
            yield changes
            changes, place = await self._read("records", partial(reads.changes_after, place=place, limit=reads.CHANGES_PAGE))
        if doings := await self.entity_changes(-1):
            yield doings
        after = ""
        while incidents := await self._read("records", partial(neo4j_incidents.incidents_after, after=after, limit=reads.PAGE)):
            yield incidents
            after = incidents[-1].id
        for row in await self._read("records", _asking(cypher.STATES)):
            if (content := await self.load_state(row["name"])) is not None:
                yield [SavedState(row["name"], content)]

    async def load(self, records: Sequence[Record]) -> None:
        async def work(transaction: Transaction) -> None:
            await writes.load(transaction, records)
            await neo4j_attributes.load(transaction, records)
            await neo4j_incidents.load(transaction, records)

        await self._write("load", work)

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        await self._write("save_incidents", lambda transaction: neo4j_incidents.save_incidents(transaction, incidents))

    async def incidents(self, state: IncidentState | None = None, limit: int = 100) -> Sequence[Incident]:
        return await self._read("incidents", lambda transaction: neo4j_incidents.incidents(transaction, state, limit))

    async def save_entity_changes(self, changes: Sequence[EntityChange]) -> None:
        await self._write("save_entity_changes", lambda transaction: neo4j_incidents.save_changes(transaction, changes))

    async def entity_changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[EntityChange]:
        return await self._read("entity_changes", lambda transaction: neo4j_incidents.changes(transaction, since, until, limit))

    async def save_state(self, name: str, content: bytes) -> None:
        await self._write("save_state", _asking(cypher.SAVE_STATE, name=name, content=content))

    async def load_state(self, name: str) -> bytes | None:
        rows = await self._read("load_state", _asking(cypher.LOAD_STATE, name=name))
        return bytes(rows[0]["content"]) if rows else None

    async def _read(self, verb: str, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        async with self._told(), self._session() as session:
            return await session.execute_read(_tagged(verb, work))

    async def _write(self, verb: str, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        async with self._told(), self._session() as session:
            return await session.execute_write(_tagged(verb, work))

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
            if code == OVERTAKEN:
                raise StoreUnavailableError(f"Another writer of {self._address} let go of what was being written: write it again.") from refused
            if code.startswith(OUR_FAULT):
                raise
            if code.endswith("DatabaseNotFound"):
                raise StoreUnavailableError(
                    f"Neo4j at {self._address.uri} has no database {self._address.database!r}: create it, or name another at the end of --store."
                ) from refused
            error = StoreAwayError if code.endswith("DatabaseUnavailable") else StoreUnavailableError
            raise error(f"Neo4j at {self._address} refuses: {refused.message} ({code}).") from refused
        except (ServiceUnavailable, SessionExpired) as away:
            raise _unreachable(self._address, away) from away
        except DriverError as trouble:
            raise StoreUnavailableError(f"Neo4j at {self._address} does not work ({_first_line(trouble)}): check that it runs, and --store.") from trouble


def _unreachable(address: Neo4jAddress, away: Exception) -> StoreUnavailableError:
    if (refused := refused_certificate(away)) is not None:
        return StoreUnavailableError(
            f"The certificate of Neo4j at {address} is not trusted ({refused.verify_message.rstrip('.')}): name the file with its authority's "
            "certificate in WHENCE_STORE_CA, and the host as the certificate does."
        )
    if address.authority is None and "+" not in address.uri.partition("://")[0] and "handshake" in str(away):
        return StoreAwayError(
            f"Neo4j at {address} ends a connection that is not encrypted: use bolt+s:// or neo4j+s:// if it wants encryption, "
            "or check that a Neo4j listens there."
        )
    return StoreAwayError(f"Neo4j at {address} can't be reached ({_first_line(away)}): check that it runs, and --store.")


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


def _asking(statement: str, **parameters: object) -> Callable[[Transaction], Awaitable[list[Row]]]:
    return lambda transaction: rows_of(transaction, statement, **parameters)
