"""Which shard owns what: few links between shards, about the same number of variables in each, and nothing moves when something is added.

Streaming partition (Stanton & Kliot 2012; again and again: Nishimura & Ugander 2013): one after the other, each unit goes where most of
its neighbours are, the less so the fuller it is there.
"""

from __future__ import annotations

import numpy as np

from reasoning.clusters import Clusters
from reasoning.native import compiled
from schema.batches import Int32, Int64

PASSES = 12
FULL = 1.1  # of the mean: more does not go into a shard
LOPSIDED = 1.5  # of the mean: beyond, all is assigned anew
NOWHERE = -1


def assign(unit: Int32, cause: Int32, effect: Int32, shards: int, before: Int32) -> Int32:
    """The shard of each variable, Int32[n], from 0 to shards - 1; the same input gets the same answer.

    unit: Int32[n], what stays together has the same number. cause, effect: Int32[m], the links. before: Int32[n], the shards so far, -1
    where a variable is new. Units keep their shard, unless one has grown over `LOPSIDED` times the mean.
    """
    _, first, place = np.unique(unit, return_index=True, return_inverse=True)
    size = np.bincount(place, minlength=first.size)
    one, other = place[cause], place[effect]
    across = one != other
    ends = np.concatenate((one[across], other[across])), np.concatenate((other[across], one[across]))
    order = np.argsort(ends[0], kind="stable")
    ptr = np.concatenate(([0], np.cumsum(np.bincount(ends[0], minlength=first.size)))).astype(np.int64)
    near = ends[1][order].astype(np.int64)
    mean = max(unit.size / shards, 1.0)
    shard = np.full(first.size, NOWHERE, np.int32)
    np.maximum.at(shard, place, np.where(before < shards, before, NOWHERE))
    walk = breadth_first(ptr, near)
    new = walk[shard[walk] == NOWHERE]
    if new.size < walk.size:
        stream(ptr, near, size, new, shard, shards, FULL * max(mean, float(np.bincount(shard[shard >= 0], size[shard >= 0]).max())))
        if np.bincount(shard, size).max() <= LOPSIDED * mean + size.max(initial=0):
            return shard[place]
        shard[:] = NOWHERE
    for _ in range(PASSES):
        stream(ptr, near, size, walk, shard, shards, FULL * mean)
    return shard[place]


def cut_share(clusters: Clusters, owner: Int32) -> float:
    """The share of pairs between clusters of different shards. owner: Int32[c], the shard of each cluster."""
    used = int(clusters.used[0])
    cut = owner[clusters.source[:used]] != owner[clusters.effect[:used]]
    return float(cut.mean()) if used else 0.0


@compiled
def breadth_first(ptr: Int64, near: Int64) -> Int64:
    """All units, each part from its first one outwards."""
    order = np.empty(ptr.size - 1, np.int64)
    seen = np.zeros(ptr.size - 1, np.bool_)
    at = end = 0
    for start in range(ptr.size - 1):
        if seen[start]:
            continue
        order[end] = start
        seen[start] = True
        end += 1
        while at < end:
            for other in near[ptr[order[at]] : ptr[order[at] + 1]]:
                if not seen[other]:
                    seen[other] = True
                    order[end] = other
                    end += 1
            at += 1
    return order


@compiled
def stream(ptr: Int64, near: Int64, size: Int64, order: Int64, shard: Int32, shards: int, full: float) -> None:
    """Puts the units in `order` where most of their neighbours are, times the room left there, in place; ties: where there is most room."""
    load = np.zeros(shards)
    for unit in range(shard.size):
        if shard[unit] >= 0:
            load[shard[unit]] += size[unit]
    links = np.zeros(shards)
    for unit in order:
        if shard[unit] >= 0:
            load[shard[unit]] -= size[unit]
        links[:] = 0.0
        for other in near[ptr[unit] : ptr[unit + 1]]:
            if shard[other] >= 0:
                links[shard[other]] += 1.0
        best, most = 0, -np.inf
        for each in range(shards):
            room = 1.0 - load[each] / full
            worth = (links[each] + 1e-3) * room
            if worth > most:
                best, most = each, worth
        shard[unit] = best
        load[best] += size[unit]
