"""OTLP/JSON -> the protobuf messages. Ids are hex and enums may be names, so protobuf's own JSON form does not fit (OTLP spec, JSON encoding)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

DEEPEST_VALUE = 32

Request = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest


class JsonError(ValueError):
    """The text is not an OTLP/JSON export request."""


def parse_traces(body: bytes) -> ExportTraceServiceRequest:
    """Raises JsonError."""
    return traces_of(_object(body))


def parse_metrics(body: bytes) -> ExportMetricsServiceRequest:
    """Raises JsonError."""
    return metrics_of(_object(body))


def parse_logs(body: bytes) -> ExportLogsServiceRequest:
    """Raises JsonError."""
    return logs_of(_object(body))


def parse_any(body: bytes) -> Iterator[Request]:
    """The requests that one line of a Collector's file holds; profiles are passed over. Raises JsonError."""
    found = _object(body)
    known = False
    for key, convert in (("resourceSpans", traces_of), ("resourceMetrics", metrics_of), ("resourceLogs", logs_of)):
        if key in found:
            known = True
            yield convert(found)
    if found and not known and "resourceProfiles" not in found:
        raise JsonError("none of resourceSpans, resourceMetrics, resourceLogs is in it")


def traces_of(body: dict[str, Any]) -> ExportTraceServiceRequest:
    """An export request from parsed JSON. Raises JsonError."""
    with _Shape():
        return ExportTraceServiceRequest(
            resource_spans=[
                ResourceSpans(
                    resource=_resource(group),
                    scope_spans=[ScopeSpans(spans=[_span(each) for each in scope.get("spans") or ()]) for scope in group.get("scopeSpans") or ()],
                )
                for group in body.get("resourceSpans") or ()
            ]
        )


def metrics_of(body: dict[str, Any]) -> ExportMetricsServiceRequest:
    """An export request from parsed JSON. Raises JsonError."""
    with _Shape():
        return ExportMetricsServiceRequest(
            resource_metrics=[
                ResourceMetrics(
                    resource=_resource(group),
                    scope_metrics=[ScopeMetrics(metrics=[_metric(each) for each in scope.get("metrics") or ()]) for scope in group.get("scopeMetrics") or ()],
                )
                for group in body.get("resourceMetrics") or ()
            ]
        )


def logs_of(body: dict[str, Any]) -> ExportLogsServiceRequest:
    """An export request from parsed JSON. Raises JsonError."""
    with _Shape():
        return ExportLogsServiceRequest(
            resource_logs=[
                ResourceLogs(
                    resource=_resource(group),
                    scope_logs=[ScopeLogs(log_records=[_record(each) for each in scope.get("logRecords") or ()]) for scope in group.get("scopeLogs") or ()],
                )
                for group in body.get("resourceLogs") or ()
            ]
        )


