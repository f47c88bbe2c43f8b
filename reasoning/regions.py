"""Which parts of a network to solve exactly together: the links that can move a belief stay, the others become fixed messages.

Feedback links keep what they join together; such a part is solved by levels (reasoning.ordinal), or without them where that is too wide.
Where a part is small, nothing is cut. Else a link whose influence is below a threshold is cut (Choi & Darwiche 2006): its
effect takes the cause's present probability into its leak, its cause takes the effect's word as evidence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from reasoning.belief_propagation import Messages, propagate
from reasoning.elimination import EliminationPlan, marginals, plan_elimination
from reasoning.errors import InconsistentEvidenceError
from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork, FeedbackLinks, no_feedback
from reasoning.ordinal import LEVELS, OrdinalPlan, ordinal_log_odds, plan_ordinal
from schema.batches import Float64, Int32, Int64

SMALLEST_INFLUENCE = 1e-4
COARSER, MUCH_COARSER = 3.0, 10.0  # how much the threshold grows where a part stays too wide; the latter where planning is dear
DEAR = 400  # variables
UNHEARD = 0.1  # how much less a link counts whose effect tells nothing: it only ties causes together in predictions
WIDEST = 16
MOST_CELLS = 1 << 20
MOST_UNCUT = 250  # variables; beyond, a part is nearly always too wide

Plan = TypeVar("Plan", EliminationPlan, OrdinalPlan)


class PlanCache:
    """Elimination plans by structure, the oldest use goes first. Findings come and go on the same structures window after window."""

    def __init__(self, limit: int = 256, widest: int = WIDEST, rounds: int = LEVELS) -> None:
        self._plans: OrderedDict[tuple[bytes, ...], EliminationPlan | None] = OrderedDict()
        self._ordinal: OrderedDict[tuple[bytes, ...], OrdinalPlan | None] = OrderedDict()
        self._limit = limit
        self._widest = widest
        self._rounds = rounds

    def plan(self, parent_ptr: Int64, parent: Int32) -> EliminationPlan | None:
        """The plan for a local network, None where it is too wide."""
        key = (parent_ptr.tobytes(), parent.tobytes())
        return self._kept(self._plans, key, lambda: plan_elimination(parent_ptr, parent, self._widest, MOST_CELLS))

    def ordinal(self, parent_ptr: Int64, parent: Int32, feedback: FeedbackLinks) -> OrdinalPlan | None:
        """The plan for a local network with feedback links, None where it is too wide."""
        key = (parent_ptr.tobytes(), parent.tobytes(), feedback.cause.tobytes(), feedback.effect.tobytes())
        ends = feedback.cause, feedback.effect
        return self._kept(self._ordinal, key, lambda: plan_ordinal(parent_ptr, parent, ends, self._widest, MOST_CELLS, self._rounds))

    def _kept(self, plans: OrderedDict[tuple[bytes, ...], Plan | None], key: tuple[bytes, ...], make: Callable[[], Plan | None]) -> Plan | None:
        if key in plans:
            plans.move_to_end(key)
            return plans[key]
        found = plans[key] = make()
        if len(plans) > self._limit:
            plans.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class Region:
    """Variables solved exactly together. variables: Int64[k] in the network; the other arrays are local, as `marginals` takes them.

    `complete`: no feedback among the variables was left out; else it is followed as far as `ordinal` says, if at all.
    """

    variables: Int64
    leak: Float64
    parent_ptr: Int64
    parent: Int32
    strength: Float64
    log_evidence: Float64
    plan: EliminationPlan
    feedback: FeedbackLinks = field(default_factory=no_feedback)
    ordinal: OrdinalPlan | None = None
    complete: bool = True

    def log_odds(self, log_evidence: Float64 | None = None) -> Float64:
        """Log P(1) / P(0), Float64[k], under the region's evidence or another. Raises InconsistentEvidenceError."""
        evidence = self.log_evidence if log_evidence is None else log_evidence
        try:
            if self.ordinal is not None:
                return ordinal_log_odds(self.ordinal, self.leak, self.strength, self.feedback.strength, evidence)
            return marginals(self.plan, self.leak, self.parent_ptr, self.strength, evidence)[0]
        except InconsistentEvidenceError as trouble:
            raise InconsistentEvidenceError(self.variables[trouble.variables].tolist()) from None


@dataclass(frozen=True, slots=True)
class Partition:
    """The regions of a network, and log_odds: Float64[n] of what is in none of them (NaN where irrelevant).

    `exact`: nothing was cut, and all feedback followed to its end.
    """

    regions: tuple[Region, ...]
    log_odds: Float64
    exact: bool


def partition(network: CausalNetwork, log_evidence: Float64, relevant: Bool, plans: PlanCache, pinned: Bool | None = None) -> Partition:
    """Cuts what does not matter and plans the rest.

    relevant: bool[n], closed under causes, also along feedback links. pinned: bool[m], links that are never cut.
    """
    kept, back = relevant[network.effect], network.feedback.only(relevant[network.feedback.effect])
    regions: list[Region] = []
    wide: list[Int64] = []
    for part in _parts(network, relevant, kept, back):
        region = _region(network, part, kept, back, network.leak, log_evidence, plans) if part.size <= MOST_UNCUT else None
        if region is None:
            wide.append(part)
        else:
            regions.append(region)
    log_odds = np.full(len(network), np.nan)
    if wide:
        regions.extend(_cut(network, log_evidence, np.concatenate(wide), plans, log_odds, pinned))
    return Partition(tuple(regions), log_odds, not wide and all(region.complete for region in regions))


