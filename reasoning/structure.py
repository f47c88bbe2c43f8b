"""The variables and links of a whole estate, kept in step with the live graph: what a change does not touch is only moved."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import eq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph.change_log import Touched
from graph.live import ENTITY_ORDER, LiveGraph
from graph.topology import Relation, RelationKey
from reasoning.layout import Name, carried_over, layouts, prior, travels
from reasoning.network import grouped, merged_links
from reasoning.variable_index import VariableIndex
from schema.batches import Float64, Int32, Int64
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, DefectRule
from schema.overrides import overridden
from schema.verdicts import DefectRef

SECOND = 1_000_000_000
KNOWN_BEFORE = 90 * SECOND  # a relation is new only where both its ends were known for longer than this
ANEW = 0.25  # from this share of the estate on, it costs less to read it all again

LiveStrengths = Mapping[RelationKey, Mapping[str, float]]


class _Rows(NamedTuple):
    """r links in the making, parallel ones apart, by ascending effect, cause and rule. relation: the slot of each row's, -1 within an entity.

    fixed: the strength as long as nothing is known of the relation.
    """

    effect: Int32
    cause: Int32
    rule: Int32
    relation: Int32
    since: Int64
    confidence: Float64
    fixed: Float64

    def at(self, chosen: Int64) -> _Rows:
        return _Rows(*(column[chosen] for column in self.columns()))

    def joined(self, *others: _Rows) -> _Rows:
        return _Rows(*(np.concatenate(columns) for columns in zip(self.columns(), *(other.columns() for other in others), strict=True)))

    def columns(self) -> tuple[NDArray[Any], ...]:
        return tuple(self)


class Structure:
    """Variables by ascending entity, whatever the graph went through: the same estate has the same numbers. Owned by the compiler.

    names, index, leak, cluster, is_defect as in CompiledNetwork; entity: Int32[c], the graph's integer of each cluster. cause, effect:
    Int32[k], since: Int64[k]. Arrays are replaced, never written to, where something changes.
    """

    def __init__(self, knowledge: CausalKnowledge, graph: LiveGraph) -> None:
        self._graph = graph
        self._overrides = tuple(each for each in knowledge.overrides if each.priors)
        self._labelled = frozenset(each.selector.kind for each in self._overrides if each.selector.labels)
        self._kinds = layouts(knowledge)
        self._travels = travels(knowledge, self._kinds)
        self._by_number = {each.number: each for group in self._travels.values() for each in group}
        self._shared = {(source, relation) for (source, relation, _), group in self._travels.items() if any(each.shared for each in group)}
        self._version = -1
        self._live: LiveStrengths = {}
        self._stale: set[RelationKey] = set()
        self._strength: Float64 = np.zeros(0)
        self._merged: Float64 | None = None
        self._row_ptr: Int64 = np.zeros(0, np.int64)
        self._row_order: Int64 = self._row_ptr
        self._clear()

    def follow(self) -> bool:
        """Takes over what the graph changed since; whether there was anything."""
        if self._version == self._graph.version:
            self._follow_labels()
            return False
        touched = self._graph.changes_since(self._version) if self._version >= 0 else None
        if touched is None or len(touched.entities) + len(touched.relations) > ANEW * (len(self._refs) + len(self._slots)):
            self._anew()
        else:
            self._take(touched)
            self._follow_labels()
        self._version = self._graph.version
        return True

    def strengths(self, live: LiveStrengths) -> Float64:
        """The strength of each link, Float64[k]; the same array as before where nothing moved. Evaluated are relations whose values changed."""
        changed = dict.fromkeys((*(key for key in self._stale if key in live), *_changed_values(self._live, live)))
        self._live, self._stale = live, set()
        moved = [self._evaluate(slot, live.get(key)) for key in changed if (slot := self._slots.get(key)) is not None]
        if any(moved) or self._merged is None:
            self._merged = merged_links(self.first_row, self._strength.copy())
            self._merged.setflags(write=False)
        return self._merged

    def quiet_links(self, quiet: Mapping[RelationKey, int]) -> Int64:
        """For each link, Int64[k], since when its relation is quiet; 0 where it is not, and where the link has other ways or needs no traffic."""
        since = np.zeros(self.first_row.size, np.int64)
        alone = np.diff(np.append(self.first_row, self._rows.cause.size)) == 1
        for key, last in quiet.items():
            slot = self._slots.get(key)
            for row in self._rows_over(slot) if slot is not None else ():
                link = int(np.searchsorted(self.first_row, row, "right")) - 1
                if alone[link] and self._by_number[int(self._rows.rule[row])].follows is not None:
                    since[link] = last
        return since

    def _rows_over(self, slot: int) -> list[int]:
        if not self._row_ptr.size:
            self._row_ptr, self._row_order = grouped(self._rows.relation + 1, len(self._share) + 1)
        found: list[int] = self._row_order[self._row_ptr[slot + 1] : self._row_ptr[slot + 2]].tolist()
        return found

    def _evaluate(self, slot: int, values: Mapping[str, float] | None) -> bool:
        """Whether any strength of a relation's rows moved."""
        known = {**values, "share_of_members": self._share[slot]} if values else None
        moved = False
        for row in self._rows_over(slot):
            follows = self._by_number[int(self._rows.rule[row])].follows
            if follows is not None:
                strength = (self._rows.fixed[row] if known is None else follows.under(known)) * self._rows.confidence[row]
                moved |= bool(strength != self._strength[row])
                self._strength[row] = strength
        return moved

    def _clear(self) -> None:
        self._refs: list[EntityRef] = []
        self._first_seen: dict[EntityRef, int] = {}
        self._slots: dict[RelationKey, int] = {}
        self._free: list[int] = []
        self._share: list[float] = []
        self._live = {}
        self._stale = set()
        self.entity = np.zeros(0, np.int32)
        self.start = np.zeros(1, np.int64)
        self.names: tuple[Name, ...] = ()
        self.leak = np.zeros(0)
        self.is_defect = np.zeros(0, np.bool_)
        self._strength = np.zeros(0)
        none = np.zeros(0, np.int32)
        self._put_rows(_Rows(none, none, none, none, np.zeros(0, np.int64), np.zeros(0), np.zeros(0)))
        self._number()

    def _anew(self) -> None:
        self._clear()
        entities = [entity for entity in self._graph.entities() if entity.ref.kind in self._kinds]
        self._first_seen = {entity.ref: entity.first_seen for entity in entities}
        refs = [entity.ref for entity in entities]
        relations = self._graph.relations()
        members = Counter((relation.key.source, relation.key.kind) for relation in relations)
        self._edit(refs, np.full(len(refs), -1, np.int64), (), relations, members)
        self._set_priors(refs)

    def _take(self, touched: Touched) -> None:
        came, gone = [], []
        dirty = set(touched.relations)
        for ref in sorted(touched.entities, key=ENTITY_ORDER):
            if ref.kind not in self._kinds:
                continue
            entity = self._graph.entity(ref)
            if entity is None:
                if self._first_seen.pop(ref, None) is not None:
                    gone.append(ref)
                continue
            dirty.update(relation.key for relation in (*self._graph.relations(source=ref), *self._graph.relations(target=ref)))
            if ref not in self._first_seen:
                came.append(ref)
            self._first_seen[ref] = entity.first_seen
        members: dict[tuple[EntityRef, str], int] = {}
        for source, kind in {(key.source, key.kind) for key in dirty if (key.source.kind, key.kind) in self._shared}:
            siblings = self._graph.relations(source=source, kind=kind)
            members[source, kind] = len(siblings)
            dirty.update(relation.key for relation in siblings)
        found = (self._graph.relation(key) for key in sorted(dirty))
        refs, before = self._refs_with(came, gone)
        self._edit(refs, before, dirty, [relation for relation in found if relation is not None], members)
        ends = {end for key in dirty for end in (key.source, key.target)}
        self._set_priors({*came, *(ref for ref in ends if ref in self._first_seen)})

    def _refs_with(self, came: Sequence[EntityRef], gone: Sequence[EntityRef]) -> tuple[list[EntityRef], Int64]:
        """The entities after some came and went, in ascending order, and which each was before, -1 where it is new."""
        refs, before = self._refs.copy(), list(range(len(self._refs)))
        for ref in gone:
            at = bisect_left(refs, ENTITY_ORDER(ref), key=ENTITY_ORDER)
            del refs[at], before[at]
        for ref in came:
            at = bisect_left(refs, ENTITY_ORDER(ref), key=ENTITY_ORDER)
            refs.insert(at, ref)
            before.insert(at, -1)
        return refs, np.array(before, np.int64)

    def _edit(
        self,
        refs: list[EntityRef],
        before: Int64,
        dirty: Iterable[RelationKey],
        relations: Sequence[Relation],
        members: Mapping[tuple[EntityRef, str], int],
    ) -> None:
        """`refs`, of which `before` were here already, replace the entities; `relations` replace those that are `dirty`."""
        dropped = np.zeros(len(self._share) + 1, np.bool_)
        dropped[[slot for key in dirty if (slot := self._slots.get(key)) is not None]] = True
        names, moved = self.names, self._move(refs, before)
        effect = moved[self._rows.effect]
        gone = dropped[self._rows.relation] | (effect < 0)
        there = {relation.key for relation in relations}
        self._free.extend(self._slots.pop(key) for key in sorted(dirty) if key in self._slots and key not in there)
        new = self._sorted([*self._own_rows(np.flatnonzero(before < 0)), *self._relation_rows(relations, members)])
        rows = self._rows._replace(effect=effect, cause=moved[self._rows.cause])
        old = np.flatnonzero(gone)
        if self.names is names and old.size == new.effect.size and all((one[old] == other).all() for one, other in zip(rows[:3], new[:3], strict=True)):
            self._renew_rows(old, new)
        else:
            self._merge_rows(rows, np.flatnonzero(~gone), new)

    def _move(self, refs: list[EntityRef], before: Int64) -> Int32:
        """Gives the variables of `refs` their numbers; returns those of the old variables, -1 where they are gone."""
        if before.size == len(self._refs) and (before == np.arange(before.size)).all():
            return np.arange(len(self.names), dtype=np.int32)
        came = np.flatnonzero(before < 0)
        fresh = [self._kinds[refs[each].kind] for each in came.tolist()]
        sizes = np.append(np.diff(self.start), 0)[before]
        sizes[came] = [kind.leak.size for kind in fresh]
        entity = np.append(self.entity, -1)[before]
        entity[came] = self._ids([refs[each] for each in came.tolist()])
        carried = carried_over(np.where(before >= 0, self.start[before], -1), sizes)
        stays, blank = np.flatnonzero(carried >= 0), np.flatnonzero(carried < 0)
        leak, is_defect = np.empty(carried.size), np.empty(carried.size, np.bool_)
        leak[stays], is_defect[stays] = self.leak[carried[stays]], self.is_defect[carried[stays]]
        if blank.size:
            leak[blank] = np.concatenate([kind.leak for kind in fresh])
            is_defect[blank] = np.concatenate([kind.is_defect for kind in fresh])
        moved = np.full(len(self.names), -1, np.int32)
        moved[carried[stays]] = stays
        self.names = self._names_of(refs, before)
        self._refs, self.entity, self.leak, self.is_defect = refs, entity, leak, is_defect
        self.start = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self._number()
        return moved

    def _names_of(self, refs: list[EntityRef], before: Int64) -> tuple[Name, ...]:
        names: list[Name] = []
        cuts = np.flatnonzero((np.diff(before) != 1) | (before[1:] < 0) | (before[:-1] < 0)) + 1
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), before.size], strict=True):
            if first < last and before[first] >= 0:
                names.extend(self.names[self.start[before[first]] : self.start[before[last - 1] + 1]])
            elif first < last:
                names.extend(self._kinds[refs[first].kind].names(refs[first]))
        return tuple(names)

    def _number(self) -> None:
        first = np.full(int(self.entity.max(initial=-1)) + 1, -1, np.int32)
        first[self.entity] = self.start[:-1]
        self.index = VariableIndex(self.names, first, self._graph.find, self._kinds)
        self.cluster = np.repeat(np.arange(len(self._refs), dtype=np.int32), np.diff(self.start))

    def _ids(self, refs: Sequence[EntityRef]) -> Int32:
        return np.array([self._graph.intern(ref) for ref in refs], np.int32)

    def _set_priors(self, refs: Iterable[EntityRef]) -> None:
        """What overrides say of an entity; 0 for a defect that it can't have for the relations it has or lacks."""
        leak = self.leak.copy()
        for ref in refs:
            own = self._own_priors(ref)
            for _, defect in self._kinds[ref.kind].bound:
                per_hour = own.get(defect.name, defect.prior_per_hour)
                leak[self.index[DefectRef(ref, defect.name)]] = prior(per_hour) if self._fits(ref, defect) else 0.0
        if not np.array_equal(leak, self.leak):
            self.leak = leak
        self.leak.setflags(write=False)

    def _follow_labels(self) -> None:
        """Labels change without a change of the graph's structure."""
        if self._labelled:
            self._set_priors(ref for ref in self._refs if ref.kind in self._labelled)

    def _own_priors(self, ref: EntityRef) -> Mapping[str, float]:
        entity = self._graph.entity(ref) if self._overrides else None
        return {} if entity is None else overridden(self._overrides, ref, entity.attributes)[0]

    def _fits(self, ref: EntityRef, defect: DefectRule) -> bool:
        if defect.only_with and not self._graph.relations(source=ref, kind=defect.only_with):
            return False
        return not (defect.only_without and self._graph.relations(target=ref, kind=defect.only_without))

    def _own_rows(self, clusters: Int64) -> Iterator[_Rows]:
        kind_of = np.array([self._kinds[self._refs[each].kind].number for each in clusters.tolist()], np.int64)
        for kind in self._kinds.values():
            first = self.start[clusters[kind_of == kind.number]]
            for number in range(kind.cause.size if first.size else 0):
                yield _rows(first + kind.effect[number], first + kind.cause[number], number - kind.cause.size, np.full(first.size, kind.strength[number]))

    def _relation_rows(self, relations: Sequence[Relation], members: Mapping[tuple[EntityRef, str], int]) -> Iterator[_Rows]:
        alike: dict[tuple[str, str, str], list[Relation]] = {}
        for relation in relations:
            ends = relation.key.source.kind, relation.key.kind, relation.key.target.kind
            if ends in self._travels:
                alike.setdefault(ends, []).append(relation)
        for kinds, group in alike.items():
            shared = kinds[:2] in self._shared
            share = np.array([1.0 / members[each.key.source, each.key.kind] if shared else 1.0 for each in group])
            slots = np.array([self._slot(each.key, own) for each, own in zip(group, share.tolist(), strict=True)], np.int32)
            source, target = (self.index.first[self._ids(ends)] for ends in ([each.key.source for each in group], [each.key.target for each in group]))
            told = np.array([_since(each, self._first_seen) for each in group], np.int64), np.array([each.confidence for each in group])
            for rule in self._travels[kinds]:
                above, below = (source, target) if rule.down else (target, source)
                yield _rows(below + rule.effect, above + rule.cause, rule.number, rule.fixed(share), slots, told)

    def _slot(self, key: RelationKey, share: float) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._free.pop() if self._free else len(self._share)
            self._slots[key] = slot
            if slot == len(self._share):
                self._share.append(share)
        self._share[slot] = share
        self._stale.add(key)
        return slot

    def _sorted(self, parts: list[_Rows]) -> _Rows:
        found = self._rows.at(np.zeros(0, np.int64)).joined(*parts)
        return found.at(np.lexsort((found.rule, found.cause, found.effect)))

    def _renew_rows(self, places: Int64, new: _Rows) -> None:
        """The same links, of which other things are told: what follows from the links alone still holds."""
        if not places.size:
            return
        rows = self._rows
        for column, told in ((rows.since, new.since), (rows.confidence, new.confidence), (rows.fixed, new.fixed)):
            column[places] = told
        self._strength[places] = new.fixed * new.confidence
        self._merged = None
        self._row_ptr = np.zeros(0, np.int64)
        self.since = np.minimum.reduceat(self._rows.since, self.first_row) if self.first_row.size else self._rows.since

    def _merge_rows(self, rows: _Rows, stays: Int64, new: _Rows) -> None:
        count, rules = len(self.names), max(self._by_number, default=0) + 1
        lowest = max((kind.cause.size for kind in self._kinds.values()), default=0)
        ours, theirs = (
            (effect.astype(np.int64) * count + cause) * (rules + lowest) + rule + lowest
            for effect, cause, rule in ((rows.effect[stays], rows.cause[stays], rows.rule[stays]), new[:3])
        )
        place = np.searchsorted(ours, theirs) + np.arange(theirs.size)
        source = np.empty(ours.size + theirs.size, np.int64)
        old = np.ones(source.size, np.bool_)
        old[place] = False
        source[old], source[place] = stays, rows.effect.size + np.arange(theirs.size)
        strength = np.concatenate((self._strength, new.fixed * new.confidence))[source]
        self._put_rows(rows.joined(new).at(source))
        self._strength = strength

    def _put_rows(self, rows: _Rows) -> None:
        self._rows = rows
        begins = np.append(True, (np.diff(rows.cause) != 0) | (np.diff(rows.effect) != 0))[: rows.cause.size]
        self.first_row: Int64 = np.flatnonzero(begins)
        self.cause, self.effect = rows.cause[self.first_row], rows.effect[self.first_row]
        self.since = np.minimum.reduceat(rows.since, self.first_row) if self.first_row.size else rows.since
        self._merged = None
        self._row_ptr = np.zeros(0, np.int64)


