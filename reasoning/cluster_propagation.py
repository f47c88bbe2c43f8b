"""Belief propagation between clusters: one joint message each way per pair, renewed only where something moved (docs/reasoning/inference.md).

Down a pair goes phi(z), the probability that none of the effects in z is brought about from there; up goes lambda(s), the likelihood
of all that is known elsewhere given the causes' states s. What a pair said itself is taken out again by a division.
"""

from __future__ import annotations

import numpy as np

from reasoning.cluster_messages import STRONGEST, Messages, Scratch, WorkList
from reasoning.cluster_states import LEAST, beliefs, fold, shares, silences, sum_out, unfold, weigh
from reasoning.clusters import MOST_TARGETS, Clusters
from reasoning.native import inlined
from schema.batches import Float64, Int32

TOLERANCE = 1e-2  # how much the messages into a cluster may have moved, as a sum of logs, before it is renewed
# Visits that suffice where there are few loops; then old messages keep a share. What creeps towards rest is held up by damping, so it grows late.
UNDAMPED, DAMPING = 6, 0.3
STUBBORN, MORE_DAMPING = 24, 0.6
SWINGING, STRONG_DAMPING = 150, 0.8
OSCILLATING, MOST_DAMPING = 200, 0.9
MOST_VISITS = 300  # a cluster that still moves then no longer moves others
FEW_PAIRS = 16  # a cluster with more tells its effects only when what they hear would change
NO_END = 1 << 62


@inlined
def predict(clusters: Clusters, messages: Messages, prior: Float64) -> None:
    """First messages down, as if causes were independent with these priors: Float64[n]."""
    for pair in range(clusters.used[0]):
        first = clusters.member_ptr[clusters.source[pair]]
        for silent in range(1, 4):
            log = 0.0
            for i in range(2):
                if clusters.source_place[pair, i] >= 0:
                    one, two = clusters.strength[pair, 2 * i] * (silent & 1), clusters.strength[pair, 2 * i + 1] * (silent >> 1)
                    log += np.log1p(-prior[clusters.member[first + clusters.source_place[pair, i]]] * (one + two - one * two))
            messages.log_phi[pair, silent] = max(log, -STRONGEST)


@inlined
def sweep(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, order: Int32) -> None:
    """Visits the clusters in the order given, each once, and puts none on the list."""
    for cluster in order:
        renew(clusters, messages, work, room, cluster, 0.0, np.inf)


@inlined
def settle(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, seeds: Int32, tolerance: float) -> tuple[int, int]:
    """Visits the seeds, then whatever moved. Returns how many clusters were visited (`work.touched`), and how many of these, the first, gave up."""
    touched = visit(clusters, messages, work, room, seeds, tolerance, 0, NO_END)
    gave_up = 0
    for at in range(touched):
        cluster = work.touched[at]
        if messages.visits[cluster] >= MOST_VISITS:
            work.touched[at], work.touched[gave_up] = work.touched[gave_up], cluster
            gave_up += 1
        messages.visits[cluster] = 0
    return touched, gave_up


@inlined
def visit(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, seeds: Int32, tolerance: float, touched: int, turns: int) -> int:
    """As `settle`, but a run in several goes: visits count on, and so does `work.touched` from `touched` on. Returns how many it holds.

    turns: how often to go through the list; what is put on it in the last turn stays there.
    """
    count = work.ring.size
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
        renew(clusters, messages, work, room, cluster, _damping(visits), tolerance if visits < MOST_VISITS else np.inf)
    return touched


@inlined
def _damping(visits: int) -> float:
    if visits <= STUBBORN:
        return 0.0 if visits <= UNDAMPED else DAMPING
    return MORE_DAMPING if visits <= SWINGING else STRONG_DAMPING if visits <= OSCILLATING else MOST_DAMPING


