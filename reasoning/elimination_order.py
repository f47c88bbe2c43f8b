"""In which order to eliminate variables (min-fill: Kjaerulff 1990), and where the tables of each step lie. Structure alone, no numbers.

Who is a neighbour of whom stands in a hash table, and once more in a chain for each variable, from which those already eliminated
are taken out in passing. So a step costs what its variable and those around it are to each other, however large the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reasoning.native import compiled
from reasoning.network import Bool
from schema.batches import Int32, Int64

LABEL_BITS = 21  # of a variable and of a degree within the key that orders variables
MOST_VARIABLES = 1 << LABEL_BITS
TOO_WIDE = (1 << (62 - 2 * LABEL_BITS)) - 1  # the fill of a variable with too many neighbours: never eliminated as it stands
EMPTY = -1
SPREAD = 0x4F1BBCDCBFA53E0B  # odd and without pattern, so that neighbouring keys land apart


class Neighbours(NamedTuple):
    """edge: Int64[s], a hash table of u * n + v for u < v, -1 where empty; s is a power of 2, at least twice what it may come to hold.

    first: Int64[n], next, other: Int64[r], the chains of neighbours; used: Int64[1], how much of `next` is. degree: Int64[n].
    gone: bool[n].
    """

    edge: Int64
    first: Int64
    next: Int64
    other: Int64
    used: Int64
    degree: Int64
    gone: Bool


@compiled
def elimination_order(variables: int, scope_ptr: Int64, scope: Int64, widest: int, most_cells: int) -> tuple[Int64, Int64, Int64]:
    """A min-fill order (ties: fewest neighbours, lowest variable) and what it joins; empty where that gets too large.

    scope_ptr: Int64[f + 1] into scope, the variables of each factor. Too large: more than `widest` + 1 variables together, or more
    than `most_cells` assignments of such all told.
    Returns order: Int64[n], and cluster_ptr: Int64[n + 1] into cluster: each variable with its neighbours at the time, by elimination.
    """
    nothing = np.empty(0, np.int64)
    if variables > MOST_VARIABLES:
        return nothing, nothing, nothing
    near = _neighbours(variables, scope_ptr, scope)
    widest = min(widest, variables)
    room = np.empty(widest, np.int64)
    key = np.empty(variables, np.int64)
    heap = np.empty(max(64, 4 * variables), np.int64)
    for v in range(variables):
        key[v] = _key(near, v, _missing(near, v, room))
        _sift_up(heap, v, key[v])
    size, cells, filled = variables, 0, 0
    order, cluster_ptr, cluster = np.empty(variables, np.int64), np.zeros(variables + 1, np.int64), np.empty(8 * variables + 64, np.int64)
    changed, stamp = np.empty(variables, np.int64), np.full(variables, -1)
    while filled < variables:
        smallest = heap[0]
        size -= 1
        _sift_down(heap, size, heap[size])
        v = smallest & (MOST_VARIABLES - 1)
        if near.gone[v] or smallest != key[v]:
            continue
        degree, start = near.degree[v], cluster_ptr[filled]
        cells += 2 << min(degree, 60)
        if degree > widest or cells > most_cells:
            return nothing, nothing, nothing
        if start + degree + 1 > cluster.size:
            cluster = np.concatenate((cluster, np.empty(cluster.size + degree, np.int64)))
        order[filled], cluster[start] = v, v
        _list_neighbours(near, v, cluster[start + 1 :])
        filled += 1
        cluster_ptr[filled] = start + degree + 1
        near = _with_room(near, variables, degree * degree)
        count = _remove(near, v, cluster[start + 1 : start + 1 + degree], key, changed, stamp, room)
        if size + count > heap.size:
            heap = np.concatenate((heap, np.empty(heap.size + count, np.int64)))
        for at in range(count):
            _sift_up(heap, size, key[changed[at]])
            size += 1
    _sort_clusters(order, cluster_ptr, cluster)
    return order, cluster_ptr, cluster[: cluster_ptr[filled]].copy()


@compiled
def _neighbours(variables: int, scope_ptr: Int64, scope: Int64) -> Neighbours:
    pairs = 0
    for factor in range(scope_ptr.size - 1):
        size = scope_ptr[factor + 1] - scope_ptr[factor]
        pairs += size * (size - 1) // 2
    near = Neighbours(
        np.full(_table_size(2 * pairs), EMPTY),
        np.full(variables, -1),
        np.empty(4 * pairs + 64, np.int64),
        np.empty(4 * pairs + 64, np.int64),
        np.zeros(1, np.int64),
        np.zeros(variables, np.int64),
        np.zeros(variables, np.bool_),
    )
    for factor in range(scope_ptr.size - 1):
        for one in range(scope_ptr[factor], scope_ptr[factor + 1]):
            for other in range(scope_ptr[factor], one):
                _join(near, scope[one], scope[other])
    return near


@compiled
def _table_size(entries: int) -> int:
    size = 64
    while size < 2 * entries:
        size *= 2
    return size


@compiled
def _slot(edge: Int64, key: int) -> int:
    """Where a key stands, or the empty place where it would."""
    mixed = key * SPREAD
    at = (mixed ^ (mixed >> 29)) & (edge.size - 1)
    while edge[at] != EMPTY and edge[at] != key:
        at = (at + 1) & (edge.size - 1)
    return at


@compiled
def _are_joined(near: Neighbours, u: int, v: int) -> bool:
    return bool(near.edge[_slot(near.edge, min(u, v) * near.first.size + max(u, v))] != EMPTY)


@compiled
def _join(near: Neighbours, u: int, v: int) -> bool:
    """Makes two variables neighbours; false where they are."""
    key = min(u, v) * near.first.size + max(u, v)
    slot = _slot(near.edge, key)
    if u == v or near.edge[slot] != EMPTY:
        return False
    near.edge[slot] = key
    used = near.used[0]
    near.other[used], near.next[used], near.first[u] = v, near.first[u], used
    near.other[used + 1], near.next[used + 1], near.first[v] = u, near.first[v], used + 1
    near.used[0] = used + 2
    near.degree[u] += 1
    near.degree[v] += 1
    return True


@compiled
def _with_room(near: Neighbours, variables: int, more: int) -> Neighbours:
    """The same with room for as many more ends of edges."""
    needed = near.used[0] + more
    edge, following, other = near.edge, near.next, near.other
    if needed > other.size:
        following = np.concatenate((following, np.empty(needed, np.int64)))
        other = np.concatenate((other, np.empty(needed, np.int64)))
    if needed > edge.size:
        edge = np.full(_table_size(needed), EMPTY)
        for key in near.edge:
            if key != EMPTY and not near.gone[key // variables] and not near.gone[key % variables]:
                edge[_slot(edge, key)] = key
    return Neighbours(edge, near.first, following, other, near.used, near.degree, near.gone)


@compiled
def _list_neighbours(near: Neighbours, v: int, found: Int64) -> None:
    """Writes v's neighbours to `found`, and takes those gone out of its chain."""
    count, last, at = 0, -1, near.first[v]
    while at >= 0:
        t, this, at = near.other[at], at, near.next[at]
        if near.gone[t]:
            _unlink(near, v, last, at)
        else:
            found[count], last = t, this
            count += 1


