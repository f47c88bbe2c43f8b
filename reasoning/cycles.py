"""Feedback among causes: which links close cycles.

Services that call each other make each other slow. The meaning of such a loop is its least fixpoint, which reasoning.ordinal
solves; wherever a network has to be acyclic, the links found here stand beside it.
"""

from __future__ import annotations

import numpy as np

from reasoning.native import compiled
from reasoning.network import Bool, grouped
from schema.batches import Float64, Int32, Int64


def feedback_links(variables: int, cause: Int32, effect: Int32, strength: Float64) -> Bool:
    """The links that would close cycles, bool[m].

    Within each strongly connected component, links are taken by descending strength in tenths (ties: the first), each unless it
    closes a cycle with those taken before. So the strongest ways an effect travels stay, and no link is lost without need. In
    tenths, as strengths follow traffic and plans the choice: what hardly changes should not change it.
    """
    return feedback_among(links_on_cycles(variables, cause, effect), variables, cause, effect, strength)


def links_on_cycles(variables: int, cause: Int32, effect: Int32) -> Int64:
    """The links within strongly connected components."""
    component = components(variables, cause, effect)
    return np.flatnonzero(component[cause] == component[effect])


def feedback_among(inside: Int64, variables: int, cause: Int32, effect: Int32, strength: Float64) -> Bool:
    """As `feedback_links`, once the links on cycles are known."""
    feedback = np.zeros(cause.size, np.bool_)
    if inside.size:
        inside = inside[np.argsort(-tenths(strength[inside]), kind="stable")]
        feedback[inside] = ~acyclic_selection(variables, cause[inside], effect[inside])
    return feedback


def tenths(strength: Float64) -> Float64:
    """Strengths as coarse as the choice of feedback takes them, Float64[m]."""
    return np.floor(10.0 * strength)


def components(variables: int, cause: Int32, effect: Int32) -> Int64:
    """The strongly connected component of each variable, Int64[n] (Tarjan 1972)."""
    start, by_cause = grouped(cause, variables)
    return _components(start, effect[by_cause])


@compiled
def _components(start: Int64, child: Int32) -> Int64:  # noqa: C901 - Tarjan without recursion is one loop
    variables = start.size - 1
    component = np.full(variables, -1, np.int64)
    found = np.full(variables, -1, np.int64)
    lowest = np.zeros(variables, np.int64)
    position = start[:-1].copy()
    path = np.empty(variables, np.int64)
    pending = np.empty(variables, np.int64)
    visited = waiting = count = 0
    for root in range(variables):
        if found[root] >= 0:
            continue
        depth = 0
        path[0] = root
        while depth >= 0:
            at = path[depth]
            if found[at] < 0:
                found[at] = lowest[at] = visited
                visited += 1
                pending[waiting] = at
                waiting += 1
            if position[at] < start[at + 1]:
                to = child[position[at]]
                position[at] += 1
                if found[to] < 0:
                    depth += 1
                    path[depth] = to
                elif component[to] < 0:
                    lowest[at] = min(lowest[at], found[to])
                continue
            if lowest[at] == found[at]:
                while True:
                    waiting -= 1
                    component[pending[waiting]] = count
                    if pending[waiting] == at:
                        break
                count += 1
            depth -= 1
            if depth >= 0:
                lowest[path[depth]] = min(lowest[path[depth]], lowest[at])
    return component


@compiled
def acyclic_selection(variables: int, cause: Int32, effect: Int32) -> Bool:
    """Takes links in the order given, bool[m], each unless its effect already reaches its cause."""
    links = cause.size
    taken = np.zeros(links, np.bool_)
    first = np.full(variables, -1, np.int64)  # of each cause, the last link taken
    following = np.full(links, -1, np.int64)  # the link taken before it
    mark = np.full(variables, -1, np.int64)
    stack = np.empty(variables, np.int64)
    for link in range(links):
        stack[0] = effect[link]
        mark[effect[link]] = link
        depth = 1
        while depth > 0 and mark[cause[link]] != link:
            depth -= 1
            each = first[stack[depth]]
            while each >= 0:
                to = effect[each]
                if mark[to] != link:
                    mark[to] = link
                    stack[depth] = to
                    depth += 1
                each = following[each]
        if mark[cause[link]] != link:
            taken[link] = True
            following[link] = first[cause[link]]
            first[cause[link]] = link
    return taken
