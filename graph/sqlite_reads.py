"""What is asked of the embedded store, each question within one connection's view: walks by frontier, the past by interval."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from graph import sqlite_attributes, sqlite_incidents
from graph.collector import collector_paused
from graph.records import EntityInterval, Record, RelationInterval, SavedState
from graph.sqlite_rows import change_of, entity_of, numbers_json, relation_of, snapshot_of_rows
from graph.topology import Difference, Direction, Entity, RelationKey, Snapshot, StructureChange
from graph.walks import difference
from schema.identity import EntityRef

ENTITY = "ref, attributes, sources, first_seen, last_seen"
RELATION = "source, target, kind, sources, confidence, statistics, first_seen, last_seen"
ASKED = "(select value from json_each(:ids))"
BATCH = 2_000
CHANGE = """select at, event, entity.ref, source.ref, structure_change.kind, target.ref, detail
            from structure_change join name entity on entity.id = structure_change.entity
            left join name source on source.id = structure_change.source left join name target on target.id = structure_change.target"""
CHANGE_ORDER = "order by at, event, entity.ref, source.ref, structure_change.kind, target.ref, detail"


def get(database: sqlite3.Connection, ref: EntityRef, at: int | None) -> Entity | None:
    """GraphStore.get."""
    parts = (
        f"select {ENTITY} from name cross join entity_interval indexed by {index} using (id) where ref = :ref and {held}"
        for index, held in _spans("entity_now", "entity_past", at)
    )
    rows = database.execute(" union all ".join(parts), {"ref": str(ref), "at": at}).fetchall()
    return entity_of(rows[0]) if rows else None


def find(database: sqlite3.Connection, kind: str | None, text: str, limit: int, after: EntityRef | None) -> Sequence[Entity]:
    """GraphStore.find."""
    rows = database.execute(
        f"""select {ENTITY} from name cross join entity_interval indexed by entity_now using (id) where closed is null
            and (:kind is null or kind = :kind) and (:text = '' or instr(lower_case(ref), :text) > 0) and ref > :after order by ref limit :limit""",
        {"kind": kind, "text": text.lower(), "after": str(after) if after else "", "limit": limit},
    )
    return [entity_of(row) for row in rows]


def snapshot(database: sqlite3.Connection, at: int | None) -> Snapshot:
    """GraphStore.snapshot."""
    entities = database.execute(f"select id, {ENTITY} from entity_interval join name using (id) where {_holds(at)} order by ref", {"at": at})
    with collector_paused():
        return snapshot_of_rows(entities, database.execute(f"select {RELATION} from relation_interval where {_holds(at)}", {"at": at}), at)


def neighbours(database: sqlite3.Connection, ref: EntityRef, depth: int, at: int | None, direction: Direction, most: int | None) -> Snapshot:
    """GraphStore.neighbours."""
    ids = numbers_json(reached(database, ref, depth, direction, at, most))
    relations = database.execute(_of_ends(RELATION, "source", at, f"and +target in {ASKED}"), {"ids": ids, "at": at})
    with collector_paused():
        return snapshot_of_rows(_entities_among(database, ids, at), relations, at)


def onward(database: sqlite3.Connection, source: EntityRef, longest: int) -> list[RelationKey]:
    """The relations that directed paths of up to `longest` steps from `source` can take."""
    ids = numbers_json(reached(database, source, longest - 1, Direction.DEPENDENCIES, None))
    rows = database.execute(_of_ends("source, kind, target", "source", None), {"ids": ids}).fetchall()
    names = _names(database, {number for row in rows for number in (row[0], row[2])})
    return [RelationKey(names[source], kind, names[target]) for source, kind, target in rows]


def changes(database: sqlite3.Connection, since: int, until: int | None, limit: int | None) -> Sequence[StructureChange]:
    """GraphStore.changes."""
    asked = {"since": since, "until": until, "limit": -1 if limit is None else limit}
    rows = database.execute(f"{CHANGE} where at > :since and (:until is null or at <= :until) {CHANGE_ORDER} limit :limit", asked)
    return [change_of(row) for row in rows]


def diff(database: sqlite3.Connection, before: int, after: int) -> Difference:
    """GraphStore.diff: only what a change tells of, and what touches it, is looked at."""
    span = (min(before, after), max(before, after))
    ids = {row[0] for row in database.execute("select distinct entity from structure_change where at > ? and at <= ?", span)}
    touching = [_touching(database, ids, at) for at in (before, after)]
    # At both instants the same entities are looked at: one that only a relation brought in has not itself appeared.
    ends = numbers_json(ids.union(end for rows in touching for row in rows for end in row[:2]))
    then, now = (snapshot_of_rows(_entities_among(database, ends, at), rows, at) for at, rows in zip((before, after), touching, strict=True))
    return difference(then, now)


def records(database: sqlite3.Connection) -> Iterator[Sequence[Record]]:
    """GraphStore.records."""
    for names in _pages(database):
        yield _entity_intervals(database, names)
    for names in _pages(database):
        if found := _relation_intervals(database, names):
            yield found
    yield from sqlite_attributes.records(database)
    yield from _batches(database.execute(f"{CHANGE} {CHANGE_ORDER}, structure_change.rowid"), change_of)
    yield from sqlite_incidents.records(database)
    for row in database.execute("select name, content from state order by name").fetchall():
        yield [SavedState(row[0], bytes(row[1]))]


def _pages(database: sqlite3.Connection) -> Iterator[dict[int, str]]:
    after = ""
    while page := dict(database.execute("select id, ref from name where ref > ? order by ref limit ?", (after, BATCH)).fetchall()):
        yield page
        after = max(page.values())


def _entity_intervals(database: sqlite3.Connection, names: dict[int, str]) -> list[EntityInterval]:
    rows = database.execute(
        f"""select {ENTITY}, opened, closed, told from entity_interval join name using (id) where id in {ASKED}
            order by ref, opened, coalesce(closed, 1 << 62)""",
        {"ids": numbers_json(names)},
    )
    return [EntityInterval(entity_of(row), *row[5:]) for row in rows]


def _relation_intervals(database: sqlite3.Connection, names: dict[int, str]) -> list[RelationInterval]:
    rows = database.execute(
        f"select {RELATION}, opened, closed, (select ref from name where id = target) from relation_interval where source in {ASKED}",
        {"ids": numbers_json(names)},
    ).fetchall()
    rows.sort(key=lambda row: (names[row[0]], row[2], row[10], row[8], 1 << 62 if row[9] is None else row[9]))
    seen = dict[str, tuple[str, ...]]()
    return [RelationInterval(relation_of(row[2:], EntityRef.parse(names[row[0]]), EntityRef.parse(row[10]), seen), row[8], row[9]) for row in rows]


def _batches(rows: sqlite3.Cursor, record_of: Any) -> Iterator[list[Record]]:
    while batch := rows.fetchmany(BATCH):
        yield [record_of(row) for row in batch]


def _touching(database: sqlite3.Connection, ids: set[int], at: int) -> set[Any]:
    """The relations that touch these entities."""
    touching = " union ".join(_of_ends(RELATION, end, at) for end in ("source", "target"))
    return set(database.execute(touching, {"ids": numbers_json(ids), "at": at}))


def reached(database: sqlite3.Connection, ref: EntityRef, depth: int, direction: Direction, at: int | None, most: int | None = None) -> set[int]:
    """The numbers of the nearest `most` entities within `depth` steps; one query a step, of the frontier alone."""
    onward, back = _of_ends("target", "source", at), _of_ends("source", "target", at)
    step = {Direction.DEPENDENCIES: onward, Direction.DEPENDENTS: back}.get(direction, f"{onward} union {back}")
    number = database.execute("select id from name where ref = ?", (str(ref),)).fetchone()
    there = " union all ".join(
        f"select id from entity_interval indexed by {index} where {held} and id in {ASKED}" for index, held in _spans("entity_now", "entity_past", at)
    )
    seen = {row[0] for row in database.execute(there, {"ids": numbers_json(number or ()), "at": at})}
    frontier = seen
    for _ in range(depth):
        frontier = {row[0] for row in database.execute(step, {"ids": numbers_json(frontier), "at": at})} - seen
        if at is not None and frontier:  # relations of the present have their ends; those of the past may have come before them
            frontier = {row[0] for row in database.execute(there, {"ids": numbers_json(frontier), "at": at})}
        if most is not None and len(seen) + len(frontier) > most:
            first = f"select id from name where id in {ASKED} order by ref limit :room"
            frontier = {row[0] for row in database.execute(first, {"ids": numbers_json(frontier), "room": max(0, most - len(seen))})}
        if not frontier:
            break
        seen = seen | frontier
    return seen


def _entities_among(database: sqlite3.Connection, ids: str, at: int | None) -> sqlite3.Cursor:
    """Number, then as `entity_of`, in ascending identity."""
    parts = (
        f"select id, {ENTITY} from entity_interval indexed by {index} cross join name using (id) where {held} and id in {ASKED}"
        for index, held in _spans("entity_now", "entity_past", at)
    )
    return database.execute(" union all ".join(parts) + " order by ref", {"ids": ids, "at": at})


def _of_ends(columns: str, end: str, at: int | None, more: str = "") -> str:
    """The relations whose `end` is among :ids. For the present, past intervals are not even looked at."""
    now, past = ("relation_now", "relation_past") if end == "source" else ("relation_now_target", "relation_past_target")
    return " union all ".join(
        f"select {columns} from relation_interval indexed by {index} where {held} and {end} in {ASKED} {more}" for index, held in _spans(now, past, at)
    )


def _spans(now: str, past: str, at: int | None) -> list[tuple[str, str]]:
    """The indexes to look at, and what must hold of their intervals."""
    return [(now, "closed is null")] if at is None else [(now, "closed is null and opened <= :at"), (past, "closed > :at and opened <= :at")]


def _names(database: sqlite3.Connection, numbers: set[int]) -> dict[int, EntityRef]:
    rows = database.execute(f"select id, ref from name where id in {ASKED}", {"ids": numbers_json(numbers)})
    return {number: EntityRef.parse(ref) for number, ref in rows}


def _holds(at: int | None) -> str:
    return "closed is null" if at is None else "opened <= :at and (closed is null or closed > :at)"
