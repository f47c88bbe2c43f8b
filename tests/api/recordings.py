"""A tiny estate as OTLP/JSON lines: checkout calls cart, cart queries a database; from an instant on, the database is slow."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
START = 1_772_000_000 * SECOND
Line = dict[str, Any]


def shop_lines(seconds: int, *, slow_from: int | None = None, rate: int = 4, start: int = START) -> list[Line]:
    """One export request per service and 5 seconds; `slow_from`: seconds after `start`."""
    chance = random.Random(7)
    lines: list[Line] = []
    for block in range(0, seconds, 5):
        spans: dict[str, list[Line]] = {"checkout": [], "cart": []}
        for number in range(5 * rate):
            at = start + block * SECOND + number * SECOND // rate
            slow = slow_from is not None and block >= slow_from
            _request(spans, block * 1_000 + number + 1, at, chance.randint(4, 8) * (40 if slow else 1) * MILLISECOND)
        lines.extend({"resourceSpans": [_resource(service, found)]} for service, found in spans.items())
    return lines


def write_lines(path: Path, lines: list[Line]) -> Path:
    """As the Collector's file exporter writes them."""
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


def _request(spans: dict[str, list[Line]], number: int, at: int, query: int) -> None:
    trace = f"{number:032x}"
    total = query + 12 * MILLISECOND
    spans["checkout"] += [
        _span(trace, number * 10 + 1, 0, "POST /pay", 2, at, total, {"http.route": "/pay", "http.request.method": "POST"}),
        _span(trace, number * 10 + 2, number * 10 + 1, "GET", 3, at + MILLISECOND, total - 2 * MILLISECOND, {"server.address": "cart"}),
    ]
    spans["cart"] += [
        _span(trace, number * 10 + 3, number * 10 + 2, "GET /items", 2, at + 2 * MILLISECOND, total - 4 * MILLISECOND, {"http.route": "/items"}),
        _span(
            trace, number * 10 + 4, number * 10 + 3, "SELECT", 3, at + 3 * MILLISECOND, query,
            {"db.system.name": "postgresql", "db.namespace": "items", "server.address": "items-db"},
        ),
    ]  # fmt: skip


def _span(trace: str, span: int, parent: int, name: str, kind: int, start: int, duration: int, attributes: dict[str, str]) -> Line:
    return {
        "traceId": trace,
        "spanId": f"{span:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + duration),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
    }


def _resource(service: str, spans: list[Line]) -> Line:
    attributes = {"service.name": service, "service.namespace": "shop", "k8s.cluster.name": "c", "k8s.namespace.name": "shop", "k8s.pod.name": f"{service}-1"}
    return {
        "resource": {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]},
        "scopeSpans": [{"spans": spans}],
    }
