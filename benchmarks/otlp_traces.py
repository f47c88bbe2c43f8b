"""From OTLP trace bytes to closed windows, against the limit that protobuf's own parser sets for Python."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from benchmarks.measure import Figures, cpu_seconds, peak_rss_mb
from graph.live import LiveGraph
from graph.resolver import Resolver
from ingest.assembler import AssemblerSettings, WindowAssembler
from ingest.otlp.decode_traces import decode_traces

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SERVICES = 20
TRACES = 4_000
DEPTH = 5
TRACES_A_REQUEST = 100


def run() -> Figures:
    """Traces of calls five services deep, a client and a server span each, twenty services."""
    requests = [_request(first) for first in range(0, TRACES, TRACES_A_REQUEST)]
    payloads = [request.SerializeToString() for request in requests]
    spans = sum(len(scope.spans) for request in requests for resource in request.resource_spans for scope in resource.scope_spans)
    parse = cpu_seconds(lambda: [ExportTraceServiceRequest.FromString(payload) for payload in payloads])
    decode = cpu_seconds(lambda: [decode_traces(ExportTraceServiceRequest.FromString(payload)) for payload in payloads])
    whole = cpu_seconds(lambda: _whole(payloads), runs=3)
    return {
        "spans": spans,
        "bytes_per_span": round(sum(map(len, payloads)) / spans, 1),
        "protobuf_parse_spans_per_cpu_second": round(spans / parse),
        "decode_spans_per_cpu_second": round(spans / decode),
        "spans_per_cpu_second": round(spans / whole),
        "cost_vs_protobuf_parse": round(whole / parse, 1),
        "peak_rss_mb": peak_rss_mb(),
    }


def _whole(payloads: list[bytes]) -> int:
    assembler = WindowAssembler(LiveGraph(), Resolver(), settings=AssemblerSettings())
    windows = 0
    for payload in payloads:
        batch, _ = decode_traces(ExportTraceServiceRequest.FromString(payload))
        assembler.add(batch)
        windows += sum(1 for _ in assembler.close_ready())
    return windows


def _request(first: int) -> ExportTraceServiceRequest:
    by_service: dict[int, list[Span]] = {}
    for trace in range(first, first + TRACES_A_REQUEST):
        start = START + trace * SECOND // 100
        trace_id = (trace + 1).to_bytes(16, "big")
        parent = b""
        for level in range(DEPTH):
            service = (trace + level) % SERVICES
            server_id, client_id = ((trace * 16 + level * 2 + k + 1).to_bytes(8, "big") for k in range(2))
            shift = level * 1_000_000
            length = (DEPTH - level) * 3_000_000
            by_service.setdefault(service, []).append(
                _span(
                    trace_id,
                    server_id,
                    parent,
                    f"GET /step/{level}",
                    Span.SPAN_KIND_SERVER,
                    start + shift,
                    length,
                    {"http.route": f"/step/{level}", "http.request.method": "GET"},
                )
            )
            if level < DEPTH - 1:
                attributes = {"server.address": f"service-{(trace + level + 1) % SERVICES}", "http.request.method": "GET"}
                by_service[service].append(
                    _span(trace_id, client_id, server_id, "GET", Span.SPAN_KIND_CLIENT, start + shift + 500_000, length - 1_000_000, attributes)
                )
            parent = client_id
    return ExportTraceServiceRequest(resource_spans=[_resource(service, spans) for service, spans in sorted(by_service.items())])


def _resource(service: int, spans: list[Span]) -> ResourceSpans:
    resource = ResourceSpans()
    attributes = {
        "service.name": f"service-{service}",
        "service.namespace": "bench",
        "k8s.cluster.name": "c1",
        "k8s.namespace.name": "bench",
        "k8s.pod.name": f"service-{service}-0",
    }
    resource.resource.attributes.extend(_attributes(attributes))
    resource.scope_spans.add().spans.extend(spans)
    return resource


def _span(
    trace_id: bytes, span_id: bytes, parent: bytes, name: str, kind: Span.SpanKind.ValueType, start: int, length: int, attributes: dict[str, str]
) -> Span:
    return Span(
        trace_id=trace_id, span_id=span_id, parent_span_id=parent, name=name, kind=kind,
        start_time_unix_nano=start, end_time_unix_nano=start + length, attributes=_attributes(attributes),
    )  # fmt: skip


def _attributes(attributes: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]
