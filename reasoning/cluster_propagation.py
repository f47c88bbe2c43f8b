"""Belief propagation between clusters: one joint message each way per pair, renewed only where something moved (docs/reasoning/inference.md).

Down a pair goes phi(z), the probability that none of the effects in z is brought about from there; up goes lambda(s), the likelihood
of all that is known elsewhere given the causes' states s. What a pair said itself is taken out again by a division.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoning.clusters import MOST_MEMBERS, MOST_TARGETS, Clusters
from reasoning.native import compiled
from reasoning.network import Bool
from schema.batches import Float64, Int32, Int64

Float32 = NDArray[np.float32]

TOLERANCE = 1e-2  # how much the messages into a cluster may have moved, as a sum of logs, before it is renewed
UNDAMPED, DAMPING = 6, 0.3  # visits that suffice where there are few loops; then old messages keep this share
STUBBORN, MORE_DAMPING = 24, 0.6
OSCILLATING, MOST_DAMPING = 60, 0.9
MOST_VISITS = 300  # a cluster that still moves then no longer moves others
FEW_PAIRS = 16  # a cluster with more tells its effects only when what they hear would change
NO_END = 1 << 62
LEAST = 1e-300
LEAST_PRIOR = 1e-40  # below what differences of doubles can resolve
STRONGEST = 60.0  # of a message or finding: beyond, it is as good as certain


class Messages(NamedTuple):
    """What is said and believed, changed in place.

    log_phi: Float32[p, 4], by which effects must stay silent (bit j); log_lambda: Float32[p, 4], by which causes hold (bit i);
    both 0 where no bit is set. heard: Float64[g, 4], the sum of log_lambda over a group; told: Float32[g, 4], the log marginal that its
    effects last heard of. belief: Float64[n], P(holds). log_evidence: Float64[n]. gain: Float32[c], how much a cluster's answers
    move with what it hears from its causes. moved: Float32[c], how much the messages into it moved since its last visit.
    visits: Int32[c], in this run.
    """

    log_phi: Float32
    log_lambda: Float32
    heard: Float64
    told: Float32
    belief: Float64
    log_evidence: Float64
    gain: Float32
    moved: Float32
    visits: Int32


class WorkList(NamedTuple):
    """Clusters to visit, first in first out: ring: Int32[c], waiting: bool[c]; ends: Int64[2], the first's place and how many there are.

    One that is marked as waiting without being on the list is never visited: a shard's neighbours are another's.
    touched: Int32[c], clusters visited in this run, each once.
    """

    ring: Int32
    waiting: Bool
    ends: Int64
    touched: Int32


class Scratch(NamedTuple):
    """Room for one visit. Tables over a cluster's states have 2 ** MOST_MEMBERS cells, those over its silent targets 2 ** MOST_TARGETS."""

    prior: Float64
    likelihood: Float64
    silence: Float64
    silent: Float64
    answer: Float64
    subset: Int64
    sign: Float64
    factor: Float64
    by_group: Float64


def no_messages(clusters: Clusters, log_evidence: Float64) -> Messages:
    """The state before anything was said."""
    pairs, groups, count = clusters.source.size, clusters.next_group.size, clusters.first_in.size
    return Messages(
        log_phi=np.zeros((pairs, 4), np.float32),
        log_lambda=np.zeros((pairs, 4), np.float32),
        heard=np.zeros((groups, 4)),
        told=np.full((groups, 4), np.inf, np.float32),
        belief=np.zeros(clusters.leak.size),
        log_evidence=clipped(log_evidence),
        gain=np.ones(count, np.float32),
        moved=np.zeros(count, np.float32),
        visits=np.zeros(count, np.int32),
    )


def clipped(log_evidence: Float64) -> Float64:
    """Evidence as propagation takes it."""
    return np.clip(log_evidence, -STRONGEST, STRONGEST)


def work_list(clusters: int) -> WorkList:
    """An empty list."""
    return WorkList(np.zeros(clusters, np.int32), np.zeros(clusters, np.bool_), np.zeros(2, np.int64), np.zeros(clusters, np.int32))


def scratch() -> Scratch:
    """Room for one visit at a time."""
    states, subsets = 1 << MOST_MEMBERS, 1 << MOST_TARGETS
    return Scratch(
        prior=np.zeros(states),
        likelihood=np.zeros(states),
        silence=np.zeros((MOST_MEMBERS, states)),
        silent=np.zeros(subsets),
        answer=np.zeros(subsets),
        subset=np.zeros(subsets, np.int64),
        sign=np.zeros(subsets),
        factor=np.zeros((MOST_MEMBERS, MOST_MEMBERS)),
        by_group=np.zeros(4),
    )


