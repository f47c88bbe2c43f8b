"""ExportTraceServiceRequest -> SpanBatch (opentelemetry-proto, trace/v1)."""

from __future__ import annotations

from collections import Counter

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ingest.otlp.columns import Rejections, SparseText, Strings, frozen, rejections, resource_of, text_of
from schema.batches import Resource, SpanBatch, SpanKind, StatusCode

_KINDS, _CODES = frozenset(map(int, SpanKind)), frozenset(map(int, StatusCode))


def decode_traces(message: ExportTraceServiceRequest) -> tuple[SpanBatch, Rejections]:
    """The good spans as columns, and the bad ones counted by reason."""
    refused: Counter[str] = Counter()
    strings = Strings()
    resources: list[Resource] = []
    attributes = SparseText(strings)
    rows: list[tuple[int, ...]] = []
    links: list[tuple[int, int, int, int]] = []
    exceptions: list[tuple[int, int]] = []
    for resource_spans in message.resource_spans:
        resource = len(resources)
        resources.append(resource_of(resource_spans.resource))
        for scope in resource_spans.scope_spans:
            for span in scope.spans:
                if trouble := _trouble(span):
                    refused[trouble] += 1
                    continue
                row = len(rows)
                rows.append(_row(span, resource, strings))
                attributes.put(row, span.attributes)
                links.extend(
                    (row, *_halves(link.trace_id), int.from_bytes(link.span_id, "big"))
                    for link in span.links
                    if len(link.trace_id) == 16 and len(link.span_id) == 8
                )
                exceptions.extend((row, strings.index(_exception_type(event))) for event in span.events if event.name == "exception")
    table = np.array(rows, dtype=np.uint64).reshape(-1, 10)
    link_table = np.array(links, dtype=np.uint64).reshape(-1, 4)
    exception_table = np.array(exceptions, dtype=np.int32).reshape(-1, 2)
    batch = SpanBatch(
        strings=tuple(strings.texts),
        resources=tuple(resources),
        resource=frozen(table[:, 0], np.int32),
        trace_high=frozen(table[:, 1], np.uint64),
        trace_low=frozen(table[:, 2], np.uint64),
        span_id=frozen(table[:, 3], np.uint64),
        parent_id=frozen(table[:, 4], np.uint64),
        name=frozen(table[:, 5], np.int32),
        kind=frozen(table[:, 6], np.uint8),
        status=frozen(table[:, 7], np.uint8),
        start=frozen(table[:, 8], np.int64),
        end=frozen(table[:, 9], np.int64),
        attributes=attributes.columns(len(rows)),
        link_row=frozen(link_table[:, 0], np.int32),
        link_trace_high=frozen(link_table[:, 1], np.uint64),
        link_trace_low=frozen(link_table[:, 2], np.uint64),
        link_span_id=frozen(link_table[:, 3], np.uint64),
        exception_row=frozen(exception_table[:, 0], np.int32),
        exception_type=frozen(exception_table[:, 1], np.int32),
    )
    return batch, rejections(refused)


def _trouble(span: Span) -> str:
    if len(span.trace_id) != 16 or not any(span.trace_id):
        return "a span without a 16-byte trace id"
    if len(span.span_id) != 8 or not any(span.span_id):
        return "a span without an 8-byte span id"
    if len(span.parent_span_id) not in {0, 8}:
        return "a span whose parent id is not 8 bytes"
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano < 1 << 62:
        return "a span whose times are missing or end before they start"
    return ""


def _row(span: Span, resource: int, strings: Strings) -> tuple[int, ...]:
    return (
        resource,
        *_halves(span.trace_id),
        int.from_bytes(span.span_id, "big"),
        int.from_bytes(span.parent_span_id, "big"),
        strings.index(span.name),
        span.kind if int(span.kind) in _KINDS else SpanKind.UNSPECIFIED,
        span.status.code if int(span.status.code) in _CODES else StatusCode.UNSET,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


def _halves(trace_id: bytes) -> tuple[int, int]:
    return int.from_bytes(trace_id[:8], "big"), int.from_bytes(trace_id[8:], "big")


def _exception_type(event: Span.Event) -> str:
    return next((text_of(pair.value) for pair in event.attributes if pair.key == "exception.type"), "")
