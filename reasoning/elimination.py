"""Exact marginals by bucket elimination over the multiplicative factorisation of noisy-OR (Diez & Galan 2003; Takikawa & D'Ambrosio 1999).

A variable x with parents u gets an auxiliary y in {0, 1}: P(x | u) = sum_y h(y, x) prod_i g_i(y, u_i) with h(0, .) = (1-leak)(1, -1),
h(1, .) = (0, 1), g_i(0, u) = (1 - w_i)^u, g_i(1, u) = 1. Parents are never moralised. All marginals by one reverse pass (Darwiche 2003).

A plan depends on who is whose parent only; strengths, priors and evidence may change under it. All functions work on a local
network in CSR form: parent_ptr: Int64[n + 1], parent: Int32[m] (local indices), strength: Float64[m], leak: Float64[n].
Tables over k variables are flat: bit i of a cell's index is the value of the i-th variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoning.elimination_order import elimination_order, family_scopes, moves
from reasoning.errors import InconsistentEvidenceError
from reasoning.native import compiled, inlined
from reasoning.network import Bool
from schema.batches import Float64, Int32, Int64

UInt64 = NDArray[np.uint64]

BLOCK = 5  # of a cluster's lowest variables: within, a table is looked up by offsets
DIRECT_PARENTS = 2  # families up to this size are one table, larger ones a star around an auxiliary


class EliminationPlan(NamedTuple):
    """How to eliminate the n variables and their auxiliaries, bucket by bucket.

    eliminated: Int64[b], the variable of each bucket; size: Int64[b], the variables in its cluster, and these in turn, itself first: `member`;
    cluster_at and message_at: Int64[b], where its tables start. input_ptr: Int64[b + 1] into the tables multiplied in a bucket: input_at their start,
    input_from the bucket they are a message of, or -1, step_ptr into `step`: how the index into the table moves when the
    cell's index grows by one and its lowest set bit becomes t.
    """

    eliminated: Int64
    size: Int64
    member: Int64
    cluster_at: Int64
    message_at: Int64
    input_ptr: Int64
    input_at: Int64
    input_from: Int64
    step_ptr: Int64
    step: Int64
    factor_cells: int
    message_cells: int

    @property
    def cluster_cells(self) -> int:
        """Of all clusters."""
        return int(np.sum(1 << self.size))


def plan_elimination(parent_ptr: Int64, parent: Int32, widest: int, most_cells: int) -> EliminationPlan | None:
    """A min-fill plan, or None where a cluster would have more than `widest` + 1 variables or all more than `most_cells` cells."""
    return _plan(*family_scopes(parent_ptr, parent, DIRECT_PARENTS), widest, most_cells)


def plan_factors(variables: int, scopes: Sequence[Sequence[int]], widest: int, most_cells: int) -> EliminationPlan | None:
    """A plan for any factors over binary variables, each variable in one of them at least; None as for `plan_elimination`."""
    scope_ptr = np.cumsum([0, *map(len, scopes)], dtype=np.int64)
    return _plan(variables, scope_ptr, np.array(list(chain.from_iterable(scopes)), np.int64), widest, most_cells)


def _plan(variables: int, scope_ptr: Int64, scope: Int64, widest: int, most_cells: int) -> EliminationPlan | None:
    order, cluster_ptr, cluster = elimination_order(variables, scope_ptr, scope, widest, most_cells)
    if order.size < variables:
        return None
    size = np.diff(cluster_ptr)
    sends = np.flatnonzero(size > 1)
    place = np.empty(variables, np.int64)
    place[order] = np.arange(variables)
    owner = np.concatenate((np.minimum.reduceat(place[scope], scope_ptr[:-1]), place[cluster[cluster_ptr[sends] + 1]]))
    table_ptr = _offsets(np.concatenate((1 << np.diff(scope_ptr), 1 << (size - 1))))
    factors = scope_ptr.size - 1
    message_at = table_ptr[factors:-1]
    by_owner = np.argsort(owner, kind="stable")
    heard = np.ones(cluster.size, np.bool_)
    heard[cluster_ptr[:-1]] = False
    scope_ptr, scope = np.concatenate((scope_ptr, scope_ptr[-1] + np.cumsum(size[sends] - 1))), np.concatenate((scope, cluster[heard]))
    step_ptr = _offsets(size[owner])
    return EliminationPlan(
        eliminated=order,
        size=size,
        member=cluster,
        cluster_at=_offsets(1 << size)[:-1],
        message_at=message_at,
        input_ptr=_offsets(np.bincount(owner, minlength=variables)),
        input_at=np.concatenate((table_ptr[:factors], message_at[sends]))[by_owner],
        input_from=np.concatenate((np.full(factors, -1), sends))[by_owner],
        step_ptr=step_ptr[:-1][by_owner],
        step=moves(scope_ptr, scope, owner, step_ptr, cluster_ptr, cluster),
        factor_cells=int(table_ptr[factors]),
        message_cells=int(table_ptr[-1] - table_ptr[factors]),
    )


def _offsets(sizes: Int64) -> Int64:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def marginals(plan: EliminationPlan, leak: Float64, parent_ptr: Int64, strength: Float64, log_evidence: Float64) -> tuple[Float64, float]:
    """Log P(v = 1) / P(v = 0) of every variable, Float64[n], and log of the evidence's expected likelihood, each weight exp(evidence) on 1.

    log_evidence: Float64[n], infinite where a value is certain. Raises InconsistentEvidenceError.
    """
    odds, log_normaliser = solve_families(plan, leak, parent_ptr, strength, log_evidence)
    if np.isnan(log_normaliser):
        raise InconsistentEvidenceError(np.flatnonzero(log_evidence).tolist())
    return odds, log_normaliser


@compiled
def solve_families(plan: EliminationPlan, leak: Float64, parent_ptr: Int64, strength: Float64, log_evidence: Float64) -> tuple[Float64, float]:
    """As `marginals`; the log is NaN where every world is ruled out."""
    off, on = weights_of(log_evidence)
    tables = np.empty(plan.factor_cells)
    fill_factors(leak, parent_ptr, strength, off, on, tables)
    odds, log_normaliser = solve(plan, tables, leak.size)
    for x in range(leak.size):
        if np.isnan(odds[x]):
            return odds, np.nan
        if 0.0 < log_evidence[x] < np.inf:
            log_normaliser += log_evidence[x]
    return odds, log_normaliser


@compiled
def weights_of(log_evidence: Float64) -> tuple[Float64, Float64]:
    """The weights on 0 and on 1, the larger of them 1: Float64[n] each."""
    return np.exp(np.minimum(-log_evidence, 0.0)), np.exp(np.minimum(log_evidence, 0.0))


@compiled
def solve(plan: EliminationPlan, tables: Float64, variables: int) -> tuple[Float64, float]:
    """Log P(v = 1) / P(v = 0) of the first `variables`, NaN where no value is possible, and the log of the factors' sum over all worlds.

    tables: the factors' cells one after the other, in the order of the plan's scopes.
    """
    cells, clusters, scale, log_normaliser = collected(plan, tables)
    odds = np.full(variables, np.nan)
    if not np.isnan(log_normaliser):
        distribute(plan, cells, clusters, scale, np.empty(1 << BLOCK, np.uint64), np.zeros(cells.size), odds)
    return odds, log_normaliser


@compiled
def collected(plan: EliminationPlan, tables: Float64) -> tuple[Float64, Float64, Float64, float]:
    """The tables with all messages, the clusters and their scales after the forward pass, and the log of the factors' sum over all worlds, NaN where that is 0."""
    cells = np.concatenate((tables, np.empty(plan.message_cells)))
    clusters, scale = np.empty(np.sum(1 << plan.size)), np.empty(plan.size.size)
    return cells, clusters, scale, collect(plan, cells, clusters, scale, np.empty(1 << BLOCK, np.uint64))