@inlined
def settle_within(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, chosen: Int32, tolerance: float) -> None:
    """Brings some clusters to rest among themselves, Int32[c]: whoever else hears news is not visited. The list must be empty."""
    _fence(clusters, work, chosen, 1)
    settle(clusters, messages, work, room, chosen, tolerance)
    _fence(clusters, work, chosen, 0)


@inlined
def _fence(clusters: Clusters, work: WorkList, chosen: Int32, waits: int) -> None:
    """Has those next to the chosen clusters, and not among them, wait (1) or no longer (0)."""
    for cluster in chosen:
        pair = clusters.first_in[cluster]
        while pair >= 0:
            work.waiting[clusters.source[pair]] = waits > 0
            pair = clusters.next_in[pair]
        pair = clusters.first_out[cluster]
        while pair >= 0:
            work.waiting[clusters.effect[pair]] = waits > 0
            pair = clusters.next_out[pair]
    for cluster in chosen:
        work.waiting[cluster] = False


@inlined
def _enqueue(work: WorkList, cluster: int) -> None:
    if not work.waiting[cluster]:
        work.waiting[cluster] = True
        work.ring[(work.ends[0] + work.ends[1]) % work.ring.size] = cluster
        work.ends[1] += 1


@inlined
def renew(clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, cluster: int, damping: float, tolerance: float) -> None:
    """Renews a cluster's beliefs and all it says; who hears more than `tolerance` of news goes on the list."""
    messages.moved[cluster] = 0.0
    first, size = clusters.member_ptr[cluster], clusters.member_ptr[cluster + 1] - clusters.member_ptr[cluster]
    targets, leading = _outline(clusters, room, cluster, size)
    is_target, silent, answer = room.is_target[:size], room.silent[: 1 << targets], room.answer[: 1 << targets]
    _hear_causes(clusters, messages, room, cluster, silent)
    _hear_effects(clusters, messages, room, cluster, size)
    silences(room.leak, room.factor, size, room.silence)
    shares(room.silence, leading, room.share)
    joint = room.joint[: 1 << size]
    fold(room.silence, room.share, is_target, leading, silent, joint, room.other)
    total = weigh(joint, room.likelihood)
    unfold(room.silence, room.share, is_target, leading, answer, room.likelihood, room.other)
    _answer_causes(clusters, messages, work, room, cluster, targets, 1.0 / total, damping, tolerance)
    _tell_effects(clusters, messages, work, room, cluster, joint, 1.0 / total, damping, tolerance)
    beliefs(joint, room.belief)
    for i in range(size):
        messages.belief[clusters.member[first + i]] = room.belief[i] / total


@inlined
def _outline(clusters: Clusters, room: Scratch, cluster: int, size: int) -> tuple[int, int]:
    """Fills `is_target`, `bit`, `leak` and `factor`. Returns how many targets there are, and how many members before the first."""
    targets, leading, first = 0, size, clusters.member_ptr[cluster]
    for i in range(size):
        x = clusters.member[first + i]
        rank = clusters.rank[x]
        room.leak[i] = clusters.leak[x]
        room.is_target[i] = 1 if rank >= 0 else 0
        if rank >= 0:
            leading = min(leading, i)
            room.bit[rank] = targets
            targets += 1
        for j in range(i):
            room.factor[i, j] = 1.0
    for rank in range(targets):
        room.bit[rank] = 1 << (targets - 1 - room.bit[rank])
    for link in range(clusters.own_ptr[cluster], clusters.own_ptr[cluster + 1]):
        room.factor[clusters.own_effect[link], clusters.own_cause[link]] = 1.0 - clusters.own_strength[link]
    return targets, leading


@inlined
def _seats(clusters: Clusters, pair: int) -> int:
    """Which effects a pair has, as `Scratch` counts them."""
    one, two = clusters.effect_rank[pair]
    return int(MOST_TARGETS * one + (two if two >= 0 else one))


