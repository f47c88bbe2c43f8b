"""Exact marginals by bucket elimination over the multiplicative factorisation of noisy-OR (Diez & Galan 2003; Takikawa & D'Ambrosio 1999).

A variable x with parents u gets an auxiliary y in {0, 1}: P(x | u) = sum_y h(y, x) prod_i g_i(y, u_i) with h(0, .) = (1-leak)(1, -1),
h(1, .) = (0, 1), g_i(0, u) = (1 - w_i)^u, g_i(1, u) = 1. Parents are never moralised. All marginals by one reverse pass (Darwiche 2003).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasoning.errors import InconsistentEvidenceError

Table = NDArray[np.float64]
Scope = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """A table over binary variables; axis i belongs to scope[i]."""

    scope: Scope
    table: Table


class TooWideError(Exception):
    """The best order found needs tables beyond the bound."""


def noisy_or_factors(
    leak: Sequence[float], parents: Sequence[Sequence[int]], strengths: Sequence[Sequence[float]], log_evidence: Sequence[float]
) -> tuple[int, list[Factor]]:
    """Factors over local variables 0..n-1 and auxiliaries from n on; returns how many variables there are in all."""
    factors, count = [], len(leak)
    for x in range(len(leak)):
        off, on = (np.exp(-log_evidence[x]), 1.0) if log_evidence[x] > 0 else (1.0, np.exp(log_evidence[x]))
        silent = 1.0 - leak[x]
        if len(parents[x]) <= 2:
            factors.append(_small_family(x, parents[x], strengths[x], silent, off, on))
            continue
        y, count = count, count + 1
        factors.append(Factor((y, x), np.array([[silent * off, -silent * on], [0.0, on]])))
        factors.extend(Factor((y, u), np.array([[1.0, 1.0 - w], [1.0, 1.0]])) for u, w in zip(parents[x], strengths[x], strict=True))
    return count, factors


def _small_family(x: int, parents: Sequence[int], strengths: Sequence[float], silent: float, off: float, on: float) -> Factor:
    silence = np.array(silent)
    for w in strengths:
        silence = np.multiply.outer(silence, np.array([1.0, 1.0 - w]))
    return Factor((*parents, x), np.stack([silence * off, (1.0 - silence) * on], axis=-1))


def elimination_order(count: int, scopes: Sequence[Scope], widest: int) -> list[int]:
    """Min-fill order. Raises TooWideError beyond `widest` neighbours."""
    near = _neighbours(count, scopes)
    version, gone = [0] * count, [False] * count
    heap = [(*_fill(near, v), v, 0) for v in range(count)]
    heapq.heapify(heap)
    order = []
    while heap:
        _, _, v, seen = heapq.heappop(heap)
        if gone[v] or seen != version[v]:
            continue
        if len(near[v]) > widest:
            raise TooWideError
        gone[v] = True
        order.append(v)
        for u in _remove(near, v):
            if not gone[u]:
                version[u] += 1
                heapq.heappush(heap, (*_fill(near, u), u, version[u]))
    return order


def _neighbours(count: int, scopes: Sequence[Scope]) -> list[set[int]]:
    near: list[set[int]] = [set() for _ in range(count)]
    for scope in scopes:
        for v in scope:
            near[v].update(scope)
    for v in range(count):
        near[v].discard(v)
    return near


def _remove(near: list[set[int]], v: int) -> set[int]:
    """Joins v's neighbours to each other and takes v away; returns those whose fill may have changed."""
    around = sorted(near[v])
    touched = set(around)
    for place, a in enumerate(around):
        for b in around[place + 1 :]:
            if b not in near[a]:
                touched |= near[a] & near[b]
                near[a].add(b)
                near[b].add(a)
        near[a].discard(v)
    near[v] = set()
    return touched - {v}


def _fill(near: Sequence[set[int]], v: int) -> tuple[int, int]:
    around = list(near[v])
    if len(around) > 40:
        return 1_000_000 + len(around), len(around)
    return sum(len(around) - 1 - len(near[a] & near[v]) for a in around) // 2, len(around)


def marginals(count: int, factors: Sequence[Factor], order: Sequence[int]) -> tuple[NDArray[np.float64], float]:
    """P(v = 1) for all `count` variables, and the logarithm of the normaliser. Raises InconsistentEvidenceError."""
    position = {v: place for place, v in enumerate(order)}
    buckets: list[list[tuple[Scope, Table, int]]] = [[] for _ in range(count)]
    for factor in factors:
        axes = sorted(range(len(factor.scope)), key=lambda axis: position[factor.scope[axis]])
        scope = tuple(factor.scope[axis] for axis in axes)
        buckets[scope[0]].append((scope, np.transpose(factor.table, axes), -1))
    clusters: dict[int, tuple[Scope, Table]] = {}
    messages: dict[int, tuple[Scope, Table, float]] = {}
    log_normaliser = 0.0
    for v in order:
        scope = tuple(sorted({u for part, _, _ in buckets[v] for u in part} | {v}, key=position.__getitem__))
        table = np.ones((2,) * len(scope))
        for part, values, _ in buckets[v]:
            table = table * _spread(values, part, scope)
        summed = table.sum(axis=0)
        scale = float(np.abs(summed).max())
        if not scale > 0.0 or not np.isfinite(scale):
            raise InconsistentEvidenceError([v])
        summed = summed / scale
        log_normaliser += float(np.log(scale))
        clusters[v], messages[v] = (scope, table), (scope[1:], summed, scale)
        if len(scope) > 1:
            buckets[scope[1]].append((scope[1:], summed, v))
    return _reverse(count, order, buckets, clusters, messages), log_normaliser


def _reverse(
    count: int,
    order: Sequence[int],
    buckets: Sequence[Sequence[tuple[Scope, Table, int]]],
    clusters: dict[int, tuple[Scope, Table]],
    messages: dict[int, tuple[Scope, Table, float]],
) -> NDArray[np.float64]:
    outside: dict[int, Table] = {}
    found = np.empty(count)
    for v in reversed(order):
        (scope, table), (rest, message, scale) = clusters[v], messages[v]
        above = outside[v] if rest else 1.0 / message
        weighed = (table * above).reshape(2, -1).sum(axis=1)
        found[v] = weighed[1] / weighed.sum()
        spread = np.broadcast_to(above / scale, (2,) * len(scope))
        for part, _, origin in buckets[v]:
            if origin < 0:
                continue
            product = spread
            for other, values, source in buckets[v]:
                if source != origin:
                    product = product * _spread(values, other, scope)
            dropped = tuple(axis for axis, u in enumerate(scope) if u not in part)
            outside[origin] = product.sum(axis=dropped) if dropped else product
    return np.clip(found, 0.0, 1.0)


def _spread(table: Table, part: Scope, scope: Scope) -> Table:
    return table.reshape(tuple(2 if u in part else 1 for u in scope))
