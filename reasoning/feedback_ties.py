"""Which feedback links matter to what is solved together: they carry no messages, so how far one can move a belief is judged by both its ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasoning.cluster_messages import Messages
from reasoning.clusters import Clusters
from reasoning.native import compiled, inlined
from reasoning.network import FeedbackLinks
from reasoning.regions import connected
from schema.batches import Float64, Int32

LEAST = 1e-12


@compiled
def feedback_influence(clusters: Clusters, messages: Messages, cause: Int32, effect: Int32, strength: Float64) -> Float64:
    """How far each link can move the belief in its cause or, through it, in its effect's other causes: Float64[f], 0..1, as a pair's influence.

    Told is what the effect, as it is believed now, would say to one more cause.
    """
    found = np.empty(cause.size)
    for link in range(cause.size):
        above, below = messages.belief[cause[link]], messages.belief[effect[link]]
        before = min(max(_silence(clusters, messages, effect[link]), LEAST), 1.0 - LEAST)
        after = before * (1.0 - strength[link])
        support = max(below, LEAST) / max(1.0 - below, LEAST) * before / (1.0 - before)
        told = np.log(((1.0 - after) * support + after) / ((1.0 - before) * support + before))
        found[link] = above * (1.0 - above) * max(np.tanh(abs(told) / 2.0), 4.0 * strength[link] * below * (1.0 - below))
    return found


@inlined
def _silence(clusters: Clusters, messages: Messages, x: int) -> float:
    """P(nothing brings x about), causes within its cluster at their leaks: what is believed of them beyond may be x's own word."""
    cluster, silence = clusters.cluster[x], 1.0 - clusters.leak[x]
    for link in range(clusters.own_ptr[cluster], clusters.own_ptr[cluster + 1]):
        if clusters.own_effect[link] == clusters.place[x]:
            silence *= 1.0 - clusters.own_strength[link] * clusters.leak[clusters.member[clusters.member_ptr[cluster] + clusters.own_cause[link]]]
    pair = clusters.first_in[cluster] if clusters.rank[x] >= 0 else -1
    while pair >= 0:
        for j in range(2):
            if clusters.effect_rank[pair, j] == clusters.rank[x]:
                silence *= np.exp(messages.log_phi[pair, 1 << j])
        pair = clusters.next_in[pair]
    return float(silence)


def tied_to(clusters: Int32, ties: FeedbackLinks, cluster: Int32) -> tuple[FeedbackLinks, Int32]:
    """The ties with an end in these clusters, Int32[k]; and the clusters together with the other ends."""
    one, other = cluster[ties.cause], cluster[ties.effect]
    near = np.isin(one, clusters) | np.isin(other, clusters)
    return ties.only(near), np.unique(np.concatenate((clusters, one[near], other[near])))


def joined_by_feedback(cores: Sequence[Int32], threshold: Float64, ties: FeedbackLinks, least: float, cluster: Int32) -> tuple[Sequence[Int32], Float64]:
    """Cores, their clusters ascending, of which those that feedback ties together are one; clusters in none that it ties make more.

    threshold: Float64[r], at which each core was cut, `least` where clusters stood alone; a joined one has the largest. cluster: Int32[n], the cluster of each variable.
    """
    if not len(ties):
        return cores, threshold
    core_of = np.full(int(cluster.max()) + 1, -1, np.int32)
    for number, core in enumerate(cores):
        core_of[core] = number
    ends = np.concatenate((cluster[ties.cause], cluster[ties.effect]))
    alone = np.unique(ends[core_of[ends] < 0])
    core_of[alone] = np.arange(len(cores), len(cores) + alone.size)
    every = [*cores, *np.split(alone, alone.size)] if alone.size else cores
    used = np.append(threshold, np.full(alone.size, least))
    leader = connected(len(every), core_of[cluster[ties.cause]], core_of[cluster[ties.effect]])
    groups = [np.flatnonzero(leader == first) for first in np.flatnonzero(leader == np.arange(len(every))).tolist()]
    return [np.sort(np.concatenate([every[each] for each in group.tolist()])) for group in groups], np.array([used[group].max() for group in groups])