@compiled
def predict(clusters: Clusters, messages: Messages, prior: Float64) -> None:
    """First messages down, as if causes were independent with these priors: Float64[n]."""
    for pair in range(clusters.used[0]):
        first = clusters.member_ptr[clusters.source[pair]]
        for silent in range(1, 4):
            log = 0.0
            for i in range(2):
                if clusters.source_place[pair, i] >= 0:
                    holds = prior[clusters.member[first + clusters.source_place[pair, i]]]
                    log += np.log1p(-holds * (1.0 - _silence(clusters.strength[pair], silent, i)))
            messages.log_phi[pair, silent] = max(log, -STRONGEST)


@compiled
def sweep(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, order: Int32) -> None:
    """Visits the clusters in the order given, each once, and puts none on the list."""
    for cluster in order:
        renew(clusters, messages, work, room, cluster, 0.0, np.inf)


@compiled
def settle(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, seeds: Int32, tolerance: float) -> tuple[int, int]:
    """Visits the seeds, then whatever moved. Returns how many clusters were visited (`work.touched`), and how many gave up moving others."""
    touched, gave_up = visit(clusters, messages, work, room, seeds, tolerance, 0, NO_END)
    for at in range(touched):
        messages.visits[work.touched[at]] = 0
    return touched, gave_up


@compiled
def visit(
    clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, seeds: Int32, tolerance: float, touched: int, turns: int
) -> tuple[int, int]:
    """As `settle`, but a run in several goes: visits count on, and so does `work.touched` from `touched` on.

    turns: how often to go through the list; what is put on it in the last turn stays there.
    """
    count = work.ring.size
    gave_up = 0
    for cluster in seeds:
        _enqueue(work, cluster)
    left = work.ends[1]
    while work.ends[1] > 0:
        if left == 0:
            turns -= 1
            left = work.ends[1]
        if turns == 0:
            break
        left -= 1
        cluster = work.ring[work.ends[0]]
        work.ends[0] = (work.ends[0] + 1) % count
        work.ends[1] -= 1
        work.waiting[cluster] = False
        if messages.visits[cluster] == 0:
            work.touched[touched] = cluster
            touched += 1
        messages.visits[cluster] += 1
        visits = messages.visits[cluster]
        damping = 0.0 if visits <= UNDAMPED else DAMPING if visits <= STUBBORN else MORE_DAMPING if visits <= OSCILLATING else MOST_DAMPING
        gave_up += visits == MOST_VISITS
        renew(clusters, messages, work, room, cluster, damping, tolerance if visits < MOST_VISITS else np.inf)
    return touched, gave_up


@compiled
def _enqueue(work: WorkList, cluster: int) -> None:
    if not work.waiting[cluster]:
        work.waiting[cluster] = True
        work.ring[(work.ends[0] + work.ends[1]) % work.ring.size] = cluster
        work.ends[1] += 1


@compiled
def renew(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, cluster: int, damping: float, tolerance: float) -> None:
    """Renews a cluster's beliefs and all it says; who hears more than `tolerance` of news goes on the list."""
    messages.moved[cluster] = 0.0
    _gather_silence(clusters, messages, room, cluster)
    _gather_likelihood(clusters, messages, room, cluster)
    total = _weigh_states(clusters, room, cluster)
    _believe(clusters, messages, room, cluster)
    _answer_causes(clusters, messages, work, room, cluster, total, damping, tolerance)
    _tell_effects(clusters, messages, work, room, cluster, damping, tolerance)


@compiled
def _gather_silence(clusters: Clusters, messages: Messages, room: Scratch, cluster: int) -> None:
    """`silent`: P(no cause elsewhere brings about any target in z), for each set z."""
    targets = _count_targets(clusters, cluster)
    for z in range(1 << targets):
        room.silent[z] = 0.0
    pair = clusters.first_in[cluster]
    while pair >= 0:
        one = 1 << clusters.effect_rank[pair, 0]
        two = 1 << clusters.effect_rank[pair, 1] if clusters.effect_rank[pair, 1] >= 0 else 0
        for z in range(1, 1 << targets):
            own = (1 if z & one else 0) | (2 if z & two else 0)
            if own:
                room.silent[z] += messages.log_phi[pair, own]
        pair = clusters.next_in[pair]
    for z in range(1 << targets):
        room.silent[z] = np.exp(room.silent[z])


@compiled
def _count_targets(clusters: Clusters, cluster: int) -> int:
    targets = 0
    while targets < MOST_TARGETS and clusters.target[cluster, targets] >= 0:
        targets += 1
    return targets


