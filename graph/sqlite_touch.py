"""Heartbeats of the embedded store: one statement of row numbers for all entities, one for all relations."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from graph.sqlite_rows import numbers_json
from graph.sqlite_writes import AMONG, NEVER, Names, ask, ends_of
from graph.topology import RelationKey
from schema.identity import EntityRef

TOUCH_ENTITIES = """update entity_interval indexed by entity_now set last_seen = max(last_seen, ?)
                    where closed is null and id in (select value from json_each(?))"""
PRESENT_ROWS = "from relation_interval where closed is null and rowid in (select value from json_each(?))"
TOUCH_RELATIONS = f"update relation_interval set last_seen = max(last_seen, ?) {PRESENT_ROWS.removeprefix('from relation_interval ')}"
ROWS = """select asked.rowid - 1, held.rowid
          from asked cross join relation_interval held indexed by relation_now using (source, target, kind) where closed is null"""


class Rows:
    """Where the present relations are, kept in memory while the store is open. A row is another's only after a compaction or a vacuum: `forget` then."""

    def __init__(self, most: int = 2_000_000) -> None:
        self._most = most
        self._rows: dict[RelationKey, int] = {}

    def forget(self) -> None:
        """All are sought again."""
        self._rows.clear()

    def held(self, database: sqlite3.Connection, names: Names, keys: Sequence[RelationKey]) -> dict[RelationKey, int]:
        """The rows of those that were present when they were last sought; the others are sought now, and left out where they are not."""
        rows = {key: row for key in keys if (row := self._rows.get(key)) is not None}
        self._seek(database, names, rows, [key for key in keys if key not in rows] if len(rows) < len(keys) else [])
        return rows

    def sought(self, database: sqlite3.Connection, names: Names, rows: dict[RelationKey, int]) -> dict[RelationKey, int]:
        """The rows that are present now; what is in another by now is sought there."""
        there = {number for (number,) in database.execute(f"select rowid {PRESENT_ROWS}", (numbers_json(rows.values()),))}
        present = {key: row for key, row in rows.items() if row in there}
        moved = [key for key in rows if key not in present]
        for key in moved:
            del self._rows[key]
        self._seek(database, names, present, moved)
        return present

    def _seek(self, database: sqlite3.Connection, names: Names, rows: dict[RelationKey, int], keys: Sequence[RelationKey]) -> None:
        if not keys:
            return
        numbers = names.known(database, ends_of(keys))
        ask(database, [(numbers.get(key.source, NEVER), numbers.get(key.target, NEVER), key.kind) for key in keys])
        found = {keys[place]: row for place, row in database.execute(ROWS)}
        rows.update(found)
        if len(self._rows) + len(found) > self._most:
            self._rows.clear()
        self._rows.update(found)


def touch(
    database: sqlite3.Connection, names: Names, rows: Rows, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int
) -> Sequence[EntityRef | RelationKey]:
    """GraphStore.touch."""
    return [*_touch_entities(database, names, entities, at), *_touch_relations(database, names, rows, relations, at)]


def _touch_entities(database: sqlite3.Connection, names: Names, entities: Sequence[EntityRef], at: int) -> Sequence[EntityRef]:
    numbers = names.known(database, entities)
    ids = numbers_json(number for number in map(numbers.get, entities) if number is not None)
    if database.execute(TOUCH_ENTITIES, (at, ids)).rowcount == len(entities):
        return ()
    there = {row[0] for row in database.execute(f"select id {AMONG}", (ids,))}
    return [ref for ref in entities if numbers.get(ref) not in there]


def _touch_relations(database: sqlite3.Connection, names: Names, rows: Rows, relations: Sequence[RelationKey], at: int) -> Sequence[RelationKey]:
    held = rows.held(database, names, relations)
    if database.execute(TOUCH_RELATIONS, (at, numbers_json(held.values()))).rowcount < len(held):
        held = rows.sought(database, names, held)
        database.execute(TOUCH_RELATIONS, (at, numbers_json(held.values())))
    return [key for key in relations if key not in held] if len(held) < len(relations) else ()
