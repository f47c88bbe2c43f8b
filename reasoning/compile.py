"""Knowledge x live graph -> causal network: a variable for each condition and defect of each entity, a link for each way one causes another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import exp

import numpy as np

from graph.live import LiveGraph
from graph.topology import Relation, RelationKey
from reasoning.cycles import feedback_links
from reasoning.errors import InconsistentEvidenceError, InvalidEvidenceError, InvalidNetworkError
from reasoning.network import Bool, CausalNetwork, FeedbackLinks, merged_links, network_of
from schema.batches import Float64, Int32, Int64
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, DefectRule, PropagationRule, Strength, Toward
from schema.verdicts import ConditionRef, DefectRef
from schema.windows import Change

HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
PRIOR_HOURS = 1.0
LARGEST_PRIOR = 0.2
NAMED = 5  # how many variables an error names
KNOWN_BEFORE = 90 * SECOND  # a relation is new only where both its ends were known for longer than this

Name = ConditionRef | DefectRef
LiveStrengths = Mapping[RelationKey, Mapping[str, float]]


@dataclass(frozen=True)
class CompiledNetwork:
    """A network and what its n variables stand for.

    cause, effect: Int32[k], strength: Float64[k]: all k links that could be, feedback links included. since: Int64[k], the event
    time before which a link's relation did not exist, 0 where it always did. network: what of it is solved.
    """

    names: tuple[Name, ...]
    index: Mapping[Name, int]
    leak: Float64
    cluster: Int32
    is_defect: Bool
    cause: Int32
    effect: Int32
    strength: Float64
    since: Int64

    @cached_property
    def network(self) -> CausalNetwork:
        """The network, its feedback links beside the others."""
        back = FeedbackLinks(self.cause, self.effect, self.strength).only(self.feedback)
        kept = ~self.feedback
        return network_of(self.leak, self.cause[kept], self.effect[kept], self.strength[kept], self.cluster, self.is_defect, back)

    @cached_property
    def feedback(self) -> Bool:
        """The links that would close cycles, bool[k]."""
        return feedback_links(len(self.names), self.cause, self.effect, self.strength)

    @property
    def feedback_names(self) -> tuple[tuple[Name, Name], ...]:
        """The feedback links by name."""
        return tuple((self.names[self.cause[link]], self.names[self.effect[link]]) for link in np.flatnonzero(self.feedback & (self.strength > 0.0)))

    def carried_from(self, earlier: CompiledNetwork) -> Int32:
        """What each variable was called in an earlier network of the same estate, -1 where it is new: Int32[n]."""
        if self.names is earlier.names:
            return np.arange(len(self.names), dtype=np.int32)
        return np.array([earlier.index.get(name, -1) for name in self.names], np.int32)

    def without(self, links: Bool) -> CompiledNetwork:
        """The same estate without some links, bool[k]; what they kept out of a cycle may stay now."""
        return replace(self, strength=np.where(links, 0.0, self.strength)) if links.any() else self


@contextmanager
def naming(compiled: CompiledNetwork) -> Iterator[None]:
    """Puts names to the variables of an error raised inside."""
    try:
        yield
    except InconsistentEvidenceError as trouble:
        raise InconsistentEvidenceError(trouble.variables, _listed(compiled, trouble.variables)) from None
    except (InvalidNetworkError, InvalidEvidenceError) as trouble:
        told = f"{trouble} That is {_listed(compiled, trouble.variables)}." if trouble.variables else f"{trouble}"
        raise type(trouble)(told, trouble.variables) from None


def _listed(compiled: CompiledNetwork, variables: Sequence[int]) -> str:
    names = [compiled.names[variable] for variable in variables[:NAMED]]
    told = ", ".join(f"{name.defect if isinstance(name, DefectRef) else name.condition} of {name.entity}" for name in names)
    return told + (f" and {len(variables) - len(names)} more" if len(variables) > len(names) else "")


class NetworkCompiler:
    """Keeps the structure as long as the graph's version stands; each window only priors and strengths are renewed."""

    def __init__(self, knowledge: CausalKnowledge, graph: LiveGraph) -> None:
        self._knowledge = knowledge
        self._graph = graph
        self._structure: _Structure | None = None
        self._version = -1

    def compile(self, live: LiveStrengths, changes: Sequence[Change] = ()) -> CompiledNetwork:
        """The network of the whole estate. `changes`: those of the last hour, which raise priors. `live`: what is known of relations now.

        A relation's confidence is that of the last structural change.
        """
        if self._structure is None or self._version != self._graph.version:
            self._structure, self._version = _structure(self._knowledge, self._graph), self._graph.version
        found = self._structure
        strength = merged_links(found.start, _strengths(found, live))
        return CompiledNetwork(
            found.names,
            found.index,
            self._leaks(found, changes),
            found.cluster,
            found.is_defect,
            found.cause,
            found.effect,
            strength,
            found.since,
        )

    def _leaks(self, found: _Structure, changes: Sequence[Change]) -> Float64:
        """Changes raise the priors of defects of the entities they touch, the strongest counts, fading over an hour."""
        factors: dict[int, float] = {}
        for change in changes:
            weight = exp(-max(self._graph.at - change.time, 0) / HOUR)
            for ref in _touched(self._graph, self._graph.ref(change.entity)):
                kind = self._knowledge.kinds.get(ref.kind)
                for defect in kind.defects.values() if kind else ():
                    place = found.index.get(DefectRef(ref, defect.name))
                    if place is not None and change.kind.value in defect.raised_by:
                        factors[place] = max(factors.get(place, 1.0), defect.raised_by[change.kind.value] ** weight)
        leak = found.leak.copy()
        for place, factor in factors.items():
            leak[place] = min(leak[place] * factor, LARGEST_PRIOR)
        return leak