@inlined
def _hear_causes(clusters: Clusters, messages: Messages, room: Scratch, cluster: int, silent: Float64) -> None:
    """`silent`: P(no cause elsewhere brings about any target in z), for each set z."""
    room.is_heard[:] = False
    pair = clusters.first_in[cluster]
    while pair >= 0:
        seats = _seats(clusters, pair)
        heard, said = room.heard[seats], messages.log_phi[pair]
        if not room.is_heard[seats]:
            room.is_heard[seats] = True
            heard[:] = 0.0
        for own in range(1, 4):
            heard[own] += said[own]
        pair = clusters.next_in[pair]
    silent[:] = 0.0
    for seats in range(MOST_TARGETS**2):
        if room.is_heard[seats]:
            one, two = room.bit[seats // MOST_TARGETS], room.bit[seats % MOST_TARGETS]
            heard = room.heard[seats]
            for z in range(1, silent.size):
                own = 1 if z & one else 0
                silent[z] += heard[own if one == two else own | (2 if z & two else 0)]
    for z in range(silent.size):
        silent[z] = np.exp(silent[z])


@inlined
def _hear_effects(clusters: Clusters, messages: Messages, room: Scratch, cluster: int, size: int) -> None:
    """`likelihood` of each state: its own evidence and what its effects elsewhere answered; the largest is 1."""
    first, likelihood = clusters.member_ptr[cluster], room.likelihood
    likelihood[0] = 1.0
    for i in range(size):
        evidence = messages.log_evidence[clusters.member[first + i]]
        off, on = np.exp(min(-evidence, 0.0)), np.exp(min(evidence, 0.0))
        low, high = likelihood[: 1 << i], likelihood[1 << i :]
        for p in range(1 << i):
            high[p] = low[p] * on
            low[p] *= off
    group = clusters.first_group[cluster]
    while group >= 0:
        one, two = clusters.group_place[group]
        heard = messages.heard[group]
        largest = max(0.0, heard[1], heard[2], heard[3]) if two >= 0 else max(0.0, heard[1])
        for each in range(4):
            room.by_group[each] = np.exp(heard[each] - largest)
        for state in range(1 << size):
            own = (state >> one) & 1
            likelihood[state] *= room.by_group[own if two < 0 else own | ((state >> two) & 1) << 1]
        group = clusters.next_group[group]
    largest = LEAST
    for state in range(1 << size):
        largest = max(largest, likelihood[state])
    for state in range(1 << size):
        likelihood[state] /= largest


@inlined
def _answer_causes(
    clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, cluster: int, targets: int, scale: float, damping: float, tolerance: float
) -> None:
    """To each pair into the cluster, how likely the rest is given its causes' states. scale: 1 / the likelihood's expectation."""
    messages.gain[cluster] = _look_behind(room, targets) * scale
    pair = clusters.first_in[cluster]
    while pair >= 0:
        seats = _seats(clusters, pair)
        behind, phi, strength, said = room.behind[seats], messages.log_phi[pair], clusters.strength[pair], messages.log_lambda[pair]
        none_silent, one_silent = behind[0], behind[1] * np.exp(-phi[1])
        two_silent = both_silent = 0.0
        if clusters.effect_rank[pair, 1] >= 0:
            two_silent, both_silent = behind[2] * np.exp(-phi[2]), behind[3] * np.exp(-phi[3])
        neither = max(none_silent + one_silent + two_silent + both_silent, LEAST)
        news, source, heard = 0.0, clusters.source[pair], messages.heard[clusters.group[pair]]
        for state in range(1, 4 if clusters.source_place[pair, 1] >= 0 else 2):
            one, two = 1.0, 1.0
            if state & 1:
                one, two = 1.0 - strength[0], 1.0 - strength[1]
            if state & 2:
                one, two = one * (1.0 - strength[2]), two * (1.0 - strength[3])
            likelihood = none_silent + one_silent * one + (two_silent + both_silent * one) * two
            says = min(max(np.log(max(likelihood / neither, LEAST)), -STRONGEST), STRONGEST)
            before = np.float64(said[state])
            said[state] = damping * before + (1.0 - damping) * says
            change = np.float64(said[state]) - before
            heard[state] += change
            news = max(news, abs(change))
        messages.moved[source] += news
        if messages.moved[source] > tolerance:
            _enqueue(work, source)
        pair = clusters.next_in[pair]


@inlined
def _look_behind(room: Scratch, targets: int) -> float:
    """`behind`: for each pair of effects heard of and each set of them that is silent, the likelihood of the rest. Returns the largest."""
    largest = 0.0
    for z in range(1 << targets):
        room.answer[z] *= room.silent[z]
    for seats in range(MOST_TARGETS**2):
        if room.is_heard[seats]:
            one, two = room.bit[seats // MOST_TARGETS], room.bit[seats % MOST_TARGETS]
            behind = room.behind[seats]
            behind[:] = 0.0
            for z in range(1 << targets):
                own = 1 if z & one else 0
                behind[own if one == two else own | (2 if z & two else 0)] += room.answer[z]
            largest = max(largest, abs(behind[0]), abs(behind[1]), abs(behind[2]), abs(behind[3]))
    return largest


@inlined
def _tell_effects(
    clusters: Clusters, messages: Messages, work: WorkList, room: Scratch, cluster: int, joint: Float64, scale: float, damping: float, tolerance: float
) -> None:
    """To each pair out of the cluster, how likely its effects stay silent, by what is believed without that pair's own answer."""
    news = clusters.out_count[cluster] <= FEW_PAIRS
    group = -1 if news else clusters.first_group[cluster]
    while group >= 0 and not news:
        sum_out(joint, clusters.group_place[group], room.likelihood, room.by_group)
        for each in range(4):
            believed = room.by_group[each] * scale
            news |= not abs(np.log(believed + LEAST) - messages.told[group, each]) <= tolerance and believed > 0.0
        group = clusters.next_group[group]
    if not news:
        return
    group = clusters.first_group[cluster]
    while group >= 0:
        sum_out(joint, clusters.group_place[group], room.likelihood, room.by_group)
        for each in range(4):
            messages.told[group, each] = np.log(room.by_group[each] * scale + LEAST)
        group = clusters.next_group[group]
    pair = clusters.first_out[cluster]
    while pair >= 0:
        tell(clusters, messages, work, pair, damping, tolerance)
        pair = clusters.next_out[pair]


@inlined
def tell(clusters: Clusters, messages: Messages, work: WorkList, pair: int, damping: float, tolerance: float) -> None:
    """Tells a pair's effects what their causes' cluster believes without their own answer."""
    told, heard, strength, said = messages.told[clusters.group[pair]], messages.log_lambda[pair], clusters.strength[pair], messages.log_phi[pair]
    one_holds, two_holds, both_hold = np.exp(told[1] - heard[1]), 0.0, 0.0
    if clusters.source_place[pair, 1] >= 0:
        two_holds, both_hold = np.exp(told[2] - heard[2]), np.exp(told[3] - heard[3])
    total = np.exp(told[0]) + one_holds + two_holds + both_hold
    news, by_one, by_two, effect = 0.0, 1.0, 1.0, clusters.effect[pair]
    for silent in range(1, 4 if clusters.effect_rank[pair, 1] >= 0 else 2):
        by_one, by_two = 0.0, 0.0
        if silent & 1:
            by_one, by_two = strength[0], strength[2]
        if silent & 2:
            by_one, by_two = by_one + strength[1] - by_one * strength[1], by_two + strength[3] - by_two * strength[3]
        broken = (one_holds * by_one + two_holds * by_two + both_hold * (by_one + by_two - by_one * by_two)) / total
        says = max(np.log1p(-min(broken, 1.0 - 1e-16)), -STRONGEST)
        before = np.float64(said[silent])
        said[silent] = damping * before + (1.0 - damping) * says
        news = max(news, abs(np.float64(said[silent]) - before))
    messages.moved[effect] += news * max(1.0, messages.gain[effect])
    if messages.moved[effect] > tolerance:
        _enqueue(work, effect)
