"""Knowledge x live graph -> causal network: a variable for each condition and defect of each entity, a link for each way one causes another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import exp
from types import MappingProxyType

import numpy as np

from graph.live import LiveGraph
from graph.topology import RelationKey
from reasoning.errors import InconsistentEvidenceError, InvalidEvidenceError, InvalidNetworkError
from reasoning.layout import LARGEST_PRIOR, Name, carried_over
from reasoning.network import Bool, CausalNetwork
from reasoning.structure import LiveStrengths, Structure
from reasoning.variable_index import VariableIndex
from reasoning.wiring import Wiring
from schema.batches import Float64, Int32, Int64
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.verdicts import DefectRef
from schema.windows import Change, ChangeKind

HOUR = 3_600_000_000_000
NAMED = 5  # how many variables an error names
NOTHING: Mapping[RelationKey, int] = MappingProxyType({})


@dataclass(frozen=True)
class CompiledNetwork:
    """A network and what its n variables stand for.

    cause, effect: Int32[k], strength: Float64[k]: all k links that could be, feedback links included. since: Int64[k], the event
    time before which a link's relation did not exist, 0 where it always did. quiet: Int64[k], when last something went along the
    relation of a link that follows traffic, 0 where something does. entity: Int32[c], the graph's integer of each cluster.
    network: what of it is solved. From one compiler, what is the same object has not changed.
    """

    names: tuple[Name, ...]
    index: VariableIndex
    leak: Float64
    cluster: Int32
    is_defect: Bool
    cause: Int32
    effect: Int32
    strength: Float64
    since: Int64
    quiet: Int64
    entity: Int32
    wiring: Wiring = field(repr=False, compare=False)

    @cached_property
    def network(self) -> CausalNetwork:
        """The network, its feedback links beside the others."""
        return self.wiring.network(self.leak, self.cause, self.effect, self.strength, self.cluster, self.is_defect)

    @cached_property
    def feedback(self) -> Bool:
        """The links that would close cycles, bool[k]."""
        return self.wiring.feedback(len(self.names), self.cause, self.effect, self.strength)

    def carried_from(self, earlier: CompiledNetwork) -> Int32:
        """What each variable was called in an earlier network of the same estate, -1 where it is new: Int32[n]."""
        if self.names is earlier.names:
            return np.arange(len(self.names), dtype=np.int32)
        known = self.entity < earlier.index.first.size
        before = np.full(self.entity.size, -1, np.int32)
        before[known] = earlier.index.first[self.entity[known]]
        return carried_over(before, np.bincount(self.cluster, minlength=self.entity.size))

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
    """Follows the graph; each window only what changed of structure, priors and strengths is renewed."""

    def __init__(self, knowledge: CausalKnowledge, graph: LiveGraph) -> None:
        self._knowledge = knowledge
        self._graph = graph
        self._structure = Structure(knowledge, graph)
        self._wiring = Wiring()
        self._raised: dict[tuple[int, ChangeKind], tuple[tuple[int, float], ...]] = {}

    def compile(self, live: LiveStrengths, changes: Sequence[Change] = (), quiet: Mapping[RelationKey, int] = NOTHING) -> CompiledNetwork:
        """The network of the whole estate. `changes`: those of the last hour, which raise priors. `live`: what is known of relations now.

        `quiet`: relations that carry nothing, and since when. What `live` holds must not be written to later. A relation's confidence is that of the last structural change.
        """
        found = self._structure
        if found.follow():
            self._raised.clear()
        return CompiledNetwork(
            names=found.names,
            index=found.index,
            leak=self._leaks(found, changes),
            cluster=found.cluster,
            is_defect=found.is_defect,
            cause=found.cause,
            effect=found.effect,
            strength=found.strengths(live),
            since=found.since,
            quiet=found.quiet_links(quiet),
            entity=found.entity,
            wiring=self._wiring,
        )

    def _leaks(self, found: Structure, changes: Sequence[Change]) -> Float64:
        """Changes raise the priors of defects of the entities they touch, the strongest counts, fading over an hour."""
        latest: dict[tuple[int, ChangeKind], int] = {}
        for change in changes:
            what = change.entity, change.kind
            latest[what] = max(latest.get(what, change.time), change.time)
        factors: dict[int, float] = {}
        for what, time in latest.items():
            weight = exp(-max(self._graph.at - time, 0) / HOUR)
            for place, raised in self._raised_by(found, what):
                factors[place] = max(factors.get(place, 1.0), raised**weight)
        if not factors:
            return found.leak
        leak = found.leak.copy()
        for place, factor in factors.items():
            leak[place] = min(leak[place] * factor, LARGEST_PRIOR)
        return leak

    def _raised_by(self, found: Structure, what: tuple[int, ChangeKind]) -> tuple[tuple[int, float], ...]:
        """The defects that a kind of change to an entity raises, and by how much at first; the same until the structure changes."""
        known = self._raised.get(what)
        if known is None:
            known = self._raised[what] = tuple(
                (place, defect.raised_by[what[1].value])
                for ref in touched_by(self._graph, self._graph.ref(what[0]))
                for defect in (self._knowledge.kinds[ref.kind].defects.values() if ref.kind in self._knowledge.kinds else ())
                if what[1].value in defect.raised_by and (place := found.index.get(DefectRef(ref, defect.name))) is not None
            )
        return known


def compile_network(knowledge: CausalKnowledge, graph: LiveGraph, live: LiveStrengths, changes: Sequence[Change] = ()) -> CompiledNetwork:
    """The network of the whole estate, once. Whoever asks again and again keeps a NetworkCompiler."""
    return NetworkCompiler(knowledge, graph).compile(live, changes)


def touched_by(graph: LiveGraph, ref: EntityRef) -> set[EntityRef]:
    """The entities a change to one of them touches: itself, its service, and what is part of either."""
    owners = {ref, graph.service_of(ref) or ref}
    return owners | {relation.key.source for owner in owners for relation in graph.relations(target=owner, kind="part_of")}
