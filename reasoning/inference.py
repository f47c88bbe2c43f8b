"""Posteriors of a causal network: arrays in, arrays out. Exact wherever the parts that matter fit (docs/reasoning.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from reasoning.belief import BeliefState
from reasoning.core_solver import BeliefSettings
from reasoning.errors import InconsistentEvidenceError
from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork, FeedbackLinks, network_of, ranges
from reasoning.regions import MOST_UNCUT, Partition, PlanCache, Region, connected, feedback_within, plan_region
from reasoning.solution import Posteriors, check_evidence, fill_forward, probabilities
from schema.batches import Float64, Int32, Int64

STRONGEST_LEFT_OUT = 30.0


def posteriors(network: CausalNetwork, log_evidence: Float64, *, wanted: Bool | None = None, plans: PlanCache | None = None) -> Posteriors:
    """P(variable holds | evidence) for every variable.

    log_evidence: Float64[n], log P(observed | holds) - log P(observed | does not hold); 0 where unknown, infinite where certain.
    Variables without evidence on or below them follow from the others as if their causes were independent, but for those `wanted`:
    bool[n]. `plans` saves work from call to call. Raises InvalidEvidenceError; InconsistentEvidenceError when every world is ruled out.
    """
    relevant = _relevant(network, log_evidence, wanted)
    parts = partition(network, log_evidence, relevant, plans or PlanCache())
    log_odds = parts.log_odds
    for region in parts.regions:
        log_odds[region.variables] = region.log_odds()
    probability = probabilities(log_odds)
    fill_forward(network.order, network.parent_ptr, network.parent, network.strength, network.leak, probability)
    return Posteriors(probability, parts.exact, parts)


def partition(network: CausalNetwork, log_evidence: Float64, relevant: Bool, plans: PlanCache, pinned: Bool | None = None) -> Partition:
    """Plans what can be solved whole, and leaves the rest to a belief state, which cuts what does not matter.

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
        regions.extend(_approximated(network, log_evidence, np.sort(np.concatenate(wide)), plans, log_odds, pinned))
    return Partition(tuple(regions), log_odds, not wide and all(region.complete for region in regions))


def _approximated(network: CausalNetwork, log_evidence: Float64, wide: Int64, plans: PlanCache, log_odds: Float64, pinned: Bool | None) -> Iterator[Region]:
    """The regions of a belief state of these variables alone, Int64[k] ascending; `log_odds` gets what is in none."""
    number = np.full(len(network), -1, np.int32)
    number[wide] = np.arange(wide.size)
    kept, back = number[network.effect] >= 0, network.feedback.only(number[network.feedback.effect] >= 0)
    alone = network_of(
        network.leak[wide],
        number[network.parent[kept]],
        number[network.effect[kept]],
        network.strength[kept],
        network.cluster[wide],
        network.is_defect[wide],
        FeedbackLinks(number[back.cause], number[back.effect], back.strength),
    )
    try:
        state = BeliefState(alone, log_evidence[wide], BeliefSettings(most_uncut=0), plans)
    except InconsistentEvidenceError as trouble:
        raise InconsistentEvidenceError(wide[trouble.variables].tolist()) from None
    found = state.posteriors().parts
    log_odds[wide] = found.log_odds
    tied = kept if pinned is None else kept & pinned
    regions = found.regions if pinned is None else state.regions_with(number[network.parent[tied]], number[network.effect[tied]])
    for region in regions:
        yield replace(region, variables=wide[region.variables])


def _parts(network: CausalNetwork, chosen: Bool, kept: Bool, back: FeedbackLinks) -> Iterator[Int64]:
    """The connected parts of the chosen variables under the kept links and the feedback links `back`, each ascending."""
    members = np.flatnonzero(chosen)
    if not members.size:
        return
    ends = np.concatenate((network.parent[kept], back.cause)), np.concatenate((network.effect[kept], back.effect))
    leader = connected(len(network), *ends)[members]
    by_part = np.argsort(leader, kind="stable")
    yield from np.split(members[by_part], np.flatnonzero(np.diff(leader[by_part])) + 1)


def _region(network: CausalNetwork, part: Int64, kept: Bool, back: FeedbackLinks, leak: Float64, log_evidence: Float64, plans: PlanCache) -> Region | None:
    first, last = network.parent_ptr[part], network.parent_ptr[part + 1]
    links = ranges(first, last)
    owner = np.repeat(np.arange(part.size), last - first)[kept[links]]
    links = links[kept[links]]
    parent_ptr = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=part.size)))).astype(np.int64)
    parent = np.searchsorted(part, network.parent[links]).astype(np.int32)
    return plan_region(part, leak[part], parent_ptr, parent, network.strength[links], log_evidence[part], feedback_within(back, part), plans)


def evidence_weights(solved: Posteriors, log_evidence: Float64, causes: Int64) -> Float64:
    """What each variable's evidence adds to the log-odds of each cause, Float64[c, n]: the change when it alone is left out.

    log_evidence: what was solved under. P(cause | the rest) follows from the beliefs with the cause held at 1 and at 0, so no
    finding needs a solution of its own. Evidence outside the cause's part weighs 0. Raises InconsistentEvidenceError.
    """
    weights = np.zeros((causes.size, log_evidence.size))
    for region in solved.parts.regions:
        known = log_evidence[region.variables]
        bounded = np.clip(known, -STRONGEST_LEFT_OUT, STRONGEST_LEFT_OUT)
        evidence = np.where(bounded == known, region.log_evidence, bounded)
        for row in np.flatnonzero(np.isin(causes, region.variables)).tolist():
            place = int(np.searchsorted(region.variables, causes[row]))
            absent, present = (region.log_odds(_held(evidence, place, value)) for value in (-np.inf, np.inf))
            weights[row, region.variables] = _left_out(absent, bounded) - _left_out(present, bounded)
            weights[row, causes[row]] = bounded[place]
    return weights


def _left_out(log_odds: Float64, log_evidence: Float64) -> Float64:
    """Log of the sum over x of P(x) / (evidence's weight on x)."""
    return np.log(probabilities(-log_odds) + probabilities(log_odds) * np.exp(-log_evidence))


def _held(log_evidence: Float64, place: int, value: float) -> Float64:
    held = log_evidence.copy()
    held[place] = value
    return held


def _relevant(network: CausalNetwork, log_evidence: Float64, wanted: Bool | None) -> Bool:
    check_evidence(log_evidence, len(network))
    relevant: Bool = np.array(log_evidence != 0.0) if wanted is None else np.logical_or(log_evidence != 0.0, wanted)
    close_over_causes(network, relevant)
    return relevant


def close_over_causes(network: CausalNetwork, chosen: Bool) -> None:
    """Adds the causes of what is chosen, along feedback links too, in place: bool[n]."""
    back = network.feedback
    while True:
        close_upwards(network.order, network.parent_ptr, network.parent, chosen)
        missing = chosen[back.effect] & ~chosen[back.cause]
        if not missing.any():
            return
        chosen[back.cause[missing]] = True


@compiled
def close_upwards(order: Int64, parent_ptr: Int64, parent: Int32, chosen: Bool) -> None:
    """Adds the causes of what is chosen, in place: bool[n]."""
    for place in range(order.size - 1, -1, -1):
        if chosen[order[place]]:
            for link in range(parent_ptr[order[place]], parent_ptr[order[place] + 1]):
                chosen[parent[link]] = True
