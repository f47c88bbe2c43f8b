"""Which parts of a network to solve exactly together: the links that can move a belief stay, the others become fixed messages.

Where a part is small, nothing is cut. Else a link whose influence is below a threshold is cut (Choi & Darwiche 2006): its
effect takes the cause's present probability into its leak, its cause takes the effect's word as evidence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reasoning.belief_propagation import Messages, propagate
from reasoning.elimination import EliminationPlan, marginals, plan_elimination
from reasoning.errors import InconsistentEvidenceError
from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork
from schema.batches import Float64, Int32, Int64

SMALLEST_INFLUENCE = 1e-4
COARSER, MUCH_COARSER = 3.0, 10.0  # how much the threshold grows where a part stays too wide; the latter where planning is dear
DEAR = 400  # variables
UNHEARD = 0.1  # how much less a link counts whose effect tells nothing: it only ties causes together in predictions
WIDEST = 16
MOST_CELLS = 1 << 20
MOST_UNCUT = 250  # variables; beyond, a part is nearly always too wide


class PlanCache:
    """Elimination plans by structure, the oldest use goes first. Findings come and go on the same structures window after window."""

    def __init__(self, limit: int = 256) -> None:
        self._plans: OrderedDict[tuple[bytes, bytes], EliminationPlan | None] = OrderedDict()
        self._limit = limit

    def plan(self, parent_ptr: Int64, parent: Int32) -> EliminationPlan | None:
        """The plan for a local network, None where it is too wide."""
        key = (parent_ptr.tobytes(), parent.tobytes())
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        found = self._plans[key] = plan_elimination(parent_ptr, parent, WIDEST, MOST_CELLS)
        if len(self._plans) > self._limit:
            self._plans.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class Region:
    """Variables solved exactly together. variables: Int64[k] in the network; the other arrays are local, as `marginals` takes them."""

    variables: Int64
    leak: Float64
    parent_ptr: Int64
    parent: Int32
    strength: Float64
    log_evidence: Float64
    plan: EliminationPlan

    def log_odds(self, log_evidence: Float64 | None = None) -> Float64:
        """Log P(1) / P(0), Float64[k], under the region's evidence or another. Raises InconsistentEvidenceError."""
        try:
            return marginals(self.plan, self.leak, self.parent_ptr, self.strength, self.log_evidence if log_evidence is None else log_evidence)[0]
        except InconsistentEvidenceError as trouble:
            raise InconsistentEvidenceError(self.variables[trouble.variables].tolist()) from None


@dataclass(frozen=True, slots=True)
class Partition:
    """The regions of a network, and log_odds: Float64[n] of what is in none of them (NaN where irrelevant). `exact`: nothing was cut."""

    regions: tuple[Region, ...]
    log_odds: Float64
    exact: bool


def partition(network: CausalNetwork, log_evidence: Float64, relevant: Bool, plans: PlanCache, pinned: Bool | None = None) -> Partition:
    """Cuts what does not matter and plans the rest. relevant: bool[n], closed under causes. pinned: bool[m], links that are never cut."""
    kept = relevant[network.effect]
    regions: list[Region] = []
    wide: list[Int64] = []
    for part in _parts(network, relevant, kept):
        region = _region(network, part, kept, network.leak, log_evidence, plans) if part.size <= MOST_UNCUT else None
        if region is None:
            wide.append(part)
        else:
            regions.append(region)
    log_odds = np.full(len(network), np.nan)
    if wide:
        regions.extend(_cut(network, log_evidence, np.concatenate(wide), plans, log_odds, pinned))
    return Partition(tuple(regions), log_odds, not wide)


