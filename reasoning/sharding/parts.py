"""One shard's part of the clusters: its own, numbered first, then its neighbours' as far as pairs lead there, as empty places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasoning.cluster_messages import Messages
from reasoning.clusters import MOST_TARGETS, NONE, Clusters, chain_pairs, pairs_of
from reasoning.network import ranges
from reasoning.sharding.protocol import Facts
from schema.batches import Int32


@dataclass(frozen=True, slots=True)
class Part:
    """Clusters and messages of a shard, numbered anew, and what they are called in the whole.

    own: Int32[k] and ghosts: Int32[g], ascending: local clusters 0 to k - 1 and k to k + g - 1; neighbour: Int32[g], the shard of each ghost.
    variables, own_links, pairs, groups: Int32, the numbers in the whole; groups of ghosts too.
    """

    number: int
    structure: int
    clusters: Clusters
    messages: Messages
    own: Int32
    ghosts: Int32
    neighbour: Int32
    variables: Int32
    own_links: Int32
    pairs: Int32
    groups: Int32


def cut_part(whole: Clusters, messages: Messages, owner: Int32, number: int, structure: int) -> Part:
    """The part of shard `number`. owner: Int32[c], the shard of each cluster."""
    used = int(whole.used[0])
    source, effect = whole.source[:used], whole.effect[:used]
    mine = owner == number
    pairs = np.flatnonzero(mine[source] | mine[effect]).astype(np.int32)
    own = np.flatnonzero(mine).astype(np.int32)
    near = np.zeros(owner.size, np.bool_)
    near[source[pairs]] = near[effect[pairs]] = True
    ghosts = np.flatnonzero(near & ~mine).astype(np.int32)
    place = np.full(owner.size, NONE, np.int32)
    place[np.concatenate((own, ghosts))] = np.arange(own.size + ghosts.size)
    members = _ranges(whole.member_ptr, own)
    variables, own_links = whole.member[members], _ranges(whole.own_ptr, own)
    clusters = _renumbered(whole, pairs, own, ghosts.size, variables, own_links, place)
    groups = np.zeros(int(clusters.used[1]), np.int32)
    groups[clusters.group] = whole.group[pairs]
    said = Messages(
        log_phi=messages.log_phi[pairs],
        log_lambda=messages.log_lambda[pairs],
        heard=messages.heard[groups],
        told=messages.told[groups],
        belief=messages.belief[variables],
        log_evidence=messages.log_evidence[variables],
        gain=messages.gain[np.concatenate((own, ghosts))],
        moved=np.zeros(own.size + ghosts.size, np.float32),
        visits=np.zeros(own.size + ghosts.size, np.int32),
    )
    return Part(number, structure, clusters, said, own, ghosts, owner[ghosts], variables, own_links, pairs, groups)


def _renumbered(whole: Clusters, pairs: Int32, own: Int32, ghosts: int, variables: Int32, own_links: Int32, place: Int32) -> Clusters:
    count = own.size + ghosts
    found = Clusters(
        cluster=place[whole.cluster[variables]],
        place=whole.place[variables],
        member_ptr=_pointers(whole.member_ptr, own, ghosts),
        member=np.arange(variables.size, dtype=np.int32),
        leak=whole.leak[variables],
        own_ptr=_pointers(whole.own_ptr, own, ghosts),
        own_cause=whole.own_cause[own_links],
        own_effect=whole.own_effect[own_links],
        own_strength=whole.own_strength[own_links],
        target=np.concatenate((whole.target[own], np.full((ghosts, MOST_TARGETS), NONE, np.int8))),
        rank=whole.rank[variables],
        source=place[whole.source[pairs]],
        effect=place[whole.effect[pairs]],
        source_place=whole.source_place[pairs],
        effect_rank=whole.effect_rank[pairs],
        strength=whole.strength[pairs],
        first_in=np.full(count, NONE, np.int32),
        next_in=np.full(pairs.size, NONE, np.int32),
        first_out=np.full(count, NONE, np.int32),
        next_out=np.full(pairs.size, NONE, np.int32),
        out_count=np.zeros(count, np.int32),
        group=np.zeros(pairs.size, np.int32),
        first_group=np.full(count, NONE, np.int32),
        next_group=np.full(pairs.size, NONE, np.int32),
        group_place=np.full((pairs.size, 2), NONE, np.int8),
        used=np.zeros(2, np.int64),
    )
    chain_pairs(found, pairs.size)
    return found


def facts_of(whole: Clusters, messages: Messages, clusters: Int32) -> Facts:
    """What is known of some clusters, ascending."""
    variables, own = whole.member[_ranges(whole.member_ptr, clusters)], _ranges(whole.own_ptr, clusters)
    pairs = pairs_of(whole, clusters)
    known = messages.log_evidence[variables], whole.leak[variables]
    return Facts(clusters, variables, *known, own, whole.own_strength[own], pairs, whole.strength[pairs])


def _ranges(pointers: Int32, chosen: Int32) -> Int32:
    """What stands between the pointers of the chosen rows: Int32."""
    return ranges(pointers[chosen], pointers[chosen + 1]).astype(np.int32)


def _pointers(pointers: Int32, own: Int32, ghosts: int) -> Int32:
    sizes = np.concatenate((pointers[own + 1] - pointers[own], np.zeros(ghosts, np.int32)))
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
