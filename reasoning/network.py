"""A causal network as arrays: binary variables, each a leaky noisy-OR of its parents (Pearl 1988, ch. 4). It knows no names.

P(x = 0 | parents) = (1 - leak) * product over the links i of (1 - strength_i) ** parent_i
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning.errors import InvalidNetworkError
from reasoning.native import compiled
from schema.batches import Float64, Int32, Int64

Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FeedbackLinks:
    """f links that would close cycles with others: cause, effect: Int32[f], strength: Float64[f]."""

    cause: Int32
    effect: Int32
    strength: Float64

    def __len__(self) -> int:
        return self.cause.size

    def only(self, chosen: Bool | Int64) -> FeedbackLinks:
        """Those chosen, bool[f] or by number."""
        return FeedbackLinks(self.cause[chosen], self.effect[chosen], self.strength[chosen])

    def same_as(self, cause: Int32, effect: Int32, strength: Float64) -> bool:
        """Whether these are they, with the same strengths."""
        return all(np.array_equal(*pair) for pair in ((self.cause, cause), (self.effect, effect), (self.strength, strength)))


def no_feedback() -> FeedbackLinks:
    """No links."""
    return FeedbackLinks(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))


@dataclass(frozen=True, slots=True)
class CausalNetwork:
    """n variables and m links, read-only, acyclic; made by `network_of` or `causal_network`.

    leak: Float64[n], P(x | no parent holds): the prior of a defect. Links stand grouped by their effect:
    parent_ptr: Int64[n + 1], parent: Int32[m], strength: Float64[m]. child_ptr: Int64[n + 1] and child_link: Int64[m]
    list the links by their cause; effect: Int32[m] is the end of each. cluster: Int32[n], the entity of a variable.
    is_defect: bool[n]. order: Int64[n], causes before effects. `feedback` stands beside them: what counts there is the least
    fixpoint (reasoning.ordinal).
    """

    leak: Float64
    parent_ptr: Int64
    parent: Int32
    strength: Float64
    effect: Int32
    child_ptr: Int64
    child_link: Int64
    cluster: Int32
    is_defect: Bool
    order: Int64
    feedback: FeedbackLinks = field(default_factory=no_feedback)

    def __len__(self) -> int:
        return self.leak.size

    def parents(self, variable: int) -> Int32:
        """The parents of a variable."""
        return self.parent[self.parent_ptr[variable] : self.parent_ptr[variable + 1]]

    def strengths(self, variable: int) -> Float64:
        """The strengths of the links from `parents(variable)`."""
        return self.strength[self.parent_ptr[variable] : self.parent_ptr[variable + 1]]


def network_of(
    leak: Float64,
    cause: Int32,
    effect: Int32,
    strength: Float64,
    cluster: Int32,
    is_defect: Bool,
    feedback: FeedbackLinks | None = None,
) -> CausalNetwork:
    """A network from links in any order. Parallel links become one of the same effect; links of strength 0 vanish.

    Raises InvalidNetworkError: wrong shapes, NaN or no probabilities, ends that do not exist, a defect with a cause, a cycle.
    """
    _check(leak, cause, effect, strength, cluster, is_defect)
    back = no_feedback() if feedback is None else feedback
    _check(leak, back.cause, back.effect, back.strength, cluster, is_defect)
    back = back.only(back.strength > 0.0)
    cause, effect, strength = _merged(leak.size, cause, effect, strength)
    parent_ptr = _starts(effect, leak.size)
    child_ptr, child_link = grouped(cause, leak.size)
    order = topological_order(parent_ptr, child_ptr, child_link, effect)
    if order.size < leak.size:
        missing = np.setdiff1d(np.arange(leak.size), order)
        raise InvalidNetworkError(
            f"The network has a cycle among its variables {missing[:5].tolist()}: take out its feedback links first (reasoning.cycles).", missing.tolist()
        )
    marks = np.array(cluster, np.int32), np.array(is_defect), order
    for part in (
        leak := np.array(leak, np.float64),
        parent_ptr,
        cause,
        strength,
        effect,
        child_ptr,
        child_link,
        *marks,
        back.cause,
        back.effect,
        back.strength,
    ):
        part.setflags(write=False)
    return CausalNetwork(leak, parent_ptr, cause, strength, effect, child_ptr, child_link, *marks, back)


def with_values(last: CausalNetwork, leak: Float64, strength: Float64, feedback: FeedbackLinks) -> CausalNetwork:
    """A network of the same links under other leaks and strengths, Float64[m], none 0. Raises InvalidNetworkError: NaN or no probabilities."""
    _check(leak, last.parent, last.effect, strength, last.cluster, last.is_defect)
    _check(leak, feedback.cause, feedback.effect, feedback.strength, last.cluster, last.is_defect)
    found = replace(last, leak=leak.copy(), strength=strength.copy(), feedback=feedback)
    for part in (found.leak, found.strength, feedback.cause, feedback.effect, feedback.strength):
        part.setflags(write=False)
    return found


def causal_network(leak: Float64, links: Sequence[tuple[int, int, float]]) -> CausalNetwork:
    """A network from (parent, child, strength) links in any order, each variable an entity of its own. Raises InvalidNetworkError."""
    ends = np.array([link[:2] for link in links], np.int32).reshape(-1, 2)
    strength = np.array([link[2] for link in links], np.float64)
    return network_of(leak, ends[:, 0], ends[:, 1], strength, np.arange(leak.size, dtype=np.int32), np.zeros(leak.size, np.bool_))


def ranges(first: NDArray[np.integer[Any]], last: NDArray[np.integer[Any]]) -> Int64:
    """The numbers from first[i] up to last[i], one i after the other: what stands between the pointers of some rows."""
    size = last - first
    start = first - (np.cumsum(size) - size)
    found: Int64 = (np.repeat(start, size) + np.arange(int(size.sum()))).astype(np.int64)
    return found


@compiled
def grouped(owner: Int32, owners: int) -> tuple[Int64, Int64]:
    """What belongs to each owner, in ascending order: ptr: Int64[owners + 1] into order: Int64[m]."""
    ptr = np.zeros(owners + 1, np.int64)
    for each in owner:
        ptr[each + 1] += 1
    for each in range(owners):
        ptr[each + 1] += ptr[each]
    at = ptr[:-1].copy()
    order = np.empty(owner.size, np.int64)
    for item in range(owner.size):
        order[at[owner[item]]] = item
        at[owner[item]] += 1
    return ptr, order


@compiled
def topological_order(parent_ptr: Int64, child_ptr: Int64, child_link: Int64, effect: Int32) -> Int64:
    """Causes before effects, in Kahn's order from the lowest variable; shorter than n when there is a cycle."""
    variables = parent_ptr.size - 1
    waiting = parent_ptr[1:] - parent_ptr[:-1]
    order = np.empty(variables, np.int64)
    filled = 0
    for variable in range(variables):
        if waiting[variable] == 0:
            order[filled] = variable
            filled += 1
    at = 0
    while at < filled:
        for position in range(child_ptr[order[at]], child_ptr[order[at] + 1]):
            child = effect[child_link[position]]
            waiting[child] -= 1
            if waiting[child] == 0:
                order[filled] = child
                filled += 1
        at += 1
    return order[:filled].copy()


