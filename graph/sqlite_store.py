"""The embedded store: SQLite in WAL mode, one writer thread. What was acknowledged survives kill -9."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from graph import sqlite_attributes, sqlite_incidents
from graph import sqlite_reads as reads
from graph import sqlite_writes as writes
from graph.attributes import EntityAttributes, RelationDependencies
from graph.records import Record
from graph.sole_owner import sole_owner
from graph.sqlite_load import load
from graph.sqlite_schema import MIGRATIONS, checked_layout, layout_of, migrate
from graph.sqlite_touch import Rows, touch
from graph.store import StoreError, StoreUnavailableError, StoreVersionError
from graph.topology import Difference, Direction, Entity, Relation, RelationKey, Snapshot, StructureChange
from graph.walks import shortest_paths
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident, IncidentState

Result = TypeVar("Result")

CACHE_KILOBYTES = 65_536  # a walk through a large estate reads pages from all over the file
SAVE_STATE = "insert into state values(?, ?) on conflict(name) do update set content = excluded.content"


class SqliteGraphStore:
    """GraphStore on one SQLite file. A second process on the same file is refused, unless it only reads: it then sees one instant."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._read_only = read_only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="whence-store")
        self._database: sqlite3.Connection | None = None
        self._names = writes.Names()
        self._rows = Rows()
        self._lock: int | None = None
        self._closed = False

    async def ensure_schema(self) -> None:
        await self._run(self._open)

    async def close(self) -> None:
        if not self._closed:
            await self._run(self._release)
            self._closed = True
            self._thread.shutdown()

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        await self._write(lambda database: writes.upsert_entities(database, self._names, entities))

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        await self._write(lambda database: writes.upsert_relations(database, self._names, relations))

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> Sequence[EntityRef | RelationKey]:
        return await self._write(lambda database: touch(database, self._names, self._rows, entities, relations, at))

    async def expire(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        await self._write(lambda database: writes.expire(database, self._names, entities, relations, at))

    async def get(self, ref: EntityRef, at: int | None = None) -> Entity | None:
        return await self._read(lambda database: reads.get(database, ref, at))

    async def find(self, kind: str | None = None, text: str = "", limit: int = 100, after: EntityRef | None = None) -> Sequence[Entity]:
        return await self._read(lambda database: reads.find(database, kind, text, limit, after))

    async def neighbours(
        self, ref: EntityRef, depth: int = 1, at: int | None = None, *, direction: Direction = Direction.EITHER, most: int | None = None
    ) -> Snapshot:
        return await self._read(lambda database: reads.neighbours(database, ref, depth, at, direction, most))

    async def paths(self, source: EntityRef, target: EntityRef, limit: int = 10, longest: int = 8) -> Sequence[Sequence[RelationKey]]:
        keys = await self._read(lambda database: reads.onward(database, source, longest))
        return shortest_paths(keys, source, target, limit, longest)

    async def snapshot(self, at: int | None = None) -> Snapshot:
        return await self._read(lambda database: reads.snapshot(database, at))

    async def changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[StructureChange]:
        return await self._read(lambda database: reads.changes(database, since, until, limit))

    async def diff(self, before: int, after: int) -> Difference:
        return await self._read(lambda database: reads.diff(database, before, after))

    async def save_attributes(self, entities: Sequence[EntityAttributes], relations: Sequence[RelationDependencies] = ()) -> None:
        await self._write(lambda database: sqlite_attributes.save_attributes(database, self._names, entities, relations))

    async def attributes(self, entities: Sequence[EntityRef]) -> Sequence[EntityAttributes | RelationDependencies]:
        return await self._read(lambda database: sqlite_attributes.attributes(database, entities))

    async def compact(self, before: int, most: int) -> int:
        return await self._write(lambda database: self._compact(database, before, most))

    async def records(self) -> AsyncIterator[Sequence[Record]]:
        found: Iterator[Sequence[Record]] = await self._read(reads.records)
        while batch := await self._run(lambda: next(found, None)):
            yield batch

    async def load(self, records: Sequence[Record]) -> None:
        await self._write(lambda database: load(database, self._names, records))

    async def layout(self) -> int:
        """The number of the last migration that ran."""
        return await self._read(layout_of)

    def layout_on_disk(self) -> int:
        """The same of a store that is not open; 0 where there is no file. Raises StoreUnavailableError, StoreVersionError."""
        if not self.path.exists():
            return 0
        try:
            with closing(_connect_to_read(self.path)) as database:
                return checked_layout(database)
        except sqlite3.Error as trouble:
            raise StoreUnavailableError(f"The store {self.path} can't be opened ({trouble}): check the path and its permissions.") from trouble

    async def damage(self) -> Sequence[str]:
        """What SQLite itself finds wrong with the file; empty where nothing is."""
        rows = await self._read(lambda database: database.execute("pragma integrity_check(100)").fetchall())
        return [row[0] for row in rows if row[0] != "ok"]

    async def vacuum(self) -> None:
        """Gives the disk back what was forgotten."""
        await self._read(self._vacuum)

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        await self._write(lambda database: sqlite_incidents.save_incidents(database, incidents))

    async def incidents(self, state: IncidentState | None = None, limit: int = 100) -> Sequence[Incident]:
        return await self._read(lambda database: sqlite_incidents.incidents(database, state, limit))

    async def save_entity_changes(self, changes: Sequence[EntityChange]) -> None:
        await self._write(lambda database: sqlite_incidents.save_changes(database, changes))

    async def entity_changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[EntityChange]:
        return await self._read(lambda database: sqlite_incidents.changes(database, since, until, limit))

    async def save_state(self, name: str, content: bytes) -> None:
        await self._write(lambda database: database.execute(SAVE_STATE, (name, content)))

    async def load_state(self, name: str) -> bytes | None:
        row = await self._read(lambda database: database.execute("select content from state where name = ?", (name,)).fetchone())
        return None if row is None else bytes(row[0])

    async def _read(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._run(lambda: question(self._connection()))

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._run(partial(self._commit, work))

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._closed:
            raise StoreUnavailableError(f"The store {self.path} is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._told, work))

    def _told(self, work: Callable[[], Result]) -> Result:
        """A full disk or a damaged file is the user's to mend; a wrong statement is our own bug and stays one."""
        try:
            return work()
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError):
            raise
        except sqlite3.DatabaseError as trouble:
            raise StoreUnavailableError(f"The store {self.path} does not work ({trouble}): check the disk's space and the file.") from trouble

    def _compact(self, database: sqlite3.Connection, before: int, most: int) -> int:
        sqlite_incidents.compact(database, before, most)
        if forgotten := writes.compact(database, before, most):
            self._rows.forget()
        return forgotten

    def _vacuum(self, database: sqlite3.Connection) -> None:
        self._rows.forget()
        database.execute("vacuum")
        database.execute("pragma wal_checkpoint(truncate)")

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreUnavailableError(f"The store {self.path} is not open: call ensure_schema first.")
        return self._database

    def _open(self) -> None:
        try:
            if self._read_only:
                self._database = _reader(self.path)
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = sole_owner(self.path.with_suffix(".lock"))
            self._database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
            checked_layout(self._database)  # before anything is written to the file of a newer Whence
            # FULL: an acknowledged commit is on disk even if the machine stops; WAL keeps that to one fsync a commit.
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = full")
            self._database.execute("pragma temp_store = memory")
            self._database.execute(f"pragma cache_size = -{CACHE_KILOBYTES}")
            self._database.create_function("lower_case", 1, str.lower, deterministic=True)
            migrate(self._database)
        except (OSError, sqlite3.Error) as trouble:
            self._release()
            raise StoreUnavailableError(
                f"The store {self.path} can't be opened ({trouble}): check the path and its permissions, or choose another --data-dir."
            ) from trouble
        except StoreError:
            self._release()
            raise

    def _release(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _commit(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        database = self._connection()
        database.execute("begin immediate")
        try:
            result = work(database)
            database.execute("commit")
        except BaseException:
            self._names.forget()
            self._rows.forget()
            # SQLite itself rolls back what a full disk stopped.
            if database.in_transaction:
                database.execute("rollback")
            raise
        return result


def _reader(path: Path) -> sqlite3.Connection:
    """A connection that sees what was there when it was opened, whoever writes meanwhile."""
    database = _connect_to_read(path)
    try:
        database.create_function("lower_case", 1, str.lower, deterministic=True)
        database.execute("begin")
        layout = checked_layout(database)
    except BaseException:
        database.close()
        raise
    if layout < len(MIGRATIONS):
        database.close()
        raise StoreVersionError(f"The store {path} has the older layout {layout}: run `whence store migrate` first.")
    return database


def _connect_to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
