"""Faults put into quiet recorded rows of coarse metrics, at any service below the entry; their callers inherit what they would.

After the study of coarse metrics: a fault lasts the last two rows. Excess (seconds, failures) travels from a callee to its callers by their
share of its requests, with the coupling that quiet rows show, or else a random one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from schema.batches import Float64

SCENARIOS = ("plain", "mirrored", "some_amplify", "all_amplify", "other_kind")
LATENCY, ERRORS = 0, 1
SLOWER = (1.5, 3.0, 10.0)  # times its usual time
FAILING = (0.02, 0.1, 0.4)  # of its requests
FAULTY_ROWS = 2
EARLIEST_END = 100  # rows: so much history has every question
BUSY = 5  # requests a row, of who may fail
AMPLIFYING = 0.3  # of the links, where some do
COUPLING_KNOWN = 0.1  # standard error
LEAST_ROWS = 20
SHOWN_BY = 5.0  # robust standard deviations of what the entry shows: no alert, no question


@dataclass(frozen=True, slots=True)
class Rows:
    """r rows of n services: requests, seconds in all, failures (Float64[r, n], NaN where none was recorded); callees of each service by index."""

    names: tuple[str, ...]
    requests: Float64
    seconds: Float64
    failures: Float64
    callees: Mapping[int, tuple[int, ...]]

    def callers(self, service: int) -> list[int]:
        """Who calls it, in order."""
        return [caller for caller, callees in sorted(self.callees.items()) if service in callees]

    def of(self, kind: int) -> Float64:
        """What excess of a kind is counted in."""
        return self.seconds if kind == LATENCY else self.failures


@dataclass(frozen=True, slots=True)
class Injection:
    """What a fault adds to rows `first` .. `end - 1`: seconds and failures, Float64[FAULTY_ROWS, n]."""

    service: int
    kind: int
    first: int
    end: int
    seconds: Float64
    failures: Float64


def inject(rows: Rows, scenario: str, random: np.random.Generator) -> Injection | None:
    """A fault of a random service, kind and size at a random time; None where the entry would not show it."""
    end = int(random.integers(EARLIEST_END, len(rows.requests) + 1))
    first, entry = end - FAULTY_ROWS, _entry(rows)
    kind = int(random.integers(2))
    able = [service for service in _below(rows, entry) if _busy(rows, service, first, end, kind)]
    if not able:
        return None
    spread = _Spread(rows, scenario, able[random.integers(len(able))], kind, random)
    size = float(random.choice(SLOWER if kind == LATENCY else FAILING))
    per_row = [spread.row(row, size) for row in range(first, end)]
    seconds, failures = (np.array([each[which] for each in per_row]) for which in (LATENCY, ERRORS))
    shown = kind if scenario != "other_kind" or spread.service == entry else 1 - kind
    injection = Injection(spread.service, kind, first, end, seconds, failures)
    return injection if _shows(rows, entry, shown, injection) else None


@dataclass(slots=True)
class _Spread:
    """How one fault reaches the callers; what is drawn for a link holds for all rows."""

    rows: Rows
    scenario: str
    service: int
    kind: int
    random: np.random.Generator
    gains: dict[tuple[int, int], float] = field(default_factory=dict)
    shadows: dict[int, tuple[int, float]] = field(default_factory=dict)

    def row(self, row: int, size: float) -> tuple[Float64, Float64]:
        """Seconds and failures added in a row, Float64[n] each."""
        own = self._own(row, size)
        added = {self.service: own}
        travelling = self.kind
        todo = [self.service]
        if self.scenario == "other_kind":
            travelling = 1 - self.kind
            todo = [caller for caller in self.rows.callers(self.service) if self.rows.requests[row, caller] > 0]
            added |= {caller: self._flipped(row, caller) for caller in todo}
        self._climb(row, todo, added, travelling)
        if self.scenario == "mirrored":
            self._mirror(row, own, added)
        result = np.zeros(len(self.rows.names)), np.zeros(len(self.rows.names))
        for service, amount in added.items():
            kind = self.kind if service == self.service else travelling
            room = float(self.rows.requests[row, service] - np.nan_to_num(self.rows.failures[row, service]))
            result[kind][service] += amount if kind == LATENCY else max(min(amount, room), 0.0)
        return result

    def _own(self, row: int, size: float) -> float:
        requests = self.rows.requests[row, self.service]
        if self.kind == ERRORS:
            return float(self.random.binomial(int(requests), size))
        return float(requests * _usual(self.rows, self.service) * (size - 1.0))

    def _flipped(self, row: int, caller: int) -> float:
        """What a caller shows of a fault of the other kind: timeouts make failures of slowness, retries slowness of failures."""
        gain = self._gain((caller, self.service), self.random.uniform(0.3, 1.0))
        requests = self.rows.requests[row, caller]
        if self.kind == LATENCY:
            return float(self.random.binomial(int(requests), min(0.5, 0.1 * gain)))
        return float(requests * _usual(self.rows, caller) * 2.0 * gain)

    def _climb(self, row: int, todo: list[int], added: dict[int, float], kind: int) -> None:
        requests = self.rows.requests[row]
        for callee in todo:
            callers = [caller for caller in self.rows.callers(callee) if requests[caller] > 0]
            total = sum(requests[caller] for caller in callers)
            for caller in callers:
                amount = added[callee] * requests[caller] / total * self._link(caller, callee, kind)
                if kind == ERRORS:
                    amount = min(float(self.random.poisson(amount)), requests[caller])
                if caller not in added:
                    todo.append(caller)
                added[caller] = added.get(caller, 0.0) + amount

    def _link(self, caller: int, callee: int, kind: int) -> float:
        if (caller, callee) in self.gains and self.scenario != "other_kind":
            return self.gains[caller, callee]
        known = coupling(self.rows, caller, callee, kind)
        gain = min(max(known, 0.0), 1.0) if known is not None else self.random.uniform(0.5, 1.0)
        if self.scenario == "all_amplify" or (self.scenario == "some_amplify" and self.random.random() < AMPLIFYING):
            gain *= self.random.uniform(2.0, 4.0)
        return self._gain((caller, callee), gain)

    def _gain(self, link: tuple[int, int], gain: float) -> float:
        return self.gains.setdefault(link, gain)

    def _mirror(self, row: int, own: float, added: dict[int, float]) -> None:
        """A leaf beside the culprit, called by the same caller, shows a part of the excess."""
        for caller in self.rows.callers(self.service):
            leaves = [each for each in self.rows.callees[caller] if each not in added and not self.rows.callees.get(each) and self.rows.requests[row, each] > 0]
            if not leaves:
                continue
            leaf, part = self.shadows.setdefault(caller, (leaves[self.random.integers(len(leaves))], self.random.uniform(0.1, 0.4)))
            added[leaf] = float(self.random.poisson(own * part)) if self.kind == ERRORS else own * part


def coupling(rows: Rows, caller: int, callee: int, kind: int) -> float | None:
    """Which share of a callee's excess reaches the caller, by how both move from row to row; None where the rows do not tell."""
    amount, requests = rows.of(kind), rows.requests
    with np.errstate(invalid="ignore", divide="ignore"):
        cause = np.diff(amount[:, callee] / requests[:, callee]) * requests[1:, callee]
        effect = np.diff(amount[:, caller] / requests[:, caller]) * requests[1:, caller]
    known = np.isfinite(cause) & np.isfinite(effect)
    cause, effect = cause[known], effect[known]
    slope = scatter = 0.0
    for _ in range(3):
        if len(cause) < LEAST_ROWS or np.ptp(cause) == 0:
            return None
        slope = float(cause @ effect / (cause @ cause))
        residual = np.abs(effect - slope * cause)
        scatter = 1.4826 * float(np.median(residual)) + 1e-12
        cause, effect = cause[residual < 5 * scatter], effect[residual < 5 * scatter]
    error = 1.5 * scatter / max(float(np.linalg.norm(cause)), 1e-6)
    return slope if error < COUPLING_KNOWN else None


