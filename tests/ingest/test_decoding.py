"""Binary and JSON forms decode to the same columns; what is refused is told by reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from ingest.otlp.columns import Rejections
from ingest.otlp.decode_logs import decode_logs
from ingest.otlp.decode_metrics import decode_metrics
from ingest.otlp.decode_traces import decode_traces
from ingest.otlp.json import parse_logs, parse_metrics, parse_traces
from schema.batches import MetricBatch, PointKind, SpanKind, StatusCode
from tests.ingest.telemetry import START, pairs, request, span
from tests.ingest.test_windows import content

KEYS = st.sampled_from(["service.name", "http.method", "http.request.method", "db.system", "net.peer.name", "k8s.pod.name", "exception.type", "made.up", ""])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.one_of(st.integers(0, 3), st.integers(START, START + 10**10), st.just(2**64 - 1))
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
SCALARS = st.one_of(
    st.just(AnyValue()),
    TEXT.map(lambda text: AnyValue(string_value=text)),
    INT64.map(lambda number: AnyValue(int_value=number)),
    st.floats().map(lambda number: AnyValue(double_value=number)),
    st.booleans().map(lambda truth: AnyValue(bool_value=truth)),
    st.binary(max_size=5).map(lambda raw: AnyValue(bytes_value=raw)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda values: AnyValue(array_value=ArrayValue(values=values))),
        st.lists(inner, max_size=2).map(lambda values: AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=value) for value in values]))),
    ),
    max_leaves=4,
)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=KEYS, value=VALUES), max_size=3)
RESOURCES = st.builds(Resource, attributes=ATTRIBUTES)
TRACE_IDS = st.sampled_from([b"\x01" * 16, b"\x00" * 15 + b"\x02", bytes(16), b"short", b""])
SPAN_IDS = st.sampled_from([b"\x01" * 8, b"\xff" * 8, bytes(8), b"short", b""])
EVENTS = st.builds(Span.Event, name=st.sampled_from(["exception", "other"]), attributes=ATTRIBUTES)
SPANS = st.builds(
    Span,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    parent_span_id=SPAN_IDS,
    name=TEXT,
    kind=st.integers(0, 6),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES,
    attributes=ATTRIBUTES,
    events=st.lists(EVENTS, max_size=2),
    links=st.lists(st.builds(Span.Link, trace_id=TRACE_IDS, span_id=SPAN_IDS), max_size=2),
    status=st.builds(Status, code=st.integers(0, 3)),
)
RECORDS = st.builds(
    LogRecord,
    time_unix_nano=TIMES,
    observed_time_unix_nano=TIMES,
    severity_number=st.integers(0, 30),
    body=VALUES,
    attributes=ATTRIBUTES,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    event_name=TEXT,
)
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "time_unix_nano": TIMES,
    "start_time_unix_nano": TIMES,
    "flags": st.integers(0, 1),
    "attributes": ATTRIBUTES,
}
SUMS: dict[str, st.SearchStrategy[Any]] = COMMON | {"count": st.integers(0, 2**64 - 1), "sum": FLOATS}
COUNTS = st.lists(st.integers(0, 5), max_size=4)
NUMBERS = st.lists(
    st.one_of(st.builds(NumberDataPoint, as_int=INT64, **COMMON), st.builds(NumberDataPoint, as_double=FLOATS, **COMMON), st.builds(NumberDataPoint, **COMMON)),
    max_size=2,
)
HISTOGRAMS = st.lists(st.builds(HistogramDataPoint, bucket_counts=COUNTS, explicit_bounds=st.lists(FLOATS, max_size=3), **SUMS), max_size=2)
BUCKETS = st.builds(ExponentialHistogramDataPoint.Buckets, offset=st.integers(-(2**31), 2**31 - 1), bucket_counts=COUNTS)
EXPONENTIALS = st.lists(
    st.builds(ExponentialHistogramDataPoint, scale=st.integers(-(2**31), 2**31 - 1), zero_count=st.integers(0, 3), positive=BUCKETS, **SUMS), max_size=2
)
TEMPORALITY = st.integers(0, 3)
METRICS = st.one_of(
    st.builds(Metric, name=TEXT),
    st.builds(Metric, name=TEXT, unit=TEXT, gauge=st.builds(Gauge, data_points=NUMBERS)),
    st.builds(Metric, name=TEXT, sum=st.builds(Sum, data_points=NUMBERS, is_monotonic=st.booleans(), aggregation_temporality=TEMPORALITY)),
    st.builds(Metric, name=TEXT, histogram=st.builds(Histogram, data_points=HISTOGRAMS, aggregation_temporality=TEMPORALITY)),
    st.builds(Metric, name=TEXT, exponential_histogram=st.builds(ExponentialHistogram, data_points=EXPONENTIALS, aggregation_temporality=TEMPORALITY)),
    st.builds(Metric, name=TEXT, summary=st.builds(Summary, data_points=st.lists(st.builds(SummaryDataPoint, **SUMS), max_size=2))),
)


def grouped(outer: Any, scope: Any, request_type: Any, field: str, items: str, each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    scopes = st.lists(st.lists(each, max_size=3).map(lambda found: scope(**{items: found})), max_size=2)
    groups = st.builds(outer, resource=RESOURCES, **{f"scope_{field}": scopes})
    return st.lists(groups, max_size=3).map(lambda found: request_type(**{f"resource_{field}": found}))


REQUESTS = st.one_of(
    st.tuples(grouped(ResourceSpans, ScopeSpans, ExportTraceServiceRequest, "spans", "spans", SPANS), st.just(parse_traces), st.just(decode_traces)),
    st.tuples(
        grouped(ResourceMetrics, ScopeMetrics, ExportMetricsServiceRequest, "metrics", "metrics", METRICS), st.just(parse_metrics), st.just(decode_metrics)
    ),
    st.tuples(grouped(ResourceLogs, ScopeLogs, ExportLogsServiceRequest, "logs", "log_records", RECORDS), st.just(parse_logs), st.just(decode_logs)),
)


def otlp_json(message: Message, *, numbers_for_enums: bool) -> bytes:
    """Protobuf's own JSON form with ids in hex: the OTLP/JSON encoding."""

    def hex_ids(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: base64.b64decode(each).hex() if key in {"traceId", "spanId", "parentSpanId"} else hex_ids(each) for key, each in value.items()}
        return [hex_ids(each) for each in value] if isinstance(value, list) else value

    return json.dumps(hex_ids(MessageToDict(message, use_integers_for_enums=numbers_for_enums))).encode()


