"""Whatever is sent is taken or refused, at the door and on into a window: never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.otlp.receiving import SIGNALS, RequestError, parse_json, parse_protobuf
from tests.ingest.telemetry import CLIENT, START, Estate, request, span
from tests.ingest.test_decoding import otlp_json
from tests.ingest.test_recordings import logs, metrics

TRACES = request([span("front", 1, 0, 1.0, 2.0, attributes={"http.route": "/"}), span("front", 2, 1, 1.1, 1.9, CLIENT, exceptions=["Gone"])])
POINT: dict[str, Any] = {"timeUnixNano": str(START), "attributes": [], "count": "3", "sum": 2.5}
SHAPES: dict[str, Any] = {
    "histogram": {"dataPoints": [POINT | {"bucketCounts": ["1", "2"], "explicitBounds": [0.5]}], "aggregationTemporality": 2},
    "exponentialHistogram": {"dataPoints": [POINT | {"scale": 3, "zeroCount": "1", "positive": {"offset": 4, "bucketCounts": ["2"]}}]},
    "summary": {"dataPoints": [POINT]},
    "sum": {"dataPoints": [{"timeUnixNano": str(START), "asInt": "4"}], "isMonotonic": True},
}
RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
MADE = [{"name": "http.server.request.duration", "unit": "s", shape: data} for shape, data in SHAPES.items()]
DOCUMENTS: dict[str, Any] = {
    "traces": json.loads(otlp_json(TRACES, numbers_for_enums=True)),
    "metrics": {"resourceMetrics": [{"resource": RESOURCE, "scopeMetrics": [{"metrics": MADE}]}]},
    "logs": json.loads(otlp_json(logs(1), numbers_for_enums=False)),
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from([[], {}, [[]], [{}], {"stringValue": 1}, {"arrayValue": None}, {"kvlistValue": {"values": [{}]}}, "-1", "SPAN_KIND_SERVER", 10**30, 2**63]),
)
SETTINGS = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def take(signal: str, parse: Any, body: bytes) -> bool:
    """As a door takes a body; True if it was taken."""
    try:
        batch, _ = SIGNALS[signal].decode(parse(SIGNALS[signal], body))
    except RequestError:
        return False
    estate = Estate()
    estate.send(batch)
    estate.finish(1e9)
    return True


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    for key, inner in list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()):
        yield node, key
        yield from places(inner)


@pytest.mark.parametrize("signal", sorted(DOCUMENTS))
def test_the_documents_are_good_before_they_are_spoilt(signal: str) -> None:
    assert take(signal, parse_json, json.dumps(DOCUMENTS[signal]).encode())


@SETTINGS
@given(st.data(), st.sampled_from(sorted(DOCUMENTS)))
def test_json_with_odd_members_is_taken_or_refused(data: st.DataObject, signal: str) -> None:
    document = copy.deepcopy(DOCUMENTS[signal])
    for _ in range(data.draw(st.integers(1, 3))):
        known = list(places(document))
        container, key = data.draw(st.sampled_from(known)) if known else (document, "resourceSpans")
        container[key] = copy.deepcopy(data.draw(ODD))
    take(signal, parse_json, json.dumps(document).encode())


@SETTINGS
@given(st.data(), st.sampled_from([("traces", TRACES), ("metrics", metrics(1)), ("logs", logs(1))]))
def test_bytes_that_were_damaged_are_taken_or_refused(data: st.DataObject, sent: tuple[str, Message]) -> None:
    signal, message = sent
    body = bytearray(message.SerializeToString())
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(body) - 1), st.integers(0, 255)), max_size=4)):
        body[place] = byte
    take(signal, parse_protobuf, bytes(body[: data.draw(st.integers(len(body) // 2, len(body)))]))
