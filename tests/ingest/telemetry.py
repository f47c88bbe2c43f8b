"""Builders of OTLP messages for the tests of this room. Times are seconds after START."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from graph.live import LiveGraph
from graph.resolver import Resolver
from ingest.assembler import AssemblerSettings, ClosedWindow, WindowAssembler
from ingest.otlp.decode_traces import decode_traces
from schema.batches import Batch, SpanBatch
from schema.identity import EntityRef

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
ANY, SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = (
    Span.SPAN_KIND_UNSPECIFIED, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_INTERNAL,
)  # fmt: skip


def pairs(attributes: Mapping[str, str | int]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)) for key, value in attributes.items()]


def span(
    service: str,
    span_id: int,
    parent: int,
    start: float,
    end: float,
    kind: Span.SpanKind.ValueType = SERVER,
    *,
    trace: int = 1,
    name: str = "",
    failed: bool = False,
    attributes: Mapping[str, str | int] | None = None,
    exceptions: Iterable[str] = (),
) -> tuple[str, Span]:
    """A span of a service, to be put into a batch."""
    made = Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=span_id.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name or f"operation of {service}",
        kind=kind,
        start_time_unix_nano=START + round(start * SECOND),
        end_time_unix_nano=START + round(end * SECOND),
        attributes=pairs(attributes or {}),
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
    )
    for exception in exceptions:
        made.events.add(name="exception", attributes=pairs({"exception.type": exception}))
    return service, made


def request(spans: Iterable[tuple[str, Span]], resource: Mapping[str, str] | None = None) -> ExportTraceServiceRequest:
    """One export request, a resource a service."""
    by_service: dict[str, list[Span]] = {}
    for service, each in spans:
        by_service.setdefault(service, []).append(each)
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=pairs({"service.name": service, "service.namespace": "shop", "k8s.cluster.name": "c1", **(resource or {})})),
                scope_spans=[ScopeSpans(spans=group)],
            )
            for service, group in sorted(by_service.items())
        ]
    )


def batch(*spans: tuple[str, Span], resource: Mapping[str, str] | None = None) -> SpanBatch:
    """The spans as a receiver would hand them over."""
    decoded, refused = decode_traces(request(spans, resource))
    assert not refused.count
    return decoded


def service(name: str) -> EntityRef:
    return EntityRef("service", "c1", "shop", name)


@dataclass
class Estate:
    """An assembler with its graph; `windows`: all that were closed."""

    settings: AssemblerSettings = field(default_factory=AssemblerSettings)
    windows: list[ClosedWindow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.graph = LiveGraph()
        self.assembler = WindowAssembler(self.graph, Resolver(), settings=self.settings)

    def send(self, *batches: Batch) -> None:
        for each in batches:
            self.assembler.add(each)
            self.windows += self.assembler.close_ready()

    def finish(self, seconds: float = 1e6) -> Estate:
        self.windows += self.assembler.close_until(START + round(seconds * SECOND))
        return self

    def requests(self, ref: EntityRef) -> dict[str, int]:
        """Sums over all windows of what an entity served."""
        sums = dict.fromkeys(("requests", "errors", "own_errors", "duration", "own"), 0)
        for closed in self.windows:
            table = closed.window.requests
            for row in [row for row, entity in enumerate(table.entity.tolist()) if self.graph.ref(entity) == ref]:
                for name in sums:
                    sums[name] += int(getattr(table, name)[row])
        return sums

    def calls(self) -> dict[tuple[EntityRef, str, EntityRef], dict[str, int]]:
        """Sums over all windows of what travelled along each relation."""
        names = ("calls", "errors", "timeouts", "duration", "target_duration", "answered", "paired", "gap", "carrying", "failed_source")
        found: dict[tuple[EntityRef, str, EntityRef], dict[str, int]] = {}
        for closed in self.windows:
            table = closed.window.calls
            for row in range(len(table.source)):
                ends = (self.graph.ref(int(end[row])) for end in (table.source, table.target))
                key = (next(ends), table.relations[table.relation[row]], next(ends))
                sums = found.setdefault(key, dict.fromkeys(names, 0))
                for name in names:
                    sums[name] += int(getattr(table, name)[row])
        return found

    def related(self, source: EntityRef, kind: str, target: EntityRef) -> bool:
        return any(each.key.target == target for each in self.graph.relations(source=source, kind=kind))
