"""A causal order kept while links come and go (Pearce & Kelly 2007): a new link costs what lies between its ends in the order, not all below."""

from __future__ import annotations

import numpy as np

from reasoning.clusters import Clusters
from reasoning.cores import effect_of
from reasoning.native import compiled
from schema.batches import Int32, Int64


def positions(order: Int64) -> Int32:
    """Where each variable stands in a causal order: Int32[n]."""
    found = np.empty(order.size, np.int32)
    found[order] = np.arange(order.size, dtype=np.int32)
    return found


@compiled
def make_way(clusters: Clusters, position: Int32, cause: Int32, effect: Int32, mark: Int32) -> int:
    """Moves variables in the order so that new links, Int32[k] each, lead from causes to effects. Returns the first that would close a cycle, -1 if none.

    position: Int32[n], a causal order of the links with a strength, changed in place; it stays one whatever is returned.
    mark: Int32[n], -1 everywhere, handed back as it came.
    """
    for link in range(cause.size):
        above, below = cause[link], effect[link]
        if above == below:
            return link
        if position[above] < position[below]:
            continue
        after = _effects_before(clusters, position, below, position[above], cause[:link], effect[:link], mark)
        closes = mark[above] >= 0
        for x in after:
            mark[x] = -1
        if closes:
            return link
        before = _causes_after(clusters, position, above, position[below], cause[:link], effect[:link], mark)
        for x in before:
            mark[x] = -1
        _reorder(position, before, after)
    return -1


@compiled
def _reorder(position: Int32, before: Int64, after: Int64) -> None:
    """Gives the places of both, taken together, to the first, then to the second; each keeps its own order."""
    first, second = position[before], position[after]
    places = np.sort(np.concatenate((first, second)))
    position[before[np.argsort(first)]] = places[: before.size]
    position[after[np.argsort(second)]] = places[before.size :]


@compiled
def _effects_before(clusters: Clusters, position: Int32, start: int, last: int, cause: Int32, effect: Int32, mark: Int32) -> Int64:
    """A variable and what it leads to, by links there are and these, as far as it stands no later than `last`. Marks them."""
    seen = [start]
    mark[start] = 0
    at = 0
    while at < len(seen):
        x = seen[at]
        at += 1
        cluster, place = clusters.cluster[x], clusters.place[x]
        for link in range(clusters.own_ptr[cluster], clusters.own_ptr[cluster + 1]):
            if clusters.own_cause[link] == place and clusters.own_strength[link] > 0.0:
                _see(clusters.member[clusters.member_ptr[cluster] + clusters.own_effect[link]], position, 0, last, mark, seen)
        pair = clusters.first_out[cluster]
        while pair >= 0:
            for i in range(2):
                for j in range(2):
                    if clusters.source_place[pair, i] == place and clusters.strength[pair, 2 * i + j] > 0.0:
                        _see(effect_of(clusters, pair, j), position, 0, last, mark, seen)
            pair = clusters.next_out[pair]
        for link in range(cause.size):
            if cause[link] == x:
                _see(effect[link], position, 0, last, mark, seen)
    return np.array(seen)


@compiled
def _causes_after(clusters: Clusters, position: Int32, start: int, first: int, cause: Int32, effect: Int32, mark: Int32) -> Int64:
    """A variable and what leads to it, by links there are and these, as far as it stands no earlier than `first`. Marks them."""
    seen = [start]
    mark[start] = 0
    at = 0
    while at < len(seen):
        x = seen[at]
        at += 1
        cluster, place = clusters.cluster[x], clusters.place[x]
        for link in range(clusters.own_ptr[cluster], clusters.own_ptr[cluster + 1]):
            if clusters.own_effect[link] == place and clusters.own_strength[link] > 0.0:
                _see(clusters.member[clusters.member_ptr[cluster] + clusters.own_cause[link]], position, first, position.size, mark, seen)
        pair = clusters.first_in[cluster]
        while pair >= 0:
            above = clusters.member_ptr[clusters.source[pair]]
            for i in range(2):
                for j in range(2):
                    if clusters.strength[pair, 2 * i + j] > 0.0 and effect_of(clusters, pair, j) == x:
                        _see(clusters.member[above + clusters.source_place[pair, i]], position, first, position.size, mark, seen)
            pair = clusters.next_in[pair]
        for link in range(cause.size):
            if effect[link] == x:
                _see(cause[link], position, first, position.size, mark, seen)
    return np.array(seen)


@compiled
def _see(x: int, position: Int32, first: int, last: int, mark: Int32, seen: list[int]) -> None:
    if mark[x] < 0 and first <= position[x] <= last:
        mark[x] = 0
        seen.append(x)