def draw(plan: EliminationPlan, tables: Float64, worlds: int, random: np.random.Generator) -> Bool | None:
    """Worlds from the law that factors without negative cells make, bool[all variables, worlds]; None where no world is possible.

    Forward filtering, backward sampling: once the tables are collected, each variable is drawn given those eliminated after it.
    """
    _, clusters, _, log_normaliser = collected(plan, tables)
    if np.isnan(log_normaliser):
        return None
    with np.errstate(invalid="ignore"):  # what is possible in no world is never asked for
        chance = clusters[1::2] / (clusters[::2] + clusters[1::2])
    holds = np.zeros((plan.size.size, worlds), np.int32)
    first = _offsets(plan.size)
    for bucket in range(plan.size.size - 1, -1, -1):
        given = np.full(worlds, plan.cluster_at[bucket] >> 1, np.int32)
        for bit, v in enumerate(plan.member[first[bucket] + 1 : first[bucket + 1]].tolist()):
            given += holds[v] << bit
        holds[plan.eliminated[bucket]] = random.random(worlds) < chance[given]
    return holds.astype(np.bool_)


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


@inlined
def collect(plan: EliminationPlan, tables: Float64, clusters: Float64, scale: Float64, offset: UInt64) -> float:
    """Multiplies and sums out bucket by bucket; fills clusters, messages and their scales. Returns the log normaliser, NaN when it is 0.

    offset: UInt64[2 ** BLOCK], room to work.
    """
    total = 0.0
    for bucket in range(plan.size.size):
        cells, base = 1 << plan.size[bucket], plan.cluster_at[bucket]
        cluster, message = clusters[base : base + cells], tables[plan.message_at[bucket] : plan.message_at[bucket] + (cells >> 1)]
        for cell in range(cells):
            cluster[cell] = 1.0
        for each in range(plan.input_ptr[bucket], plan.input_ptr[bucket + 1]):
            _multiply(cluster, tables[plan.input_at[each] :], plan.step[plan.step_ptr[each] : plan.step_ptr[each] + plan.size[bucket]], offset)
        largest = 0.0
        for cell in range(cells >> 1):
            message[cell] = cluster[2 * cell] + cluster[2 * cell + 1]
            largest = max(largest, abs(message[cell]))
        if not largest > 0.0:
            return np.nan
        for cell in range(cells >> 1):
            message[cell] /= largest
        scale[bucket] = largest
        total += np.log(largest)
    return total


