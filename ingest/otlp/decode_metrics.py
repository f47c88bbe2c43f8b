"""ExportMetricsServiceRequest -> MetricBatch (opentelemetry-proto, metrics/v1)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, Metric

from ingest.otlp.columns import Rejections, Strings, attributes_of, frozen, rejections, resource_of
from schema.batches import MetricBatch, PointKind, Resource

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


@dataclass(slots=True)
class _Points:
    strings: Strings = field(default_factory=Strings)
    sets: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)
    whole: list[tuple[int, ...]] = field(default_factory=list)
    real: list[tuple[float, float]] = field(default_factory=list)
    bucket_ptr: list[int] = field(default_factory=lambda: [0])
    bucket_count: list[float] = field(default_factory=list)
    bucket_bound: list[float] = field(default_factory=list)


def decode_metrics(message: ExportMetricsServiceRequest) -> tuple[MetricBatch, Rejections]:
    """The good points as columns, and the bad ones counted by reason."""
    refused: Counter[str] = Counter()
    points = _Points()
    resources: list[Resource] = []
    for resource_metrics in message.resource_metrics:
        resource = len(resources)
        resources.append(resource_of(resource_metrics.resource))
        for scope in resource_metrics.scope_metrics:
            for metric in scope.metrics:
                for kind, point in _data_points(metric):
                    _add(points, refused, resource, metric, kind, point)
    table = np.array(points.whole, dtype=np.int64).reshape(-1, 7)
    real = np.array(points.real, dtype=np.float64).reshape(-1, 2)
    batch = MetricBatch(
        strings=tuple(points.strings.texts),
        resources=tuple(resources),
        attribute_sets=tuple(dict(pairs) for pairs in points.sets),
        resource=frozen(table[:, 0], np.int32),
        metric=frozen(table[:, 1], np.int32),
        unit=frozen(table[:, 2], np.int32),
        kind=frozen(table[:, 3], np.uint8),
        attributes=frozen(table[:, 4], np.int32),
        start=frozen(table[:, 5], np.int64),
        time=frozen(table[:, 6], np.int64),
        value=frozen(real[:, 0], np.float64),
        count=frozen(real[:, 1], np.float64),
        bucket_ptr=frozen(points.bucket_ptr, np.int64),
        bucket_count=frozen(points.bucket_count, np.float64),
        bucket_bound=frozen(points.bucket_bound, np.float64),
    )
    return batch, rejections(refused)


def _data_points(metric: Metric) -> Iterator[tuple[PointKind, Any]]:
    shape = metric.WhichOneof("data")
    if shape == "gauge":
        yield from ((PointKind.GAUGE, point) for point in metric.gauge.data_points)
    elif shape == "sum":
        # What adds up over time but may fall is a level, such as connections in use.
        level = PointKind.CUMULATIVE if metric.sum.is_monotonic else PointKind.GAUGE
        kind = PointKind.DELTA if metric.sum.aggregation_temporality == DELTA else level
        yield from ((kind, point) for point in metric.sum.data_points)
    elif shape == "summary":
        yield from ((PointKind.SUMMARY, point) for point in metric.summary.data_points)
    elif shape in {"histogram", "exponential_histogram"}:
        data = metric.histogram if shape == "histogram" else metric.exponential_histogram
        kind = PointKind.HISTOGRAM_DELTA if data.aggregation_temporality == DELTA else PointKind.HISTOGRAM_CUMULATIVE
        yield from ((kind, point) for point in data.data_points)


def _add(points: _Points, refused: Counter[str], resource: int, metric: Metric, kind: PointKind, point: Any) -> None:
    if not 0 < point.time_unix_nano < 1 << 62 or point.start_time_unix_nano >= 1 << 62:
        refused["a point without a time"] += 1
        return
    if point.flags & NO_VALUE:
        return
    if kind in {PointKind.GAUGE, PointKind.DELTA, PointKind.CUMULATIVE}:
        value, count = (float(point.as_int) if point.WhichOneof("value") == "as_int" else point.as_double), 0.0
        buckets: list[tuple[float, float]] = []
    else:
        value, count = point.sum, float(point.count)
        buckets = [] if kind == PointKind.SUMMARY else _buckets(point)
    if not math.isfinite(value):
        refused["a point whose value is not finite"] += 1
        return
    pairs = tuple(attributes_of(point.attributes, all_keys=True).items())
    place = points.sets.setdefault(pairs, len(points.sets))
    text = points.strings.index
    points.whole.append((resource, text(metric.name), text(metric.unit), int(kind), place, point.start_time_unix_nano, point.time_unix_nano))
    points.real.append((value, count))
    points.bucket_count.extend(number for number, _ in buckets)
    points.bucket_bound.extend(bound for _, bound in buckets)
    points.bucket_ptr.append(len(points.bucket_count))


def _buckets(point: Any) -> list[tuple[float, float]]:
    """(count, upper bound) of each bucket; exponential ones by their base (metrics/v1, ExponentialHistogramDataPoint)."""
    if not isinstance(point, ExponentialHistogramDataPoint):
        return list(zip(map(float, point.bucket_counts), [*point.explicit_bounds, math.inf], strict=False))
    first = point.positive.offset + 1
    positive = [(float(number), _exponential_bound(first + i, point.scale)) for i, number in enumerate(point.positive.bucket_counts) if number]
    return [(float(point.zero_count), point.zero_threshold), *positive] if point.zero_count else positive


def _exponential_bound(index: int, scale: int) -> float:
    """2 ** (index / 2 ** scale), infinite where a float can't hold it."""
    try:
        return math.exp2(math.ldexp(index, -scale))
    except OverflowError:
        return math.inf if index > 0 else 0.0
