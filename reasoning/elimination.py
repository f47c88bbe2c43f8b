"""Exact marginals by bucket elimination over the multiplicative factorisation of noisy-OR (Diez & Galan 2003; Takikawa & D'Ambrosio 1999).

A variable x with parents u gets an auxiliary y in {0, 1}: P(x | u) = sum_y h(y, x) prod_i g_i(y, u_i) with h(0, .) = (1-leak)(1, -1),
h(1, .) = (0, 1), g_i(0, u) = (1 - w_i)^u, g_i(1, u) = 1. Parents are never moralised. All marginals by one reverse pass (Darwiche 2003).

A plan depends on who is whose parent only; strengths, priors and evidence may change under it. All functions work on a local
network in CSR form: parent_ptr: Int64[n + 1], parent: Int32[m] (local indices), strength: Float64[m], leak: Float64[n].
Tables over k variables are flat: bit i of a cell's index is the value of the i-th variable.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasoning.errors import InconsistentEvidenceError
from reasoning.native import compiled
from schema.batches import Float64, Int32, Int64

DIRECT_PARENTS = 2  # families up to this size are one table, larger ones a star around an auxiliary


@dataclass(frozen=True, slots=True)
class EliminationPlan:
    """How to eliminate the n variables and their auxiliaries, bucket by bucket.

    eliminated: Int64[b], the variable of each bucket; size: Int64[b], the variables in its cluster; cluster_at and message_at:
    Int64[b], where its tables start. input_ptr: Int64[b + 1] into the tables multiplied in a bucket: input_at their start,
    input_from the bucket they are a message of, or -1, step_ptr into `step`: how the index into the table moves when the
    cell's index grows by one and its lowest set bit becomes t. parent_of: Int64[b], the bucket that takes the message, or -1.
    """

    eliminated: Int64
    size: Int64
    cluster_at: Int64
    message_at: Int64
    input_ptr: Int64
    input_at: Int64
    input_from: Int64
    step_ptr: Int64
    step: Int64
    factor_cells: int
    message_cells: int
    cluster_cells: int


def plan_elimination(parent_ptr: Int64, parent: Int32, widest: int, most_cells: int) -> EliminationPlan | None:
    """A min-fill plan, or None where a cluster would have more than `widest` + 1 variables or all more than `most_cells` cells."""
    return plan_factors(*_scopes(parent_ptr, parent), widest, most_cells)


def plan_factors(variables: int, scopes: Sequence[tuple[int, ...]], widest: int, most_cells: int) -> EliminationPlan | None:
    """A plan for any factors over binary variables, each variable in one of them at least; None as for `plan_elimination`."""
    order = elimination_order(variables, scopes, widest)
    if order is None:
        return None
    clusters = _clusters(order, scopes)
    if sum(1 << len(cluster) for cluster in clusters) > most_cells:
        return None
    return _layout(order, scopes, clusters)


def marginals(plan: EliminationPlan, leak: Float64, parent_ptr: Int64, strength: Float64, log_evidence: Float64) -> tuple[Float64, float]:
    """Log P(v = 1) / P(v = 0) of every variable, Float64[n], and log of the evidence's expected likelihood, each weight exp(evidence) on 1.

    log_evidence: Float64[n], infinite where a value is certain. Raises InconsistentEvidenceError.
    """
    off, on = weights_of(log_evidence)
    tables = np.empty(plan.factor_cells)
    fill_factors(leak, parent_ptr, strength, off, on, tables)
    odds, log_normaliser = solve(plan, tables, leak.size)
    if np.isnan(odds).any():
        raise InconsistentEvidenceError(np.flatnonzero(log_evidence).tolist())
    return odds, log_normaliser + float(np.sum(log_evidence[np.isfinite(log_evidence) & (log_evidence > 0.0)]))


def weights_of(log_evidence: Float64) -> tuple[Float64, Float64]:
    """The weights on 0 and on 1, the larger of them 1: Float64[n] each."""
    return np.exp(np.minimum(-log_evidence, 0.0)), np.exp(np.minimum(log_evidence, 0.0))


def solve(plan: EliminationPlan, tables: Float64, variables: int) -> tuple[Float64, float]:
    """Log P(v = 1) / P(v = 0) of the first `variables`, NaN where no value is possible, and the log of the factors' sum over all worlds.

    tables: the factors' cells one after the other, in the order of the plan's scopes.
    """
    cells = np.concatenate((tables, np.empty(plan.message_cells)))
    clusters, scale, odds = np.empty(plan.cluster_cells), np.empty(plan.size.size), np.full(variables, np.nan)
    links = (plan.size, plan.cluster_at, plan.message_at, plan.input_ptr, plan.input_at, plan.input_from, plan.step_ptr, plan.step)
    log_normaliser = collect(*links, cells, clusters, scale)
    if not np.isnan(log_normaliser):
        distribute(plan.eliminated, *links, cells, clusters, scale, odds)
    return odds, log_normaliser


def elimination_order(variables: int, scopes: Sequence[Sequence[int]], widest: int) -> list[int] | None:
    """Min-fill order (ties: fewest neighbours, lowest variable); None when a variable would have more than `widest` neighbours."""
    near = [0] * variables  # neighbours as bits
    for scope in scopes:
        bits = sum(1 << v for v in scope)
        for v in scope:
            near[v] |= bits & ~(1 << v)
    cost = [_fill(near, v, widest) for v in range(variables)]
    heap = [(*cost[v], v) for v in range(variables)]
    heapq.heapify(heap)
    gone = [False] * variables
    order: list[int] = []
    while heap:
        fill, degree, v = heapq.heappop(heap)
        if gone[v] or (fill, degree) != cost[v]:
            continue
        if degree > widest:
            return None
        gone[v] = True
        order.append(v)
        for u in _bits(_remove(near, v)):
            cost[u] = _fill(near, u, widest)
            heapq.heappush(heap, (*cost[u], u))
    return order


def _fill(near: Sequence[int], v: int, widest: int) -> tuple[int, int]:
    """How many pairs of v's neighbours are no neighbours yet, and how many neighbours there are."""
    around = near[v]
    degree = around.bit_count()
    if degree > widest:
        return 1 << 30, degree  # never eliminated as it stands: its fill does not matter
    return sum(degree - 1 - (near[u] & around).bit_count() for u in _bits(around)) // 2, degree


