"""What would hold had something been forced, sampled: for pairs of worlds that are too wide to solve, mixed forces and feedback.

Worlds are drawn from the exact posterior of a region, variable by variable; then the luck that may have led to each; then what that
same luck leads to under the force. The one error is that of sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reasoning.network import Bool
from reasoning.regions import Region
from reasoning.solution import probabilities
from schema.batches import Float64, Int32

WORLDS = 64, 192, 768, 3_072  # batch after batch as the work allows: standard errors of at most .06, .03, .016, .008, twice that where forces go both ways
MOST_SOLUTIONS, MOST_WORK = 4_000, 10_000_000  # of the region for all batches, and the cells of all these together: half a second
NEARLY_CERTAIN = 1e-4  # p (1 - p); what is, given what is drawn already, may be drawn as if independent
ATTEMPTS = 64  # at luck that leads to a drawn world around its cycles


@dataclass(frozen=True, slots=True)
class SampledChange:
    """How much likelier the force makes each of k variables, and the standard error of that, Float64[k] each, 0 where it does not reach."""

    by: Float64
    standard_error: Float64


def sampled_change(region: Region, below: Bool, values: Mapping[int, bool], random: np.random.Generator) -> SampledChange | None:
    """For the variables of a region `below` the force: bool[k], closed under effects. None where that would be too much work.

    values: what is forced, by its place in the region.
    """
    links = _links_into(region, below)
    wanted = below.copy()
    wanted[links.cause] = True
    holds = _worlds(region, wanted, random)
    if holds is None:
        return None
    luck = _luck_behind(links, region.leak, below, holds, random)
    if luck is None:
        return None
    leaks, fires = luck
    changed = np.where(below[:, None], leaks, holds)
    for place, value in values.items():
        changed[place] = value
    _carry(links, fires, changed, frozenset(values))
    difference = changed.astype(np.int64) - holds
    return SampledChange(difference.mean(axis=1), np.where(below, _standard_error(difference), 0.0))


def _standard_error(difference: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Float64:
    """Of the mean of each row, never 0, as no number of worlds makes sure."""
    worlds = difference.shape[1]
    share = (np.abs(difference).sum(axis=1) + 1.0) / (worlds + 2.0)
    variance = np.maximum(share * (1.0 - share), share - difference.mean(axis=1) ** 2)
    return np.asarray(np.sqrt(variance / worlds))


@dataclass(frozen=True, slots=True)
class _Links:
    """cause, effect: Int32[m]; strength: Float64[m]."""

    cause: Int32
    effect: Int32
    strength: Float64


def _links_into(region: Region, below: Bool) -> _Links:
    """Those of the region, feedback and all, that lead into what is below the force."""
    effect = np.concatenate((np.repeat(np.arange(region.variables.size, dtype=np.int32), np.diff(region.parent_ptr)), region.feedback.effect))
    cause = np.concatenate((region.parent, region.feedback.cause))
    inside = below[effect]
    return _Links(cause[inside], effect[inside], np.concatenate((region.strength, region.feedback.strength))[inside])


def _worlds(region: Region, wanted: Bool, random: np.random.Generator) -> Bool | None:
    """As many worlds from the posterior as the work allows, bool[k, w], right where `wanted`: bool[k]; None where it allows none."""
    left = min(MOST_SOLUTIONS, MOST_WORK // region.plan.cluster_cells)
    drawn = []
    for count in WORLDS:
        batch, left = _batch(region, wanted, count, left, random)
        if batch is None:
            break
        drawn.append(batch)
    return np.concatenate(drawn, axis=1) if drawn else None


def _batch(region: Region, wanted: Bool, count: int, solutions: int, random: np.random.Generator) -> tuple[Bool | None, int]:
    """`count` worlds, None where that takes more `solutions`, and how many of these are left.

    Worlds that agree so far are drawn together: one solution tells for all of them how likely the variable in most doubt is.
    """
    holds = np.zeros((region.variables.size, count), np.bool_)
    holds[region.log_evidence == np.inf] = True
    waiting = [(region.log_evidence, 0, count)]
    for used in range(solutions):
        if not waiting:
            return holds, solutions - used
        evidence, first, last = waiting.pop()
        belief = probabilities(region.log_odds(evidence))
        undrawn = wanted & np.isfinite(evidence)
        doubt = np.where(undrawn, belief * (1.0 - belief), 0.0)
        chosen = int(np.argmax(doubt))
        if doubt[chosen] < NEARLY_CERTAIN:
            rest = np.flatnonzero(undrawn)
            holds[rest, first:last] = random.random((rest.size, last - first)) < belief[rest, None]
            continue
        middle = first + int(random.binomial(last - first, belief[chosen]))
        holds[chosen, first:middle] = True
        for value, begin, end in ((np.inf, first, middle), (-np.inf, middle, last)):
            if begin < end:
                known = evidence.copy()
                known[chosen] = value
                waiting.append((known, begin, end))
    return None, 0


def _luck_behind(links: _Links, leak: Float64, below: Bool, holds: Bool, random: np.random.Generator) -> tuple[Bool, Bool] | None:
    """Leaks and links that fired, bool[k, w] and bool[m, w], as they may have in each of w worlds.

    That each variable which holds has a leak or a cause of its own is not enough around a cycle: luck that does not reach all of a
    world is drawn anew. None where it never does.
    """
    leaks, fires = np.zeros_like(holds), np.zeros((links.cause.size, holds.shape[1]), np.bool_)
    missing = np.arange(holds.shape[1])
    for _ in range(ATTEMPTS):
        tried = np.repeat(missing, max(1, holds.shape[1] // missing.size))
        world = holds[:, tried]
        some_leaks, some_fires = _locally(links, leak, below, world, random)
        reached = np.where(below[:, None], some_leaks, world)
        _carry(links, some_fires, reached)
        agrees = np.flatnonzero((reached == world).all(axis=0))
        found, first = np.unique(tried[agrees], return_index=True)
        leaks[:, found], fires[:, found] = some_leaks[:, agrees[first]], some_fires[:, agrees[first]]
        missing = np.setdiff1d(missing, found)
        if not missing.size:
            return leaks, fires
    return None


def _locally(links: _Links, leak: Float64, below: Bool, world: Bool, random: np.random.Generator) -> tuple[Bool, Bool]:
    """Luck given what holds: in what does not, nothing that could have fired did; in what does, at least one of all that could."""
    leaks, fires = np.zeros_like(world), np.zeros((links.cause.size, world.shape[1]), np.bool_)
    for v in np.flatnonzero(below).tolist():
        own = np.flatnonzero(links.effect == v)
        able = np.concatenate((np.ones((1, world.shape[1]), np.bool_), world[links.cause[own]]))
        chance = np.append(leak[v], links.strength[own])
        still = 1.0 - np.cumprod((1.0 - able * chance[:, None])[::-1], axis=0)[::-1]  # that this or a later one fires
        fired = np.zeros_like(able)
        needed = world[v].copy()
        for place in range(chance.size):
            forced = chance[place] / np.maximum(still[place], 1e-300)
            likely = np.where(able[place], np.where(needed, forced, np.where(world[v], chance[place], 0.0)), chance[place])
            fired[place] = random.random(likely.size) < likely
            needed &= ~(fired[place] & able[place])
        leaks[v], fires[own] = fired[0], fired[1:]
    return leaks, fires


def _carry(links: _Links, fires: Bool, holds: Bool, held: frozenset[int] = frozenset()) -> None:
    """Lets what holds bring about what it does along the links that fire, but for what is held, in place: the least fixpoint."""
    ends = [(link, cause, effect) for link, (cause, effect) in enumerate(zip(links.cause.tolist(), links.effect.tolist(), strict=True)) if effect not in held]
    before = -1
    while (now := int(np.count_nonzero(holds))) != before:
        before = now
        for link, cause, effect in ends:
            holds[effect] |= fires[link] & holds[cause]
