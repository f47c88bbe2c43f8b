"""Proof that a store lost and doubled nothing: its intervals, its changes and what relates them must tell the same story."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from graph.attributes import Dependency, EntityAttributes, RelationDependencies
from graph.records import EntityInterval, Record, RelationInterval, SavedState
from graph.topology import RelationKey, StructureChange, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident

MOST_PROBLEMS = 1_000
BEGINS = frozenset({StructureEvent.ENTITY_APPEARED, StructureEvent.ENTITY_CHANGED, StructureEvent.RELATION_APPEARED})
ENDS = frozenset({StructureEvent.ENTITY_CHANGED, StructureEvent.ENTITY_EXPIRED, StructureEvent.RELATION_EXPIRED})
EXPIRIES = frozenset({StructureEvent.ENTITY_EXPIRED, StructureEvent.RELATION_EXPIRED})
KINDS: Mapping[type[Record], str] = {
    EntityInterval: "entity_intervals",
    RelationInterval: "relation_intervals",
    EntityAttributes: "attributed_entities",
    RelationDependencies: "dependent_relations",
    StructureChange: "changes",
    EntityChange: "entity_changes",
    Incident: "incidents",
    SavedState: "saved_states",
}
Thing = EntityRef | RelationKey


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw. `counts`: records by kind; `problems`: sentences, the first MOST_PROBLEMS of them."""

    counts: Mapping[str, int]
    problems: Sequence[str]


@dataclass(slots=True)
class _Told:
    """What the changes say of one thing: when intervals began, when they may have ended, and when they did for sure."""

    begins: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)
    expiries: set[int] = field(default_factory=set)


class _Attributes:
    """Attributes must have their entity, dependencies their relation and both attributes; each is told once."""

    def __init__(self) -> None:
        self._names: dict[EntityRef, frozenset[str]] = {}
        self._over: set[RelationKey] = set()
        self._found: list[str] = []

    def hear(self, record: EntityAttributes | RelationDependencies) -> None:
        if isinstance(record, EntityAttributes):
            if record.entity in self._names:
                self._found.append(f"The attributes of {record.entity} are there twice.")
            self._names[record.entity] = frozenset(quantity.name for quantity in record.attributes)
            self._ends(str(record.entity), record.dependencies, record.entity, record.entity)
            return
        key = record.relation
        if key in self._over:
            self._found.append(f"The dependencies over {name_of(key)} are there twice.")
        self._over.add(key)
        self._ends(name_of(key), record.of_source, key.source, key.target)
        self._ends(name_of(key), record.of_target, key.target, key.source)

    def problems(self, intervals: Mapping[Thing, list[tuple[int, int | None]]]) -> Iterator[str]:
        yield from self._found
        yield from (f"The attributes of {ref} are there, and it is not." for ref in self._names if not _is_there(ref, intervals))
        yield from (f"The dependencies over {name_of(key)} are there, and it is not." for key in self._over if not _is_there(key, intervals))

    def _ends(self, what: str, dependencies: Sequence[Dependency], effects: EntityRef, causes: EntityRef) -> None:
        for each in dependencies:
            for ref, name in ((effects, each.effect), (causes, each.cause)):
                if name not in self._names.get(ref, ()):
                    self._found.append(f"{what}: {each.effect} depends on {each.cause}, and {ref} has no attribute {name}.")


class _Doings:
    """Changes to entities are told once, and those that an incident has are there."""

    def __init__(self) -> None:
        self._told: set[EntityChange] = set()
        self.problems: list[str] = []

    def hear(self, record: EntityChange | Incident) -> None:
        if isinstance(record, Incident):
            lost = (each for each in record.changes if each not in self._told)
            self.problems += [f"The incident {record.id} has a {each.kind} of {each.entity} at {each.at} that is not in the store." for each in lost]
        elif record in self._told:
            self.problems.append(f"The {record.kind} of {record.entity} at {record.at} is there twice.")
        else:
            self._told.add(record)


