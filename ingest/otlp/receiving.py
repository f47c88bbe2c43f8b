"""What the gRPC and HTTP doors share: the three signals, acceptance of a request, and what was received and refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message
from google.rpc.code_pb2 import INVALID_ARGUMENT
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse

from ingest.otlp.columns import Rejections
from ingest.otlp.decode_logs import decode_logs
from ingest.otlp.decode_metrics import decode_metrics
from ingest.otlp.decode_traces import decode_traces
from ingest.otlp.json import JsonError, parse_logs, parse_metrics, parse_traces
from schema.batches import Batch

LARGE_BODY = 128 << 10
"""Bytes from which decoding leaves the event loop alone: tens of milliseconds."""

Sink = Callable[[Batch], Awaitable[None]]
"""Takes a batch; awaiting it is backpressure. May raise ingest.errors.OverloadedError."""


class RequestError(Exception):
    """A request that can't be taken at all. `reason` is a short name for counters, the message is for the sender."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class ReceiverCounts:
    """What came through the doors, by signal. Items are spans, points and records.

    `refused_items`: (signal, reason) -> items of otherwise good requests. `refused_requests`: (signal, reason) -> whole requests.
    """

    requests: Counter[str] = field(default_factory=Counter)
    received_items: Counter[str] = field(default_factory=Counter)
    refused_items: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused_requests: Counter[tuple[str, str]] = field(default_factory=Counter)


class _Decode(Protocol):
    def __call__(self, message: Any, /) -> tuple[Batch, Rejections]: ...


@dataclass(frozen=True, slots=True)
class Signal:
    """One kind of telemetry and its messages (opentelemetry-proto, collector/*/v1)."""

    name: str
    service: str
    request: type[Message]
    parse_json: Callable[[bytes], Message]
    decode: _Decode
    answer: Callable[[Rejections], Message]


def _traces_answer(refused: Rejections) -> Message:
    partial = ExportTracePartialSuccess(rejected_spans=refused.count, error_message=refused.message) if refused.count else None
    return ExportTraceServiceResponse(partial_success=partial)


def _metrics_answer(refused: Rejections) -> Message:
    partial = ExportMetricsPartialSuccess(rejected_data_points=refused.count, error_message=refused.message) if refused.count else None
    return ExportMetricsServiceResponse(partial_success=partial)


def _logs_answer(refused: Rejections) -> Message:
    partial = ExportLogsPartialSuccess(rejected_log_records=refused.count, error_message=refused.message) if refused.count else None
    return ExportLogsServiceResponse(partial_success=partial)


Parse = Callable[[Signal, bytes], Message]

_SERVICES = "opentelemetry.proto.collector"
SIGNALS: Mapping[str, Signal] = {
    signal.name: signal
    for signal in (
        Signal("traces", f"{_SERVICES}.trace.v1.TraceService", ExportTraceServiceRequest, parse_traces, decode_traces, _traces_answer),
        Signal("metrics", f"{_SERVICES}.metrics.v1.MetricsService", ExportMetricsServiceRequest, parse_metrics, decode_metrics, _metrics_answer),
        Signal("logs", f"{_SERVICES}.logs.v1.LogsService", ExportLogsServiceRequest, parse_logs, decode_logs, _logs_answer),
    )
}


def parse_protobuf(signal: Signal, body: bytes) -> Message:
    """The export request in a body. Raises RequestError, also for text that is not UTF-8 and for nesting without end."""
    try:
        return signal.request.FromString(body)
    except DecodeError as error:
        raise RequestError("undecodable", f"The body is no {signal.request.DESCRIPTOR.name} ({error}): send OTLP protobuf.") from error


def parse_json(signal: Signal, body: bytes) -> Message:
    """The export request in a body. Raises RequestError."""
    try:
        return signal.parse_json(body)
    except JsonError as error:
        raise RequestError("undecodable", f"The body is no {signal.request.DESCRIPTOR.name}: {error}. Send OTLP/JSON.") from error


async def accept(signal: Signal, parse: Parse, body: bytes, sink: Sink, counts: ReceiverCounts) -> Message:
    """Hands what is good in a body to the sink; the answer names what is not. Raises RequestError, and OverloadedError from the sink."""

    def read() -> tuple[Batch, Rejections]:
        return signal.decode(parse(signal, body))

    batch, refused = await asyncio.to_thread(read) if len(body) > LARGE_BODY else read()
    if len(batch):
        await sink(batch)
    counts.requests[signal.name] += 1
    counts.received_items[signal.name] += len(batch)
    for reason, number in refused.reasons.items():
        counts.refused_items[signal.name, reason] += number
    return signal.answer(refused)


def status_of(message: str, code: int = INVALID_ARGUMENT) -> Status:
    """The body of an error answer; OTLP puts a google.rpc.Status into every one."""
    return Status(code=code, message=message)
