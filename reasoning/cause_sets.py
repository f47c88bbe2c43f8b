"""The likeliest joint explanations: which defects hold together, not only how likely each is by itself.

Best first: a prefix, some causes settled and the rest open, is worth at most its probability times that of the open cause's
likelier value that is least sure. Each prefix costs one exact solution of its region; sets leave in descending probability.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reasoning.network import Bool
from reasoning.regions import Region
from reasoning.solution import Posteriors, probabilities
from schema.batches import Float64

WORTH_CONSIDERING = 1e-3  # a cause less likely than this is left open: sets say nothing of it
MOST_CONSIDERED = 20
MOST_SOLVED = 2_000
MOST_CELLS = 200_000_000  # of the tables of all solutions together
IMPOSSIBLE = 1e-12


Sets = list[tuple[tuple[int, ...], float]]


@dataclass(frozen=True, slots=True)
class JointExplanations:
    """Sets of variables in descending probability: exactly these of those considered hold. `exact`: no link was cut, and the search ended."""

    sets: tuple[tuple[tuple[int, ...], float], ...]
    exact: bool


@dataclass(order=True, slots=True)
class _Prefix:
    """`settled`: the local variables decided so far; `holds` of them. mass: their probability. odds: of all variables then, once solved."""

    priority: float
    number: int
    settled: tuple[int, ...] = field(compare=False)
    holds: tuple[int, ...] = field(compare=False)
    mass: float = field(compare=False)
    belief: Float64 | None = field(compare=False)


def likeliest_sets(solved: Posteriors, is_defect: Bool, first: int, *, least: float = WORTH_CONSIDERING) -> JointExplanations:
    """The `first` likeliest sets of the defects whose posterior is at least `least` (at most MOST_CONSIDERED). is_defect: bool[n].

    Regions are independent of each other, so their lists merge. Defects in no region count as independent.
    """
    probable = np.flatnonzero(is_defect & (solved.probability >= least))
    ranked = probable[np.argsort(-solved.probability[probable], kind="stable")][:MOST_CONSIDERED]
    left = set(ranked.tolist())
    found: Sets = [((), 1.0)]
    exact = solved.exact
    for region in solved.parts.regions:
        inside = [int(each) for each in ranked if each in region.variables]
        if inside:
            left.difference_update(inside)
            sets, ended = _sets_of(region, np.searchsorted(region.variables, inside).tolist(), first)
            exact &= ended
            found = _merged(found, [(tuple(region.variables[list(holds)].tolist()), mass) for holds, mass in sets], first)
    for cause in sorted(left):
        belief = float(solved.probability[cause])
        found = _merged(found, [((), 1.0 - belief), ((cause,), belief)], first)
    return JointExplanations(tuple(found), exact)


def _merged(some: Sets, others: Sets, first: int) -> Sets:
    """The likeliest unions of a set of one part and one of another, independent part."""
    both = [(tuple(sorted((*a, *b))), p * q) for a, p in some for b, q in others]
    both.sort(key=lambda each: (-each[1], each[0]))
    return both[:first]


def _sets_of(region: Region, causes: Sequence[int], first: int) -> tuple[Sets, bool]:
    """The likeliest sets of a region's causes, local numbers, and whether the search came to its end."""
    heap = [_Prefix(-1.0, 0, (), (), 1.0, None)]
    found: Sets = []
    left, number = max(1, min(MOST_SOLVED, MOST_CELLS // region.plan.cluster_cells)), 0
    while heap and len(found) < first:
        best = heapq.heappop(heap)
        rest = [cause for cause in causes if cause not in best.settled]
        if not rest:
            found.append((tuple(sorted(best.holds)), best.mass))
            continue
        if best.belief is None:
            if not left:
                return found, False
            left -= 1
            best.belief = _belief(region, best)
            best.priority = -best.mass * min(max(float(best.belief[cause]), 1.0 - float(best.belief[cause])) for cause in rest)
            heapq.heappush(heap, best)
            continue
        for child in _branches(best, best.belief, rest):
            number += 1
            child.number = number
            heapq.heappush(heap, child)
    return found, True


def _belief(region: Region, prefix: _Prefix) -> Float64:
    evidence = region.log_evidence.copy()
    evidence[list(prefix.settled)] = -np.inf
    evidence[list(prefix.holds)] = np.inf
    return probabilities(region.log_odds(evidence))


def _branches(prefix: _Prefix, belief: Float64, rest: Sequence[int]) -> list[_Prefix]:
    """The two ways to settle the cause in most doubt, as far as they are possible."""
    cause = min(rest, key=lambda each: (abs(float(belief[each]) - 0.5), each))
    settled = (*prefix.settled, cause)
    ways = ((prefix.holds, 1.0 - float(belief[cause])), ((*prefix.holds, cause), float(belief[cause])))
    masses = [(holds, prefix.mass * share) for holds, share in ways]
    return [_Prefix(-min(mass, -prefix.priority), 0, settled, holds, mass, None) for holds, mass in masses if mass > IMPOSSIBLE]