def _cut(network: CausalNetwork, log_evidence: Float64, wide: Int64, plans: PlanCache, log_odds: Float64, pinned: Bool | None) -> Iterator[Region]:
    chosen = np.zeros(len(network), np.bool_)
    chosen[wide] = True
    messages = propagate(network, log_evidence, chosen)
    log_odds[wide] = messages.log_odds[wide]
    matters = influence(network, messages)
    if pinned is not None:
        matters[pinned] = np.inf
    threshold = SMALLEST_INFLUENCE
    while wide.size and threshold <= 1.0:
        kept = chosen[network.effect] & (matters >= threshold)
        leak, evidence = _absorbed(network, log_evidence, messages, chosen[network.effect] & ~kept)
        still: list[Int64] = []
        linked = np.zeros(len(network), np.bool_)
        linked[network.parent[kept]] = linked[network.effect[kept]] = True
        for part in _parts(network, linked, kept):
            region = _region(network, part, kept, leak, evidence, plans)
            if region is None:
                still.append(part)
            else:
                yield region
        threshold *= MUCH_COARSER if max((part.size for part in still), default=0) > DEAR else COARSER
        wide = np.concatenate(still) if still else np.empty(0, np.int64)
        chosen[:] = False
        chosen[wide] = True


def influence(network: CausalNetwork, messages: Messages) -> Float64:
    """How far a link can move the belief in its cause or, through it, in its effect's other causes: Float64[m], 0..1."""
    belief = 1.0 / (1.0 + np.exp(-np.clip(messages.log_odds, -500.0, 500.0)))
    doubt = belief * (1.0 - belief)
    told = np.tanh(np.abs(messages.up) / 2.0)
    shared = 4.0 * network.strength * doubt[network.effect] * np.where(told > 0.0, 1.0, UNHEARD)
    return doubt[network.parent] * np.maximum(told, shared)


def _absorbed(network: CausalNetwork, log_evidence: Float64, messages: Messages, cut: Bool) -> tuple[Float64, Float64]:
    silence = 1.0 - network.leak
    np.multiply.at(silence, network.effect[cut], 1.0 - network.strength[cut] * messages.down[cut])
    return 1.0 - silence, log_evidence + np.bincount(network.parent[cut], messages.up[cut], len(network))


def _parts(network: CausalNetwork, chosen: Bool, kept: Bool) -> Iterator[Int64]:
    """The connected parts of the chosen variables under the kept links, each ascending."""
    members = np.flatnonzero(chosen)
    if not members.size:
        return
    leader = connected(len(network), network.parent[kept], network.effect[kept])[members]
    by_part = np.argsort(leader, kind="stable")
    yield from np.split(members[by_part], np.flatnonzero(np.diff(leader[by_part])) + 1)


@compiled
def connected(variables: int, one: Int32, other: Int32) -> Int64:
    """The connected part of each variable, named by its lowest variable: Int64[n]."""
    leader = np.arange(variables)
    for link in range(one.size):
        a, b = one[link], other[link]
        while leader[a] != a:
            leader[a] = leader[leader[a]]
            a = leader[a]
        while leader[b] != b:
            leader[b] = leader[leader[b]]
            b = leader[b]
        leader[max(a, b)] = min(a, b)
    for variable in range(variables):
        leader[variable] = leader[leader[variable]]
    return leader


def _region(network: CausalNetwork, part: Int64, kept: Bool, leak: Float64, log_evidence: Float64, plans: PlanCache) -> Region | None:
    first, last = network.parent_ptr[part], network.parent_ptr[part + 1]
    links = np.repeat(first - np.concatenate(([0], np.cumsum(last - first)[:-1])), last - first) + np.arange(int(np.sum(last - first)))
    owner = np.repeat(np.arange(part.size), last - first)[kept[links]]
    links = links[kept[links]]
    parent_ptr = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=part.size)))).astype(np.int64)
    parent = np.searchsorted(part, network.parent[links]).astype(np.int32)
    plan = plans.plan(parent_ptr, parent)
    return None if plan is None else Region(part, leak[part], parent_ptr, parent, network.strength[links], log_evidence[part], plan)