@compiled
def _gather_likelihood(clusters: Clusters, messages: Messages, room: Scratch, cluster: int) -> None:
    """`likelihood` of each state: its own evidence and what its effects elsewhere answered; the largest is 1."""
    first, size = clusters.member_ptr[cluster], clusters.member_ptr[cluster + 1] - clusters.member_ptr[cluster]
    room.likelihood[0] = 1.0
    for i in range(size):
        evidence = messages.log_evidence[clusters.member[first + i]]
        off, on = np.exp(min(-evidence, 0.0)), np.exp(min(evidence, 0.0))
        for state in range(1 << i):
            room.likelihood[state | 1 << i] = room.likelihood[state] * on
            room.likelihood[state] *= off
    group = clusters.first_group[cluster]
    while group >= 0:
        one = 1 << clusters.group_place[group, 0]
        two = 1 << clusters.group_place[group, 1] if clusters.group_place[group, 1] >= 0 else 0
        heard = messages.heard[group]
        largest = max(0.0, heard[1], heard[2], heard[3]) if two else max(0.0, heard[1])
        for each in range(4):
            room.by_group[each] = np.exp(heard[each] - largest)
        for state in range(1 << size):
            room.likelihood[state] *= room.by_group[(1 if state & one else 0) | (2 if state & two else 0)]
        group = clusters.next_group[group]
    largest = LEAST
    for state in range(1 << size):
        largest = max(largest, room.likelihood[state])
    for state in range(1 << size):
        room.likelihood[state] /= largest


@compiled
def _weigh_states(clusters: Clusters, room: Scratch, cluster: int) -> float:
    """`prior` becomes the posterior of each state, `answer` the likelihood behind each set of silent targets. Returns their expectation.

    A target that holds was brought about: 1 minus the product of silences, expanded over the sets z of targets silent elsewhere.
    """
    size = clusters.member_ptr[cluster + 1] - clusters.member_ptr[cluster]
    targets = _count_targets(clusters, cluster)
    _silence_within(clusters, room, cluster, size)
    for z in range(1 << targets):
        room.answer[z] = 0.0
    total = 0.0
    for state in range(1 << size):
        sets, must, share = 1, 0, 1.0
        room.subset[0], room.sign[0] = 0, 1.0
        for i in range(size):
            silence, rank = room.silence[i, state], clusters.rank[clusters.member[clusters.member_ptr[cluster] + i]]
            if not (state >> i) & 1:
                share *= silence
                if rank >= 0:
                    must |= 1 << rank
            elif rank < 0:
                share *= 1.0 - silence
            else:
                for each in range(sets):
                    room.subset[sets + each], room.sign[sets + each] = room.subset[each] | 1 << rank, -room.sign[each] * silence
                sets *= 2
        prior, likelihood = 0.0, share * room.likelihood[state]
        for each in range(sets):
            z = must | room.subset[each]
            prior += room.sign[each] * room.silent[z]
            room.answer[z] += room.sign[each] * likelihood
        room.prior[state] = max(prior * share, LEAST_PRIOR) * room.likelihood[state]
        total += room.prior[state]
    total = max(total, LEAST)
    for state in range(1 << size):
        room.prior[state] /= total
    return total


@compiled
def _silence_within(clusters: Clusters, room: Scratch, cluster: int, size: int) -> None:
    """`silence`: P(neither its leak nor a member that holds brings about member i), for each i and state."""
    for i in range(size):
        for j in range(size):
            room.factor[i, j] = 1.0
    for link in range(clusters.own_ptr[cluster], clusters.own_ptr[cluster + 1]):
        room.factor[clusters.own_effect[link], clusters.own_cause[link]] = 1.0 - clusters.own_strength[link]
    for i in range(size):
        room.silence[i, 0] = 1.0 - clusters.leak[clusters.member[clusters.member_ptr[cluster] + i]]
        for j in range(size):
            for state in range(1 << j):
                room.silence[i, state | 1 << j] = room.silence[i, state] * room.factor[i, j]


@compiled
def _believe(clusters: Clusters, messages: Messages, room: Scratch, cluster: int) -> None:
    first, size = clusters.member_ptr[cluster], clusters.member_ptr[cluster + 1] - clusters.member_ptr[cluster]
    for i in range(size):
        holds = 0.0
        for state in range(1 << size):
            if (state >> i) & 1:
                holds += room.prior[state]
        messages.belief[clusters.member[first + i]] = holds


