"""What would hold had something been forced, given what was seen: abduction, action, prediction (Pearl 2009, ch. 7).

Two worlds share all luck: the leaks and links that fire are the same, only the forced values differ. Causes only ever add, so one
world holds all that the other does: a variable below the force is in both, in the larger one alone, or in neither. In the model of
the pair one noisy-OR carries what both worlds hold and another what the larger holds alone. It is solved exactly where it fits, else sampled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reasoning.elimination import plan_factors, solve, weights_of
from reasoning.inference import close_over_causes, partition, posteriors
from reasoning.network import Bool, CausalNetwork, descendants, forced, network_of
from reasoning.regions import MOST_CELLS, MOST_UNCUT, WIDEST, PlanCache, Region
from reasoning.sampled_pair import sampled_change
from reasoning.solution import probabilities
from schema.batches import Float64

NEGLIGIBLE = 1e-3  # in large networks, what the force reaches more weakly counts as out of reach


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """`before`: what is believed; `after`: what would be, Float64[n] each. `exact`: nothing was approximated.

    `standard_error`: the largest of `after`, where the only error is that of sampled worlds; 0 where exact, else None, as nobody knows.
    """

    before: Float64
    after: Float64
    exact: bool
    standard_error: float | None


def counterfactual(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64, random: np.random.Generator) -> Counterfactual:
    """P(each variable | evidence), and P(it would hold had the values been forced | evidence on the world as it is).

    What the force does not reach keeps its posterior. `random` is used where the pair of worlds can't be solved. Raises as `posteriors` does.
    """
    small = len(network) <= MOST_UNCUT
    below = descendants(network, values, least=0.0 if small else NEGLIGIBLE)
    plans = PlanCache()
    now = posteriors(network, log_evidence, wanted=np.ones_like(below) if small else below, plans=plans)
    relevant = below | (log_evidence != 0.0)
    close_over_causes(network, relevant)
    parts = partition(network, log_evidence, relevant, plans, below[network.parent] & below[network.effect])
    before, after, left, error = now.probability.copy(), now.probability.copy(), below.copy(), 0.0
    for region, worlds in _both_worlds([region for region in parts.regions if below[region.variables].any()], below, values, random):
        inside = below[region.variables]
        places = region.variables[inside]
        before[places], after[places], left[places] = worlds[0][inside], worlds[1][inside], False
        error = max(error, worlds[2])
    left[[v for v in values if not _reaches(network, v, below)]] = False
    if left.any():
        carried = _carried_over(network, values, log_evidence)
        before, after = np.where(left, carried[0], before), np.where(left, carried[1], after)
    after[list(values)] = [float(value) for value in values.values()]
    known = parts.exact and not left.any() and (small or bool((below == descendants(network, values)).all()))
    return Counterfactual(before, after, known and not error, error if known else None)


Worlds = tuple[Float64, Float64, float]  # P(holds) as things are and as forced, Float64[k] each, and the largest standard error


def _both_worlds(regions: Sequence[Region], below: Bool, values: Mapping[int, bool], random: np.random.Generator) -> Iterator[tuple[Region, Worlds]]:
    """Both worlds of those regions where they can be told: solved or, where they can't be, sampled, all together no longer than one might take."""
    too_wide = []
    for region in regions:
        inside = below[region.variables]
        held = {place: values[v] for place, v in enumerate(region.variables.tolist()) if v in values}
        solvable = not len(region.feedback) and len(set(held.values())) <= 1  # with levels, a pair would be too wide
        pair = _pair(region, inside, held) if solvable else None
        if pair is None:
            too_wide.append((region, inside, held))
        else:
            yield region, (*pair, 0.0)
    for region, inside, held in too_wide:
        change = sampled_change(region, inside, held, random, 1.0 / len(too_wide))
        if change is not None:
            now = probabilities(region.log_odds())
            free = [place for place in np.flatnonzero(inside).tolist() if place not in held]
            yield region, (now, np.clip(now + change.by, 0.0, 1.0), float(change.standard_error[free].max(initial=0.0)))


def _reaches(network: CausalNetwork, variable: int, below: Bool) -> bool:
    links = network.child_link[network.child_ptr[variable] : network.child_ptr[variable + 1]]
    return bool(below[network.effect[links]].any())


@dataclass(slots=True)
class _Factors:
    """Factors over binary variables in the making. Bit i of a cell's index is the value of the i-th variable of its scope."""

    variables: int
    scopes: list[tuple[int, ...]] = field(default_factory=list)
    cells: list[float] = field(default_factory=list)

    def add(self, scope: tuple[int, ...], *cells: float) -> None:
        self.scopes.append(scope)
        self.cells.extend(cells)

    def fresh(self) -> int:
        self.variables += 1
        return self.variables - 1

    def noisy_or(self, x: int, silent: float, causes: list[tuple[int, float]], off: float, on: float) -> None:
        """X holds unless the leak and all its causes stay silent; off, on: the evidence's weights."""
        y = self.fresh()
        self.add((x, y), silent * off, -silent * on, 0.0, on)
        self._silences(y, causes)

    def noisy_or_alone(self, x: int, both: int, causes: list[tuple[int, float]]) -> None:
        """X holds, but only where `both` does not, unless all its causes stay silent."""
        y = self.fresh()
        self.add((x, both, y), 1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0)
        self._silences(y, causes)

    def _silences(self, y: int, causes: list[tuple[int, float]]) -> None:
        for cause, strength in causes:
            if strength >= 0.0:
                self.add((cause, y), 1.0, 1.0 - strength, 1.0, 1.0)
            else:  # the cause's absence is what speaks
                self.add((cause, y), 1.0 + strength, 1.0, 1.0, 1.0)


