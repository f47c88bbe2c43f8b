"""Variables in clusters, and the pairs of clusters that exchange messages: the structure on which reasoning.cluster_propagation runs.

A cluster is an entity, or a piece of one that is too large to enumerate. A pair carries links from at most two variables of one
cluster to at most two of another; where there are more, several pairs stand side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoning.native import compiled
from reasoning.network import CausalNetwork
from schema.batches import Float64, Int32, Int64

Int8 = NDArray[np.int8]

MOST_MEMBERS = 8  # all states of a cluster are enumerated
MOST_TARGETS = 4  # and for each, which of the members with causes elsewhere must stay silent
NONE = -1


class Clusters(NamedTuple):
    """c clusters of n variables and p pairs, with room for more pairs; g groups of pairs that leave from the same variables.

    cluster: Int32[n], place: Int8[n], a variable's cluster and place there; member_ptr: Int32[c + 1], member: Int32[n] the other way,
    causes before effects: what has no causes at all, then what has none in its cluster, and so on.
    leak: Float64[n]. own_ptr: Int32[c + 1], own_cause, own_effect: Int8, own_strength: Float64, the links within clusters, by place.
    target: Int8[c, 4], the places of members with causes elsewhere, -1 after the last; rank: Int8[n], where they stand there, else -1.
    source, effect: Int32[p], the clusters of a pair. source_place: Int8[p, 2], the causes' places; effect_rank: Int8[p, 2], the
    effects' ranks; -1 where there is no second. strength: Float64[p, 4], of cause i on effect j at 2 i + j.
    first_in, first_out: Int32[c] and next_in, next_out: Int32[p], the pairs into and out of a cluster as chains that end in -1.
    out_count: Int32[c]. group: Int32[p]; first_group: Int32[c], next_group: Int32[g], group_place: Int8[g, 2].
    used: Int64[2], how many pairs and groups there are.
    """

    cluster: Int32
    place: Int8
    member_ptr: Int32
    member: Int32
    leak: Float64
    own_ptr: Int32
    own_cause: Int8
    own_effect: Int8
    own_strength: Float64
    target: Int8
    rank: Int8
    source: Int32
    effect: Int32
    source_place: Int8
    effect_rank: Int8
    strength: Float64
    first_in: Int32
    next_in: Int32
    first_out: Int32
    next_out: Int32
    out_count: Int32
    group: Int32
    first_group: Int32
    next_group: Int32
    group_place: Int8
    used: Int64


def cluster_network(network: CausalNetwork, spare: int = 0) -> Clusters:
    """The clusters of a network, with room for `spare` more pairs."""
    cluster = split_entities(network.parent_ptr, network.parent, network.strength, network.cluster, *_by_entity(network.cluster))
    clusters = int(cluster.max(initial=-1)) + 1
    depth = depth_within(network.order, network.parent_ptr, network.parent, cluster)
    member = np.argsort(cluster * np.int64(MOST_MEMBERS + 1) + depth, kind="stable").astype(np.int32)
    member_ptr = _starts(cluster, clusters)
    place = np.empty(cluster.size, np.int8)
    place[member] = np.arange(cluster.size) - np.repeat(member_ptr[:-1], np.diff(member_ptr))
    causing, caused = cluster[network.parent], cluster[network.effect]
    own = np.flatnonzero(causing == caused)
    own = own[np.argsort(caused[own], kind="stable")]
    across = np.flatnonzero(causing != caused)
    across = across[np.argsort(caused[across].astype(np.int64) * clusters + causing[across], kind="stable")]
    target = np.full((clusters, MOST_TARGETS), NONE, np.int8)
    rank = np.full(cluster.size, NONE, np.int8)
    rank_targets(network.effect[across], cluster, place, target, rank)
    source, effect, source_place, effect_rank, strength = gather_pairs(
        across, network.parent, network.effect, network.strength, cluster, place, rank, count_pairs(across, network.parent, network.effect, cluster) + spare
    )
    pairs = int(np.count_nonzero(source >= 0))
    room = pairs + spare
    found = Clusters(
        cluster=cluster,
        place=place,
        member_ptr=member_ptr,
        member=member,
        leak=network.leak.copy(),
        own_ptr=_starts(caused[own], clusters),
        own_cause=place[network.parent[own]],
        own_effect=place[network.effect[own]],
        own_strength=network.strength[own],
        target=target,
        rank=rank,
        source=source[:room].copy(),
        effect=effect[:room].copy(),
        source_place=source_place[:room].copy(),
        effect_rank=effect_rank[:room].copy(),
        strength=strength[:room].copy(),
        first_in=np.full(clusters, NONE, np.int32),
        next_in=np.full(room, NONE, np.int32),
        first_out=np.full(clusters, NONE, np.int32),
        next_out=np.full(room, NONE, np.int32),
        out_count=np.zeros(clusters, np.int32),
        group=np.zeros(room, np.int32),
        first_group=np.full(clusters, NONE, np.int32),
        next_group=np.full(room, NONE, np.int32),
        group_place=np.full((room, 2), NONE, np.int8),
        used=np.zeros(2, np.int64),
    )
    chain_pairs(found, pairs)
    groups = int(found.used[1]) + spare
    return found._replace(next_group=found.next_group[:groups].copy(), group_place=found.group_place[:groups].copy())


def with_room(clusters: Clusters, pairs: int) -> Clusters:
    """The same clusters with room for more pairs, and for as many groups."""
    blank = {"source": NONE, "effect": NONE, "source_place": NONE, "effect_rank": NONE, "strength": 0, "next_in": NONE, "next_out": NONE, "group": 0}
    blank |= {"next_group": NONE, "group_place": NONE}
    grown = {}
    for name, value in blank.items():
        array = getattr(clusters, name)
        grown[name] = np.concatenate((array, np.full((pairs, *array.shape[1:]), value, array.dtype)))
    return clusters._replace(**grown)


def links_of(clusters: Clusters) -> tuple[Int32, Int32, Float64]:
    """All links that have a strength, as cause, effect: Int32[m] and strength: Float64[m], in no particular order."""
    owner = np.repeat(clusters.member_ptr[:-1], np.diff(clusters.own_ptr))
    pair, seat = np.nonzero(clusters.strength[: clusters.used[0]] > 0.0)
    above, below = clusters.source[pair], clusters.effect[pair]
    place = clusters.target[below, clusters.effect_rank[pair, seat % 2]]
    cause = np.concatenate((clusters.member[owner + clusters.own_cause], clusters.member[clusters.member_ptr[above] + clusters.source_place[pair, seat // 2]]))
    effect = np.concatenate((clusters.member[owner + clusters.own_effect], clusters.member[clusters.member_ptr[below] + place]))
    return cause, effect, np.concatenate((clusters.own_strength, clusters.strength[pair, seat]))


def causes_first(network: CausalNetwork, clusters: Clusters) -> Int32:
    """The clusters by their last variable in causal order: Int32[c]."""
    position = np.empty(len(network), np.int64)
    position[network.order] = np.arange(len(network))
    last = np.maximum.reduceat(position[clusters.member], clusters.member_ptr[:-1]) if clusters.first_in.size else position
    return np.argsort(last, kind="stable").astype(np.int32)


@compiled
def chain_pairs(clusters: Clusters, pairs: int) -> None:
    """Takes pairs into use up to `pairs`: into the chains of their clusters and into a group. The last comes first in a chain."""
    for pair in range(pairs - 1, clusters.used[0] - 1, -1):
        source, effect = clusters.source[pair], clusters.effect[pair]
        clusters.next_in[pair] = clusters.first_in[effect]
        clusters.first_in[effect] = pair
        clusters.next_out[pair] = clusters.first_out[source]
        clusters.first_out[source] = pair
        clusters.out_count[source] += 1
        one, two = clusters.source_place[pair]
        group = clusters.first_group[source]
        while group >= 0 and (clusters.group_place[group, 0] != one or clusters.group_place[group, 1] != two):
            group = clusters.next_group[group]
        if group < 0:
            group = clusters.used[1]
            clusters.used[1] += 1
            clusters.group_place[group, 0], clusters.group_place[group, 1] = one, two
            clusters.next_group[group] = clusters.first_group[source]
            clusters.first_group[source] = group
        clusters.group[pair] = group
    clusters.used[0] = pairs


@compiled
def depth_within(order: Int64, parent_ptr: Int64, parent: Int32, cluster: Int32) -> Int8:
    """The most links on a way to each variable within its cluster, and one more where it has causes: Int8[n]."""
    depth = np.zeros(order.size, np.int8)
    for x in order:
        for link in range(parent_ptr[x], parent_ptr[x + 1]):
            cause = parent[link]
            depth[x] = max(depth[x], depth[cause] + 1 if cluster[cause] == cluster[x] else 1)
    return depth


@compiled
def rank_targets(effects: Int32, cluster: Int32, place: Int8, target: Int8, rank: Int8) -> None:
    """Ranks the variables with causes elsewhere within their clusters, in place. effects: the ends of the links across, in any order."""
    for x in effects:
        if rank[x] < 0:
            at = 0
            while target[cluster[x], at] >= 0:
                at += 1
            target[cluster[x], at] = place[x]
            rank[x] = at


@compiled
def count_pairs(across: Int64, parent: Int32, effect: Int32, cluster: Int32) -> int:
    """No fewer pairs than `gather_pairs` makes: where at most four links join two clusters one may do, else each link may need its own."""
    room = start = 0
    for at in range(across.size):
        if at + 1 == across.size or (
            cluster[parent[across[at]]] != cluster[parent[across[at + 1]]] or cluster[effect[across[at]]] != cluster[effect[across[at + 1]]]
        ):
            room += 1 if at == start else at + 1 - start
            start = at + 1
    return room


@compiled
def gather_pairs(
    across: Int64, parent: Int32, effect: Int32, strength: Float64, cluster: Int32, place: Int8, rank: Int8, room: int
) -> tuple[Int32, Int32, Int8, Int8, Float64]:
    """Puts each link into the first pair of its clusters where its ends fit. across: links, those of the same clusters together.

    Returns source, effect, source_place, effect_rank and strength as in Clusters; source is -1 where a row is not used.
    """
    sources, effects = np.full(room, -1, np.int32), np.full(room, -1, np.int32)
    source_place, effect_rank = np.full((room, 2), -1, np.int8), np.full((room, 2), -1, np.int8)
    strengths = np.zeros((room, 4))
    first = pairs = 0
    for link in across:
        above, below = cluster[parent[link]], cluster[effect[link]]
        if pairs == first or sources[first] != above or effects[first] != below:
            first = pairs
        pair = first
        while pair < pairs and not (_fits(source_place[pair], place[parent[link]]) and _fits(effect_rank[pair], rank[effect[link]])):
            pair += 1
        if pair == pairs:
            pairs += 1
        sources[pair], effects[pair] = above, below
        i, j = _seat(source_place[pair], place[parent[link]]), _seat(effect_rank[pair], rank[effect[link]])
        strengths[pair, 2 * i + j] = strength[link]
    return sources, effects, source_place, effect_rank, strengths


@compiled
def _fits(seats: Int8, who: int) -> bool:
    return bool(seats[0] < 0 or seats[0] == who or seats[1] < 0 or seats[1] == who)


@compiled
def _seat(seats: Int8, who: int) -> int:
    at = 0 if seats[0] < 0 or seats[0] == who else 1
    seats[at] = who
    return at


@compiled
def split_entities(parent_ptr: Int64, parent: Int32, strength: Float64, entity: Int32, entity_ptr: Int64, by_entity: Int64) -> Int32:
    """The cluster of each variable, Int32[n]. Entities that fit stay whole; others are put together anew along their strongest links.

    entity: Int32[n], each variable's; by_entity: Int64[n], the variables of the i-th from entity_ptr[i] on.
    """
    cluster = np.zeros(by_entity.size, np.int32)
    piece = np.arange(by_entity.size)
    made = 0
    for each in range(entity_ptr.size - 1):
        members = by_entity[entity_ptr[each] : entity_ptr[each + 1]]
        for x in members:
            piece[x] = members[0]
        if members.size > MOST_MEMBERS or _targets_of(members, members[0], members[0], parent_ptr, parent, piece) > MOST_TARGETS:
            for x in members:
                piece[x] = x
            _join_along_links(members, parent_ptr, parent, strength, entity, piece)
        for at in range(members.size):
            x = members[at]
            if piece[x] == x:
                cluster[x] = made
                made += 1
            else:
                cluster[x] = cluster[piece[x]]
    return cluster


@compiled
def _join_along_links(members: Int64, parent_ptr: Int64, parent: Int32, strength: Float64, entity: Int32, piece: Int64) -> None:
    """Joins pieces, named by their first member, as long as what comes out can be enumerated."""
    links = 0
    for x in members:
        links += parent_ptr[x + 1] - parent_ptr[x]
    above, below, weight = np.empty(links, np.int64), np.empty(links, np.int64), np.empty(links)
    links = 0
    for x in members:
        for link in range(parent_ptr[x], parent_ptr[x + 1]):
            if entity[parent[link]] == entity[x]:
                above[links], below[links], weight[links] = parent[link], x, -strength[link]
                links += 1
    for link in np.argsort(weight[:links], kind="mergesort"):
        one, other = piece[above[link]], piece[below[link]]
        together = 0
        for x in members:
            together += piece[x] == one or piece[x] == other
        if one != other and together <= MOST_MEMBERS and _targets_of(members, one, other, parent_ptr, parent, piece) <= MOST_TARGETS:
            for x in members:
                if piece[x] == one or piece[x] == other:
                    piece[x] = min(one, other)


@compiled
def _targets_of(members: Int64, one: int, other: int, parent_ptr: Int64, parent: Int32, piece: Int64) -> int:
    """How many members of two pieces have causes outside both."""
    count = 0
    for x in members:
        if piece[x] == one or piece[x] == other:
            for link in range(parent_ptr[x], parent_ptr[x + 1]):
                if piece[parent[link]] != one and piece[parent[link]] != other:
                    count += 1
                    break
    return count


def _by_entity(entity: Int32) -> tuple[Int64, Int64]:
    """Where each entity's variables start, and the variables in that order."""
    order = np.argsort(entity, kind="stable")
    start = np.flatnonzero(np.append(True, np.diff(entity[order]) != 0)) if entity.size else np.zeros(0, np.int64)
    return np.append(start, entity.size).astype(np.int64), order.astype(np.int64)


def _starts(owner: Int32, owners: int) -> Int32:
    return np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=owners)))).astype(np.int32)


@compiled
def pairs_of(clusters: Clusters, chosen: Int32) -> Int32:
    """The pairs out of and into some clusters, some of them twice: Int32."""
    found = [0]
    for cluster in chosen:
        pair = clusters.first_in[cluster]
        while pair >= 0:
            found.append(int(pair))
            pair = clusters.next_in[pair]
        pair = clusters.first_out[cluster]
        while pair >= 0:
            found.append(int(pair))
            pair = clusters.next_out[pair]
    return np.array(found[1:], np.int32)
