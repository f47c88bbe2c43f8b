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


def find_cores(
    clusters: Clusters, messages: Messages, seeds: Int32, threshold: float, most_uncut: int, stamp: Int32, now: int, answer: Float64
) -> tuple[Int32, Int64, Float64]:
    """The cores that the seeds belong to; `answer`, Float64[n], gets the beliefs of clusters that stand alone.

    A core is cut nowhere where an effect says anything if that leaves at most `most_uncut` variables, else where a pair's influence is
    below the threshold. stamp: Int32[c], below `now` before.
    Returns member: Int32[k], start: Int64[r + 1] and threshold: Float64[r] of r cores, their clusters in ascending order.
    """
    member, start, used = search_cores(clusters, messages, seeds, threshold, most_uncut, stamp, now, answer)
    return _sorted_within(member, start, clusters.first_in.size), start, used


@compiled
def search_cores(
    clusters: Clusters, messages: Messages, seeds: Int32, threshold: float, most_uncut: int, stamp: Int32, now: int, answer: Float64
) -> tuple[Int32, Int64, Float64]:
    """As `find_cores`, the clusters of a core in the order in which they were reached."""
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
        filled = end
        start.append(end)
        used.append(cut_below)
    return member[:filled].copy(), np.array(start), np.array(used[1:])


def split_core(clusters: Clusters, messages: Messages, core: Int32, threshold: float, stamp: Int32, now: int, answer: Float64) -> tuple[Int32, Int64]:
    """What is left of a core at a higher threshold: member: Int32[k], start: Int64[r + 1]; `answer` as in `find_cores`."""
    member, start = split_search(clusters, messages, core, threshold, stamp, now, answer)
    return _sorted_within(member, start, clusters.first_in.size), start


def _sorted_within(member: Int32, start: Int64, clusters: int) -> Int32:
    """The clusters of each core in ascending order."""
    first = np.repeat(np.arange(start.size - 1) * clusters, np.diff(start))
    return (np.sort(first + member) - first).astype(np.int32)


@compiled
def split_search(clusters: Clusters, messages: Messages, core: Int32, threshold: float, stamp: Int32, now: int, answer: Float64) -> tuple[Int32, Int64]:
    """As `split_core`, the clusters in the order in which they were reached."""
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
        return bool(_told(messages, pair) > SILENT)
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
def _told(messages: Messages, pair: int) -> float:
    said = messages.log_lambda[pair]
    return float(max(abs(said[1]), abs(said[2]), abs(said[3])))


@inlined
def influence(clusters: Clusters, messages: Messages, pair: int) -> float:
    """How far a pair can move the belief in one of its causes or, through it, in its effects' other causes: 0..1."""
    told = np.tanh(_told(messages, pair) / 2.0)
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


def local_network(
    clusters: Clusters, messages: Messages, log_evidence: Float64, core: Int32, threshold: float, inside: Int32, kept: Float64
) -> tuple[Int64, Float64, Float64, Int32, Int32, Float64, bool]:
    """A core as a network of its own: variables: Int64[k] ascending, leak, log_evidence: Float64[k], then cause, effect: Int32, strength
    of its links, by ascending effect and cause, the ends as places among the variables; and whether nothing that speaks was cut.

    inside: Int32[n], -1 everywhere, and kept: Float64[g, 4], 0 everywhere: room to work, handed back as it came.
    """
    variables, room = variables_of(clusters, core)
    variables.sort()
    leak, evidence = clusters.leak[variables], log_evidence[variables]
    ends, strength = np.empty((room, 2), np.int32), np.empty(room)
    links, uncut = gather_links(clusters, messages, core, threshold, inside, kept, variables, leak, evidence, ends, strength)
    order = np.lexsort((ends[:links, 0], ends[:links, 1]))
    return variables, leak, evidence, ends[order, 0], ends[order, 1], strength[order], uncut


