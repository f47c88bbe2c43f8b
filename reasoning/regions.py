"""Parts of a network that are solved exactly together, and the plans for it.

Feedback links keep what they join together; such a part is solved by levels (reasoning.ordinal).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from reasoning.elimination import EliminationPlan, marginals, plan_elimination
from reasoning.errors import InconsistentEvidenceError
from reasoning.native import compiled
from reasoning.network import FeedbackLinks, no_feedback
from reasoning.ordinal import LEVELS, OrdinalPlan, ordinal_log_odds, plan_ordinal
from schema.batches import Float64, Int32, Int64

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

    `feedback`: links among them that are followed, as far as `ordinal` says.
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

    @property
    def effect(self) -> Int32:
        """The effect of each link but feedback: Int32[m]."""
        return np.repeat(np.arange(self.variables.size, dtype=np.int32), np.diff(self.parent_ptr))

    @property
    def complete(self) -> bool:
        """Whether its feedback is followed to its end."""
        return self.ordinal is None or self.ordinal.complete

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


def plan_region(
    variables: Int64,
    leak: Float64,
    parent_ptr: Int64,
    parent: Int32,
    strength: Float64,
    log_evidence: Float64,
    feedback: FeedbackLinks,
    plans: PlanCache,
) -> Region | None:
    """A region with its feedback links, None where it is too wide. variables: Int64[k], ascending; the other arrays and the links are local."""
    plan = plans.plan(parent_ptr, parent)
    if plan is None:
        return None
    ordinal = plans.ordinal(parent_ptr, parent, feedback) if len(feedback) else None
    if ordinal is None and len(feedback):
        return None
    return Region(variables, leak, parent_ptr, parent, strength, log_evidence, ordinal.plan if ordinal else plan, feedback, ordinal)


def feedback_within(feedback: FeedbackLinks, part: Int64) -> FeedbackLinks:
    """The feedback links among the variables of a part, by their places in it."""
    if part.size < 2 or not len(feedback):
        return no_feedback()
    cause, effect = (np.minimum(np.searchsorted(part, ends), part.size - 1).astype(np.int32) for ends in (feedback.cause, feedback.effect))
    inside = (part[cause] == feedback.cause) & (part[effect] == feedback.effect)
    return FeedbackLinks(cause, effect, feedback.strength).only(inside)