@compiled
def _unlink(near: Neighbours, v: int, last: int, following: int) -> None:
    """Takes what stands between two entries out of v's chain; -1: there is none before."""
    if last < 0:
        near.first[v] = following
    else:
        near.next[last] = following


@compiled
def _missing(near: Neighbours, v: int, around: Int64) -> int:
    """How many pairs of v's neighbours are no neighbours yet. around: Int64[widest], room to work."""
    degree = near.degree[v]
    if degree > around.size:
        return TOO_WIDE
    _list_neighbours(near, v, around)
    missing = 0
    for one in range(degree):
        for other in range(one):
            missing += not _are_joined(near, around[one], around[other])
    return min(missing, TOO_WIDE - 1)


@compiled
def _key(near: Neighbours, v: int, missing: int) -> int:
    """What orders variables: fewest missing, fewest neighbours, lowest number."""
    return int((missing << 2 * LABEL_BITS) | (near.degree[v] << LABEL_BITS) | v)


@compiled
def _remove(near: Neighbours, v: int, around: Int64, key: Int64, changed: Int64, stamp: Int64, room: Int64) -> int:
    """Joins v's neighbours to each other and takes v away. Returns how many variables got another key: `changed`, Int64[n].

    Whoever is next to both ends of a new edge misses one pair less; of those around v more may change. stamp: Int64[n], not v before; room: Int64[widest].
    """
    count = around.size
    near.gone[v] = True
    for at in range(count):
        changed[at] = around[at]
        stamp[around[at]] = v
        near.degree[around[at]] -= 1
    for one in range(around.size):
        for other in range(one):
            if _join(near, around[one], around[other]):
                count = _miss_one_less(near, v, around[one], around[other], key, changed, count, stamp, room.size)
    for u in around:
        key[u] = _key(near, u, _missing(near, u, room))
    return count