def _pair(region: Region, below: Bool, values: Mapping[int, bool]) -> tuple[Float64, Float64] | None:
    """P(holds) as things are and as forced, Float64[k] each, for a region; None where the pair of worlds is too wide.

    Variable v stands for itself, or below the force for what both worlds hold; `alone[v]` for what the larger holds alone.
    """
    takes_away = not any(values.values())
    factors = _Factors(region.variables.size)
    alone = {v: factors.fresh() for v in np.flatnonzero(below).tolist() if v not in values}
    off, on = (weights.tolist() for weights in weights_of(region.log_evidence))
    for x in range(region.variables.size):
        first, last = int(region.parent_ptr[x]), int(region.parent_ptr[x + 1])
        own = list(zip(region.parent[first:last].tolist(), region.strength[first:last].tolist(), strict=True))
        silent = 1.0 - float(region.leak[x])
        if x not in alone:
            also = [(alone[u], w) for u, w in own if u in alone] if takes_away else []
            factors.noisy_or(x, silent, own + also, off[x], on[x])
            continue
        both = [(u, w) for u, w in own if not (takes_away and u in values)]
        larger = [(alone[u], w) for u, w in own if u in alone] + [(u, w if takes_away else -w) for u, w in own if u in values]
        factors.noisy_or(x, silent, both, 1.0, 1.0)
        factors.noisy_or_alone(alone[x], x, larger)
        factors.add((x, alone[x]), off[x], on[x], on[x] if takes_away else off[x], 0.0)
    plan = plan_factors(factors.variables, factors.scopes, WIDEST, MOST_CELLS)
    if plan is None:
        return None
    odds, _ = solve(plan, np.array(factors.cells), region.variables.size + len(alone))
    both_hold = probabilities(odds[: region.variables.size])
    more = both_hold.copy()
    for v, place in alone.items():
        more[v] += probabilities(odds[place : place + 1])[0]
    return (more, both_hold) if takes_away else (both_hold, more)


def _carried_over(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64) -> tuple[Float64, Float64]:
    """Before and after from the posteriors of the causes taken one by one, as if independent, Float64[n] each: for what is too wide even to sample.

    Every defect and every leak gets its posterior under all evidence; then both worlds are predicted forward. As causes only add,
    a condition that holds now still would with P(forced) / P(not forced), one that does not would by the ratio of the complements;
    so first what is forced off is taken away, then what is forced on added.
    """
    rooted = _with_leaks_as_roots(network)
    below = descendants(rooted, values)
    nothing = np.zeros(len(rooted))
    plans = PlanCache()
    found = posteriors(rooted, np.append(log_evidence, nothing[len(network) :]), wanted=below, plans=plans).probability
    is_root = np.diff(rooted.parent_ptr) == 0
    priors = np.where(is_root, found, 0.0)
    priors.setflags(write=False)
    believed = replace(rooted, leak=priors)
    after, usual = found, posteriors(believed, nothing, wanted=below, plans=plans).probability
    for held in ({variable: False for variable, value in values.items() if not value}, values):
        changed = posteriors(forced(believed, held), nothing, wanted=below, plans=plans).probability
        after, usual = np.where(below, _moved(after, usual, changed), found), changed
    return found[: len(network)], after[: len(network)]


def _with_leaks_as_roots(network: CausalNetwork) -> CausalNetwork:
    """The same network where what nothing known caused has a cause of its own: roots n, n + 1, ... with a link of strength 1 each."""
    leaky = np.flatnonzero((np.diff(network.parent_ptr) > 0) & (network.leak > 0.0))
    leak = np.append(network.leak, network.leak[leaky])
    leak[leaky] = 0.0
    return network_of(
        leak,
        np.append(network.parent, np.arange(len(network), leak.size)).astype(np.int32),
        np.append(network.effect, leaky).astype(np.int32),
        np.append(network.strength, np.ones(leaky.size)),
        np.append(network.cluster, network.cluster[leaky]),
        np.append(network.is_defect, np.ones(leaky.size, np.bool_)),
        network.feedback,
    )


def _moved(before: Float64, usual: Float64, changed: Float64) -> Float64:
    """A belief carried along with a prediction that moved from `usual` to `changed`, all Float64[n]."""
    fallen = before * np.minimum(changed / np.maximum(usual, 1e-300), 1.0)
    risen = 1.0 - (1.0 - before) * np.minimum((1.0 - changed) / np.maximum(1.0 - usual, 1e-300), 1.0)
    return np.where(changed < usual, fallen, np.where(changed > usual, risen, before))
