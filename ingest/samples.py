"""Metric points -> samples of attributes, request sums of services without spans, and calls from service-graph metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graph.resolver import Resolver
from ingest.bounded import BoundedTable
from ingest.otlp.columns import Strings, frozen
from ingest.tables import CallCount, Intern, RequestCount, WindowCounts
from schema.attributes import ATTRIBUTES, SERVER_DURATION, SUCCESS_RATIO, Attribute, MetricSource, Scale
from schema.batches import MetricBatch, PointKind, Resource
from schema.identity import EntityRef
from schema.windows import SampleTable

SECOND = 1_000_000_000
IMPLAUSIBLE = 1e18  # no bytes, seconds or requests of a window come near; beyond it sums leave their range
TO_SECONDS = {"ms": 1e-3, "us": 1e-6, "\N{MICRO SIGN}s": 1e-6, "ns": 1e-9}
SERVICE_GRAPH_CALLS = "traces_service_graph_request_total"
Pairs = tuple[tuple[str, str], ...]
Series = tuple[str, str, Pairs]
INCREASING = frozenset({PointKind.CUMULATIVE, PointKind.HISTOGRAM_CUMULATIVE, PointKind.SUMMARY})


@dataclass(frozen=True, slots=True, order=True)
class PointRow:
    """One metric point, in canonical order."""

    time: int
    metric: str
    owner: str
    attributes: Pairs
    kind: int
    value: float
    count: float
    resource: Resource = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Use:
    attribute: Attribute
    source: MetricSource
    role: str  # "value", "limit" or "complement"


@dataclass(slots=True)
class _Reading:
    """What one window's points add up to. `parts`: the increases that make a ratio, by role; `series`: the last value of each, to be summed."""

    counts: WindowCounts
    values: defaultdict[tuple[EntityRef, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    parts: defaultdict[tuple[EntityRef, str], defaultdict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    series: defaultdict[tuple[EntityRef, str], dict[tuple[str, Pairs], float]] = field(default_factory=lambda: defaultdict(dict))


@dataclass(frozen=True, slots=True)
class SampleMemory:
    """Of increasing series the last value and count, of pools their limits; services that sent spans, and whose share of successes was ever above 0."""

    last: Mapping[Series, tuple[float, float]]
    limits: Mapping[tuple[EntityRef, str, Pairs], float]
    with_spans: tuple[EntityRef, ...]
    measured_success: tuple[EntityRef, ...]


class SampleReader:
    """Turns points into samples; remembers the last value of increasing series and the limits. Bounded, the oldest go first, counted."""

    def __init__(self, resolver: Resolver, *, limit: int = 1_000_000) -> None:
        self._resolver = resolver
        self._uses = _uses()
        self._dropped: Counter[str] = Counter()
        self._last: BoundedTable[Series, tuple[float, float]] = BoundedTable(limit, "series_forgotten", self._dropped)
        self._limits: BoundedTable[tuple[EntityRef, str, Pairs], float] = BoundedTable(limit, "limits_forgotten", self._dropped)
        self._with_spans: BoundedTable[EntityRef, bool] = BoundedTable(limit, "services_forgotten", self._dropped)
        self._measured_success: BoundedTable[EntityRef, bool] = BoundedTable(limit, "services_forgotten", self._dropped)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Points not used, by reason."""
        return dict(self._dropped)

    def memory(self) -> SampleMemory:
        """A copy of what is remembered."""
        tables = (self._last.entries(), self._limits.entries(), tuple(self._with_spans.entries()), tuple(self._measured_success.entries()))
        return SampleMemory(*tables)

    def restore(self, memory: SampleMemory) -> None:
        """Takes over a memory."""
        for series, value in memory.last.items():
            self._last.put(series, value)
        for pool, limit in memory.limits.items():
            self._limits.put(pool, limit)
        for table, refs in ((self._with_spans, memory.with_spans), (self._measured_success, memory.measured_success)):
            for ref in refs:
                table.put(ref, True)

    def read(self, points: Sequence[PointRow], counts: WindowCounts) -> None:
        """Counts a window's samples, request sums of services without spans, and calls that only service graphs know."""
        for ref in sorted(ref for ref in counts.requests if ref.kind == "service"):
            self._with_spans.put(ref, True)
        self._note_limits(points)
        reading = _Reading(counts)
        for point in points:
            if point.metric == SERVICE_GRAPH_CALLS:
                self._service_graph(point, counts)
            elif point.metric in self._uses:
                self._use(point, reading)
            else:
                self._dropped["unknown_metric"] += 1
        for key, parts in reading.parts.items():
            if (whole := parts["value"] + parts["complement"]) > 0:
                reading.values[key].append(parts["value"] / whole)
        for key, summed in reading.series.items():
            reading.values[key].append(sum(summed.values()))
        self._count_failures(reading.values, counts)
        counts.samples = {key: each for key, each in reading.values.items() if key[1] != SUCCESS_RATIO.name and each}

    def _entity(self, use: _Use, point: PointRow) -> EntityRef | None:
        attributes = dict(point.attributes)
        # A limit holds for every state, so it need not name one.
        if any(attributes.get(key, value if use.role == "limit" else None) != value for key, value in use.source.where):
            return None
        return self._resolver.metric_entity(point.resource, attributes, use.attribute.kinds, point.time)

    def _note_limits(self, points: Sequence[PointRow]) -> None:
        for point in points:
            for use in self._uses.get(point.metric, ()):
                ref = self._entity(use, point) if use.role == "limit" else None
                if ref is not None:
                    self._limits.put((ref, use.attribute.name, _pool(use, point)), point.value)

    def _use(self, point: PointRow, reading: _Reading) -> None:
        increase, number = self._increase(point)
        if not (abs(point.value) < IMPLAUSIBLE and abs(increase) < IMPLAUSIBLE and number < IMPLAUSIBLE):
            self._dropped["implausible_value"] += 1
            return
        for use in self._uses[point.metric]:
            ref = self._entity(use, point) if use.role != "limit" else None
            if ref is None:
                continue
            key = (ref, use.attribute.name)
            if use.attribute is SERVER_DURATION:
                self._count_sums(ref, increase, number, reading.counts)
            elif use.source.complement_metric:
                reading.parts[key][use.role] += max(increase, 0.0)
            else:
                value = self._value(use, point, ref, increase, number)
                if value is not None and use.attribute.summed:
                    reading.series[key][point.owner, point.attributes] = value
                elif value is not None:
                    reading.values[key].append(value)

    def _value(self, use: _Use, point: PointRow, ref: EntityRef, increase: float, number: float) -> float | None:
        """What a point says about the attribute; None when it says nothing."""
        if point.kind in {PointKind.HISTOGRAM_CUMULATIVE, PointKind.HISTOGRAM_DELTA, PointKind.SUMMARY}:
            return increase / number if number > 0 else None
        if use.attribute.scale == Scale.COUNT:
            return max(increase, 0.0)
        if use.source.limit_metric:
            limit = self._limits.get((ref, use.attribute.name, _pool(use, point)))
            return point.value / limit if limit is not None and limit > 0 else None
        return increase if point.kind in {PointKind.CUMULATIVE, PointKind.DELTA} and use.attribute.scale == Scale.AMOUNT else point.value

    def _increase(self, point: PointRow) -> tuple[float, float]:
        """How much sum and count grew since the series' last point; after a reset, what is there now. Gauges of counts grow too."""
        counted = any(use.attribute.scale == Scale.COUNT for use in self._uses.get(point.metric, ()))
        if point.kind not in INCREASING and not (counted and point.kind == PointKind.GAUGE):
            return point.value, point.count
        series = (point.metric, point.owner, point.attributes)
        last = self._last.get(series)
        self._last.put(series, (point.value, point.count))
        if last is None:
            return 0.0, 0.0
        reset = point.value < last[0] or point.count < last[1]
        return (point.value, point.count) if reset else (point.value - last[0], point.count - last[1])

    def _count_sums(self, ref: EntityRef, seconds: float, requests: float, counts: WindowCounts) -> None:
        if ref in self._with_spans or requests <= 0:
            return
        count = counts.requests.setdefault(ref, RequestCount(detailed=False))
        count.summed_requests += round(requests)
        count.summed_duration += round(max(seconds, 0.0) * SECOND)

    def _count_failures(self, values: Mapping[tuple[EntityRef, str], list[float]], counts: WindowCounts) -> None:
        for (ref, attribute), ratios in values.items():
            if attribute != SUCCESS_RATIO.name:
                continue
            if max(ratios) > 0:
                self._measured_success.put(ref, True)
            count = counts.requests.get(ref)
            # A ratio that never was above 0 is a column nobody measured, not a service that always fails.
            if count is not None and not count.detailed and ref in self._measured_success:
                failed = round(count.summed_requests * (1.0 - min(max(sum(ratios) / len(ratios), 0.0), 1.0)))
                count.errors += failed
                count.own_errors += failed

    def _service_graph(self, point: PointRow, counts: WindowCounts) -> None:
        ends = dict(point.attributes)
        increase, _ = self._increase(point)
        if not increase < IMPLAUSIBLE:
            self._dropped["implausible_value"] += 1
            return
        if not ends.get("client") or not ends.get("server") or ends["client"] == ends["server"]:
            self._dropped["service_graph_without_ends"] += 1
            return
        source, target = (self._resolver.service_in_metrics(ends[end], point.resource) for end in ("client", "server"))
        count = counts.calls.setdefault((source, "calls", target), CallCount(traced=False))
        if not count.traced:  # Traces know more about the same calls.
            count.calls += round(max(increase, 0.0))


def point_rows(batch: MetricBatch, rows: list[int]) -> list[PointRow]:
    """The chosen rows of a batch."""
    owners = ["\0".join(f"{key}={value}" for key, value in resource.attributes.items()) for resource in batch.resources]
    pairs = [tuple(sorted(attributes.items())) for attributes in batch.attribute_sets]
    return [
        PointRow(
            time=int(batch.time[row]),
            metric=batch.strings[batch.metric[row]],
            owner=owners[batch.resource[row]],
            attributes=pairs[batch.attributes[row]],
            kind=int(batch.kind[row]),
            value=float(batch.value[row]) * TO_SECONDS.get(batch.strings[batch.unit[row]], 1.0),
            count=float(batch.count[row]),
            resource=batch.resources[batch.resource[row]],
        )
        for row in rows
    ]


def _pool(use: _Use, point: PointRow) -> Pairs:
    """What tells the pools of one entity apart: the point's attributes less those that choose the state."""
    choosing = {key for key, _ in use.source.where}
    return tuple(pair for pair in point.attributes if pair[0] not in choosing)


def _uses() -> dict[str, list[_Use]]:
    uses: defaultdict[str, list[_Use]] = defaultdict(list)
    for attribute in ATTRIBUTES.values():
        for source in attribute.sources:
            uses[source.metric].append(_Use(attribute, source, "value"))
            if source.limit_metric:
                uses[source.limit_metric].append(_Use(attribute, source, "limit"))
            if source.complement_metric:
                uses[source.complement_metric].append(_Use(attribute, source, "complement"))
    return dict(uses)


def sample_table(counts: WindowCounts, intern: Intern) -> SampleTable:
    """Rows in ascending entity and attribute."""
    names, rows = Strings(), sorted(counts.samples.items())
    return SampleTable(
        entity=frozen([intern(key[0]) for key, _ in rows], np.int32),
        attribute=frozen([names.index(key[1]) for key, _ in rows], np.int32),
        attributes=tuple(names.texts),
        samples=frozen([len(each) for _, each in rows], np.int64),
        mean=frozen([sum(each) / len(each) for _, each in rows], np.float64),
        minimum=frozen([min(each) for _, each in rows], np.float64),
        maximum=frozen([max(each) for _, each in rows], np.float64),
    )