class _Shape:
    """Whatever a foreign document makes the conversion stumble over is the document's fault."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (TypeError, ValueError, AttributeError, KeyError, OverflowError)) and not isinstance(error, JsonError):
            raise JsonError(f"it does not have the shape of OTLP/JSON ({error})") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise JsonError(f"it is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise JsonError("it is not a JSON object")
    return found


def _resource(group: dict[str, Any]) -> Resource:
    return Resource(attributes=_attributes((group.get("resource") or {}).get("attributes")))


def _attributes(pairs: list[dict[str, Any]] | None, depth: int = 0) -> list[KeyValue]:
    return [KeyValue(key=pair.get("key") or "", value=_value(pair.get("value"), depth)) for pair in pairs or ()]


def _value(value: dict[str, Any] | None, depth: int = 0) -> AnyValue:
    if not value:
        return AnyValue()
    if depth > DEEPEST_VALUE:
        raise JsonError(f"an attribute is nested deeper than {DEEPEST_VALUE}")
    kind, content = next(iter(value.items()))
    if kind == "arrayValue":
        return AnyValue(array_value=ArrayValue(values=[_value(each, depth + 1) for each in content.get("values") or ()]))
    if kind == "kvlistValue":
        return AnyValue(kvlist_value=KeyValueList(values=_attributes(content.get("values"), depth + 1)))
    return _SCALARS[kind](content) if kind in _SCALARS else AnyValue()


_SCALARS: dict[str, Callable[[Any], AnyValue]] = {
    "stringValue": lambda content: AnyValue(string_value=content),
    "intValue": lambda content: AnyValue(int_value=int(content)),
    "doubleValue": lambda content: AnyValue(double_value=float(content)),
    "boolValue": lambda content: AnyValue(bool_value=content),
    "bytesValue": lambda content: AnyValue(bytes_value=base64.b64decode(content)),
}


def _id(text: str | None) -> bytes:
    """A trace or span id; what is not hex becomes an id of no valid length, so that only the item that has it is refused."""
    try:
        return bytes.fromhex(text or "")
    except ValueError:
        return b"?"


def _span(span: dict[str, Any]) -> Span:
    status = span.get("status") or {}
    return Span(
        trace_id=_id(span.get("traceId")),
        span_id=_id(span.get("spanId")),
        parent_span_id=_id(span.get("parentSpanId")),
        name=span.get("name") or "",
        kind=_enum(Span.SpanKind, span.get("kind") or 0),
        start_time_unix_nano=int(span.get("startTimeUnixNano") or 0),
        end_time_unix_nano=int(span.get("endTimeUnixNano") or 0),
        attributes=_attributes(span.get("attributes")),
        events=[Span.Event(name=event.get("name") or "", attributes=_attributes(event.get("attributes"))) for event in span.get("events") or ()],
        links=[Span.Link(trace_id=_id(link.get("traceId")), span_id=_id(link.get("spanId"))) for link in span.get("links") or ()],
        status=Status(code=_enum(Status.StatusCode, status.get("code") or 0)),
    )


def _record(record: dict[str, Any]) -> LogRecord:
    return LogRecord(
        time_unix_nano=int(record.get("timeUnixNano") or 0),
        observed_time_unix_nano=int(record.get("observedTimeUnixNano") or 0),
        severity_number=_enum(SeverityNumber, record.get("severityNumber") or 0),
        body=_value(record.get("body")),
        attributes=_attributes(record.get("attributes")),
        trace_id=_id(record.get("traceId")),
        span_id=_id(record.get("spanId")),
        event_name=record.get("eventName") or "",
    )


def _metric(metric: dict[str, Any]) -> Metric:
    message = Metric(name=metric.get("name") or "", unit=metric.get("unit") or "")
    for shape, point in (("gauge", _number), ("sum", _number), ("histogram", _histogram), ("exponentialHistogram", _exponential), ("summary", _summary)):
        data = metric.get(shape)
        if data is None:
            continue
        target = getattr(message, "exponential_histogram" if shape == "exponentialHistogram" else shape)
        target.SetInParent()
        if "aggregationTemporality" in data:
            target.aggregation_temporality = _enum(AggregationTemporality, data["aggregationTemporality"])
        if shape == "sum":
            target.is_monotonic = bool(data.get("isMonotonic"))
        target.data_points.extend(point(each) for each in data.get("dataPoints") or ())
    return message


def _common(point: dict[str, Any]) -> dict[str, Any]:
    return {
        "attributes": _attributes(point.get("attributes")),
        "start_time_unix_nano": int(point.get("startTimeUnixNano") or 0),
        "time_unix_nano": int(point.get("timeUnixNano") or 0),
        "flags": int(point.get("flags") or 0),
    }


def _number(point: dict[str, Any]) -> NumberDataPoint:
    if "asInt" in point:
        return NumberDataPoint(as_int=int(point["asInt"]), **_common(point))
    return NumberDataPoint(as_double=float(point.get("asDouble") or 0.0), **_common(point))


def _histogram(point: dict[str, Any]) -> HistogramDataPoint:
    return HistogramDataPoint(
        count=int(point.get("count") or 0),
        sum=float(point.get("sum") or 0.0),
        bucket_counts=[int(number) for number in point.get("bucketCounts") or ()],
        explicit_bounds=[float(bound) for bound in point.get("explicitBounds") or ()],
        **_common(point),
    )


def _exponential(point: dict[str, Any]) -> ExponentialHistogramDataPoint:
    positive = point.get("positive") or {}
    return ExponentialHistogramDataPoint(
        count=int(point.get("count") or 0),
        sum=float(point.get("sum") or 0.0),
        scale=int(point.get("scale") or 0),
        zero_count=int(point.get("zeroCount") or 0),
        positive=ExponentialHistogramDataPoint.Buckets(
            offset=int(positive.get("offset") or 0), bucket_counts=[int(number) for number in positive.get("bucketCounts") or ()]
        ),
        **_common(point),
    )


def _summary(point: dict[str, Any]) -> SummaryDataPoint:
    return SummaryDataPoint(count=int(point.get("count") or 0), sum=float(point.get("sum") or 0.0), **_common(point))


def _enum(kind: Any, value: int | str) -> Any:
    return kind.Value(value) if isinstance(value, str) and not value.isdigit() else int(value)
