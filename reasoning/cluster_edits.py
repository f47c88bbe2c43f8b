"""Changes to clusters in place: other strengths, new links, and messages carried over from one structure to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning.cluster_propagation import Messages, WorkList, tell
from reasoning.clusters import MOST_TARGETS, Clusters, chain_pairs, gather_pairs
from reasoning.cores import effect_of
from reasoning.native import compiled
from schema.batches import Float64, Int32, Int64

NOWHERE = -(1 << 62)


@compiled
def change_strengths(clusters: Clusters, messages: Messages, work: WorkList, cause: Int32, effect: Int32, strength: Float64) -> int:
    """Changes the strengths of links. Returns the first that does not exist, -1 if all do. The caller visits the clusters at both ends."""
    for link in range(cause.size):
        found = _locate(clusters, cause[link], effect[link])
        if found == NOWHERE:
            return link
        if found < 0:
            clusters.own_strength[-1 - found] = strength[link]
        else:
            clusters.strength[found // 4, found % 4] = strength[link]
            tell(clusters, messages, work, found // 4, 0.0, np.inf)
    return -1


@compiled
def _locate(clusters: Clusters, cause: int, effect: int) -> int:
    """Where a link's strength stands: 4 pair + 2 i + j, or -1 - its place among the own links."""
    above, below = clusters.cluster[cause], clusters.cluster[effect]
    if above == below:
        for link in range(clusters.own_ptr[below], clusters.own_ptr[below + 1]):
            if clusters.own_cause[link] == clusters.place[cause] and clusters.own_effect[link] == clusters.place[effect]:
                return -1 - link
        return NOWHERE
    pair = clusters.first_in[below]
    while pair >= 0:
        if clusters.source[pair] == above:
            for i in range(2):
                for j in range(2):
                    meets = clusters.source_place[pair, i] == clusters.place[cause] and clusters.effect_rank[pair, j] == clusters.rank[effect]
                    if meets and clusters.rank[effect] >= 0 and clusters.strength[pair, 2 * i + j] > 0.0:
                        return int(4 * pair + 2 * i + j)
        pair = clusters.next_in[pair]
    return NOWHERE


def add_links(clusters: Clusters, cause: Int32, effect: Int32, strength: Float64) -> bool:
    """New links, by ascending effect and cause, as pairs of their own; there must be room for as many.

    False, and nothing is changed, where the clusters must be drawn anew: within a cluster, where there are too many targets, and between
    clusters that are paired already, whose links must stand together to be told together.
    """
    above, below = clusters.cluster[cause], clusters.cluster[effect]
    if (above == below).any() or are_paired(clusters, above, below) or not take_ranks(clusters, effect):
        return False
    together = np.lexsort((above, below))
    found: tuple[NDArray[Any], ...] = gather_pairs(together, cause, effect, strength, clusters.cluster, clusters.place, clusters.rank, cause.size)
    first, last = int(clusters.used[0]), int(clusters.used[0]) + int(np.count_nonzero(found[0] >= 0))
    columns: tuple[NDArray[Any], ...] = (clusters.source, clusters.effect, clusters.source_place, clusters.effect_rank, clusters.strength)
    for old, new in zip(columns, found, strict=True):
        old[first:last] = new[: last - first]
    chain_pairs(clusters, last)
    return True


@compiled
def are_paired(clusters: Clusters, above: Int32, below: Int32) -> bool:
    """Whether any of these clusters, Int32[k] each, have a pair already."""
    for each in range(above.size):
        pair = clusters.first_in[below[each]]
        while pair >= 0:
            if clusters.source[pair] == above[each]:
                return True
            pair = clusters.next_in[pair]
    return False


@compiled
def take_ranks(clusters: Clusters, effects: Int32) -> bool:
    """Ranks variables that had no causes elsewhere. False where there are too many in a cluster; some may have got a rank then."""
    for x in effects:
        target = clusters.target[clusters.cluster[x]]
        if clusters.rank[x] < 0:
            if target[MOST_TARGETS - 1] >= 0:
                return False
            rank = 0
            while target[rank] >= 0:
                rank += 1
            target[rank] = clusters.place[x]
            clusters.rank[x] = rank
    return True


@compiled
def reaches(clusters: Clusters, start: int, goal: int, mark: Int32) -> bool:
    """Whether a variable is a cause of another, however far. mark: Int32[n], -1 everywhere, handed back as it came."""
    seen = [start]
    mark[start] = 0
    at = 0
    while at < len(seen) and mark[goal] < 0:
        x = seen[at]
        at += 1
        cluster, place = clusters.cluster[x], clusters.place[x]
        for link in range(clusters.own_ptr[cluster], clusters.own_ptr[cluster + 1]):
            if clusters.own_cause[link] == place and clusters.own_strength[link] > 0.0:
                _see(clusters.member[clusters.member_ptr[cluster] + clusters.own_effect[link]], mark, seen)
        pair = clusters.first_out[cluster]
        while pair >= 0:
            for i in range(2):
                for j in range(2):
                    if clusters.source_place[pair, i] == place and clusters.strength[pair, 2 * i + j] > 0.0:
                        _see(effect_of(clusters, pair, j), mark, seen)
            pair = clusters.next_out[pair]
    found = bool(mark[goal] >= 0)
    for x in seen:
        mark[x] = -1
    return found


@compiled
def _see(x: int, mark: Int32, seen: list[int]) -> None:
    if mark[x] < 0:
        mark[x] = 0
        seen.append(x)


@compiled
def carry_over(old: Clusters, said: Messages, carried: Int32, new: Clusters, messages: Messages) -> None:
    """Gives pairs between the same variables what they said before. carried: Int32[n], the new variables' old numbers, -1 if new."""
    ends = np.empty(4, np.int64)
    for pair in range(new.used[0]):
        for i in range(2):
            first = new.member_ptr[new.source[pair]]
            ends[i] = carried[new.member[first + new.source_place[pair, i]]] if new.source_place[pair, i] >= 0 else NOWHERE
            ends[2 + i] = carried[effect_of(new, pair, i)] if new.effect_rank[pair, i] >= 0 else NOWHERE
        before = _same_pair(old, ends)
        if before >= 0:
            messages.log_phi[pair] = said.log_phi[before]
            messages.log_lambda[pair] = said.log_lambda[before]
            for state in range(1, 4):
                messages.heard[new.group[pair], state] += messages.log_lambda[pair, state]


@compiled
def _same_pair(old: Clusters, ends: Int64) -> int:
    """The pair whose causes and effects have these numbers, -1 where there is none."""
    if ends[0] < 0 or ends[2] < 0:
        return -1
    above, below = old.cluster[ends[0]], old.cluster[ends[2]]
    pair = old.first_in[below]
    while pair >= 0:
        if old.source[pair] == above:
            same = True
            for i in range(2):
                place, rank = old.source_place[pair, i], old.effect_rank[pair, i]
                same &= ends[i] == (old.member[old.member_ptr[above] + place] if place >= 0 else NOWHERE)
                same &= ends[2 + i] == (effect_of(old, pair, i) if rank >= 0 else NOWHERE)
            if same:
                return int(pair)
        pair = old.next_in[pair]
    return -1
