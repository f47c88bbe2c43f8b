"""Attributes and dependencies in the embedded store, within the transaction of the caller. Entities of one kind share one text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from graph.attributes import EntityAttributes, RelationDependencies, held_together
from graph.record_json import dependencies_of, quantities_of
from graph.sqlite_rows import numbers_json, texts_json
from graph.sqlite_writes import AMONG, Edge, Names, ends_of, present_edges
from graph.topology import RelationKey
from schema.identity import EntityRef

ATTRIBUTES = "select ref, content from attribute join shared_text on shared_text.id = held join name on name.id = entity"
DEPENDENCIES = """select from_name.ref, dependency.kind, to_name.ref, content from dependency join shared_text on shared_text.id = held
                  join name from_name on from_name.id = source join name to_name on to_name.id = target"""
AMONG_ASKED = "in (select value from json_each(?))"
BY_KEY = "order by from_name.ref, dependency.kind, to_name.ref"
BATCH = 2_000


def save_attributes(database: sqlite3.Connection, names: Names, entities: Sequence[EntityAttributes], relations: Sequence[RelationDependencies]) -> None:
    """GraphStore.save_attributes."""
    numbers = names.known(database, [*(each.entity for each in entities), *ends_of(each.relation for each in relations)])
    _save_entities(database, {numbers[each.entity]: each for each in entities if each.entity in numbers})
    edges = {_edge(numbers, each.relation): each for each in relations if each.relation.source in numbers and each.relation.target in numbers}
    present = present_edges(database, edges)
    database.executemany("delete from dependency where source = ? and target = ? and kind = ?", present)
    ends = _of_entities(database, {number for edge in present for number in edge[:2]})
    held = {edge: told for edge in present if (told := held_together(edges[edge], ends.get(edge[0]), ends.get(edge[1]))) is not None}
    texts = _texts(database, map(_dependencies_json, held.values()))
    rows = [(source, kind, target, texts[_dependencies_json(told)]) for (source, target, kind), told in held.items()]
    database.executemany("insert into dependency values(?, ?, ?, ?)", rows)


def attributes(database: sqlite3.Connection, refs: Sequence[EntityRef]) -> Sequence[EntityAttributes | RelationDependencies]:
    """GraphStore.attributes."""
    ids = numbers_json(row[0] for row in database.execute(f"select id from name where ref {AMONG_ASKED}", (texts_json(map(str, refs)),)))
    entities = database.execute(f"{ATTRIBUTES} where entity {AMONG_ASKED} order by ref", (ids,))
    relations = database.execute(f"{DEPENDENCIES} where source {AMONG_ASKED} {BY_KEY}", (ids,))
    return [*map(_attributes_of, entities), *map(_dependencies_of, relations)]


def records(database: sqlite3.Connection) -> Iterator[Sequence[EntityAttributes | RelationDependencies]]:
    """All of them, in batches of one kind, as `GraphStore.records` has them."""
    entities = database.execute(f"{ATTRIBUTES} order by ref")
    while rows := entities.fetchmany(BATCH):
        yield [_attributes_of(row) for row in rows]
    relations = database.execute(f"{DEPENDENCIES} {BY_KEY}")
    while rows := relations.fetchmany(BATCH):
        yield [_dependencies_of(row) for row in rows]


def _save_entities(database: sqlite3.Connection, told: Mapping[int, EntityAttributes]) -> None:
    ids = numbers_json(told)
    there = [row[0] for row in database.execute(f"select id {AMONG}", (ids,))]
    texts = _texts(database, (_attributes_json(told[number]) for number in there))
    standing = dict(database.execute(f"select entity, held from attribute where entity {AMONG_ASKED}", (ids,)).fetchall())
    changed = [number for number in there if standing.get(number) != texts[_attributes_json(told[number])]]
    for table, column in (("attribute", "entity"), ("dependency", "source"), ("dependency", "target")):
        database.executemany(f"delete from {table} where {column} = ?", [(number,) for number in changed if number in standing])
    rows = [(number, texts[_attributes_json(told[number])]) for number in changed if told[number].attributes]
    database.executemany("insert into attribute values(?, ?)", rows)


def _texts(database: sqlite3.Connection, contents: Iterable[str]) -> Mapping[str, int]:
    """The numbers of texts; new ones get one."""
    wanted = dict.fromkeys(contents)
    database.executemany("insert or ignore into shared_text(content) values(?)", [(content,) for content in wanted])
    return dict(database.execute(f"select content, id from shared_text where content {AMONG_ASKED}", (texts_json(wanted),)).fetchall())


def _of_entities(database: sqlite3.Connection, numbers: Iterable[int]) -> Mapping[int, EntityAttributes]:
    rows = database.execute(
        f"select entity, ref, content from attribute join shared_text on shared_text.id = held join name on name.id = entity where entity {AMONG_ASKED}",
        (numbers_json(numbers),),
    )
    return {row[0]: _attributes_of(row[1:]) for row in rows}


def _edge(numbers: Mapping[EntityRef, int], key: RelationKey) -> Edge:
    return numbers[key.source], numbers[key.target], key.kind


def _attributes_json(told: EntityAttributes) -> str:
    return orjson.dumps({"quantities": told.attributes, "dependencies": told.dependencies}).decode()


def _attributes_of(row: Any) -> EntityAttributes:
    ref, text = row
    content = orjson.loads(text)
    return EntityAttributes(EntityRef.parse(ref), quantities_of(content["quantities"]), dependencies_of(content["dependencies"]))


def _dependencies_json(told: RelationDependencies) -> str:
    return orjson.dumps({"of_source": told.of_source, "of_target": told.of_target}).decode()


def _dependencies_of(row: Any) -> RelationDependencies:
    source, kind, target, text = row
    content = orjson.loads(text)
    key = RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target))
    return RelationDependencies(key, dependencies_of(content["of_source"]), dependencies_of(content["of_target"]))