@inlined
def _offsets_within(step: Int64, block: int, offset: UInt64) -> int:
    """Where in a table the first 2 ** block cells of a cluster look, beginning with 0. Returns the last of them."""
    offset[0] = 0
    last = 0
    for t in range(block):
        weight = step[t] + last
        last += weight
        for cell in range(1 << t):
            offset[(1 << t) + cell] = offset[cell] + np.uint64(weight)
    return last


@inlined
def _next(step: Int64, block: int, number: int, last: int) -> int:
    """How the start in a table moves after a block: its number's lowest bits that are set turn off, the next turns on."""
    low = block
    while number & 1:
        number >>= 1
        low += 1
    return step[low] + last if low < step.size else 0


@inlined
def _multiply(cluster: Float64, table: Float64, step: Int64, offset: UInt64) -> None:
    """Multiplies a table into a cluster."""
    block = min(step.size, BLOCK)
    last = _offsets_within(step, block, offset)
    at = 0
    for number in range(cluster.size >> block):
        part, near = cluster[number << block :], table[at:]
        for cell in range(1 << block):
            part[cell] *= near[offset[cell]]
        at += _next(step, block, number, last)


@inlined
def distribute(plan: EliminationPlan, tables: Float64, clusters: Float64, scale: Float64, offset: UInt64, outside: Float64, odds: Float64) -> None:
    """The reverse pass. Fills odds: Float64[n], log P(v = 1) / P(v = 0); NaN stays where neither is possible.

    outside: Float64[cells of all tables], 0: becomes the derivative of the normaliser by the cells of each message.
    """
    for bucket in range(plan.size.size - 1, -1, -1):
        cells, base, above = 1 << plan.size[bucket], plan.cluster_at[bucket], plan.message_at[bucket]
        cluster, beyond = clusters[base : base + cells], outside[above:]
        if cells == 2:
            beyond[0] = 1.0 / tables[above]
        zero = one = 0.0
        for cell in range(cells >> 1):
            cluster[2 * cell] *= beyond[cell]
            cluster[2 * cell + 1] *= beyond[cell]
            zero += cluster[2 * cell]
            one += cluster[2 * cell + 1]
        if plan.eliminated[bucket] < odds.size and (zero > 0.0 or one > 0.0):
            odds[plan.eliminated[bucket]] = np.inf if zero <= 0.0 else -np.inf if one <= 0.0 else np.log(one / zero)
        for each in range(plan.input_ptr[bucket], plan.input_ptr[bucket + 1]):
            if plan.input_from[each] >= 0:
                to, steps = outside[plan.input_at[each] :], plan.step[plan.step_ptr[each] : plan.step_ptr[each] + plan.size[bucket]]
                _add_up(cluster, to, steps, offset)
                message, possible = tables[plan.input_at[each] :], True
                for cell in range(1 << (plan.size[plan.input_from[each]] - 1)):
                    if message[cell] != 0.0:
                        to[cell] /= message[cell] * scale[bucket]
                    else:
                        possible = False
                if not possible:
                    _add_impossible(each, bucket, plan, tables, beyond, to, scale[bucket])


@inlined
def _add_up(cluster: Float64, to: Float64, step: Int64, offset: UInt64) -> None:
    """Adds a cluster's cells to those of a table that were multiplied into them."""
    block = min(step.size, BLOCK)
    last = _offsets_within(step, block, offset)
    at = 0
    for number in range(cluster.size >> block):
        part, near = cluster[number << block :], to[at:]
        for cell in range(1 << block):
            near[offset[cell]] += part[cell]
        at += _next(step, block, number, last)


@inlined
def _add_impossible(left_out: int, bucket: int, plan: EliminationPlan, tables: Float64, beyond: Float64, to: Float64, scale: float) -> None:
    """The derivative by cells of a message that are 0, where what they were multiplied with cannot be had by a division."""
    for cell in range(1 << plan.size[bucket]):
        product, own = beyond[cell >> 1] / scale, 0
        for each in range(plan.input_ptr[bucket], plan.input_ptr[bucket + 1]):
            at, lower = 0, 0
            for t in range(plan.size[bucket]):
                weight = plan.step[plan.step_ptr[each] + t] + lower
                lower += weight
                at += weight * ((cell >> t) & 1)
            if each == left_out:
                own = at
            else:
                product *= tables[plan.input_at[each] + at]
        if tables[plan.input_at[left_out] + own] == 0.0:
            to[own] += product