def _remove(near: list[int], v: int) -> int:
    """Joins v's neighbours to each other and takes v away; returns those whose fill may have changed, as bits."""
    around = near[v]
    touched = around
    mask = ~(1 << v)
    for u in _bits(around):
        missing = around & ~near[u] & ~(1 << u)
        for w in _bits(missing >> u << u):
            touched |= near[u] & near[w]
        near[u] = (near[u] | missing) & mask
    near[v] = 0
    return touched & mask


def _bits(bits: int) -> list[int]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found


def _scopes(parent_ptr: Int64, parent: Int32) -> tuple[int, list[tuple[int, ...]]]:
    """The variables of each factor, in the order in which `fill_factors` writes their tables; auxiliaries follow the variables."""
    count, scopes = parent_ptr.size - 1, []
    starts, parents = parent_ptr.tolist(), parent.tolist()
    for x in range(parent_ptr.size - 1):
        own = parents[starts[x] : starts[x + 1]]
        if len(own) <= DIRECT_PARENTS:
            scopes.append((x, *own))
            continue
        scopes.append((x, count))
        scopes.extend((u, count) for u in own)
        count += 1
    return count, scopes


@compiled
def fill_factors(leak: Float64, parent_ptr: Int64, strength: Float64, off: Float64, on: Float64, tables: Float64) -> None:
    """Writes the factors' tables one after the other. off, on: Float64[n], the evidence's weight on 0 and 1."""
    at = 0
    for x in range(leak.size):
        first, last = parent_ptr[x], parent_ptr[x + 1]
        silent = 1.0 - leak[x]
        if last - first <= 2:
            for above in range(1 << (last - first)):
                stays = silent
                for link in range(first, last):
                    if (above >> (link - first)) & 1:
                        stays *= 1.0 - strength[link]
                tables[at + 2 * above] = stays * off[x]
                tables[at + 2 * above + 1] = (leak[x] if above == 0 else 1.0 - stays) * on[x]
            at += 2 << (last - first)
            continue
        tables[at], tables[at + 1], tables[at + 2], tables[at + 3] = silent * off[x], -silent * on[x], 0.0, on[x]
        at += 4
        for link in range(first, last):
            tables[at], tables[at + 1], tables[at + 2], tables[at + 3] = 1.0, 1.0 - strength[link], 1.0, 1.0
            at += 4


