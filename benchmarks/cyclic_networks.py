"""Small networks with cycles, and what they mean: the least fixpoint over all ways in which leaks and links can fire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.estates import SERVICE, SyntheticEstate
from reasoning.cycles import feedback_links
from reasoning.inference import posteriors
from reasoning.network import CausalNetwork, FeedbackLinks, network_of, no_feedback
from reasoning.ordinal import LEVELS
from reasoning.regions import PlanCache
from schema.batches import Float64, Int32

ROOTS, STATES = 2, 5
STRENGTH = (0.2, 0.6)
MOST_CHANCES = 18  # leaks and links; all 2 ** 18 ways are looked at
FALSE_ALARM, MISSED, SEEN = (0.005, 0.03), (0.05, 0.2), 0.8


@dataclass(frozen=True, slots=True)
class CyclicProblem:
    """leak, log_evidence: Float64[n]; cause, effect: Int32[m], strength: Float64[m], cycles and all. The first `roots` have no causes."""

    leak: Float64
    cause: Int32
    effect: Int32
    strength: Float64
    log_evidence: Float64
    roots: int

    def network(self, copies: int = 1) -> CausalNetwork:
        """Its network, or many copies of it side by side."""
        variables, links = self.leak.size, self.cause.size
        shift = np.repeat(np.arange(copies, dtype=np.int32) * variables, links)
        every = FeedbackLinks(np.tile(self.cause, copies) + shift, np.tile(self.effect, copies) + shift, np.tile(self.strength, copies))
        back = np.tile(feedback_links(variables, self.cause, self.effect, self.strength), copies)
        kept = every.only(~back)
        cluster, is_defect = np.arange(variables * copies, dtype=np.int32), np.tile(np.arange(variables) < self.roots, copies)
        return network_of(np.tile(self.leak, copies), kept.cause, kept.effect, kept.strength, cluster, is_defect, every.only(back))


def cyclic_root_errors(count: int = 100, *, rounds: int = LEVELS) -> Float64:
    """Of each of `count` small cyclic networks the largest error of a root's posterior against enumeration, Float64[count].

    rounds: how many rounds of feedback are followed at most, 0: none at all, as if its links were not there.
    """
    errors = np.empty(count)
    for place, problem in enumerate(cyclic_problems(count)):
        network, everything = problem.network(), np.ones(problem.leak.size, np.bool_)
        if not rounds:
            network = replace(network, feedback=no_feedback())
        solved = posteriors(network, problem.log_evidence, wanted=everything, plans=PlanCache(rounds=rounds))
        errors[place] = np.abs(solved.probability - least_fixpoint_posteriors(problem))[: problem.roots].max()
    return errors


def calling_back(estate: SyntheticEstate, share: float, random: np.random.Generator) -> SyntheticEstate:
    """The estate with this share of its calls between services also made the other way: what is slow or failing slows or fails its callee too."""
    old, size = estate.network, len(SERVICE.variables)
    ends = np.stack((old.cluster[old.parent], old.cluster[old.effect]))
    is_service = np.bincount(old.cluster) == size
    calls = np.unique(ends[:, is_service[ends].all(axis=0) & (ends[0] != ends[1])], axis=1)
    callee, caller = calls[:, random.random(calls.shape[1]) < share]
    places = [SERVICE.place(name) for name in ("slow", "failing")]
    cause = np.concatenate((old.parent, *(caller * size + place for place in places))).astype(np.int32)
    effect = np.concatenate((old.effect, *(callee * size + place for place in places))).astype(np.int32)
    strength = np.append(old.strength, random.uniform(0.3, 0.8, len(places) * caller.size))
    every, back = FeedbackLinks(cause, effect, strength), feedback_links(len(old), cause, effect, strength)
    kept = every.only(~back)
    return replace(estate, network=network_of(old.leak, kept.cause, kept.effect, kept.strength, old.cluster, old.is_defect, every.only(back)))


def cyclic_root_error_max() -> float:
    """The figure of that name: a hundred networks, with as many rounds of feedback as the engine follows by itself."""
    return float(cyclic_root_errors().max())


def least_fixpoint_posteriors(problem: CyclicProblem) -> Float64:
    """P(variable holds | evidence), Float64[n], by summing over all ways: what holds is what firing leaks reach along firing links."""
    holds, weight = all_worlds(problem)
    weight = weight * np.exp(problem.log_evidence @ holds)
    return np.asarray(holds @ weight / weight.sum())


def all_worlds(problem: CyclicProblem, forced: Mapping[int, bool] | None = None) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.bool_]], Float64]:
    """What holds in each way, bool[n, 2 ** (n + m)], some of it perhaps by force, and how likely the way is."""
    variables, values = problem.leak.size, forced or {}
    chances = np.concatenate((problem.leak, problem.strength))
    ways = np.arange(1 << chances.size)
    fires = [(ways >> place & 1).astype(np.bool_) for place in range(chances.size)]
    weight = np.ones(ways.size)
    for chance, fired in zip(chances.tolist(), fires, strict=True):
        weight *= np.where(fired, chance, 1.0 - chance)
    holds = np.array(fires[:variables])
    for variable, value in values.items():
        holds[variable] = value
    links = enumerate(zip(problem.cause.tolist(), problem.effect.tolist(), strict=True))
    free = [(link, cause, effect) for link, (cause, effect) in links if effect not in values]
    for _ in range(variables):
        for link, cause, effect in free:
            holds[effect] |= fires[variables + link] & holds[cause]
    return holds, weight


def cyclic_problems(count: int) -> list[CyclicProblem]:
    """Seeded problems of 7 variables: two defects, conditions with one or two causes each, and one or two links back; links of .2 to .6.

    A world with a symptom is drawn, noisy detectors look at 80 % of the conditions, and at least one of them fires.
    """
    found: list[CyclicProblem] = []
    seed = 0
    while len(found) < count:
        random = np.random.default_rng(seed)
        seed += 1
        network = _network(random)
        cyclic = feedback_links(network.leak.size, network.cause, network.effect, network.strength).any()
        problem = _observed(random, network) if cyclic and network.leak.size + network.strength.size <= MOST_CHANCES else None
        if problem is not None:
            found.append(problem)
    return found


def _network(random: np.random.Generator) -> CyclicProblem:
    variables = ROOTS + STATES
    links: dict[tuple[int, int], float] = {}
    for effect in range(ROOTS, variables):
        for cause in random.choice(effect, 1 + int(random.random() < 0.6), replace=False).tolist():
            links[cause, effect] = random.uniform(*STRENGTH)
    for _ in range(random.integers(1, 3)):
        effect, cause = sorted(random.choice(np.arange(ROOTS, variables), 2, replace=False).tolist())
        links[cause, effect] = random.uniform(*STRENGTH)
    ends = np.array(list(links), np.int32)
    leak = np.append(random.uniform(0.01, 0.1, ROOTS), random.uniform(0.002, 0.02, STATES))
    return CyclicProblem(leak, ends[:, 0].copy(), ends[:, 1].copy(), np.array(list(links.values())), np.zeros(variables), ROOTS)


def _observed(random: np.random.Generator, network: CyclicProblem) -> CyclicProblem | None:
    holds, weight = all_worlds(network)
    weight = weight * holds[ROOTS:].any(axis=0)
    world = holds[:, random.choice(weight.size, p=weight / weight.sum())]
    evidence = np.zeros(world.size)
    for variable in range(ROOTS, world.size):
        false_alarm, missed = random.uniform(*FALSE_ALARM), random.uniform(*MISSED)
        if random.random() < SEEN:
            fires = random.random() < (1.0 - missed if world[variable] else false_alarm)
            evidence[variable] = np.log((1.0 - missed) / false_alarm) if fires else np.log(missed / (1.0 - false_alarm))
    if not (evidence > 0.0).any():
        return None
    return CyclicProblem(network.leak, network.cause, network.effect, network.strength, evidence, ROOTS)
