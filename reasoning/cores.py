"""Which clusters to solve exactly together, and the local networks that come of it.

Pairs that can move a belief stay; the others become fixed messages (Choi & Darwiche 2006): an effect takes the cause's silence into its
leak, a cause takes the effect's word as evidence.
"""

from __future__ import annotations

import numpy as np

from reasoning.cluster_messages import STRONGEST, Messages
from reasoning.clusters import Clusters
from reasoning.native import compiled, inlined
from schema.batches import Float64, Int32, Int64

UNHEARD = 0.1  # how much less a pair counts whose effects tell nothing: it only ties causes together in predictions
SILENT = 1e-9  # an answer below says nothing
DOUBT = 1e-3  # a cluster alone is solved when a variable of it is likelier than this
UNCUT = 0.0  # the threshold at which a pair stays wherever an effect says anything
STAMPS = 3  # of a search: `now`, known to be in a part too large to leave uncut; now + 1, in the part being grown; now + 2, done


@compiled
def find_cores(
    clusters: Clusters, messages: Messages, seeds: Int32, threshold: float, most_uncut: int, stamp: Int32, now: int, answer: Float64
) -> tuple[Int32, Int64, Float64]:
    """The cores that the seeds belong to; `answer`, Float64[n], gets the beliefs of clusters that stand alone.

    A core is cut nowhere where an effect says anything if that leaves at most `most_uncut` variables, else where a pair's influence is
    below the threshold. stamp: Int32[c], below `now` before.
    Returns member: Int32[k], start: Int64[r + 1] and threshold: Float64[r] of r cores, their clusters in ascending order.
    """
    member = np.empty(clusters.first_in.size, np.int32)
    start, used = [0], [0.0]
    filled = 0
    for seed in seeds:
        if stamp[seed] == now + 2:
            continue
        cut_below = UNCUT
        end = _grow(clusters, messages, seed, UNCUT, most_uncut, stamp, now, member, filled, -1) if stamp[seed] < now else -1
        if end < 0:
            cut_below = threshold
            end = _grow(clusters, messages, seed, threshold, clusters.leak.size, stamp, now, member, filled, -1)
        if end == filled + 1 and not _in_doubt(clusters, messages, seed):
            _stand_alone(clusters, messages, seed, answer)
            continue
        member[filled:end].sort()
        filled = end
        start.append(end)
        used.append(cut_below)
    return member[:filled].copy(), np.array(start), np.array(used[1:])


@compiled
def split_core(clusters: Clusters, messages: Messages, core: Int32, threshold: float, stamp: Int32, now: int, answer: Float64) -> tuple[Int32, Int64]:
    """What is left of a core at a higher threshold: member: Int32[k], start: Int64[r + 1]; `answer` as in `find_cores`."""
    member = np.empty(core.size, np.int32)
    for cluster in core:
        stamp[cluster] = now
    start = [0]
    filled = 0
    for seed in core:
        if stamp[seed] == now + 2:
            continue
        end = _grow(clusters, messages, seed, threshold, clusters.leak.size, stamp, now, member, filled, now)
        if end == filled + 1:
            _stand_alone(clusters, messages, seed, answer)
            continue
        member[filled:end].sort()
        filled = end
        start.append(end)
    return member[:filled].copy(), np.array(start)


