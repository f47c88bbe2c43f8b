"""Metric points -> samples of attributes, request sums of services without spans, and calls from service-graph metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from graph.resolver import Resolver
from ingest.otlp.columns import Strings, frozen
from ingest.tables import Intern, RequestCount, WindowCounts
from schema.attributes import ATTRIBUTES, SERVER_DURATION, SUCCESS_RATIO, Attribute, MetricSource, Scale
from schema.batches import MetricBatch, PointKind, Resource
from schema.identity import EntityRef
from schema.windows import SampleTable

SECOND = 1_000_000_000
SERVICE_GRAPH_CALLS = "traces_service_graph_request_total"
INCREASING = frozenset({PointKind.CUMULATIVE, PointKind.HISTOGRAM_CUMULATIVE, PointKind.SUMMARY})


@dataclass(frozen=True, slots=True, order=True)
class PointRow:
    """One metric point, in canonical order."""

    time: int
    metric: str
    owner: str
    attributes: tuple[tuple[str, str], ...]
    kind: int
    value: float
    count: float
    resource: Resource = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Use:
    attribute: Attribute
    source: MetricSource
    role: str  # "value", "limit" or "complement"


class SampleReader:
    """Turns points into samples; remembers the last value of increasing series and the limits. Bounded, drops counted."""

    def __init__(self, resolver: Resolver, *, limit: int = 1_000_000) -> None:
        self._resolver = resolver
        self._limit = limit
        self._uses = _uses()
        self._last: dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[float, float]] = {}
        self._limits: dict[tuple[EntityRef, str], float] = {}
        self._with_spans: set[EntityRef] = set()
        self._measured_success: set[EntityRef] = set()
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Points not used, by reason."""
        return dict(self._dropped)

    def read(self, points: list[PointRow], counts: WindowCounts) -> None:
        """Counts a window's samples, request sums of services without spans, and calls that only service graphs know."""
        self._with_spans |= {ref for ref in counts.requests if ref.kind == "service"}
        values: defaultdict[tuple[EntityRef, str], list[float]] = defaultdict(list)
        parts: defaultdict[tuple[EntityRef, str], dict[str, float]] = defaultdict(lambda: {"value": 0.0, "complement": 0.0})
        for point in points:
            if point.metric == SERVICE_GRAPH_CALLS:
                self._service_graph(point, counts)
                continue
            uses = self._uses.get(point.metric)
            if uses is None:
                self._dropped["unknown_metric"] += 1
                continue
            self._use(point, uses, counts, values, parts)
        for key, pair in parts.items():
            if pair["value"] + pair["complement"] > 0:
                values[key].append(pair["value"] / (pair["value"] + pair["complement"]))
        self._count_failures(values, counts)
        counts.samples = {key: each for key, each in values.items() if key[1] != SUCCESS_RATIO.name and each}

    def _use(
        self,
        point: PointRow,
        uses: list[_Use],
        counts: WindowCounts,
        values: defaultdict[tuple[EntityRef, str], list[float]],
        parts: defaultdict[tuple[EntityRef, str], dict[str, float]],
    ) -> None:
        increase, number = self._increase(point)
        for use in uses:
            if not set(use.source.where) <= set(point.attributes):
                continue
            ref = self._resolver.metric_entity(point.resource, dict(point.attributes), use.attribute.kinds, point.time)
            if ref is None:
                continue
            key = (ref, use.attribute.name)
            if use.attribute is SERVER_DURATION:
                self._count_sums(ref, increase, number, counts)
            elif use.role == "limit":
                self._limits[key] = point.value
            elif use.source.complement_metric:
                parts[key][use.role] += max(increase, 0.0)
            else:
                self._sample(use, point, key, increase, number, values)

    def _sample(
        self, use: _Use, point: PointRow, key: tuple[EntityRef, str], increase: float, number: float, values: defaultdict[tuple[EntityRef, str], list[float]]
    ) -> None:
        if point.kind in {PointKind.HISTOGRAM_CUMULATIVE, PointKind.HISTOGRAM_DELTA, PointKind.SUMMARY}:
            if number > 0:
                values[key].append(increase / number)
        elif use.attribute.scale == Scale.COUNT:
            values[key].append(max(increase, 0.0))
        elif use.source.limit_metric:
            limit = self._limits.get(key, 0.0)
            if limit > 0:
                values[key].append(point.value / limit)
        else:
            values[key].append(increase if point.kind in {PointKind.CUMULATIVE, PointKind.DELTA} and use.attribute.scale == Scale.AMOUNT else point.value)

    def _increase(self, point: PointRow) -> tuple[float, float]:
        """How much sum and count grew since the series' last point; after a reset, what is there now. Gauges of counts grow too."""
        counted = any(use.attribute.scale == Scale.COUNT for use in self._uses.get(point.metric, ()))
        if point.kind not in INCREASING and not (counted and point.kind == PointKind.GAUGE):
            return point.value, point.count
        series = (point.metric, point.owner, point.attributes)
        last = self._last.get(series)
        if last is None and len(self._last) >= self._limit:
            self._dropped["series_full"] += 1
            return 0.0, 0.0
        self._last[series] = (point.value, point.count)
        if last is None:
            return 0.0, 0.0
        reset = point.value < last[0] or point.count < last[1]
        return (point.value, point.count) if reset else (point.value - last[0], point.count - last[1])

    def _count_sums(self, ref: EntityRef, seconds: float, requests: float, counts: WindowCounts) -> None:
        if ref in self._with_spans or requests <= 0:
            return
        count = counts.requests.setdefault(ref, RequestCount(detailed=False))
        count.summed_requests += round(requests)
        count.summed_duration += round(seconds * SECOND)

    def _count_failures(self, values: Mapping[tuple[EntityRef, str], list[float]], counts: WindowCounts) -> None:
        for (ref, attribute), ratios in values.items():
            if attribute != SUCCESS_RATIO.name:
                continue
            if max(ratios) > 0:
                self._measured_success.add(ref)
            count = counts.requests.get(ref)
            # A ratio that never was above 0 is a column nobody measured, not a service that always fails.
            if count is not None and not count.detailed and ref in self._measured_success:
                failed = round(count.summed_requests * (1.0 - sum(ratios) / len(ratios)))
                count.errors += failed
                count.own_errors += failed

    def _service_graph(self, point: PointRow, counts: WindowCounts) -> None:
        ends = dict(point.attributes)
        increase, _ = self._increase(point)
        if not ends.get("client") or not ends.get("server") or ends["client"] == ends["server"]:
            self._dropped["service_graph_without_ends"] += 1
            return
        source, target = (self._resolver.service_in_metrics(ends[end], point.resource) for end in ("client", "server"))
        counts.call_count(source, "calls", target).calls += round(max(increase, 0.0))


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
            value=float(batch.value[row]),
            count=float(batch.count[row]),
            resource=batch.resources[batch.resource[row]],
        )
        for row in rows
    ]


def _uses() -> dict[str, list[_Use]]:
    uses: defaultdict[str, list[_Use]] = defaultdict(list)
    for attribute in ATTRIBUTES.values():
        for source in attribute.sources:
            uses[source.metric].append(_Use(attribute, source, "value"))
            if source.limit_metric:
                uses[source.limit_metric].append(_Use(attribute, MetricSource(source.limit_metric), "limit"))
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
