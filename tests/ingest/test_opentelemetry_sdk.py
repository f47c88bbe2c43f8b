"""A standard OpenTelemetry application, pointed at the doors with nothing but their address, appears in the live graph."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from ingest.listening import listening_socket
from ingest.otlp.grpc_receiver import GrpcReceiver
from ingest.otlp.http_receiver import http_receiver
from schema.batches import Batch, LogBatch, MetricBatch
from schema.identity import EntityRef
from tests.ingest.telemetry import SECOND, START, Estate


@dataclass
class Exporters:
    """Where an application sends to."""

    spans: SpanExporter
    metrics: MetricExporter
    logs: LogRecordExporter


class App:
    """One service of the application, instrumented as the documentation of the SDK says."""

    def __init__(self, name: str, exporters: Exporters) -> None:
        resource = Resource.create({"service.name": name, "service.version": "1.4.2"})
        self.spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.spans.add_span_processor(BatchSpanProcessor(exporters.spans))
        self.tracer = self.spans.get_tracer("app")
        self.metrics = MeterProvider([PeriodicExportingMetricReader(exporters.metrics)], resource=resource, shutdown_on_exit=False)
        self.logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self.logs.add_log_record_processor(BatchLogRecordProcessor(exporters.logs))

    @contextmanager
    def span(self, name: str, kind: SpanKind, times: tuple[float, float], parent: Span | None = None, **attributes: str | int) -> Iterator[Span]:
        context = set_span_in_context(parent) if parent is not None else None
        started = self.tracer.start_span(name, context, kind, {key.replace("__", "."): value for key, value in attributes.items()}, start_time=_at(times[0]))
        assert isinstance(started, Span)
        yield started
        started.end(_at(times[1]))

    def shut_down(self) -> None:
        self.spans.shutdown()
        self.metrics.shutdown()
        self.logs.shutdown()


def _at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def buy_something(front: App, cart: App) -> None:
    """A request through two services, a database and a payment service elsewhere that refuses."""
    with front.span("POST /buy", SpanKind.SERVER, (1.0, 2.0), http__request__method="POST", http__route="/buy") as served:
        with (
            front.span("GET", SpanKind.CLIENT, (1.1, 1.5), served, http__request__method="GET", server__address="cart") as client,
            cart.span("GET /cart", SpanKind.SERVER, (1.2, 1.4), client, http__request__method="GET", http__route="/cart") as answered,
            cart.span(
                "SELECT carts", SpanKind.CLIENT, (1.25, 1.35), answered, db__system__name="postgresql", db__namespace="carts", server__address="carts-db"
            ),
        ):
            cart.logs.get_logger("app").emit(timestamp=_at(1.3), severity_number=SeverityNumber.ERROR, body="cart 17 is stale")
        with front.span(
            "POST", SpanKind.CLIENT, (1.5, 1.9), served, http__request__method="POST", server__address="api.payments.example.com", server__port=443
        ) as refused:
            refused.set_status(Status(StatusCode.ERROR))
            refused.record_exception(ConnectionError("refused"))
    front.metrics.get_meter("app").create_up_down_counter("db.client.connection.pending_requests").add(3)
    front.metrics.get_meter("app").create_histogram("http.server.request.duration", "s").record(1.0)


@asynccontextmanager
async def http_server(sink: list[Batch]) -> AsyncIterator[str]:
    async def take(batch: Batch) -> None:
        sink.append(batch)

    with listening_socket("127.0.0.1", 0, "OTLP/HTTP") as listener:
        server = uvicorn.Server(uvicorn.Config(http_receiver(take), ws="none", lifespan="off", log_level="error"))
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110  # the server offers no event to wait for
            await asyncio.sleep(0)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@asynccontextmanager
async def grpc_server(sink: list[Batch]) -> AsyncIterator[str]:
    async def take(batch: Batch) -> None:
        sink.append(batch)

    receiver = GrpcReceiver(take, port=0)
    await receiver.start()
    yield f"http://127.0.0.1:{receiver.port}"
    await receiver.stop()


async def by_grpc(sink: list[Batch]) -> None:
    async with grpc_server(sink) as address:
        await _run(lambda: Exporters(GrpcSpans(address), GrpcMetrics(address), GrpcLogs(address)))


async def by_http(sink: list[Batch], compression: Compression) -> None:
    async with http_server(sink) as address:
        await _run(
            lambda: Exporters(
                HttpSpans(f"{address}/v1/traces", compression=compression),
                HttpMetrics(f"{address}/v1/metrics", compression=compression),
                HttpLogs(f"{address}/v1/logs", compression=compression),
            )
        )


async def _run(exporters: Callable[[], Exporters]) -> None:
    def application() -> None:
        apps = [App(name, exporters()) for name in ("front", "cart")]
        buy_something(*apps)
        for app in apps:
            app.shut_down()

    await asyncio.to_thread(application)


@pytest.mark.parametrize("door", ["grpc", "http", "http gzip", "http deflate"])
async def test_an_applications_services_database_peers_and_calls_appear_in_the_graph(door: str) -> None:
    sink: list[Batch] = []
    if door == "grpc":
        await by_grpc(sink)
    else:
        await by_http(sink, {"http": Compression.NoCompression, "http gzip": Compression.Gzip, "http deflate": Compression.Deflate}[door])
    estate = Estate()
    for batch in sink:
        estate.assembler.add(batch)
    estate.finish(1e10)

    front, cart = EntityRef("service", "", "", "front"), EntityRef("service", "", "", "cart")
    seen = {(relation.key.source, relation.key.kind, relation.key.target.kind, relation.key.target.name) for relation in estate.graph.relations()}
    assert (front, "calls", "service", "cart") in seen
    assert (cart, "queries", "database", "carts-db/carts") in seen
    assert (front, "calls", "external_service", "api.payments.example.com") in seen
    assert (EntityRef("endpoint", "", "", "front POST /buy"), "part_of", "service", "front") in seen
    assert estate.calls()[front, "calls", cart]["paired"] == 1
    entity = estate.graph.entity(front)
    assert entity is not None
    assert entity.attributes["service.version"] == "1.4.2"
    assert {type(batch) for batch in sink} >= {MetricBatch, LogBatch}
    samples = [closed.window.samples for closed in estate.windows if len(closed.window.samples.entity)]
    assert [(table.attributes, table.mean.tolist()) for table in samples] == [(("pool_pending",), [3.0])]
    assert [text for closed in estate.windows for text in closed.window.logs.strings] == ["cart is stale"]
    assert any("exception ConnectionError" in closed.window.behaviour.strings for closed in estate.windows)


BROWSER_LIKE_SDK = {
    "resourceSpans": [
        {
            "resource": {
                "attributes": [
                    {"key": "service.name", "value": {"stringValue": "storefront"}},
                    {"key": "telemetry.sdk.language", "value": {"stringValue": "nodejs"}},
                    {"key": "process.pid", "value": {"intValue": 4242}},
                    {"key": "process.command_args", "value": {"arrayValue": {"values": [{"stringValue": "node"}, {"stringValue": "app.js"}]}}},
                ],
                "droppedAttributesCount": 0,
            },
            "scopeSpans": [
                {
                    "scope": {"name": "@opentelemetry/instrumentation-http", "version": "0.203.0"},
                    "spans": [
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "GET /products/:id",
                            "kind": 2,
                            "startTimeUnixNano": str(_at(1.0)),
                            "endTimeUnixNano": str(_at(1.5)),
                            "attributes": [
                                {"key": "http.method", "value": {"stringValue": "GET"}},
                                {"key": "http.route", "value": {"stringValue": "/products/:id"}},
                                {"key": "http.status_code", "value": {"intValue": 500}},
                            ],
                            "droppedAttributesCount": 0,
                            "events": [],
                            "droppedEventsCount": 0,
                            "status": {"code": 2},
                            "links": [],
                            "droppedLinksCount": 0,
                            "flags": 257,
                        },
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "aaa19b7ec3c1b174",
                            "parentSpanId": "eee19b7ec3c1b174",
                            "name": "redis-GET",
                            "kind": "SPAN_KIND_CLIENT",
                            "startTimeUnixNano": _at(1.1),
                            "endTimeUnixNano": _at(1.2),
                            "attributes": [
                                {"key": "db.system", "value": {"stringValue": "redis"}},
                                {"key": "net.peer.name", "value": {"stringValue": "products-cache"}},
                                {"key": "net.peer.port", "value": {"intValue": "6379"}},
                            ],
                            "status": {"code": "STATUS_CODE_UNSET"},
                        },
                    ],
                }
            ],
        }
    ]
}


async def test_the_json_of_the_javascript_sdk_is_understood() -> None:
    """Hex ids, numbers as numbers or text, enums as numbers or names, and members that Whence does not read."""
    sink: list[Batch] = []
    async with http_server(sink) as address, httpx.AsyncClient() as client:
        answer = await client.post(f"{address}/v1/traces", content=json.dumps(BROWSER_LIKE_SDK), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {})
    estate = Estate()
    for batch in sink:
        estate.assembler.add(batch)
    storefront = EntityRef("service", "", "", "storefront")
    assert estate.finish().requests(storefront)["errors"] == 1
    assert [(key[1], key[2].kind, key[2].name) for key in estate.calls()] == [("queries", "cache", "products-cache")]
    assert estate.graph.entity(EntityRef("endpoint", "", "", "storefront GET /products/:id")) is not None