@settings(deadline=None)
@given(REQUESTS, st.booleans())
def test_both_forms_of_a_request_decode_to_the_same_columns_and_rejections(
    case: tuple[Any, Callable[[bytes], Any], Callable[[Any], tuple[Any, Rejections]]], numbers_for_enums: bool
) -> None:
    message, parse, decode = case
    binary = decode(type(message).FromString(message.SerializeToString()))
    from_json = decode(parse(otlp_json(message, numbers_for_enums=numbers_for_enums)))
    assert content(binary) == content(from_json)


@settings(deadline=None)
@given(REQUESTS)
def test_every_item_is_kept_or_refused_and_every_column_is_read_only(case: tuple[Any, Any, Callable[[Any], tuple[Any, Rejections]]]) -> None:
    message, _, decode = case
    batch, refused = decode(message)
    items = list(_items(message))
    empty = [item for item in items if getattr(item, "flags", 0) and 0 < item.time_unix_nano < 1 << 62 and item.start_time_unix_nano < 1 << 62]
    assert len(batch) + refused.count + len(empty) == len(items)
    for name in batch.__dataclass_fields__:
        column = getattr(batch, name)
        if isinstance(column, np.ndarray):
            assert not column.flags.writeable


def _items(message: Any) -> Iterator[Any]:
    for outer in (*getattr(message, "resource_spans", ()), *getattr(message, "resource_metrics", ()), *getattr(message, "resource_logs", ())):
        for scope in (*getattr(outer, "scope_spans", ()), *getattr(outer, "scope_metrics", ()), *getattr(outer, "scope_logs", ())):
            yield from (*getattr(scope, "spans", ()), *getattr(scope, "log_records", ()))
            for metric in getattr(scope, "metrics", ()):
                shape = metric.WhichOneof("data")
                yield from getattr(metric, shape).data_points if shape else ()