def compile_network(knowledge: CausalKnowledge, graph: LiveGraph, live: LiveStrengths, changes: Sequence[Change] = ()) -> CompiledNetwork:
    """The network of the whole estate, once. Whoever asks again and again keeps a NetworkCompiler."""
    return NetworkCompiler(knowledge, graph).compile(live, changes)


@dataclass(frozen=True, slots=True)
class _Structure:
    """What does not change from window to window. Rows of links stand in ascending (effect, cause), parallel ones together.

    start: Int64[k], the first row of each link. fixed: Float64[r], the strength of a row as long as nothing is known of its
    relation; confidence: Float64[r]. live: for each relation whose strengths follow traffic, its share of members and its rows.
    """

    names: tuple[Name, ...]
    index: Mapping[Name, int]
    leak: Float64
    cluster: Int32
    is_defect: Bool
    cause: Int32
    effect: Int32
    since: Int64
    start: Int64
    fixed: Float64
    confidence: Float64
    live: tuple[tuple[RelationKey, float, tuple[tuple[int, Strength], ...]], ...]


@dataclass(slots=True)
class _Rows:
    """Links in the making, column by column. relation: index into `relations`, -1 within an entity; follows: None where the strength is fixed."""

    effect: list[int] = field(default_factory=list)
    cause: list[int] = field(default_factory=list)
    fixed: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    since: list[int] = field(default_factory=list)
    relation: list[int] = field(default_factory=list)
    follows: list[Strength | None] = field(default_factory=list)
    relations: list[tuple[RelationKey, float]] = field(default_factory=list)

    def add(self, effect: int, cause: int, fixed: float, confidence: float = 1.0, since: int = 0, relation: int = -1, follows: Strength | None = None) -> None:
        self.effect.append(effect)
        self.cause.append(cause)
        self.fixed.append(fixed)
        self.confidence.append(confidence)
        self.since.append(since)
        self.relation.append(relation)
        self.follows.append(follows)

    def by_relation(self, order: Int64) -> tuple[tuple[RelationKey, float, tuple[tuple[int, Strength], ...]], ...]:
        """The rows that follow traffic, at their places in `order`."""
        found: dict[int, list[tuple[int, Strength]]] = {}
        for place, row in enumerate(order.tolist()):
            follows = self.follows[row]
            if follows is not None:
                found.setdefault(self.relation[row], []).append((place, follows))
        return tuple((*self.relations[relation], tuple(places)) for relation, places in found.items())


def _structure(knowledge: CausalKnowledge, graph: LiveGraph) -> _Structure:
    first_seen = {entity.ref: entity.first_seen for entity in graph.entities() if entity.ref.kind in knowledge.kinds}
    first: dict[EntityRef, int] = {}
    names: list[Name] = []
    leak: list[float] = []
    for ref in first_seen:
        kind = knowledge.kinds[ref.kind]
        first[ref] = len(names)
        names.extend(DefectRef(ref, name) for name in kind.defects)
        leak.extend(_prior(defect, ref, graph) for defect in kind.defects.values())
        names.extend(ConditionRef(ref, name) for name in kind.conditions)
        leak.extend(condition.leak for condition in kind.conditions.values())
    offsets = _offsets(knowledge)
    rows = _Rows()
    _add_own(rows, knowledge, first, offsets)
    _add_propagated(rows, knowledge, graph, first_seen, first, offsets)
    order = np.lexsort((rows.cause, rows.effect)).astype(np.int64)
    cause, effect = np.array(rows.cause, np.int32)[order], np.array(rows.effect, np.int32)[order]
    start = np.flatnonzero(np.append(True, (np.diff(cause) != 0) | (np.diff(effect) != 0))[: order.size])
    since = np.array(rows.since, np.int64)[order]
    return _Structure(
        names=tuple(names),
        index={name: place for place, name in enumerate(names)},
        leak=np.array(leak, np.float64),
        cluster=np.repeat(np.arange(len(first), dtype=np.int32), np.diff([*first.values(), len(names)])),
        is_defect=np.array([isinstance(name, DefectRef) for name in names], np.bool_),
        cause=cause[start],
        effect=effect[start],
        since=np.minimum.reduceat(since, start) if start.size else since,
        start=start,
        fixed=np.array(rows.fixed, np.float64)[order],
        confidence=np.array(rows.confidence, np.float64)[order],
        live=rows.by_relation(order),
    )