def _usual(rows: Rows, service: int) -> float:
    """Median over the rows of the mean time of a request."""
    requests, seconds = rows.requests[:, service], rows.seconds[:, service]
    served = requests > 0
    return float(np.median(seconds[served] / requests[served]))


def _entry(rows: Rows) -> int:
    """The busiest of those whom nobody calls."""
    called = {callee for callees in rows.callees.values() for callee in callees}
    volume = np.nan_to_num(rows.requests).sum(axis=0)
    return max((service for service in range(len(rows.names)) if service not in called), key=lambda service: float(volume[service]))


def _below(rows: Rows, entry: int) -> list[int]:
    seen, todo = set[int](), [entry]
    for service in todo:
        for callee in rows.callees.get(service, ()):
            if callee not in seen:
                seen.add(callee)
                todo.append(callee)
    return sorted(seen)


def _busy(rows: Rows, service: int, first: int, end: int, kind: int) -> bool:
    recent = rows.requests[first - FAULTY_ROWS : end, service]
    recorded = kind == LATENCY or bool(np.isfinite(rows.failures[:, service]).any())
    return recorded and bool(np.isfinite(recent).all()) and float(np.nanmedian(rows.requests[:, service])) >= BUSY


def _shows(rows: Rows, entry: int, kind: int, injection: Injection) -> bool:
    """Whether the entry's mean over the faulty rows stands out of how such means moved before."""
    requests, amount = rows.requests[: injection.end, entry], rows.of(kind)[: injection.end, entry]
    means = _moving(amount, FAULTY_ROWS) / _moving(requests, FAULTY_ROWS)
    moves = means[FAULTY_ROWS:] - means[:-FAULTY_ROWS]
    usual = moves[:-1][np.isfinite(moves[:-1])]
    added = (injection.seconds if kind == LATENCY else injection.failures)[:, entry].sum() / requests[injection.first :].sum()
    if len(usual) < LEAST_ROWS or not np.isfinite(moves[-1] + added):
        return False
    scatter = 1.4826 * float(np.median(np.abs(usual))) or float(np.std(usual)) or 1e-9
    return bool(moves[-1] + added > SHOWN_BY * scatter)


def _moving(values: Float64, width: int) -> Float64:
    return np.convolve(values, np.ones(width), "valid")
