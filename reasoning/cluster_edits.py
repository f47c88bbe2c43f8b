"""Changes to clusters in place: other strengths, new links, and messages carried over from one structure to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasoning.cluster_messages import Messages, WorkList
from reasoning.cluster_propagation import tell
from reasoning.clusters import MOST_TARGETS, Clusters, chain_pairs, gather_pairs
from reasoning.cores import effect_of
from reasoning.native import compiled
from reasoning.network import Bool
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
            if messages.told[clusters.group[found // 4], 0] < np.inf:  # else its causes have yet to speak
                tell(clusters, messages, work, found // 4, 0.0, np.inf)
    return -1


@compiled
def _locate(clusters: Clusters, cause: int, effect: int) -> int:
    """Where a link's strength stands: 4 pair + 2 i + j, or -1 - its place among the own links."""
    above, below = clusters.cluster[cause], clusters.cluster[effect]
    if above == below:
        for link in range(clusters.own_ptr[below], clusters.own_ptr[below + 1]):
            meets = clusters.own_cause[link] == clusters.place[cause] and clusters.own_effect[link] == clusters.place[effect]
            if meets and clusters.own_strength[link] > 0.0:
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
def carry_over(old: Clusters, said: Messages, carried: Int32, new: Clusters, messages: Messages) -> Bool:
    """Gives pairs between the same variables what they said before, and clusters what they believed.

    carried: Int32[n], the new variables' old numbers, -1 if new. Returns which clusters have anything new about them, bool[c]: members, links
    of theirs, leaks or evidence. The others are as settled as they were.
    """
    fresh = np.zeros(new.first_in.size, np.bool_)
    ends = np.empty(4, np.int64)
    for cluster in range(fresh.size):
        pair, likely = new.first_in[cluster], -1
        while pair >= 0:
            for i in range(2):
                first = new.member_ptr[new.source[pair]]
                ends[i] = carried[new.member[first + new.source_place[pair, i]]] if new.source_place[pair, i] >= 0 else NOWHERE
                ends[2 + i] = carried[effect_of(new, pair, i)] if new.effect_rank[pair, i] >= 0 else NOWHERE
            before = _same_pair(old, ends, likely)
            if not _say_again(old, said, before, new, messages, pair):
                fresh[new.source[pair]] = fresh[cluster] = True
            likely = old.next_in[before] if before >= 0 else -1
            pair = new.next_in[pair]
    for x in range(carried.size):
        if carried[x] >= 0:
            messages.belief[x] = said.belief[carried[x]]
    for cluster in range(fresh.size):
        fresh[cluster] |= not _stays(old, said, carried, new, messages, cluster)
        if not fresh[cluster]:
            before = old.cluster[carried[new.member[new.member_ptr[cluster]]]]
            messages.gain[cluster], messages.moved[cluster] = said.gain[before], said.moved[before]
    return fresh


@compiled
def _say_again(old: Clusters, said: Messages, before: int, new: Clusters, messages: Messages, pair: int) -> bool:
    """Gives a pair the messages of one before, if there was one. Whether there was, with the same strengths."""
    if before < 0:
        return False
    messages.log_phi[pair] = said.log_phi[before]
    messages.log_lambda[pair] = said.log_lambda[before]
    messages.told[new.group[pair]] = said.told[old.group[before]]
    same = True
    for each in range(4):
        messages.heard[new.group[pair], each] += messages.log_lambda[pair, each]
        same &= new.strength[pair, each] == old.strength[before, each]
    return same


@compiled
def _stays(old: Clusters, said: Messages, carried: Int32, new: Clusters, messages: Messages, cluster: int) -> bool:
    """Whether a cluster has the members, leaks, evidence, own links and number of pairs that it had."""
    first, size = new.member_ptr[cluster], new.member_ptr[cluster + 1] - new.member_ptr[cluster]
    if size == 0 or carried[new.member[first]] < 0:
        return False
    before = old.cluster[carried[new.member[first]]]
    then, own, was = old.member_ptr[before], new.own_ptr[cluster], old.own_ptr[before]
    links = new.own_ptr[cluster + 1] - own
    if old.member_ptr[before + 1] - then != size or old.own_ptr[before + 1] - was != links or old.out_count[before] != new.out_count[cluster]:
        return False
    for i in range(size):
        x, y = new.member[first + i], old.member[then + i]
        if carried[x] != y or new.leak[x] != old.leak[y] or messages.log_evidence[x] != said.log_evidence[y]:
            return False
    for link in range(links):
        same = new.own_cause[own + link] == old.own_cause[was + link] and new.own_effect[own + link] == old.own_effect[was + link]
        if not same or new.own_strength[own + link] != old.own_strength[was + link]:
            return False
    pair, last = new.first_in[cluster], old.first_in[before]
    while pair >= 0 and last >= 0:
        pair, last = new.next_in[pair], old.next_in[last]
    return bool(pair < 0 and last < 0)


@compiled
def _same_pair(old: Clusters, ends: Int64, likely: int) -> int:
    """The pair whose causes and effects have these numbers, -1 where there is none. Looks at a likely one first: chains keep their order."""
    if ends[0] < 0 or ends[2] < 0:
        return -1
    above, below = old.cluster[ends[0]], old.cluster[ends[2]]
    if likely >= 0 and old.effect[likely] == below and _is_between(old, likely, above, ends):
        return likely
    pair = old.first_in[below]
    while pair >= 0:
        if _is_between(old, pair, above, ends):
            return int(pair)
        pair = old.next_in[pair]
    return -1


@compiled
def _is_between(old: Clusters, pair: int, above: int, ends: Int64) -> bool:
    """Whether a pair from this cluster has these causes and effects."""
    same = old.source[pair] == above
    for i in range(2):
        if same:
            place, rank = old.source_place[pair, i], old.effect_rank[pair, i]
            same &= ends[i] == (old.member[old.member_ptr[above] + place] if place >= 0 else NOWHERE)
            same &= ends[2 + i] == (effect_of(old, pair, i) if rank >= 0 else NOWHERE)
    return bool(same)


def new_numbers(carried: Int32, fresh: Bool, old: Clusters, new: Clusters) -> tuple[Int32, Int32]:
    """What old variables are called now, and old clusters that have nothing new about them: Int32[n], Int32[c], -1 for the others."""
    now = np.full(old.cluster.size, -1, np.int32)
    stays = np.flatnonzero(carried >= 0)
    now[carried[stays]] = stays
    cluster_now = np.full(old.first_in.size, -1, np.int32)
    kept = np.flatnonzero(~fresh)
    cluster_now[old.cluster[carried[new.member[new.member_ptr[kept]]]]] = kept
    return now, cluster_now