@inlined
def _grow(
    clusters: Clusters, messages: Messages, seed: int, threshold: float, most: int, stamp: Int32, now: int, member: Int32, filled: int, least: int
) -> int:
    """Writes the part that a seed belongs to into `member` from `filled` on. Returns its end, or -1 where it has over `most` variables.

    Only what has a stamp of `least` or more can be in it.
    """
    mark = now + 1 if threshold == UNCUT else now + 2
    member[filled] = seed
    stamp[seed] = mark
    at, end, variables = filled, filled + 1, _size(clusters, seed)
    while at < end and variables <= most:
        cluster = member[at]
        at += 1
        inward = True
        pair = clusters.first_in[cluster]
        while (pair >= 0 or inward) and variables <= most:
            if pair < 0:
                inward = False
                pair = clusters.first_out[cluster]
                continue
            other = clusters.source[pair] if inward else clusters.effect[pair]
            if stamp[other] != mark and stamp[other] >= least and is_kept(clusters, messages, pair, threshold):
                if threshold == UNCUT and stamp[other] >= now:
                    variables = most + 1  # it belongs to a part known to be too large
                else:
                    stamp[other] = mark
                    member[end] = other
                    end += 1
                    variables += _size(clusters, other)
            pair = clusters.next_in[pair] if inward else clusters.next_out[pair]
    if variables > most:
        for each in range(filled, end):
            stamp[member[each]] = now
        return -1
    for each in range(filled, end):
        stamp[member[each]] = now + 2
    return end


@inlined
def _size(clusters: Clusters, cluster: int) -> int:
    return int(clusters.member_ptr[cluster + 1] - clusters.member_ptr[cluster])


@inlined
def is_kept(clusters: Clusters, messages: Messages, pair: int, threshold: float) -> bool:
    """Whether a pair ties its clusters into one core."""
    if threshold == UNCUT:
        return bool(told_by(messages, pair) > SILENT)
    return _doubt(clusters, messages, pair) >= threshold and influence(clusters, messages, pair) >= threshold


@inlined
def _doubt(clusters: Clusters, messages: Messages, pair: int) -> float:
    """The largest b(1 - b) of a pair's causes: its influence is no larger, and takes longer to find."""
    first = clusters.member_ptr[clusters.source[pair]]
    one = messages.belief[clusters.member[first + clusters.source_place[pair, 0]]]
    if clusters.source_place[pair, 1] < 0:
        return float(one * (1.0 - one))
    two = messages.belief[clusters.member[first + clusters.source_place[pair, 1]]]
    return float(max(one * (1.0 - one), two * (1.0 - two)))


@inlined
def told_by(messages: Messages, pair: int) -> float:
    """How much a pair's effects say about its causes, the largest of their logs."""
    said = messages.log_lambda[pair]
    return float(max(abs(said[1]), abs(said[2]), abs(said[3])))


@inlined
def influence(clusters: Clusters, messages: Messages, pair: int) -> float:
    """How far a pair can move the belief in one of its causes or, through it, in its effects' other causes: 0..1."""
    told = np.tanh(told_by(messages, pair) / 2.0)
    heard = 4.0 if told > SILENT else 4.0 * UNHEARD
    most = 0.0
    for i in range(2):
        if clusters.source_place[pair, i] < 0:
            continue
        cause = messages.belief[clusters.member[clusters.member_ptr[clusters.source[pair]] + clusters.source_place[pair, i]]]
        can = told
        for j in range(2):
            if clusters.effect_rank[pair, j] >= 0:
                belief = messages.belief[effect_of(clusters, pair, j)]
                can = max(can, clusters.strength[pair, 2 * i + j] * heard * belief * (1.0 - belief))
        most = max(most, cause * (1.0 - cause) * can)
    return most


@inlined
def _in_doubt(clusters: Clusters, messages: Messages, cluster: int) -> bool:
    for at in range(clusters.member_ptr[cluster], clusters.member_ptr[cluster + 1]):
        belief, evidence = messages.belief[clusters.member[at]], messages.log_evidence[clusters.member[at]]
        if belief > DOUBT or abs(evidence) >= STRONGEST:
            return True
    return False


@inlined
def _stand_alone(clusters: Clusters, messages: Messages, cluster: int, answer: Float64) -> None:
    for at in range(clusters.member_ptr[cluster], clusters.member_ptr[cluster + 1]):
        answer[clusters.member[at]] = messages.belief[clusters.member[at]]


@inlined
def effect_of(clusters: Clusters, pair: int, j: int) -> int:
    """The variable that is a pair's effect j."""
    cluster = clusters.effect[pair]
    return int(clusters.member[clusters.member_ptr[cluster] + clusters.target[cluster, clusters.effect_rank[pair, j]]])