def _clusters(order: Sequence[int], scopes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The variables of each bucket, the eliminated one first, the others in the order of their own elimination."""
    position = {v: place for place, v in enumerate(order)}
    members: list[set[int]] = [{v} for v in order]
    for scope in scopes:
        members[min(position[v] for v in scope)].update(scope)
    clusters = []
    for v, inside in zip(order, members, strict=True):
        cluster = sorted(inside, key=position.__getitem__)
        clusters.append(cluster)
        if len(cluster) > 1:
            members[position[cluster[1]]].update(inside - {v})
    return clusters


def _layout(order: Sequence[int], scopes: Sequence[tuple[int, ...]], clusters: Sequence[list[int]]) -> EliminationPlan:
    position = {v: place for place, v in enumerate(order)}
    inputs: list[list[tuple[int, int, Sequence[int]]]] = [[] for _ in order]
    at = 0
    for scope in scopes:
        inputs[min(position[v] for v in scope)].append((at, -1, scope))
        at += 1 << len(scope)
    factor_cells, message_at = at, []
    for bucket, cluster in enumerate(clusters):
        message_at.append(at)
        if len(cluster) > 1:
            inputs[position[cluster[1]]].append((at, bucket, cluster[1:]))
        at += 1 << (len(cluster) - 1)
    sizes = [len(cluster) for cluster in clusters]
    flat = [each for group in inputs for each in group]
    steps = [_steps(scope, clusters[bucket]) for bucket, group in enumerate(inputs) for _, _, scope in group]
    return EliminationPlan(
        eliminated=np.array(order, np.int64),
        size=np.array(sizes, np.int64),
        cluster_at=_offsets([1 << size for size in sizes])[:-1],
        message_at=np.array(message_at, np.int64),
        input_ptr=_offsets([len(group) for group in inputs]),
        input_at=np.array([start for start, _, _ in flat], np.int64),
        input_from=np.array([source for _, source, _ in flat], np.int64),
        step_ptr=_offsets([len(step) for step in steps])[:-1],
        step=np.array([value for step in steps for value in step], np.int64),
        factor_cells=factor_cells,
        message_cells=at - factor_cells,
        cluster_cells=sum(1 << size for size in sizes),
    )


def _steps(scope: Sequence[int], cluster: Sequence[int]) -> list[int]:
    """For t = 0, 1, ...: the move of the table's index when bit t of the cell's index turns on and all lower bits turn off."""
    weight = {v: 1 << place for place, v in enumerate(scope)}
    steps, lower = [], 0
    for v in cluster:
        steps.append(weight.get(v, 0) - lower)
        lower += weight.get(v, 0)
    return steps


def _offsets(sizes: Sequence[int]) -> Int64:
    return np.concatenate(([0], np.cumsum(np.array(sizes, np.int64)))).astype(np.int64)


@compiled
def collect(
    size: Int64,
    cluster_at: Int64,
    message_at: Int64,
    input_ptr: Int64,
    input_at: Int64,
    input_from: Int64,  # noqa: ARG001 - the same arguments as `distribute`
    step_ptr: Int64,
    step: Int64,
    tables: Float64,
    clusters: Float64,
    scale: Float64,
) -> float:
    """Multiplies and sums out bucket by bucket; fills clusters, messages and their scales. Returns the log normaliser, NaN when it is 0."""
    total = 0.0
    for bucket in range(size.size):
        cells, base = 1 << size[bucket], cluster_at[bucket]
        for cell in range(cells):
            clusters[base + cell] = 1.0
        for each in range(input_ptr[bucket], input_ptr[bucket + 1]):
            at, steps = input_at[each], step_ptr[each]
            for cell in range(cells):
                clusters[base + cell] *= tables[at]
                low = 0
                while (cell >> low) & 1:
                    low += 1
                if low < size[bucket]:
                    at += step[steps + low]
        largest = 0.0
        for cell in range(cells >> 1):
            value = clusters[base + 2 * cell] + clusters[base + 2 * cell + 1]
            tables[message_at[bucket] + cell] = value
            largest = max(largest, abs(value))
        if not largest > 0.0:
            return np.nan
        for cell in range(cells >> 1):
            tables[message_at[bucket] + cell] /= largest
        scale[bucket] = largest
        total += np.log(largest)
    return total


@compiled
def distribute(  # noqa: C901 - one pass over all buckets
    eliminated: Int64,
    size: Int64,
    cluster_at: Int64,
    message_at: Int64,
    input_ptr: Int64,
    input_at: Int64,
    input_from: Int64,
    step_ptr: Int64,
    step: Int64,
    tables: Float64,
    clusters: Float64,
    scale: Float64,
    odds: Float64,
) -> None:
    """The reverse pass. Fills odds: Float64[n], log P(v = 1) / P(v = 0); NaN stays where neither is possible."""
    outside = np.zeros(tables.size)  # of each message, the derivative of the normaliser by its cells
    for bucket in range(size.size - 1, -1, -1):
        cells, base, above = 1 << size[bucket], cluster_at[bucket], message_at[bucket]
        if cells == 2:
            outside[above] = 1.0 / tables[above]
        zero = one = 0.0
        for cell in range(cells):
            value = clusters[base + cell] * outside[above + (cell >> 1)]
            if cell & 1:
                one += value
            else:
                zero += value
        if eliminated[bucket] < odds.size and (zero > 0.0 or one > 0.0):
            odds[eliminated[bucket]] = np.inf if zero <= 0.0 else -np.inf if one <= 0.0 else np.log(one / zero)
        for each in range(input_ptr[bucket], input_ptr[bucket + 1]):
            if input_from[each] < 0:
                continue
            at, steps = input_at[each], step_ptr[each]
            for cell in range(cells):
                rest = (
                    clusters[base + cell] / tables[at] if tables[at] != 0.0 else _others(each, cell, bucket, size, input_ptr, input_at, step_ptr, step, tables)
                )
                outside[at] += rest * outside[above + (cell >> 1)] / scale[bucket]
                low = 0
                while (cell >> low) & 1:
                    low += 1
                if low < size[bucket]:
                    at += step[steps + low]


@compiled
def _others(left_out: int, cell: int, bucket: int, size: Int64, input_ptr: Int64, input_at: Int64, step_ptr: Int64, step: Int64, tables: Float64) -> float:
    """The product of a bucket's tables at a cell without one of them."""
    product = 1.0
    for each in range(input_ptr[bucket], input_ptr[bucket + 1]):
        if each != left_out:
            at, lower = input_at[each], 0
            for t in range(size[bucket]):
                weight = step[step_ptr[each] + t] + lower
                lower += weight
                at += weight * ((cell >> t) & 1)
            product *= tables[at]
    return product