@compiled
def _answer_causes(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, cluster: int, total: float, damping: float, tolerance: float) -> None:
    """To each pair into the cluster, how likely the rest is given its causes' states."""
    targets = _count_targets(clusters, cluster)
    behind = np.zeros(4)
    largest = 0.0
    pair = clusters.first_in[cluster]
    while pair >= 0:
        one = 1 << clusters.effect_rank[pair, 0]
        two = 1 << clusters.effect_rank[pair, 1] if clusters.effect_rank[pair, 1] >= 0 else 0
        behind[:] = 0.0
        for z in range(1 << targets):
            behind[(1 if z & one else 0) | (2 if z & two else 0)] += room.silent[z] * room.answer[z]
        for own in range(4):
            largest = max(largest, abs(behind[own]) / total)
            behind[own] *= np.exp(-messages.log_phi[pair, own])
        none = max(behind[0] + behind[1] + behind[2] + behind[3], LEAST)
        news, group = 0.0, clusters.group[pair]
        for state in range(1, 4 if clusters.source_place[pair, 1] >= 0 else 2):
            likelihood = behind[0]
            for silent in range(1, 4):
                share = 1.0
                for i in range(2):
                    if (state >> i) & 1:
                        share *= _silence(clusters.strength[pair], silent, i)
                likelihood += behind[silent] * share
            said = min(max(np.log(max(likelihood / none, LEAST)), -STRONGEST), STRONGEST)
            before = messages.log_lambda[pair, state]
            messages.log_lambda[pair, state] = damping * before + (1.0 - damping) * said
            change = np.float64(messages.log_lambda[pair, state]) - np.float64(before)
            messages.heard[group, state] += change
            news = max(news, abs(change))
        source = clusters.source[pair]
        messages.moved[source] += news
        if messages.moved[source] > tolerance:
            _enqueue(work, source)
        pair = clusters.next_in[pair]
    messages.gain[cluster] = largest


@compiled
def _silence(strength: Float64, silent: int, i: int) -> float:
    """P(cause i alone brings about none of the effects in `silent`)."""
    share = 1.0
    if silent & 1:
        share *= 1.0 - strength[2 * i]
    if silent & 2:
        share *= 1.0 - strength[2 * i + 1]
    return share


@compiled
def _tell_effects(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, cluster: int, damping: float, tolerance: float) -> None:
    """To each pair out of the cluster, how likely its effects stay silent, by what is believed without that pair's own answer."""
    size = clusters.member_ptr[cluster + 1] - clusters.member_ptr[cluster]
    news = clusters.out_count[cluster] <= FEW_PAIRS
    group = clusters.first_group[cluster]
    while group >= 0:
        _marginal_of(clusters, room, group, size)
        for each in range(4):
            news |= not abs(np.log(room.by_group[each] + LEAST) - messages.told[group, each]) <= tolerance and room.by_group[each] > 0.0
        group = clusters.next_group[group]
    if not news:
        return
    group = clusters.first_group[cluster]
    while group >= 0:
        _marginal_of(clusters, room, group, size)
        for each in range(4):
            messages.told[group, each] = np.log(room.by_group[each] + LEAST)
        group = clusters.next_group[group]
    pair = clusters.first_out[cluster]
    while pair >= 0:
        tell(clusters, messages, work, pair, damping, tolerance)
        pair = clusters.next_out[pair]


@compiled
def _marginal_of(clusters: Clusters, room: Scratch, group: int, size: int) -> None:
    one = 1 << clusters.group_place[group, 0]
    two = 1 << clusters.group_place[group, 1] if clusters.group_place[group, 1] >= 0 else 0
    room.by_group[:] = 0.0
    for state in range(1 << size):
        room.by_group[(1 if state & one else 0) | (2 if state & two else 0)] += room.prior[state]


@compiled
def tell(clusters: Clusters, messages: Messages, work: WorkList, pair: int, damping: float, tolerance: float) -> None:
    """Tells a pair's effects what their causes' cluster believes without their own answer."""
    group, effect = clusters.group[pair], clusters.effect[pair]
    without = np.empty(4)
    total = 0.0
    for state in range(4):
        without[state] = np.exp(messages.told[group, state] - messages.log_lambda[pair, state])
        total += without[state]
    news = 0.0
    for silent in range(1, 4 if clusters.effect_rank[pair, 1] >= 0 else 2):
        one, two = _silence(clusters.strength[pair], silent, 0), _silence(clusters.strength[pair], silent, 1)
        broken = (without[1] * (1.0 - one) + without[2] * (1.0 - two) + without[3] * (1.0 - one * two)) / total
        said = max(np.log1p(-min(broken, 1.0 - 1e-16)), -STRONGEST)
        before = messages.log_phi[pair, silent]
        messages.log_phi[pair, silent] = damping * before + (1.0 - damping) * said
        news = max(news, abs(np.float64(messages.log_phi[pair, silent]) - np.float64(before)))
    messages.moved[effect] += news * max(1.0, messages.gain[effect])
    if messages.moved[effect] > tolerance:
        _enqueue(work, effect)