@inlined
def gather_links(
    clusters: Clusters,
    messages: Messages,
    core: Int32,
    threshold: float,
    inside: Int32,
    kept: Float64,
    variables: Int64,
    leak: Float64,
    evidence: Float64,
    ends: Int32,
    strength: Float64,
) -> tuple[int, bool]:
    """Writes a core's links to `ends`, cause and effect of each, and `strength`; the rest is heard in `leak` and `evidence`.

    Returns how many there are, and whether nothing that speaks was cut.
    """
    for at in range(variables.size):
        inside[variables[at]] = at
    links, uncut = 0, True
    for cluster in core:
        links = _own_links(clusters, cluster, inside, ends, strength, links)
        pair = clusters.first_in[cluster]
        while pair >= 0:
            near = inside[clusters.member[clusters.member_ptr[clusters.source[pair]]]] >= 0
            if near and (threshold == UNCUT or is_kept(clusters, messages, pair, threshold)):
                links = _links_of(clusters, pair, inside, ends, strength, links)
                for state in range(1, 4):
                    kept[clusters.group[pair], state] += messages.log_lambda[pair, state]
            else:
                uncut &= not _told(messages, pair) > SILENT
                _hear_causes(clusters, messages, pair, inside, leak)
            pair = clusters.next_in[pair]
    for cluster in core:
        uncut &= not _hear_effects(clusters, messages, cluster, inside, kept, evidence)
    for at in range(variables.size):
        inside[variables[at]] = -1
    return links, uncut


@inlined
def _own_links(clusters: Clusters, cluster: int, inside: Int32, ends: Int32, strength: Float64, links: int) -> int:
    first = clusters.member_ptr[cluster]
    for link in range(clusters.own_ptr[cluster], clusters.own_ptr[cluster + 1]):
        ends[links, 0] = inside[clusters.member[first + clusters.own_cause[link]]]
        ends[links, 1] = inside[clusters.member[first + clusters.own_effect[link]]]
        strength[links] = clusters.own_strength[link]
        links += 1
    return links


@inlined
def _links_of(clusters: Clusters, pair: int, inside: Int32, ends: Int32, strength: Float64, links: int) -> int:
    for i in range(2):
        for j in range(2):
            if clusters.strength[pair, 2 * i + j] > 0.0:
                ends[links, 0] = inside[clusters.member[clusters.member_ptr[clusters.source[pair]] + clusters.source_place[pair, i]]]
                ends[links, 1] = inside[effect_of(clusters, pair, j)]
                strength[links] = clusters.strength[pair, 2 * i + j]
                links += 1
    return links


@inlined
def _hear_causes(clusters: Clusters, messages: Messages, pair: int, inside: Int32, leak: Float64) -> None:
    for j in range(2):
        if clusters.effect_rank[pair, j] >= 0:
            x = inside[effect_of(clusters, pair, j)]
            leak[x] = 1.0 - (1.0 - leak[x]) * np.exp(messages.log_phi[pair, 1 << j])


@inlined
def effect_of(clusters: Clusters, pair: int, j: int) -> int:
    """The variable that is a pair's effect j."""
    cluster = clusters.effect[pair]
    return int(clusters.member[clusters.member_ptr[cluster] + clusters.target[cluster, clusters.effect_rank[pair, j]]])


@compiled
def variables_of(clusters: Clusters, core: Int32) -> tuple[Int64, int]:
    """The variables of a core, and no fewer links than there are in it."""
    count = links = 0
    for cluster in core:
        count += clusters.member_ptr[cluster + 1] - clusters.member_ptr[cluster]
        links += clusters.own_ptr[cluster + 1] - clusters.own_ptr[cluster]
        pair = clusters.first_in[cluster]
        while pair >= 0:
            links += 4
            pair = clusters.next_in[pair]
    variables = np.empty(count, np.int64)
    count = 0
    for cluster in core:
        for at in range(clusters.member_ptr[cluster], clusters.member_ptr[cluster + 1]):
            variables[count] = clusters.member[at]
            count += 1
    return variables, links


@inlined
def _hear_effects(clusters: Clusters, messages: Messages, cluster: int, inside: Int32, kept: Float64, evidence: Float64) -> bool:
    """Adds what cut pairs answer a cluster to its evidence, each cause's share at the other's belief; whether there was anything."""
    first, anything = clusters.member_ptr[cluster], False
    group = clusters.first_group[cluster]
    while group >= 0:
        one, two, both = messages.heard[group, 1] - kept[group, 1], messages.heard[group, 2] - kept[group, 2], messages.heard[group, 3] - kept[group, 3]
        anything |= abs(one) > SILENT or abs(two) > SILENT or abs(both) > SILENT
        a = clusters.member[first + clusters.group_place[group, 0]]
        if clusters.group_place[group, 1] < 0:
            evidence[inside[a]] += one
        else:
            b = clusters.member[first + clusters.group_place[group, 1]]
            evidence[inside[a]] += (1.0 - messages.belief[b]) * one + messages.belief[b] * (both - two)
            evidence[inside[b]] += (1.0 - messages.belief[a]) * two + messages.belief[a] * (both - one)
        kept[group, :] = 0.0
        group = clusters.next_group[group]
    return anything
