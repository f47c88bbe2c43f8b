"""A standard OpenTelemetry application and another SDK's JSON, sent to a running Whence with nothing but its address, show in `whence topology`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest

from tests.api.recordings import SECOND
from tests.api.test_server import answered, serving
from tests.ingest.telemetry import START
from tests.ingest.test_opentelemetry_sdk import BROWSER_LIKE_SDK

# What the SDK's own documentation shows; where to send comes from OTEL_EXPORTER_OTLP_ENDPOINT, as in any deployment.
APPLICATION = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.trace import SpanKind, set_span_in_context

def provider(name):
    made = TracerProvider(resource=Resource.create({"service.name": name}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made

start, second = int(sys.argv[1]), 1_000_000_000
front, back = provider("front"), provider("back")
for at in range(0, 60, 5):
    at = start + at * second
    served = front.get_tracer("app").start_span("GET /buy", kind=SpanKind.SERVER, start_time=at)
    client = front.get_tracer("app").start_span("GET", set_span_in_context(served), SpanKind.CLIENT, {"server.address": "back"}, start_time=at + 1_000_000)
    entry = back.get_tracer("app").start_span("GET /stock", set_span_in_context(client), SpanKind.SERVER, start_time=at + 2_000_000)
    named = {"db.system.name": "postgresql", "db.namespace": "stock", "server.address": "stock-db"}
    query = back.get_tracer("app").start_span("SELECT", set_span_in_context(entry), SpanKind.CLIENT, named, start_time=at + 3_000_000)
    for span, end in ((query, 8), (entry, 9), (client, 10), (served, 11)):
        span.end(at + end * 1_000_000)
    front.force_flush()  # a batch processor does so every five seconds
    back.force_flush()
front.shutdown()
back.shutdown()
"""


@pytest.mark.slow
def test_a_standard_application_and_another_sdks_json_appear_in_the_topology(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with serving(tmp_path / "data") as whence:
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{whence.doors['otlp_grpc']}", "OTEL_METRICS_EXPORTER": "none"}
        json_door = f"{whence.doors['otlp_http']}/v1/traces"
        sent = httpx.post(json_door, content=orjson.dumps(BROWSER_LIKE_SDK), headers={"content-type": "application/json"}, timeout=60.0)
        assert sent.json() == {}
        subprocess.run([sys.executable, "-c", APPLICATION, str(START + 5 * SECOND)], env=where, check=True, timeout=120)
        estate = answered(capsysbinary, "topology", "--server", whence.doors["http"])
    entities = {entity["id"] for entity in estate["entities"]}
    assert {"service://front", "service://back", "database://stock-db/stock", "service://storefront", "cache://products-cache"} <= entities
    relations = {(each["source"], each["kind"], each["target"]) for each in estate["relations"]}
    assert ("service://front", "calls", "service://back") in relations
    assert ("service://back", "queries", "database://stock-db/stock") in relations