def test_a_span_becomes_a_row_with_its_names_in_force() -> None:
    old: dict[str, str | int] = {"http.method": "GET", "http.status_code": 503, "enduser.id": "somebody"}
    made = span("front", 7, 5, 1.0, 2.5, name="GET", failed=True, attributes=old, exceptions=["Gone"])
    made[1].links.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8)
    batch, refused = decode_traces(request([made]))
    text = batch.strings
    assert not refused.count
    assert refused.message == ""
    assert {key: text[column[0]] for key, column in batch.attributes.items()} == {"http.request.method": "GET", "http.response.status_code": "503"}
    assert (batch.kind[0], batch.status[0], int(batch.span_id[0]), int(batch.parent_id[0])) == (SpanKind.SERVER, StatusCode.ERROR, 7, 5)
    assert int(batch.end[0] - batch.start[0]) == 1_500_000_000
    assert (batch.exception_row.tolist(), text[batch.exception_type[0]]) == ([0], "Gone")
    assert (batch.link_row.tolist(), int(batch.link_span_id[0])) == ([0], int.from_bytes(b"\x02" * 8, "big"))
    assert batch.resources[0].get("service.name") == "front"


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda bad: bad.ClearField("trace_id"), "a span without a 16-byte trace id"),
        (lambda bad: setattr(bad, "trace_id", bytes(16)), "a span without a 16-byte trace id"),
        (lambda bad: setattr(bad, "span_id", b"\x01" * 9), "a span without an 8-byte span id"),
        (lambda bad: setattr(bad, "parent_span_id", b"\x01"), "a span whose parent id is not 8 bytes"),
        (lambda bad: setattr(bad, "end_time_unix_nano", 0), "a span whose times are missing or end before they start"),
        (lambda bad: setattr(bad, "end_time_unix_nano", 2**64 - 1), "a span whose times are missing or end before they start"),
    ],
)
def test_a_bad_span_is_refused_with_its_reason_and_its_neighbours_are_kept(harm: Callable[[Span], None], reason: str) -> None:
    spans = [span("front", at, 0, 1.0, 2.0) for at in (1, 2, 3)]
    harm(spans[1][1])
    batch, refused = decode_traces(request(spans))
    assert batch.span_id.tolist() == [1, 3]
    assert refused.reasons == {reason: 1}
    assert refused.message == f"1 refused: {reason}"


def _histogram(**point: Any) -> MetricBatch:
    metric = Metric(name="m", exponential_histogram=ExponentialHistogram(data_points=[ExponentialHistogramDataPoint(time_unix_nano=START, **point)]))
    resource = Resource(attributes=pairs({"service.name": "s"}))
    batch, _ = decode_metrics(
        ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(resource=resource, scope_metrics=[ScopeMetrics(metrics=[metric])])])
    )
    return batch


def test_exponential_buckets_get_their_bounds_by_the_base_of_their_scale() -> None:
    buckets = ExponentialHistogramDataPoint.Buckets(offset=1, bucket_counts=[3, 0, 2])
    batch = _histogram(scale=1, count=6, sum=9.0, zero_count=1, zero_threshold=0.5, positive=buckets)
    assert batch.kind.tolist() == [PointKind.HISTOGRAM_CUMULATIVE]
    assert batch.bucket_ptr.tolist() == [0, 3]
    assert batch.bucket_count.tolist() == [1.0, 3.0, 2.0]
    # Bucket i covers (base^i, base^(i+1)] with base 2^(2^-scale).
    assert batch.bucket_bound.tolist() == pytest.approx([0.5, 2.0, 4.0])


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_names_of_one_attribute_the_one_in_force_counts_then_the_most_precise(order: int) -> None:
    old = {"net.host.name": "own host", "http.host": "header", "net.peer.name": "peer"}
    new = old | {"server.address": "in force"}
    for said, expected in ((old, "peer"), (new, "in force")):
        attributes: dict[str, str | int] = dict(list(said.items())[::order])
        batch, _ = decode_traces(request([span("front", 1, 0, 1.0, 2.0, attributes=attributes)], resource=dict(list(said.items())[::order])))
        assert batch.strings[batch.attributes["server.address"][0]] == expected
        assert batch.resources[0].get("server.address") == expected