async def check(records: AsyncIterator[Sequence[Record]]) -> Finding:
    """Reads all records of a store. Raises StoreError, and ValueError or KeyError where a record can't be read at all."""
    counts = Counter[str]()
    intervals = defaultdict[Thing, list[tuple[int, int | None]]](list)
    told = defaultdict[Thing, _Told](_Told)
    attributes, doings = _Attributes(), _Doings()
    async for batch in records:
        for record in batch:
            counts[KINDS[type(record)]] += 1
            if isinstance(record, EntityInterval):
                intervals[record.entity.ref].append((record.opened, record.closed))
            elif isinstance(record, RelationInterval):
                intervals[record.relation.key].append((record.opened, record.closed))
            elif isinstance(record, EntityAttributes | RelationDependencies):
                attributes.hear(record)
            elif isinstance(record, EntityChange | Incident):
                doings.hear(record)
            elif isinstance(record, StructureChange):
                _hear(told[record.relation or record.entity], record)
    problems: list[str] = []
    for problem in chain(_problems(intervals, told), attributes.problems(intervals), doings.problems):
        if len(problems) == MOST_PROBLEMS:
            break
        problems.append(problem)
    return Finding(dict(sorted(counts.items())), tuple(problems))


def name_of(thing: Thing) -> str:
    """An entity's identity, or a relation in words."""
    return str(thing) if isinstance(thing, EntityRef) else f"{thing.source} {thing.kind} {thing.target}"


def _problems(intervals: Mapping[Thing, list[tuple[int, int | None]]], told: Mapping[Thing, _Told]) -> Iterator[str]:
    present = {thing for thing in intervals if _is_there(thing, intervals)}
    for thing, spans in intervals.items():
        yield from _overlaps(thing, spans)
        if isinstance(thing, RelationKey):
            for end in (thing.source, thing.target):
                if end not in intervals:
                    yield f"{name_of(thing)}: its end {end} is not in the store."
                elif thing in present and end not in present:
                    yield f"{name_of(thing)} is there, and its end {end} is not."
        yield from _untold(thing, spans, told.get(thing) or _Told())
    for thing in told:
        if thing not in intervals:
            yield f"{name_of(thing)}: changes tell of it, and it is not in the store."


def _overlaps(thing: Thing, spans: list[tuple[int, int | None]]) -> Iterator[str]:
    ordered = sorted(spans, key=lambda span: (span[0], span[1] is None, span[1] or 0))
    for opened, closed in ordered:
        if closed is not None and closed < opened:
            yield f"{name_of(thing)}: an interval ends at {closed}, before it begins at {opened}."
    for (opened, closed), (after, _) in pairwise(ordered):
        if closed is None or closed > after:
            yield f"{name_of(thing)}: the intervals that begin at {opened} and {after} overlap."


def _untold(thing: Thing, spans: list[tuple[int, int | None]], told: _Told) -> Iterator[str]:
    opened, closed = {span[0] for span in spans}, {span[1] for span in spans if span[1] is not None}
    for at in sorted(opened - told.begins):
        yield f"{name_of(thing)}: the interval that begins at {at} has no change."
    for at in sorted(told.begins - opened):
        yield f"{name_of(thing)}: the change at {at} has no interval."
    for at in sorted(closed - told.ends):
        yield f"{name_of(thing)}: the interval that ends at {at} has no change."
    for at in sorted(told.expiries - closed):
        yield f"{name_of(thing)}: the expiry at {at} ends no interval."


def _is_there(thing: Thing, intervals: Mapping[Thing, list[tuple[int, int | None]]]) -> bool:
    return any(closed is None for _, closed in intervals.get(thing, ()))


def _hear(told: _Told, change: StructureChange) -> None:
    if change.event in BEGINS:
        told.begins.add(change.at)
    if change.event in ENDS:
        told.ends.add(change.at)
    if change.event in EXPIRIES:
        told.expiries.add(change.at)
