"""OTLP/JSON -> the protobuf messages. Ids are hex and enums may be names, so protobuf's own JSON form does not fit (OTLP spec, JSON encoding)."""

from __future__ import annotations

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
    """The requests that one line of a Collector's file holds. Raises JsonError."""
    found = _object(body)
    known = False
    for key, convert in (("resourceSpans", traces_of), ("resourceMetrics", metrics_of), ("resourceLogs", logs_of)):
        if key in found:
            known = True
            yield convert(found)
    if not known:
        raise JsonError("none of resourceSpans, resourceMetrics, resourceLogs is in it")


def traces_of(body: dict[str, Any]) -> ExportTraceServiceRequest:
    """An export request from parsed JSON. Raises JsonError."""
    with _Shape():
        return ExportTraceServiceRequest(
            resource_spans=[
                ResourceSpans(
                    resource=_resource(group),
                    scope_spans=[ScopeSpans(spans=[_span(each) for each in scope.get("spans", ())]) for scope in group.get("scopeSpans", ())],
                )
                for group in body.get("resourceSpans", ())
            ]
        )


def metrics_of(body: dict[str, Any]) -> ExportMetricsServiceRequest:
    """An export request from parsed JSON. Raises JsonError."""
    with _Shape():
        return ExportMetricsServiceRequest(
            resource_metrics=[
                ResourceMetrics(
                    resource=_resource(group),
                    scope_metrics=[ScopeMetrics(metrics=[_metric(each) for each in scope.get("metrics", ())]) for scope in group.get("scopeMetrics", ())],
                )
                for group in body.get("resourceMetrics", ())
            ]
        )


def logs_of(body: dict[str, Any]) -> ExportLogsServiceRequest:
    """An export request from parsed JSON. Raises JsonError."""
    with _Shape():
        return ExportLogsServiceRequest(
            resource_logs=[
                ResourceLogs(
                    resource=_resource(group),
                    scope_logs=[ScopeLogs(log_records=[_record(each) for each in scope.get("logRecords", ())]) for scope in group.get("scopeLogs", ())],
                )
                for group in body.get("resourceLogs", ())
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


def _attributes(pairs: list[dict[str, Any]] | None) -> list[KeyValue]:
    return [KeyValue(key=pair["key"], value=_value(pair.get("value"))) for pair in pairs or ()]


def _value(value: dict[str, Any] | None) -> AnyValue:
    if not value:
        return AnyValue()
    kind, content = next(iter(value.items()))
    return _VALUES.get(kind, lambda other: AnyValue(string_value=str(other)))(content)


_VALUES: dict[str, Callable[[Any], AnyValue]] = {
    "stringValue": lambda content: AnyValue(string_value=content),
    "intValue": lambda content: AnyValue(int_value=int(content)),
    "doubleValue": lambda content: AnyValue(double_value=float(content)),
    "boolValue": lambda content: AnyValue(bool_value=content),
    "arrayValue": lambda content: AnyValue(array_value=ArrayValue(values=[_value(each) for each in content.get("values", ())])),
    "kvlistValue": lambda content: AnyValue(kvlist_value=KeyValueList(values=_attributes(content.get("values")))),
}


def _span(span: dict[str, Any]) -> Span:
    status = span.get("status") or {}
    return Span(
        trace_id=bytes.fromhex(span.get("traceId", "")),
        span_id=bytes.fromhex(span.get("spanId", "")),
        parent_span_id=bytes.fromhex(span.get("parentSpanId") or ""),
        name=span.get("name", ""),
        kind=_enum(Span.SpanKind, span.get("kind", 0)),
        start_time_unix_nano=int(span.get("startTimeUnixNano", 0)),
        end_time_unix_nano=int(span.get("endTimeUnixNano", 0)),
        attributes=_attributes(span.get("attributes")),
        events=[Span.Event(name=event.get("name", ""), attributes=_attributes(event.get("attributes"))) for event in span.get("events", ())],
        links=[Span.Link(trace_id=bytes.fromhex(link.get("traceId", "")), span_id=bytes.fromhex(link.get("spanId", ""))) for link in span.get("links", ())],
        status=Status(code=_enum(Status.StatusCode, status.get("code", 0))),
    )


def _record(record: dict[str, Any]) -> LogRecord:
    return LogRecord(
        time_unix_nano=int(record.get("timeUnixNano", 0)),
        observed_time_unix_nano=int(record.get("observedTimeUnixNano", 0)),
        severity_number=_enum(SeverityNumber, record.get("severityNumber", 0)),
        body=_value(record.get("body")),
        attributes=_attributes(record.get("attributes")),
        trace_id=bytes.fromhex(record.get("traceId") or ""),
        span_id=bytes.fromhex(record.get("spanId") or ""),
        event_name=record.get("eventName", ""),
    )


def _metric(metric: dict[str, Any]) -> Metric:
    message = Metric(name=metric.get("name", ""), unit=metric.get("unit") or "")
    for shape, point in (("gauge", _number), ("sum", _number), ("histogram", _histogram), ("exponentialHistogram", _exponential), ("summary", _summary)):
        data = metric.get(shape)
        if data is None:
            continue
        target = getattr(message, "exponential_histogram" if shape == "exponentialHistogram" else shape)
        target.SetInParent()
        if "aggregationTemporality" in data:
            target.aggregation_temporality = _enum(AggregationTemporality, data["aggregationTemporality"])
        target.data_points.extend(point(each) for each in data.get("dataPoints", ()))
    return message


def _common(point: dict[str, Any]) -> dict[str, Any]:
    return {
        "attributes": _attributes(point.get("attributes")),
        "start_time_unix_nano": int(point.get("startTimeUnixNano", 0)),
        "time_unix_nano": int(point.get("timeUnixNano", 0)),
        "flags": int(point.get("flags", 0)),
    }


def _number(point: dict[str, Any]) -> NumberDataPoint:
    if "asInt" in point:
        return NumberDataPoint(as_int=int(point["asInt"]), **_common(point))
    return NumberDataPoint(as_double=float(point.get("asDouble", 0.0)), **_common(point))


def _histogram(point: dict[str, Any]) -> HistogramDataPoint:
    return HistogramDataPoint(
        count=int(point.get("count", 0)),
        sum=float(point.get("sum", 0.0)),
        bucket_counts=[int(number) for number in point.get("bucketCounts", ())],
        explicit_bounds=[float(bound) for bound in point.get("explicitBounds", ())],
        **_common(point),
    )


def _exponential(point: dict[str, Any]) -> ExponentialHistogramDataPoint:
    positive = point.get("positive") or {}
    return ExponentialHistogramDataPoint(
        count=int(point.get("count", 0)),
        sum=float(point.get("sum", 0.0)),
        scale=int(point.get("scale", 0)),
        zero_count=int(point.get("zeroCount", 0)),
        positive=ExponentialHistogramDataPoint.Buckets(
            offset=int(positive.get("offset", 0)), bucket_counts=[int(number) for number in positive.get("bucketCounts", ())]
        ),
        **_common(point),
    )


def _summary(point: dict[str, Any]) -> SummaryDataPoint:
    return SummaryDataPoint(count=int(point.get("count", 0)), sum=float(point.get("sum", 0.0)), **_common(point))


def _enum(kind: Any, value: int | str) -> Any:
    return kind.Value(value) if isinstance(value, str) and not value.isdigit() else int(value)