def strongest_paths(network: CausalNetwork, start: int) -> Float64:
    """The product of the strengths along the strongest path from a variable to each other, Float64[n]; 0 where there is none."""
    reach = np.zeros(len(network))
    reach[start] = 1.0
    back = network.feedback
    while True:
        follow_strongest(network.order, network.child_ptr, network.child_link, network.effect, network.strength, reach)
        again = reach[back.cause] * back.strength
        if not (again > reach[back.effect]).any():
            return reach
        np.maximum.at(reach, back.effect, again)


@compiled
def follow_strongest(order: Int64, child_ptr: Int64, child_link: Int64, effect: Int32, strength: Float64, reach: Float64) -> None:
    """Carries `reach`, Float64[n], down the causal order, in place."""
    for variable in order:
        if reach[variable] > 0.0:
            for position in range(child_ptr[variable], child_ptr[variable + 1]):
                link = child_link[position]
                reach[effect[link]] = max(reach[effect[link]], reach[variable] * strength[link])


def descendants(network: CausalNetwork, roots: Iterable[int], *, least: float = 0.0) -> Bool:
    """The variables that the given ones reach by a path stronger than `least`, themselves included: bool[n]."""
    below = np.zeros(len(network), np.bool_)
    for variable in roots:
        below |= strongest_paths(network, variable) > least
    return below