def _prior(defect: DefectRule, ref: EntityRef, graph: LiveGraph) -> float:
    """0 for a defect that an entity can't have for the relations it has or lacks."""
    fits = not defect.only_with or graph.relations(source=ref, kind=defect.only_with)
    barred = defect.only_without and graph.relations(target=ref, kind=defect.only_without)
    return min(defect.prior_per_hour * PRIOR_HOURS, LARGEST_PRIOR) if fits and not barred else 0.0


def _offsets(knowledge: CausalKnowledge) -> dict[str, dict[str, int]]:
    """Where each defect and condition of a kind stands among the variables of its entity."""
    return {name: {each: place for place, each in enumerate([*kind.defects, *kind.conditions])} for name, kind in knowledge.kinds.items()}


def _add_own(rows: _Rows, knowledge: CausalKnowledge, first: Mapping[EntityRef, int], offsets: Mapping[str, Mapping[str, int]]) -> None:
    for ref, base in first.items():
        at = offsets[ref.kind]
        for link in knowledge.kinds[ref.kind].links:
            rows.add(base + at[link.effect], base + at[link.cause], link.strength)


def _add_propagated(
    rows: _Rows,
    knowledge: CausalKnowledge,
    graph: LiveGraph,
    first_seen: Mapping[EntityRef, int],
    first: Mapping[EntityRef, int],
    offsets: Mapping[str, Mapping[str, int]],
) -> None:
    rules: dict[tuple[str, str, str], list[tuple[PropagationRule, Strength | None, dict[float, float]]]] = {}
    for rule in knowledge.propagation:
        ends = (rule.to_kind, rule.from_kind) if rule.toward == Toward.SOURCE else (rule.from_kind, rule.to_kind)
        follows = rule.strength if rule.strength.needs - {"share_of_members"} else None
        rules.setdefault((ends[0], rule.relation, ends[1]), []).append((rule, follows, {}))
    relations = graph.relations()
    members: dict[tuple[EntityRef, str], int] = {}
    for relation in relations:
        members[relation.key.source, relation.key.kind] = members.get((relation.key.source, relation.key.kind), 0) + 1
    for relation in relations:
        key = relation.key
        travels = rules.get((key.source.kind, key.kind, key.target.kind), ())
        if not travels:
            continue
        share, since = 1.0 / members[key.source, key.kind], _since(relation, first_seen)
        source, target = (first[key.source], offsets[key.source.kind]), (first[key.target], offsets[key.target.kind])
        place = len(rows.relations)
        rows.relations.append((key, share))
        for rule, follows, fixed in travels:
            (from_base, from_at), (to_base, to_at) = (target, source) if rule.toward == Toward.SOURCE else (source, target)
            if share not in fixed:
                fixed[share] = rule.strength.under({"share_of_members": share})
            rows.add(to_base + to_at[rule.effect], from_base + from_at[rule.cause], fixed[share], relation.confidence, since, place, follows)


def _since(relation: Relation, first_seen: Mapping[EntityRef, int]) -> int:
    """When a relation between entities that were known before came to be, 0 where it is as old as they are known."""
    known = max(first_seen[relation.key.source], first_seen[relation.key.target])
    return relation.first_seen if relation.first_seen > known + KNOWN_BEFORE else 0


def _strengths(found: _Structure, live: LiveStrengths) -> Float64:
    strength = found.fixed.copy()
    for key, share, rows in found.live:
        values = live.get(key)
        if values:
            known = {**values, "share_of_members": share}
            for place, follows in rows:
                strength[place] = follows.under(known)
    return strength * found.confidence


def _touched(graph: LiveGraph, ref: EntityRef) -> set[EntityRef]:
    """The entities a change to one of them touches: itself, its service, and what is part of either."""
    owners = {ref, graph.service_of(ref) or ref}
    return owners | {relation.key.source for owner in owners for relation in graph.relations(target=owner, kind="part_of")}