@compiled
def _miss_one_less(near: Neighbours, v: int, u: int, w: int, key: Int64, changed: Int64, count: int, stamp: Int64, widest: int) -> int:
    """Tells the variables next to both ends of a new edge. Adds those without v's stamp to the `count` that changed."""
    if near.degree[u] > near.degree[w]:
        u, w = w, u
    last, at = -1, near.first[u]
    while at >= 0:
        t, this, at = near.other[at], at, near.next[at]
        if near.gone[t]:
            _unlink(near, u, last, at)
            continue
        last = this
        if near.degree[t] <= widest and _are_joined(near, t, w):
            key[t] -= 1 << 2 * LABEL_BITS
            if stamp[t] != v:
                stamp[t] = v
                changed[count] = t
                count += 1
    return count


@compiled
def _sift_up(heap: Int64, size: int, key: int) -> None:
    at = size
    while at > 0 and heap[(at - 1) >> 1] > key:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = key


@compiled
def _sift_down(heap: Int64, size: int, key: int) -> None:
    """Fills the place of the smallest, which was taken."""
    at, below = 0, 1
    while below < size:
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= key:
            break
        heap[at] = heap[below]
        at, below = below, 2 * below + 1
    heap[at] = key


@compiled
def _sort_clusters(order: Int64, cluster_ptr: Int64, cluster: Int64) -> None:
    place = np.empty(order.size, np.int64)
    for at in range(order.size):
        place[order[at]] = at
    for bucket in range(order.size):
        for at in range(cluster_ptr[bucket] + 1, cluster_ptr[bucket + 1]):
            v, to = cluster[at], at
            while to > cluster_ptr[bucket] and place[cluster[to - 1]] > place[v]:
                cluster[to] = cluster[to - 1]
                to -= 1
            cluster[to] = v


@compiled
def family_scopes(parent_ptr: Int64, parent: Int32, most_direct: int) -> tuple[int, Int64, Int64]:
    """The factors of a network of noisy-ORs, in the order in which `fill_factors` writes their tables, as scope_ptr and scope.

    A family of at most `most_direct` parents is one, a larger one a star around an auxiliary. Returns first how many variables there
    are; auxiliaries follow those of the network.
    """
    count = variables = parent_ptr.size - 1
    scope_ptr, scope = np.zeros(variables + parent.size + 1, np.int64), np.empty(2 * (variables + parent.size), np.int64)
    factors = at = 0
    for x in range(variables):
        direct = parent_ptr[x + 1] - parent_ptr[x] <= most_direct
        scope[at] = x
        at += 1
        if not direct:
            scope[at] = count
            at += 1
        for link in range(parent_ptr[x], parent_ptr[x + 1]):
            if not direct:
                factors += 1
                scope_ptr[factors] = at
                scope[at + 1] = count
            scope[at] = parent[link]
            at += 1 if direct else 2
        count += not direct
        factors += 1
        scope_ptr[factors] = at
    return count, scope_ptr[: factors + 1], scope[:at]


@compiled
def moves(scope_ptr: Int64, scope: Int64, owner: Int64, step_ptr: Int64, cluster_ptr: Int64, cluster: Int64) -> Int64:
    """How the index into each table over a scope moves when the cell's index grows by one and its lowest set bit becomes t, t = 0, 1, ...

    owner: Int64[f], the bucket whose cells are meant; step_ptr: Int64[f + 1], where a table's moves start in what is returned.
    """
    step = np.empty(step_ptr[-1], np.int64)
    weight = np.zeros(cluster_ptr.size - 1, np.int64)
    for table in range(owner.size):
        members = scope[scope_ptr[table] : scope_ptr[table + 1]]
        for bit in range(members.size):
            weight[members[bit]] = 1 << bit
        at, lower = step_ptr[table], 0
        for v in cluster[cluster_ptr[owner[table]] : cluster_ptr[owner[table] + 1]]:
            step[at] = weight[v] - lower
            lower += weight[v]
            at += 1
        for v in members:
            weight[v] = 0
    return step