def forced(network: CausalNetwork, values: Mapping[int, bool]) -> CausalNetwork:
    """The network in which the given variables are held: no link leads into them."""
    held = list(values)
    leak = network.leak.copy()
    leak[held] = [float(value) for value in values.values()]
    free = ~np.isin(network.effect, held)
    feedback = network.feedback.only(~np.isin(network.feedback.effect, held))
    return network_of(leak, network.parent[free], network.effect[free], network.strength[free], network.cluster, network.is_defect, feedback)


def _check(leak: Float64, cause: Int32, effect: Int32, strength: Float64, cluster: Int32, is_defect: Bool) -> None:
    variables, links = leak.size, cause.size
    if cluster.size != variables or is_defect.size != variables:
        raise InvalidNetworkError(f"A network of {variables} variables needs as many clusters and defect marks, not {cluster.size} and {is_defect.size}.")
    if effect.size != links or strength.size != links:
        raise InvalidNetworkError(f"A network of {links} links needs as many effects and strengths, not {effect.size} and {strength.size}.")
    for what, values in (("leak", leak), ("strength", strength)):
        wrong = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
        if wrong.size:
            involved = wrong[:1] if what == "leak" else np.array([cause[wrong[0]], effect[wrong[0]]])
            raise InvalidNetworkError(f"The {what} at index {wrong[0]} is {values[wrong[0]]}: a probability between 0 and 1 is needed.", involved.tolist())
    for what, ends in (("cause", cause), ("effect", effect)):
        wrong = np.flatnonzero((ends < 0) | (ends >= variables))
        if wrong.size:
            raise InvalidNetworkError(f"The {what} of link {wrong[0]} is variable {ends[wrong[0]]}, but there are only {variables}.")
    wrong = np.flatnonzero(is_defect[effect]) if links else np.empty(0, np.int64)
    if wrong.size:
        raise InvalidNetworkError(
            f"Link {wrong[0]} is a cause of defect {effect[wrong[0]]}: a defect has no causes.", [int(cause[wrong[0]]), int(effect[wrong[0]])]
        )


def _merged(variables: int, cause: Int32, effect: Int32, strength: Float64) -> tuple[Int32, Int32, Float64]:
    key = effect.astype(np.int64) * variables + cause
    kept = np.flatnonzero(strength > 0.0)
    if kept.size < 2 or (np.diff(key[kept]) > 0).all():
        return cause[kept], effect[kept], strength[kept]
    order = kept[np.lexsort((strength[kept], key[kept]))]
    start = np.flatnonzero(np.append(True, np.diff(key[order]) != 0))
    return cause[order][start], effect[order][start], merged_links(start, strength[order])


def merged_links(start: Int64, strength: Float64) -> Float64:
    """The noisy-OR of parallel links: Float64[k] from Float64[r] rows, start: Int64[k], the first row of each link."""
    if start.size == strength.size:
        return strength
    alone = np.diff(np.append(start, strength.size)) == 1
    return np.where(alone, strength[start], 1.0 - np.multiply.reduceat(1.0 - strength, start))


def _starts(ends: Int32, variables: int) -> Int64:
    return np.concatenate(([0], np.cumsum(np.bincount(ends, minlength=variables)))).astype(np.int64)