def _cut(network: CausalNetwork, log_evidence: Float64, wide: Int64, plans: PlanCache, log_odds: Float64, pinned: Bool | None) -> Iterator[Region]:
    chosen = np.zeros(len(network), np.bool_)
    chosen[wide] = True
    messages = propagate(network, log_evidence, chosen)
    log_odds[wide] = messages.log_odds[wide]
    matters, back_matters = influence(network, messages), feedback_influence(network, messages)
    if pinned is not None:
        matters[pinned] = np.inf
    threshold = SMALLEST_INFLUENCE
    while wide.size and threshold <= 1.0:
        kept = chosen[network.effect] & (matters >= threshold)
        back = network.feedback.only(chosen[network.feedback.cause] & chosen[network.feedback.effect] & (back_matters >= threshold))
        leak, evidence = _absorbed(network, log_evidence, messages, chosen[network.effect] & ~kept)
        still: list[Int64] = []
        linked = np.zeros(len(network), np.bool_)
        linked[network.parent[kept]] = linked[network.effect[kept]] = True
        linked[back.cause] = linked[back.effect] = True
        for part in _parts(network, linked, kept, back):
            region = _region(network, part, kept, back, leak, evidence, plans)
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


def feedback_influence(network: CausalNetwork, messages: Messages) -> Float64:
    """The same of feedback links, Float64[f], which carry no messages: told is what the effect, as it is believed now, would say to one more cause."""
    back = network.feedback
    if not len(back):
        return np.zeros(0)
    silence = 1.0 - network.leak
    np.multiply.at(silence, network.effect, 1.0 - network.strength * messages.down)
    silence = np.clip(silence, 1e-12, 1.0 - 1e-12)
    belief = 1.0 / (1.0 + np.exp(-np.clip(messages.log_odds, -500.0, 500.0)))
    doubt = belief * (1.0 - belief)
    support = np.exp(np.clip(messages.log_odds - np.log1p(-silence) + np.log(silence), -500.0, 500.0))
    before, after = silence[back.effect], silence[back.effect] * (1.0 - back.strength)
    heard = support[back.effect]
    told = np.abs(np.log(((1.0 - after) * heard + after) / ((1.0 - before) * heard + before)))
    return doubt[back.cause] * np.maximum(np.tanh(told / 2.0), 4.0 * back.strength * doubt[back.effect])


def _absorbed(network: CausalNetwork, log_evidence: Float64, messages: Messages, cut: Bool) -> tuple[Float64, Float64]:
    silence = 1.0 - network.leak
    np.multiply.at(silence, network.effect[cut], 1.0 - network.strength[cut] * messages.down[cut])
    return 1.0 - silence, log_evidence + np.bincount(network.parent[cut], messages.up[cut], len(network))


def _parts(network: CausalNetwork, chosen: Bool, kept: Bool, back: FeedbackLinks) -> Iterator[Int64]:
    """The connected parts of the chosen variables under the kept links and the feedback links `back`, each ascending."""
    members = np.flatnonzero(chosen)
    if not members.size:
        return
    ends = np.concatenate((network.parent[kept], back.cause)), np.concatenate((network.effect[kept], back.effect))
    leader = connected(len(network), *ends)[members]
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


def _region(network: CausalNetwork, part: Int64, kept: Bool, back: FeedbackLinks, leak: Float64, log_evidence: Float64, plans: PlanCache) -> Region | None:
    first, last = network.parent_ptr[part], network.parent_ptr[part + 1]
    links = np.repeat(first - np.concatenate(([0], np.cumsum(last - first)[:-1])), last - first) + np.arange(int(np.sum(last - first)))
    owner = np.repeat(np.arange(part.size), last - first)[kept[links]]
    links = links[kept[links]]
    parent_ptr = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=part.size)))).astype(np.int64)
    parent = np.searchsorted(part, network.parent[links]).astype(np.int32)
    return plan_region(part, leak[part], parent_ptr, parent, network.strength[links], log_evidence[part], back, plans)


def plan_region(
    variables: Int64,
    leak: Float64,
    parent_ptr: Int64,
    parent: Int32,
    strength: Float64,
    log_evidence: Float64,
    back: FeedbackLinks,
    plans: PlanCache,
) -> Region | None:
    """A region with those feedback links whose ends are both in it, where that is too wide the strongest of them; None where none is too wide.

    variables: Int64[k], ascending, as `back` numbers them; the other arrays are local. Feedback is left out before anything is cut.
    """
    plan = plans.plan(parent_ptr, parent)
    if plan is None:
        return None
    every = feedback = _feedback_within(back, variables)
    ordinal = None
    while ordinal is None and len(feedback):
        ordinal = plans.ordinal(parent_ptr, parent, feedback)
        if ordinal is None:
            feedback = feedback.strongest(len(feedback) // 2)
    complete = len(feedback) == len(every) and (ordinal is None or ordinal.complete)
    return Region(variables, leak, parent_ptr, parent, strength, log_evidence, ordinal.plan if ordinal else plan, feedback, ordinal, complete)


def _feedback_within(feedback: FeedbackLinks, part: Int64) -> FeedbackLinks:
    """The feedback links among the variables of a part, by their places in it."""
    if part.size < 2 or not len(feedback):
        return no_feedback()
    cause, effect = (np.minimum(np.searchsorted(part, ends), part.size - 1).astype(np.int32) for ends in (feedback.cause, feedback.effect))
    inside = (part[cause] == feedback.cause) & (part[effect] == feedback.effect)
    return FeedbackLinks(cause, effect, feedback.strength).only(inside)
