"""A scorer, and an estate in coarse metrics as OTLP/JSON lines: entry calls basket and mail, basket calls ledger; sums grow row by row."""

from __future__ import annotations

import random
from typing import Any

from tests.api.recordings import SECOND, START

SCORER = """
def service_of(cause, truth):
    return cause["service"] or cause["name"]

def expected_hits(causes, truth):
    order = sorted(causes, key=lambda cause: -cause["probability"])
    names = [service_of(cause, truth) for cause in order]
    return {k: float(truth in names[:k]) for k in (1, 3, 5)}
"""
ROW = 300
CALLS = (("entry", "basket"), ("entry", "mail"), ("basket", "ledger"))
USUAL = {"entry": 0.2, "basket": 0.1, "mail": 0.02, "ledger": 0.05}  # seconds a request
REQUESTS = {"entry": 900, "basket": 800, "mail": 300, "ledger": 700}  # a row


def lines(rows: int) -> list[dict[str, Any]]:
    """An export request a row of ROW seconds. mail's share of successes is a column of zeros: nobody measured it."""
    chance = random.Random(3)
    sums, counts, calls = dict.fromkeys(USUAL, 0.0), dict.fromkeys(USUAL, 0), 0
    found = []
    for row in range(rows):
        resources = []
        for service, usual in USUAL.items():
            requests = REQUESTS[service] + chance.randint(-20, 20)
            counts[service] += requests
            sums[service] += requests * usual * chance.uniform(0.97, 1.03)
            ratio = 0.0 if service == "mail" else 1.0 - chance.randint(0, 2) / requests
            resources.append(_resource(service, row, (sums[service], counts[service]), ratio))
        calls += 500
        found.append({"resourceMetrics": [*resources, _graph(row, calls)]})
    return found


def _resource(service: str, row: int, duration: tuple[float, int], ratio: float) -> dict[str, Any]:
    summary = {"timeUnixNano": _time(row), "sum": duration[0], "count": str(duration[1])}
    metrics = [
        {"name": "http.server.request.duration", "unit": "s", "summary": {"dataPoints": [summary]}},
        {"name": "http.server.request.success_ratio", "unit": "1", "gauge": {"dataPoints": [{"timeUnixNano": _time(row), "asDouble": ratio}]}},
    ]
    return {"resource": {"attributes": _attributes({"service.name": service})}, "scopeMetrics": [{"metrics": metrics}]}


def _graph(row: int, calls: int) -> dict[str, Any]:
    points = [
        {"timeUnixNano": _time(row), "asDouble": float(calls), "attributes": _attributes({"client": caller, "server": callee})} for caller, callee in CALLS
    ]
    summed = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": points}
    return {"resource": {"attributes": []}, "scopeMetrics": [{"metrics": [{"name": "traces_service_graph_request_total", "sum": summed}]}]}


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _time(row: int) -> str:
    return str(START + row * ROW * SECOND)