def _rows(effect: Int32, cause: Int32, rule: int, fixed: Float64, relation: Int32 | None = None, told: tuple[Int64, Float64] | None = None) -> _Rows:
    """Rows of one rule. told: since when the relations are, and how sure they are."""
    count = effect.size
    since, confidence = (np.zeros(count, np.int64), np.ones(count)) if told is None else told
    slots = np.full(count, -1, np.int32) if relation is None else relation
    return _Rows(effect.astype(np.int32), cause.astype(np.int32), np.full(count, rule, np.int32), slots, since, confidence, fixed)


def _since(relation: Relation, first_seen: Mapping[EntityRef, int]) -> int:
    """When a relation between entities that were known before came to be, 0 where it is as old as they are known."""
    known = max(first_seen[relation.key.source], first_seen[relation.key.target])
    return relation.first_seen if relation.first_seen > known + KNOWN_BEFORE else 0


def _changed_values(before: LiveStrengths, now: LiveStrengths) -> list[RelationKey]:
    """The relations of which other values are known. Where both tell of the same relations in the same order, no key need be looked up."""
    if before is now:
        return []
    if len(before) == len(now) and all(map(eq, before, now)):
        return [key for (key, values), last in zip(now.items(), before.values(), strict=True) if values != last]
    return [key for key, values in now.items() if before.get(key) != values] + [key for key in before if key not in now]
