"""Where the estate's telemetry goes: over gRPC to a server, or into a recording that `whence replay` reads."""

from __future__ import annotations

import binascii
import gzip
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import grpc
import orjson
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from demo.world import ExportRequest

IN_FLIGHT = 32
RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED})
TRIES = 6


class ExportError(Exception):
    """The telemetry could not be delivered; the message says why."""


class Sink(Protocol):
    """Takes what the estate sends."""

    def send(self, requests: Sequence[ExportRequest]) -> None:
        """Returns when all of it is safe with the receiver. Raises ExportError."""

    def close(self) -> None:
        """No more will be sent."""


class Recording:
    """A file of length-delimited protobuf (`.pb`) or the Collector's JSON lines, gzip when the name ends in `.gz`."""

    def __init__(self, path: Path) -> None:
        names = [suffix.lower() for suffix in path.suffixes]
        self._binary = ".pb" in names or ".binpb" in names
        self._file: IO[bytes] | gzip.GzipFile = gzip.GzipFile(path, "wb", compresslevel=5, mtime=0) if names[-1:] == [".gz"] else path.open("wb")

    def send(self, requests: Sequence[ExportRequest]) -> None:
        """Appends them."""
        for request in requests:
            self._file.write(_delimited(request) if self._binary else json_line(request))

    def close(self) -> None:
        """Completes the file."""
        self._file.close()


class GrpcSink:
    """OTLP over an insecure gRPC channel; at most IN_FLIGHT requests wait for their acknowledgement, refused ones are tried again."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(target)
        self._calls: dict[type, Any] = {
            ExportTraceServiceRequest: TraceServiceStub(self._channel).Export,  # type: ignore[no-untyped-call]  # generated
            ExportMetricsServiceRequest: MetricsServiceStub(self._channel).Export,  # type: ignore[no-untyped-call]  # generated
            ExportLogsServiceRequest: LogsServiceStub(self._channel).Export,  # type: ignore[no-untyped-call]  # generated
        }
        self.rejected = 0

    def send(self, requests: Sequence[ExportRequest]) -> None:
        """Sends them and waits for every acknowledgement."""
        waiting: deque[tuple[ExportRequest, Any]] = deque()
        for request in requests:
            if len(waiting) >= IN_FLIGHT:
                self._settle(*waiting.popleft())
            waiting.append((request, self._calls[type(request)].future(request, timeout=20.0)))
        while waiting:
            self._settle(*waiting.popleft())

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _settle(self, request: ExportRequest, call: Any) -> None:
        for attempt in range(TRIES):
            try:
                answer = call.result()
            except grpc.RpcError as error:
                if error.code() not in RETRYABLE or attempt == TRIES - 1:
                    raise ExportError(f"{self._target} does not take OTLP ({error.code().name}: {error.details()}): is the server still there?") from error
                time.sleep(0.1 * 2**attempt)
                call = self._calls[type(request)].future(request, timeout=20.0)
                continue
            partial = answer.partial_success
            self.rejected += int(
                getattr(partial, "rejected_spans", 0) or getattr(partial, "rejected_data_points", 0) or getattr(partial, "rejected_log_records", 0)
            )
            return


def _delimited(request: ExportRequest) -> bytes:
    body = request.SerializeToString()
    return len(body).to_bytes(4, "big") + body


IDS = {"traceId", "spanId", "parentSpanId"}


def json_line(request: ExportRequest) -> bytes:
    """A request as the Collector's file exporter writes it: OTLP/JSON, ids in hex, one line."""
    return orjson.dumps(_in_otlp_json(MessageToDict(request, use_integers_for_enums=True)), option=orjson.OPT_APPEND_NEWLINE)


def _in_otlp_json(value: Any) -> Any:
    """Protobuf's JSON form writes bytes in base64; OTLP wants ids in hex."""
    if isinstance(value, dict):
        return {key: _hex(each) if key in IDS else _in_otlp_json(each) for key, each in value.items()}
    return [_in_otlp_json(each) for each in value] if isinstance(value, list) else value


def _hex(base64_text: str) -> str:
    return binascii.a2b_base64(base64_text).hex()
