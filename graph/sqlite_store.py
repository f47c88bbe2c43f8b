"""The embedded store: SQLite in WAL mode, one writer thread. What was acknowledged survives kill -9."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from graph.sqlite_rows import entity_of, incident_json, incident_of, key_columns, snapshot_of_rows, statistics_json
from graph.sqlite_schema import migrate
from graph.store import StoreError, StoreUnavailableError
from graph.topology import Entity, Relation, RelationKey, Snapshot, StructureChange, StructureEvent
from graph.walks import shortest_paths
from schema.identity import EntityRef
from schema.verdicts import Incident, IncidentState

Result = TypeVar("Result")

ENTITY_COLUMNS = "ref, attributes, sources, first_seen, last_seen"
RELATION_COLUMNS = "source, kind, target, sources, confidence, statistics, first_seen, last_seen"
HOLDS_NOW = "closed is null"
HELD_THEN = "opened <= :at and (closed is null or closed > :at)"


class SqliteGraphStore:
    """GraphStore on one SQLite file. A second process on the same file is refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="whence-store")
        self._database: sqlite3.Connection | None = None
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
        await self._run(partial(self._write, partial(_upsert_entities, entities=entities)))

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        await self._run(partial(self._write, partial(_upsert_relations, relations=relations)))

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        await self._run(partial(self._write, partial(_touch, entities=entities, relations=relations, at=at)))

    async def expire(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        await self._run(partial(self._write, partial(_expire, entities=entities, relations=relations, at=at)))

    async def get(self, ref: EntityRef, at: int | None = None) -> Entity | None:
        rows = await self._rows(f"select {ENTITY_COLUMNS} from entity where ref = :ref and {_holds(at)}", {"ref": str(ref), "at": at})
        return entity_of(rows[0]) if rows else None

    async def find(self, kind: str | None = None, text: str = "", limit: int = 100, after: EntityRef | None = None) -> Sequence[Entity]:
        sought = {"kind": kind, "text": text.lower(), "after": str(after) if after else "", "limit": limit}
        rows = await self._rows(
            f"""select {ENTITY_COLUMNS} from entity where closed is null and (:kind is null or kind = :kind)
                and (:text = '' or instr(lower_case(ref), :text) > 0) and ref > :after order by ref limit :limit""",
            sought,
        )
        return [entity_of(row) for row in rows]

    async def neighbours(self, ref: EntityRef, depth: int = 1, at: int | None = None) -> Snapshot:
        return await self._run(partial(self._near, ref, depth, at))

    async def paths(self, source: EntityRef, target: EntityRef, limit: int = 10, longest: int = 8) -> Sequence[Sequence[RelationKey]]:
        keys = await self._run(partial(self._onward, source, longest))
        return shortest_paths(keys, source, target, limit, longest)

    async def snapshot(self, at: int | None = None) -> Snapshot:
        return await self._run(partial(self._snapshot, at))

    async def changes(self, since: int, until: int | None = None) -> Sequence[StructureChange]:
        rows = await self._rows(
            """select at, event, entity, source, kind, target from change where at > :since and (:until is null or at <= :until)
               order by at, event, entity, source, kind, target""",
            {"since": since, "until": until},
        )
        return [
            StructureChange(
                at, StructureEvent(event), EntityRef.parse(entity), RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target)) if source else None
            )
            for at, event, entity, source, kind, target in rows
        ]

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        rows = [(incident.id, incident.state.value, incident.opened_at, incident_json(incident)) for incident in incidents]
        statement = "insert into incident values(?, ?, ?, ?) on conflict(id) do update set state = excluded.state, opened_at = excluded.opened_at, content = excluded.content"
        await self._run(partial(self._write, lambda database: database.executemany(statement, rows)))

    async def incidents(self, state: IncidentState | None = None, limit: int = 100) -> Sequence[Incident]:
        rows = await self._rows(
            "select content from incident where :state is null or state = :state order by opened_at desc, id limit :limit",
            {"state": state.value if state else None, "limit": limit},
        )
        return [incident_of(row[0]) for row in rows]

    async def save_state(self, name: str, content: bytes) -> None:
        statement = "insert into state values(?, ?) on conflict(name) do update set content = excluded.content"
        await self._run(partial(self._write, lambda database: database.execute(statement, (name, content))))

    async def load_state(self, name: str) -> bytes | None:
        rows = await self._rows("select content from state where name = :name", {"name": name})
        return bytes(rows[0][0]) if rows else None

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._closed:
            raise StoreUnavailableError(f"The store {self._path} is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._told, work))

    def _told(self, work: Callable[[], Result]) -> Result:
        """A full disk or a damaged file is the user's to mend; a wrong statement is our own bug and stays one."""
        try:
            return work()
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError):
            raise
        except sqlite3.DatabaseError as trouble:
            raise StoreUnavailableError(f"The store {self._path} does not work ({trouble}): check the disk's space and the file.") from trouble

    async def _rows(self, statement: str, values: Mapping[str, object]) -> list[Any]:
        return await self._run(lambda: self._connection().execute(statement, values).fetchall())

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreUnavailableError(f"The store {self._path} is not open: call ensure_schema first.")
        return self._database

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _sole_owner(self._path.with_suffix(".lock"))
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            # FULL: an acknowledged commit is on disk even if the machine stops; WAL keeps that to one fsync a commit.
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = full")
            self._database.create_function("lower_case", 1, str.lower, deterministic=True)
            migrate(self._database)
        except (OSError, sqlite3.Error) as trouble:
            self._release()
            raise StoreUnavailableError(
                f"The store {self._path} can't be opened ({trouble}): check the path and its permissions, or choose another --data-dir."
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

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        database = self._connection()
        database.execute("begin immediate")
        try:
            work(database)
            database.execute("commit")
        except BaseException:
            # SQLite itself rolls back what a full disk stopped.
            if database.in_transaction:
                database.execute("rollback")
            raise

    def _snapshot(self, at: int | None) -> Snapshot:
        database, values = self._connection(), {"at": at}
        entities = database.execute(f"select {ENTITY_COLUMNS} from entity where {_holds(at)} order by ref", values)
        relations = database.execute(f"select {RELATION_COLUMNS} from relation where {_holds(at)} order by source, kind, target", values)
        return snapshot_of_rows(entities, relations, at)

    def _near(self, ref: EntityRef, depth: int, at: int | None) -> Snapshot:
        either = f"select target from {_touched('source', at)} union select source from {_touched('target', at)}"
        values = {"at": at, "refs": self._reached(ref, depth, either, at)}
        database, inside = self._connection(), "(select value from json_each(:refs))"
        entities = database.execute(f"select {ENTITY_COLUMNS} from entity where ref in {inside} and {_holds(at)} order by ref", values)
        relations = database.execute(
            f"select {RELATION_COLUMNS} from {_touched('source', at, inside)} and target in {inside} order by source, kind, target", values
        )
        return snapshot_of_rows(entities, relations, at)

    def _onward(self, source: EntityRef, longest: int) -> list[RelationKey]:
        """The relations that directed paths of up to `longest` steps from `source` can take."""
        refs = self._reached(source, longest - 1, f"select target from {_touched('source', None)}", None)
        rows = self._connection().execute(f"select source, kind, target from {_touched('source', None)}", {"refs": refs})
        return [RelationKey(EntityRef.parse(row[0]), row[1], EntityRef.parse(row[2])) for row in rows]

    def _reached(self, ref: EntityRef, depth: int, step: str, at: int | None) -> str:
        """The entities within `depth` steps, as a JSON list; one query a step, of the frontier alone."""
        there = f"select ref from entity where ref in (select value from json_each(:refs)) and {_holds(at)}"
        database, seen, frontier = self._connection(), set[str](), {str(ref)}
        for remaining in range(depth, -1, -1):
            frontier = {row[0] for row in database.execute(there, {"refs": _json(frontier), "at": at})}
            seen |= frontier
            if not remaining or not frontier:
                break
            frontier = {row[0] for row in database.execute(step, {"refs": _json(frontier), "at": at})} - seen
        return _json(seen)


def _touched(end: str, at: int | None, refs: str = "(select value from json_each(:refs))") -> str:
    """The relations that touch `refs` with this end. For the present, past intervals are not even looked at."""
    index = "" if at is not None else " indexed by relation_present" if end == "source" else " indexed by relation_target"
    return f"relation{index} where {end} in {refs} and {_holds(at)}"


def _json(texts: Iterable[str]) -> str:
    return orjson.dumps(list(texts)).decode()


def _holds(at: int | None) -> str:
    return HOLDS_NOW if at is None else HELD_THEN


def _sole_owner(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise StoreUnavailableError(f"The store beside {path} is in use by another whence (pid {owner}): stop it, or choose another --data-dir.") from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _upsert_entities(database: sqlite3.Connection, *, entities: Sequence[Entity]) -> None:
    for entity in entities:
        ref, attributes = str(entity.ref), orjson.dumps(dict(entity.attributes), option=orjson.OPT_SORT_KEYS).decode()
        sources, first, last = orjson.dumps(list(entity.sources)).decode(), entity.first_seen, entity.last_seen
        heartbeat = "update entity set sources = ?, last_seen = max(last_seen, ?) where ref = ? and closed is null and attributes = ?"
        if database.execute(heartbeat, (sources, last, ref, attributes)).rowcount:
            continue
        row = database.execute(
            "update entity set closed = max(opened, ?) where ref = ? and closed is null returning first_seen, last_seen", (last, ref)
        ).fetchone()
        opened, event = first, StructureEvent.ENTITY_APPEARED
        if row:
            first, last, opened, event = row[0], max(row[1], last), last, StructureEvent.ENTITY_CHANGED
        # The intervals of one thing never overlap, whatever the times that come.
        (past,) = database.execute("select coalesce(max(closed), 0) from entity where ref = ?", (ref,)).fetchone()
        opened = max(past, opened)
        database.execute("insert into entity values(?, ?, ?, ?, ?, ?, ?, null)", (ref, entity.ref.kind, attributes, sources, first, last, opened))
        database.execute("insert into change values(?, ?, ?, null, null, null)", (opened, event.value, ref))


def _upsert_relations(database: sqlite3.Connection, *, relations: Sequence[Relation]) -> None:
    for relation in relations:
        columns = key_columns(relation.key)
        sources, statistics = orjson.dumps(list(relation.sources)).decode(), statistics_json(relation.statistics)
        heartbeat = """update relation set sources = ?, confidence = ?, statistics = ?, last_seen = max(last_seen, ?)
                       where source = ? and kind = ? and target = ? and closed is null"""
        if database.execute(heartbeat, (sources, relation.confidence, statistics, relation.last_seen, *columns)).rowcount:
            continue
        for end in (columns[0], columns[2]):
            if database.execute("select 1 from entity where ref = ? and closed is null", (end,)).fetchone() is None:
                raise StoreError(f"The relation {relation.key.kind} needs its end {end}, which the store does not hold: upsert entities first.")
        past = "select coalesce(max(closed), 0) from relation where source = ? and kind = ? and target = ?"
        opened = max(relation.first_seen, *database.execute(past, columns).fetchone())
        database.execute(
            "insert into relation values(?, ?, ?, ?, ?, ?, ?, ?, ?, null)",
            (*columns, sources, relation.confidence, statistics, relation.first_seen, relation.last_seen, opened),
        )
        database.execute("insert into change values(?, ?, ?, ?, ?, ?)", (opened, StructureEvent.RELATION_APPEARED.value, columns[0], *columns))


def _touch(database: sqlite3.Connection, *, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
    database.executemany("update entity set last_seen = max(last_seen, ?) where ref = ? and closed is null", [(at, str(ref)) for ref in entities])
    database.executemany(
        "update relation set last_seen = max(last_seen, ?) where source = ? and kind = ? and target = ? and closed is null",
        [(at, *key_columns(key)) for key in relations],
    )


def _expire(database: sqlite3.Connection, *, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
    keys = {key_columns(key) for key in relations}
    for ref in entities:
        keys.update(database.execute("select source, kind, target from relation where (source = ?1 or target = ?1) and closed is null", (str(ref),)))
    for columns in sorted(keys):
        ended = database.execute(
            "update relation set closed = max(opened, ?) where source = ? and kind = ? and target = ? and closed is null returning closed", (at, *columns)
        ).fetchone()
        if ended:
            database.execute("insert into change values(?, ?, ?, ?, ?, ?)", (ended[0], StructureEvent.RELATION_EXPIRED.value, columns[0], *columns))
    for ref_text in sorted(str(ref) for ref in entities):
        ended = database.execute("update entity set closed = max(opened, ?) where ref = ? and closed is null returning closed", (at, ref_text)).fetchone()
        if ended:
            database.execute("insert into change values(?, ?, ?, null, null, null)", (ended[0], StructureEvent.ENTITY_EXPIRED.value, ref_text))
