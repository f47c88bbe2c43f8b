"""Recordings: the Collector file exporter's JSON lines or length-delimited protobuf, plain or gzip, merged in event time."""

from __future__ import annotations

import gzip
import heapq
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest.errors import RecordingError
from ingest.otlp.columns import Rejections
from ingest.otlp.decode_logs import decode_logs
from ingest.otlp.decode_metrics import decode_metrics
from ingest.otlp.decode_traces import decode_traces
from ingest.otlp.json import JsonError, parse_any
from schema.batches import Batch, SpanBatch

LARGEST_MESSAGE = 256 << 20
Decode = Callable[[Any], tuple[Batch, Rejections]]
DECODERS: tuple[tuple[Any, Decode], ...] = (
    (ExportTraceServiceRequest, decode_traces),
    (ExportMetricsServiceRequest, decode_metrics),
    (ExportLogsServiceRequest, decode_logs),
)


def read_recording(paths: Sequence[Path]) -> Iterator[Batch]:
    """Batches of all files in the order of their earliest event time. Each file must be roughly in order. Raises RecordingError."""
    order = count()
    heads: list[tuple[int, int, Batch, Iterator[Batch]]] = []
    for path in sorted(paths):
        _advance(_batches(path), heads, order)
    while heads:
        _, _, batch, rest = heapq.heappop(heads)
        yield batch
        _advance(rest, heads, order)


def _advance(batches: Iterator[Batch], heads: list[tuple[int, int, Batch, Iterator[Batch]]], order: count[int]) -> None:
    for batch in batches:
        if len(batch):
            times = batch.end if isinstance(batch, SpanBatch) else batch.time
            heapq.heappush(heads, (int(times.min()), next(order), batch, batches))
            return


def _batches(path: Path) -> Iterator[Batch]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            content = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw
            first = content.peek(64)[:64].lstrip()[:1]
            yield from _json_lines(path, content) if first in {b"{", b""} else _delimited(path, content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"{path} is cut or damaged in its compressed data: record it again, or replay what is before the cut.") from error
    except OSError as error:
        raise RecordingError(f"{path} can't be read ({error.strerror or error}): check the path.") from error


def _json_lines(path: Path, content: BinaryIO) -> Iterator[Batch]:
    for number, line in enumerate(content, start=1):
        if not line.strip():
            continue
        try:
            for request in parse_any(line):
                yield next(decode for kind, decode in DECODERS if isinstance(request, kind))(request)[0]
        except JsonError as error:
            cut = "it is cut in the middle" if not line.endswith(b"\n") else str(error)
            raise RecordingError(f"{path}:{number}: this line is no OTLP/JSON export request: {cut}.") from error


def _delimited(path: Path, content: BinaryIO) -> Iterator[Batch]:
    offset = 0
    while header := content.read(4):
        size = int.from_bytes(header, "big")
        body = content.read(size) if len(header) == 4 and size <= LARGEST_MESSAGE else b""
        if len(body) != size or not size:
            raise RecordingError(f"{path}: the message at byte {offset} is cut or no length-delimited OTLP: record it again.")
        yield _message(path, offset, body)
        offset += 4 + size


def _message(path: Path, offset: int, body: bytes) -> Batch:
    """The three requests share a shape: only the right one finds what it requires in the innermost messages."""
    best: Batch | None = None
    for kind, decode in DECODERS:
        try:
            batch, refused = decode(kind.FromString(body))
        except DecodeError:
            continue
        if len(batch) and not refused.count:
            return batch
        # An export without rows is legal, whichever signal it was of.
        best = best or (batch if len(batch) or not refused.count else None)
    if best is None:
        raise RecordingError(f"{path}: the message at byte {offset} is no OTLP export request.")
    return best
