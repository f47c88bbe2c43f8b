"""What would hold had something been forced, sampled: for pairs of worlds that are too wide to solve, mixed forces and feedback.

Worlds are drawn from the exact posterior of a region, all by one pass over its tables; then the luck that may have led to each; then
what that same luck leads to under the force. The one error is that of sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reasoning.network import Bool
from reasoning.ordinal import draw_worlds, plan_ordinal
from reasoning.regions import Region
from schema.batches import Float64, Int32

WIDEST, MOST_CELLS = 22, 1 << 22  # of all plans that worlds are drawn from: what links add up to needs variables of its own there
WORLDS, FEWEST_WORLDS = 4_096, 64  # standard errors of at most .008 and .06, twice that where forces go both ways
OVERHEAD, MOST_DRAWS = 1_024, 1 << 23  # of a variable, in worlds; variables times worlds and that, those of the plans included
MOST_TRIES = 1 << 24  # at luck, in links times worlds
ATTEMPTS = 64  # at luck that leads to a drawn world around its cycles


@dataclass(frozen=True, slots=True)
class SampledChange:
    """How much likelier the force makes each of k variables, and the standard error of that, Float64[k] each, 0 where it does not reach."""

    by: Float64
    standard_error: Float64


def sampled_change(region: Region, below: Bool, values: Mapping[int, bool], random: np.random.Generator, share: float = 1.0) -> SampledChange | None:
    """For the variables of a region `below` the force: bool[k], closed under effects. None where that would be too much work.

    values: what is forced, by its place in the region. share: of all work that may be done.
    """
    links = _links_into(region, below)
    holds = _worlds(region, random, share)
    luck = None if holds is None else _luck_behind(links, region.leak, below, holds, random, int(MOST_TRIES * share))
    if holds is None or luck is None:
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
    effect = np.concatenate((region.effect, region.feedback.effect))
    cause = np.concatenate((region.parent, region.feedback.cause))
    inside = below[effect]
    return _Links(cause[inside], effect[inside], np.concatenate((region.strength, region.feedback.strength))[inside])


def _worlds(region: Region, random: np.random.Generator, share: float) -> Bool | None:
    """As many worlds from the posterior as the share of the work allows, bool[k, w]; None where it allows too few."""
    back = region.feedback
    levels = region.ordinal.levels if region.ordinal else 0
    plan = plan_ordinal(region.parent_ptr, region.parent, (back.cause, back.effect), WIDEST, int(MOST_CELLS * share), levels, chained=True)
    if plan is None or plan.levels != levels:
        return None
    worlds = min(WORLDS, int(MOST_DRAWS * share) // plan.plan.size.size - OVERHEAD)
    if worlds < FEWEST_WORLDS:
        return None
    return draw_worlds(plan, region.leak, region.strength, back.strength, region.log_evidence, worlds, random)


def _luck_behind(links: _Links, leak: Float64, below: Bool, holds: Bool, random: np.random.Generator, most: int) -> tuple[Bool, Bool] | None:
    """Leaks and links that fired, bool[k, w] and bool[m, w], as they may have in each of w worlds.

    That each variable which holds has a leak or a cause of its own is not enough around a cycle: luck that does not reach all of a
    world is drawn anew. None where it never does, or not within the `most` tries, links times worlds.
    """
    leaks, fires = np.zeros_like(holds), np.zeros((links.cause.size, holds.shape[1]), np.bool_)
    missing = np.arange(holds.shape[1])
    for _ in range(min(ATTEMPTS, most // max(1, fires.size))):
        tried = np.repeat(missing, max(1, holds.shape[1] // missing.size))
        world = holds if missing.size == holds.shape[1] else holds[:, tried]
        some_leaks, some_fires = _locally(links, leak, below, world, random)
        reached = np.where(below[:, None], some_leaks, world)
        _carry(links, some_fires, reached)
        agrees = np.flatnonzero((reached == world).all(axis=0))
        if agrees.size == holds.shape[1] == missing.size:
            return some_leaks, some_fires
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
    now, firing = np.packbits(holds, axis=1), np.packbits(fires, axis=1)
    before = None
    while before is None or not np.array_equal(now, before):
        before = now.copy()
        for link, cause, effect in ends:
            now[effect] |= firing[link] & now[cause]
    holds[:] = np.unpackbits(now, axis=1, count=holds.shape[1])
