"""Runs of the estate for tests: what it sent, and the world as it stands at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from demo.faults import Truth, fault_named
from demo.shop import SHOP
from demo.world import ExportRequest, World

SECOND = 1_000_000_000
START = 1_767_600_000 * SECOND
STEP = 0.5
Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Sent:
    """A span, metric or log record with the resource that sent it."""

    resource: Attributes


@dataclass(frozen=True)
class SentSpan(Sent):
    span: Span
    attributes: Attributes
    sent_at: float

    @property
    def start(self) -> float:
        """Seconds since the run's start."""
        return (self.span.start_time_unix_nano - START) / SECOND

    @property
    def seconds(self) -> float:
        return (self.span.end_time_unix_nano - self.span.start_time_unix_nano) / SECOND

    @property
    def failed(self) -> bool:
        return self.span.status.code == self.span.status.STATUS_CODE_ERROR


@dataclass(frozen=True)
class Run:
    """A finished run."""

    world: World
    truth: Truth | None
    requests: tuple[tuple[float, ExportRequest], ...]

    @cached_property
    def spans(self) -> tuple[SentSpan, ...]:
        return tuple(
            SentSpan(named(group.resource.attributes), span, named(span.attributes), at)
            for at, request in self.requests
            if isinstance(request, ExportTraceServiceRequest)
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        )

    @cached_property
    def metrics(self) -> tuple[tuple[Attributes, Metric], ...]:
        return tuple(
            (named(group.resource.attributes), metric)
            for _, request in self.requests
            if isinstance(request, ExportMetricsServiceRequest)
            for group in request.resource_metrics
            for scope in group.scope_metrics
            for metric in scope.metrics
        )

    @cached_property
    def logs(self) -> tuple[tuple[Attributes, LogRecord], ...]:
        return tuple(
            (named(group.resource.attributes), record)
            for _, request in self.requests
            if isinstance(request, ExportLogsServiceRequest)
            for group in request.resource_logs
            for scope in group.scope_logs
            for record in scope.log_records
        )

    def served(self, service: str, *, after: float = 0.0) -> Iterator[SentSpan]:
        """Requests and messages the service worked on that began after an instant."""
        kinds = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER)
        return (each for each in self.spans if each.resource["service.name"] == service and each.span.kind in kinds and each.start >= after)

    def gauges(self, name: str) -> Iterator[tuple[Attributes, float, float]]:
        """Resource, seconds since the start and value of each point of a gauge."""
        for resource, metric in self.metrics:
            if metric.name == name:
                for point in metric.gauge.data_points:
                    value = point.as_double if point.HasField("as_double") else float(point.as_int)
                    yield resource, (point.time_unix_nano - START) / SECOND, value


def live(seconds: float, *, seed: int = 1, fault: str = "", inject_at: float = 20.0) -> Run:
    """Lives through a run of the shop, with a fault or quiet."""
    world = World(SHOP, seed, START)
    sent: list[tuple[float, ExportRequest]] = []
    truth, now = None, 0.0
    while now < seconds:
        if fault and truth is None and now >= inject_at:
            chosen = fault_named(fault)
            assert chosen is not None
            truth = chosen.inject(world, world.random("fault"))
        now += STEP
        sent += [(now, request) for request in world.run_until(now)]
    return Run(world, truth, tuple(sent))


def named(pairs: Iterable[KeyValue]) -> Attributes:
    """Key-value pairs as a mapping."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
