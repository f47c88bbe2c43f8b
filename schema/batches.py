"""Decoded telemetry as columns: what receivers hand to the assembler. Arrays are read-only; times are epoch nanoseconds.

Text lives once in `strings`; a text column holds indexes into it, -1 where absent. Attribute keys are canonical
(semantic conventions 1.44); old names were translated by schema/semantic_conventions.py while decoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]
UInt8 = NDArray[np.uint8]
Float64 = NDArray[np.float64]


class SpanKind(IntEnum):
    """opentelemetry.proto.trace.v1.Span.SpanKind."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class StatusCode(IntEnum):
    """opentelemetry.proto.trace.v1.Status.StatusCode."""

    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Resource:
    """What sent the telemetry: canonical attribute name -> text."""

    attributes: Mapping[str, str]

    def get(self, key: str) -> str:
        return self.attributes.get(key, "")


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """n spans. `attributes`: canonical key -> Int32[n] of string indexes, only keys that some span of the batch has.

    trace ids are split into two big-endian halves; `parent_id` 0 means none. Links and exception events are side tables
    whose `*_row` columns point at spans.
    """

    strings: tuple[str, ...]
    resources: tuple[Resource, ...]
    resource: Int32
    trace_high: UInt64
    trace_low: UInt64
    span_id: UInt64
    parent_id: UInt64
    name: Int32
    kind: UInt8
    status: UInt8
    start: Int64
    end: Int64
    attributes: Mapping[str, Int32]
    link_row: Int32
    link_trace_high: UInt64
    link_trace_low: UInt64
    link_span_id: UInt64
    exception_row: Int32
    exception_type: Int32

    def __len__(self) -> int:
        return len(self.span_id)


class PointKind(IntEnum):
    """How a metric point's value is to be read."""

    GAUGE = 0
    DELTA = 1
    CUMULATIVE = 2
    HISTOGRAM_DELTA = 3
    HISTOGRAM_CUMULATIVE = 4
    SUMMARY = 5


@dataclass(frozen=True, slots=True)
class MetricBatch:
    """n points. `value` of histograms and summaries is their sum and `count` their count (0 for other kinds).

    `attributes`: per point an index into `attribute_sets`. Bucket counts and bounds of histograms are CSR by `bucket_ptr`
    (Int64[n + 1]; a point with b buckets has b bounds, the last +inf); other kinds have none.
    """

    strings: tuple[str, ...]
    resources: tuple[Resource, ...]
    attribute_sets: tuple[Mapping[str, str], ...]
    resource: Int32
    metric: Int32
    unit: Int32
    kind: UInt8
    attributes: Int32
    start: Int64
    time: Int64
    value: Float64
    count: Float64
    bucket_ptr: Int64
    bucket_count: Float64
    bucket_bound: Float64

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class LogBatch:
    """n log records; `severity` is the OpenTelemetry severity number, 0 unknown. `event`: event name, -1 for plain logs."""

    strings: tuple[str, ...]
    resources: tuple[Resource, ...]
    resource: Int32
    time: Int64
    severity: UInt8
    trace_high: UInt64
    trace_low: UInt64
    span_id: UInt64
    body: Int32
    event: Int32
    attributes: Mapping[str, Int32]

    def __len__(self) -> int:
        return len(self.time)


Batch = SpanBatch | MetricBatch | LogBatch
