"""The write verbs of the embedded store, each within the transaction of its caller: read what is there, decide here, write by table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from graph.merging import attributes_json, change_detail, merged_sources, supersedes
from graph.sqlite_rows import numbers_json, sources_json, statistics_json, texts_json
from graph.store import StoreError
from graph.topology import Entity, Relation, RelationKey, StructureEvent
from schema.identity import EntityRef

APPEARED, CHANGED, EXPIRED = StructureEvent.ENTITY_APPEARED.value, StructureEvent.ENTITY_CHANGED.value, StructureEvent.ENTITY_EXPIRED.value
RELATION_APPEARED, RELATION_EXPIRED = StructureEvent.RELATION_APPEARED.value, StructureEvent.RELATION_EXPIRED.value
NEW_ENTITY = "insert into entity_interval values(?, ?, ?, ?, ?, ?, ?, null)"
NEW_RELATION = "insert into relation_interval values(?, ?, ?, ?, ?, ?, ?, ?, ?, null)"
NEW_CHANGE = "insert into structure_change values(?, ?, ?, ?, ?, ?, ?)"
AMONG = "from entity_interval indexed by entity_now where closed is null and id in (select value from json_each(?))"
NEVER = -1
Edge = tuple[int, int, str]  # source, target, kind: the order of the index


class Names:
    """The numbers of identities, kept in memory while the store is open."""

    def __init__(self, most: int = 2_000_000) -> None:
        self._most = most
        self._numbers: dict[EntityRef, int] = {}

    def forget(self) -> None:
        """What was numbered in a transaction that failed, or was removed, is read again."""
        self._numbers.clear()

    def known(self, database: sqlite3.Connection, refs: Iterable[EntityRef]) -> Mapping[EntityRef, int]:
        """The numbers of those that have one; the mapping may hold more."""
        missing = {str(ref): ref for ref in refs if ref not in self._numbers}
        if missing:
            if len(self._numbers) > self._most:
                self._numbers.clear()
                return self.known(database, refs)
            rows = database.execute("select ref, id from name where ref in (select value from json_each(?))", (texts_json(missing),))
            self._numbers.update((missing[text], number) for text, number in rows)
        return self._numbers

    def numbered(self, database: sqlite3.Connection, refs: Sequence[EntityRef]) -> Mapping[EntityRef, int]:
        """The numbers of all of them; new ones get one."""
        numbers = self.known(database, refs)
        fresh = [ref for ref in dict.fromkeys(refs) if ref not in numbers]
        if fresh:
            (last,) = database.execute("select coalesce(max(id), 0) from name").fetchone()
            self._numbers.update((ref, last + place) for place, ref in enumerate(fresh, start=1))
            database.executemany("insert into name values(?, ?, ?)", [(self._numbers[ref], str(ref), ref.kind) for ref in fresh])
        return numbers


def upsert_entities(database: sqlite3.Connection, names: Names, entities: Sequence[Entity]) -> None:
    """GraphStore.upsert_entities."""
    numbers = names.numbered(database, [entity.ref for entity in entities])
    wanted = numbers_json(numbers[entity.ref] for entity in entities)
    present = {
        row[0]: row
        for row in database.execute(
            """select id, attributes, sources, first_seen, last_seen, told, opened from entity_interval indexed by entity_now
               where closed is null and id in (select value from json_each(?))""",
            (wanted,),
        )
    }
    ended = _ended_entities(database, wanted)
    new: list[tuple[Any, ...]] = []
    merged: list[tuple[Any, ...]] = []
    turned: list[tuple[int, int]] = []
    changes: list[tuple[Any, ...]] = []
    for entity in entities:
        number = numbers[entity.ref]
        attributes, sources, first, last = attributes_json(entity.attributes), sources_json(entity.sources), entity.first_seen, entity.last_seen
        if (row := present.get(number)) is None:
            if last > (end := ended.get(number, NEVER)):
                opened = max(first, end)
                new.append((number, attributes, sources, first, last, last, opened))
                changes.append((opened, APPEARED, number, None, None, None, ""))
            continue
        _, standing, known_sources, known_first, known_last, told, opened = row
        if sources != known_sources:
            sources = sources_json(merged_sources(orjson.loads(known_sources), entity.sources))
        first, latest = min(first, known_first), max(last, known_last)
        if attributes == standing or not supersedes(attributes, last, standing, told):
            merged.append((sources, first, latest, max(told, last) if attributes == standing else told, number))
        else:
            at = max(opened, last)
            turned.append((at, number))
            new.append((number, attributes, sources, first, latest, last, at))
            changes.append((at, CHANGED, number, None, None, None, change_detail(orjson.loads(standing), entity.attributes)))
    by_number = "indexed by entity_now set {} where id = ? and closed is null"
    database.executemany("update entity_interval " + by_number.format("sources = ?, first_seen = ?, last_seen = ?, told = ?"), merged)
    database.executemany("update entity_interval " + by_number.format("closed = ?"), turned)
    database.executemany(NEW_ENTITY, new)
    database.executemany(NEW_CHANGE, changes)


def upsert_relations(database: sqlite3.Connection, names: Names, relations: Sequence[Relation]) -> None:
    """GraphStore.upsert_relations."""
    numbers = names.known(database, ends_of(relation.key for relation in relations))
    edges = [(numbers.get(relation.key.source, NEVER), numbers.get(relation.key.target, NEVER), relation.key.kind) for relation in relations]
    _check_ends(database, edges, relations)
    ask(database, edges)
    present = {
        row[:3]: row[3:]
        for row in database.execute(
            """select source, target, kind, sources, confidence, first_seen, last_seen
               from asked cross join relation_interval indexed by relation_now using (source, target, kind) where closed is null"""
        )
    }
    ended = dict[Any, int](
        (row[:3], row[3])
        for row in database.execute(
            """select source, target, kind, max(closed) from asked cross join relation_interval indexed by relation_past using (source, target, kind)
               where closed is not null group by source, target, kind"""
        )
    )
    new: list[tuple[Any, ...]] = []
    merged: list[tuple[Any, ...]] = []
    changes: list[tuple[Any, ...]] = []
    for edge, relation in zip(edges, relations, strict=True):
        source, target, kind = edge
        sources, statistics, first, last = sources_json(relation.sources), statistics_json(relation.statistics), relation.first_seen, relation.last_seen
        if (row := present.get(edge)) is None:
            if last > (end := ended.get(edge, NEVER)):
                opened = max(first, end)
                new.append((source, kind, target, sources, relation.confidence, statistics, first, last, opened))
                changes.append((opened, RELATION_APPEARED, source, source, kind, target, ""))
            continue
        known_sources, confidence, known_first, known_last = row
        if sources != known_sources:
            sources = sources_json(merged_sources(orjson.loads(known_sources), relation.sources))
        merged.append((sources, max(confidence, relation.confidence), statistics, min(first, known_first), max(last, known_last), *edge))
    database.executemany(
        """update relation_interval indexed by relation_now set sources = ?, confidence = ?, statistics = ?, first_seen = ?, last_seen = ?
           where source = ? and target = ? and kind = ? and closed is null""",
        merged,
    )
    database.executemany(NEW_RELATION, new)
    database.executemany(NEW_CHANGE, changes)


def expire(database: sqlite3.Connection, names: Names, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
    """GraphStore.expire."""
    numbers = names.known(database, [*entities, *ends_of(relations)])
    ids = numbers_json(numbers[ref] for ref in entities if ref in numbers)
    gone = [row[0] for row in database.execute(f"select id {AMONG} and last_seen <= ?", (ids, at))]
    edges: set[Edge] = set()
    for index, end in (("relation_now", "source"), ("relation_now_target", "target")):
        edges.update(
            database.execute(
                f"""select source, target, kind from relation_interval indexed by {index}
                    where {end} in (select value from json_each(?)) and closed is null""",
                (numbers_json(gone),),
            )
        )
    seen_until = "select 1 from relation_interval indexed by relation_now where source = ? and target = ? and kind = ? and closed is null and last_seen <= ?"
    for key in relations:
        edge = (numbers.get(key.source, NEVER), numbers.get(key.target, NEVER), key.kind)
        if database.execute(seen_until, (*edge, at)).fetchone():
            edges.add(edge)
    close = """update relation_interval indexed by relation_now set closed = max(opened, ?)
               where source = ? and target = ? and kind = ? and closed is null returning closed"""
    # What hangs on the present goes with it.
    database.executemany("delete from dependency where source = ? and target = ? and kind = ?", edges)
    database.executemany("delete from attribute where entity = ?", [(number,) for number in gone])
    for source, target, kind in sorted(edges):
        (closed,) = database.execute(close, (at, source, target, kind)).fetchone()
        database.execute(NEW_CHANGE, (closed, RELATION_EXPIRED, source, source, kind, target, ""))
    for number in gone:
        (closed,) = database.execute(
            "update entity_interval indexed by entity_now set closed = max(opened, ?) where id = ? and closed is null returning closed", (at, number)
        ).fetchone()
        database.execute(NEW_CHANGE, (closed, EXPIRED, number, None, None, None, ""))


def compact(database: sqlite3.Connection, before: int, most: int) -> int:
    """GraphStore.compact."""
    ended = database.execute(
        """select closed, 'entity_interval', rowid from entity_interval where closed < ?1
           union all select closed, 'relation_interval', rowid from relation_interval where closed < ?1 order by 1 limit ?2""",
        (before, most),
    ).fetchall()
    for table in ("entity_interval", "relation_interval"):
        database.executemany(f"delete from {table} where rowid = ?", [(row[2],) for row in ended if row[1] == table])
    if ended:
        # What began or ended an interval that is still there stays, so that every interval is told of.
        database.execute(
            """delete from structure_change where at < ?1 and case when source is null
                 then not exists (select 1 from entity_interval where id = entity and at in (opened, closed))
                 else not exists (select 1 from relation_interval held where held.source = structure_change.source
                                    and held.target = structure_change.target and held.kind = structure_change.kind and at in (opened, closed)) end""",
            (before,),
        )
    return len(ended)


def _ended_entities(database: sqlite3.Connection, numbers: str) -> Mapping[int, int]:
    return dict(
        database.execute(
            """select id, max(closed) from entity_interval indexed by entity_past
               where closed is not null and id in (select value from json_each(?)) group by id""",
            (numbers,),
        )
    )


def _check_ends(database: sqlite3.Connection, edges: Sequence[Edge], relations: Sequence[Relation]) -> None:
    ends = {edge[0] for edge in edges}.union(edge[1] for edge in edges)
    there = {row[0] for row in database.execute(f"select id {AMONG}", (numbers_json(ends),))}
    if ends <= there:
        return
    for (source, target, _), relation in zip(edges, relations, strict=True):
        for number, end in ((source, relation.key.source), (target, relation.key.target)):
            if number not in there:
                raise StoreError(f"The relation {relation.key.kind} needs its end {end}, which the store does not hold: upsert entities first.")


def present_edges(database: sqlite3.Connection, edges: Iterable[Edge]) -> list[Edge]:
    """Those that are there, in ascending order."""
    ask(database, list(edges))
    rows = database.execute(
        """select source, target, kind from asked cross join relation_interval indexed by relation_now using (source, target, kind) where closed is null"""
    )
    return sorted(rows.fetchall())


def ends_of(keys: Iterable[RelationKey]) -> list[EntityRef]:
    """Source and target of each."""
    return [end for key in keys for end in (key.source, key.target)]


def ask(database: sqlite3.Connection, edges: Sequence[tuple[Any, ...]]) -> None:
    """Edges as the table `asked`, to join with; numbered from 1 in their order."""
    database.execute("create temp table if not exists asked(source integer, target integer, kind text)")
    database.execute("delete from asked")
    database.executemany("insert into asked values(?, ?, ?)", edges)
