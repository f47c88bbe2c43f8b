"""A core as a network of its own, which hears the rest of the estate as leaks and findings: what elimination takes."""

from __future__ import annotations

import numpy as np

from reasoning.cluster_messages import Messages
from reasoning.clusters import Clusters
from reasoning.cores import SILENT, UNCUT, effect_of, is_kept, told_by
from reasoning.native import compiled, inlined
from schema.batches import Float64, Int32, Int64


@compiled
def local_network(
    clusters: Clusters, messages: Messages, log_evidence: Float64, core: Int32, threshold: float, inside: Int32, kept: Float64
) -> tuple[Int64, Float64, Int64, Int32, Float64, Float64, bool]:
    """Variables: Int64[k] ascending, then local arrays as `plan_region` takes them: leak, parent_ptr, parent, strength, log_evidence;
    and whether nothing that speaks was cut. Links stand by ascending effect and cause.

    inside: Int32[n], -1 everywhere, and kept: Float64[g, 4], 0 everywhere: room to work, handed back as it came.
    """
    variables, room = variables_of(clusters, core)
    leak, evidence = clusters.leak[variables], log_evidence[variables]
    ends, strength = np.empty((room, 2), np.int32), np.empty(room)
    links, uncut = _gather_links(clusters, messages, core, threshold, inside, kept, variables, leak, evidence, ends, strength)
    parent_ptr, parent, by_effect = _by_effect(variables.size, ends[:links], strength)
    return variables, leak, parent_ptr, parent, by_effect, evidence, uncut


@compiled
def variables_of(clusters: Clusters, core: Int32) -> tuple[Int64, int]:
    """The variables of some clusters, ascending, and no fewer links than lead into them."""
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
    variables.sort()
    return variables, links


@inlined
def _gather_links(
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
                uncut &= not told_by(messages, pair) > SILENT
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


@compiled
def _by_effect(variables: int, ends: Int32, strength: Float64) -> tuple[Int64, Int32, Float64]:
    """Links, cause and effect of each, by ascending effect and cause: parent_ptr: Int64[k + 1], parent: Int32[m], strength: Float64[m]."""
    parent_ptr = np.zeros(variables + 1, np.int64)
    for effect in ends[:, 1]:
        parent_ptr[effect + 1] += 1
    for x in range(variables):
        parent_ptr[x + 1] += parent_ptr[x]
    order = np.argsort(ends[:, 1] * np.int64(variables) + ends[:, 0], kind="mergesort")
    return parent_ptr, ends[:, 0][order], strength[order]
