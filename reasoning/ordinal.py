"""Feedback solved exactly: levels count how often an effect had to go round a cycle (ordinal noisy-MAX; Diez 1993).

The meaning of links that form cycles is their least fixpoint: what holds is what a leak reaches along links that fire. The level
of a variable is the smallest number of feedback links on such a way. P(level > t) = (1-leak) * product over the links of
(1-strength) where level(cause) + d <= t, d = 1 on feedback links: level by level nothing is cyclic any more. Levels are counted anew
in each strongly connected component; outside of them, and for whatever follows, it only matters that a cause holds.

Variable v stands for "holds"; within a component a variable may have one more for "holds at level t and not before". Each link is
tried once, at the first level of its cause, so given that v did not hold before, only links from there can make it hold at t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reasoning.cycles import acyclic_selection, components
from reasoning.elimination import EliminationPlan, draw, plan_factors, solve, weights_of
from reasoning.errors import InconsistentEvidenceError
from reasoning.native import compiled
from reasoning.network import Bool
from schema.batches import Float64, Int32, Int64

LEVELS = 2  # rounds of feedback followed where one does not say all


@dataclass(frozen=True, slots=True)
class OrdinalPlan:
    """How to solve a local network of n variables and m links with f feedback links. Strengths and evidence may change under it.

    cells: Int64[c], which of the values of `_values` each cell of the factors takes. levels: how many rounds of feedback are
    followed. complete: no way needs more of them, so nothing is approximated.
    """

    plan: EliminationPlan
    cells: Int64
    levels: int
    complete: bool


def plan_ordinal(
    parent_ptr: Int64, parent: Int32, feedback: tuple[Int32, Int32], widest: int, most_cells: int, levels: int = LEVELS, *, chained: bool = False
) -> OrdinalPlan | None:
    """A plan with at most `levels` rounds, fewer where all is said before or room is scarce; None where not even one fits.

    parent_ptr: Int64[n + 1], parent: Int32[m], acyclic, as `plan_elimination` takes them. feedback: the causes and effects of the
    feedback links, Int32[f] each. widest, most_cells: see `plan_elimination`. chained: for `draw_worlds`, wider.
    """
    cycles, level = _split(parent_ptr, parent, feedback)
    found = [level]
    while found[-1].later.any() and len(found) <= levels:
        found.append(_next(cycles, found[-1]))
    for rounds in range(len(found) - 1, min(len(found) - 1, 1) - 1, -1):
        factors = _factors(_Factors(parent_ptr.size - 1, parent.size + feedback[0].size, chained), cycles, found[: rounds + 1])
        plan = plan_factors(factors.variables, factors.scopes, widest, most_cells)
        if plan is not None:
            complete = not found[rounds].later.any() or rounds >= np.count_nonzero(level.later)
            return OrdinalPlan(plan, np.array(factors.cells, np.int64), rounds, bool(complete))
    return None


def ordinal_log_odds(plan: OrdinalPlan, leak: Float64, strength: Float64, feedback_strength: Float64, log_evidence: Float64) -> Float64:
    """Log P(v holds) / P(v does not) of every variable, Float64[n].

    leak, log_evidence: Float64[n], the latter infinite where a value is certain; strength: Float64[m]; feedback_strength: Float64[f].
    Raises InconsistentEvidenceError.
    """
    values = _values(leak, strength, feedback_strength, log_evidence)
    odds, _ = solve(plan.plan, values[plan.cells], leak.size)
    if np.isnan(odds).any():
        raise InconsistentEvidenceError(np.flatnonzero(log_evidence).tolist())
    return odds


def draw_worlds(
    plan: OrdinalPlan, leak: Float64, strength: Float64, feedback_strength: Float64, log_evidence: Float64, worlds: int, random: np.random.Generator
) -> Bool | None:
    """Worlds from the posterior that a chained plan stands for, bool[n, worlds]; None where none is possible. The rest as `ordinal_log_odds`."""
    values = _values(leak, strength, feedback_strength, log_evidence)
    holds = draw(plan.plan, values[plan.cells], worlds, random)
    return None if holds is None else holds[: leak.size]


ZERO, ONE, MINUS_ONE, CONSTANTS = 0, 1, 2, 3
SILENT, MINUS_SILENT, LEAK, SILENT_OFF, MINUS_SILENT_ON, LEAK_ON, OFF, ON, KINDS = range(9)


def _values(leak: Float64, strength: Float64, feedback_strength: Float64, log_evidence: Float64) -> Float64:
    """All that a cell can be: three constants; for each variable the kinds above in turn; for each link that it does not fire, and that it does."""
    off, on = weights_of(log_evidence)
    silent = 1.0 - leak
    by_kind = (silent, -silent, leak, silent * off, -silent * on, leak * on, off, on)
    return np.concatenate(((0.0, 1.0, -1.0), *by_kind, 1.0 - strength, 1.0 - feedback_strength, strength, feedback_strength))


Rows = Mapping[int, Sequence[tuple[int, int]]]  # by effect, (cause, link)


@dataclass(frozen=True, slots=True)
class _Cycles:
    """The links within components as cause, effect: Int32[w] and their numbers, Int64[w]; for each variable those from elsewhere."""

    cause: Int32
    effect: Int32
    link: Int64
    outside: Rows


@dataclass(frozen=True, slots=True)
class _Level:
    """member: bool[n], the variables that may have a level; inside: bool[w], the links tried at the level of their cause; later: those at the next."""

    member: Bool
    inside: Bool
    later: Bool


def _split(parent_ptr: Int64, parent: Int32, feedback: tuple[Int32, Int32]) -> tuple[_Cycles, _Level]:
    """The cycles, and level 0: all variables, feedback links later."""
    variables = parent_ptr.size - 1
    effect = np.concatenate((np.repeat(np.arange(variables, dtype=np.int32), np.diff(parent_ptr)), feedback[1]))
    cause = np.concatenate((parent, feedback[0]))
    component = components(variables, cause, effect)
    within = component[cause] == component[effect]
    link = np.flatnonzero(within)
    acyclic = link < parent.size
    cycles = _Cycles(cause[link], effect[link], link, _rows(cause[~within], effect[~within], np.flatnonzero(~within)))
    return cycles, _Level(np.ones(variables, np.bool_), acyclic, ~acyclic)


def _next(cycles: _Cycles, level: _Level) -> _Level:
    """The level after one: of the links that may lead to something new, as many as close no cycle are tried in it."""
    useful = leads_on(level.member.size, cycles.cause, cycles.effect, level.later)
    inside = np.zeros_like(useful)
    inside[useful] = acyclic_selection(level.member.size, cycles.cause[useful], cycles.effect[useful])
    member = np.zeros_like(level.member)
    reached = cycles.effect[level.later]
    while not member[reached].all():
        member[reached] = True
        reached = cycles.effect[inside & member[cycles.cause]]
    begins = member[cycles.cause]
    return _Level(member, inside & begins, useful & ~inside & begins)


@compiled
def leads_on(variables: int, cause: Int32, effect: Int32, entry: Bool) -> Bool:
    """The links u -> v that a way without repetition can take after an entry a -> b: b reaches u without passing a or v. bool[w]."""
    useful = np.zeros(cause.size, np.bool_)
    caused = np.zeros(variables, np.bool_)
    caused[effect] = True
    by_cause = np.argsort(cause)
    first = np.searchsorted(cause[by_cause], np.arange(variables + 1))
    reached = np.empty(variables, np.int64)
    stack = np.empty(variables, np.int64)
    for each in np.flatnonzero(entry):
        origin, start = cause[each], effect[each]
        reached[:] = -1
        for barred in np.flatnonzero(caused):
            if barred == origin or barred == start:  # noqa: PLR1714, SIM109 - numba looks for no integer in a mixed tuple
                continue
            reached[start] = barred
            stack[0], depth = start, 1
            while depth > 0:
                depth -= 1
                at = stack[depth]
                for link in by_cause[first[at] : first[at + 1]]:
                    to = effect[link]
                    if reached[to] != barred and to != origin and to != barred:  # noqa: PLR1714
                        reached[to] = barred
                        stack[depth] = to
                        depth += 1
            for link in range(cause.size):
                if effect[link] == barred and reached[cause[link]] == barred:
                    useful[link] = True
    return useful


def _rows(cause: Int32, effect: Int32, link: Int64) -> Rows:
    rows: dict[int, list[tuple[int, int]]] = {}
    for one, other, number in zip(cause.tolist(), effect.tolist(), link.tolist(), strict=True):
        rows.setdefault(other, []).append((one, number))
    return rows


@dataclass(slots=True)
class _Factors:
    """Factors in the making; a cell says which value it takes. Bit i of a cell's index is the value of the i-th variable of its scope.

    What causes do to an effect goes over an auxiliary y: in a star all that they do not is told of y = 0 and nothing of y = 1; chained,
    y is whether any link fires, told link by link, and no cell is negative, so that y can be drawn.
    """

    count: int
    links: int
    chained: bool
    variables: int = field(init=False)
    scopes: list[tuple[int, ...]] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.variables = self.count

    def fresh(self) -> int:
        self.variables += 1
        return self.variables - 1

    def value(self, kind: int, v: int) -> int:
        return CONSTANTS + kind * self.count + v

    def noisy_or(self, x: int, v: int, causes: Sequence[tuple[int, int]], *, evidence: bool) -> None:
        """X holds unless the leak of v and all causes stay silent; with the evidence on v or without."""
        silent, minus_silent, leak = (self.value(kind, v) for kind in ((SILENT_OFF, MINUS_SILENT_ON, LEAK_ON) if evidence else (SILENT, MINUS_SILENT, LEAK)))
        if not causes:
            self._add((x,), (silent, leak))
            return
        y = self.fresh()
        self._add((x, y), (silent, leak if self.chained else minus_silent, ZERO, self.value(ON, v) if evidence else ONE))
        self._fires(y, causes)

    def only_now(self, x: int, before: Sequence[int], causes: Sequence[tuple[int, int]]) -> None:
        """X holds unless all causes stay silent, but only if none of `before` does."""
        y = self.fresh()
        states = range(1 << len(before))
        quiet = [cell for state in states for cell in ((ONE, ZERO) if self.chained else (ZERO, ZERO) if state else (ONE, MINUS_ONE))]
        loud = [cell for state in states for cell in ((ONE, ZERO) if state else (ZERO, ONE))]
        self._add((x, *before, y), (*quiet, *loud))
        self._fires(y, causes)

    def either(self, v: int, levels: Sequence[int]) -> None:
        """V holds where it does so at one of its levels; with the evidence on v."""
        counts = [state.bit_count() for state in range(1 << len(levels))]
        self._add((v, *levels), [cell for count in counts for cell in ((ZERO, self.value(ON, v)) if count else (self.value(OFF, v), ZERO))])

    def _fires(self, y: int, causes: Sequence[tuple[int, int]]) -> None:
        before: tuple[int, ...] = ()
        for place, (cause, link) in enumerate(causes):
            silent = CONSTANTS + KINDS * self.count + link
            if not self.chained:
                self._add((cause, y), (ONE, silent, ONE, ONE))
                continue
            by_now = y if place == len(causes) - 1 else self.fresh()
            quiet, loud = ((ONE, ZERO), (silent, ZERO)), ((ZERO, ONE), (silent + self.links, ONE))  # by cause, by the chain before it
            self._add((*before, cause, by_now), [cell for row in (*quiet, *loud) for cell in (row if before else row[:1])])
            before = (by_now,)

    def _add(self, scope: tuple[int, ...], cells: Sequence[int]) -> None:
        self.scopes.append(scope)
        self.cells.extend(cells)


def _factors(factors: _Factors, cycles: _Cycles, found: Sequence[_Level]) -> _Factors:
    """The factors with the levels found; a variable with level 0 alone needs no other for it."""
    variables = factors.count
    later = np.logical_or.reduce([np.zeros(variables, np.bool_), *(level.member for level in found[1:])])
    at = [{v: factors.fresh() if later[v] else v for v in range(variables)}]
    at += [{v: factors.fresh() for v in np.flatnonzero(level.member).tolist()} for level in found[1:]]
    inside = [_rows(cycles.cause[level.inside], cycles.effect[level.inside], cycles.link[level.inside]) for level in found]
    waited = [_rows(cycles.cause[level.later], cycles.effect[level.later], cycles.link[level.later]) for level in found]
    for v in range(variables):
        first = [*cycles.outside.get(v, ()), *_from(at[0], inside[0], v)]
        factors.noisy_or(at[0][v], v, first, evidence=not later[v])
        if not later[v]:
            continue
        own = [at[0][v]]
        for level in range(1, len(at)):
            if v in at[level]:
                factors.only_now(at[level][v], own, [*_from(at[level], inside[level], v), *_from(at[level - 1], waited[level - 1], v)])
                own.append(at[level][v])
        factors.either(v, own)
    return factors


def _from(at: Mapping[int, int], rows: Rows, v: int) -> list[tuple[int, int]]:
    return [(at[cause], link) for cause, link in rows.get(v, ()) if cause in at]
