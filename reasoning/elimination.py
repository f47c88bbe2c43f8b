"""Exact marginals by bucket elimination over the multiplicative factorisation of noisy-OR (Diez & Galan 2003; Takikawa & D'Ambrosio 1999).

A variable x with parents u gets an auxiliary y in {0, 1}: P(x | u) = sum_y h(y, x) prod_i g_i(y, u_i) with h(0, .) = (1-leak)(1, -1),
h(1, .) = (0, 1), g_i(0, u) = (1 - w_i)^u, g_i(1, u) = 1. Parents are never moralised. All marginals by one reverse pass (Darwiche 2003).

A plan depends on who is whose parent only; strengths, priors and evidence may change under it. All functions work on a local
network in CSR form: parent_ptr: Int64[n + 1], parent: Int32[m] (local indices), strength: Float64[m], leak: Float64[n].
Tables over k variables are flat: bit i of a cell's index is the value of the i-th variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from reasoning.elimination_order import elimination_order, family_scopes, moves
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
