"""ExportLogsServiceRequest -> LogBatch (opentelemetry-proto, logs/v1)."""

from __future__ import annotations

from collections import Counter

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from ingest.otlp.columns import Rejections, SparseText, Strings, frozen, rejections, resource_of, text_of
from schema.batches import LogBatch, Resource


def decode_logs(message: ExportLogsServiceRequest) -> tuple[LogBatch, Rejections]:
    """The good records as columns, and the bad ones counted by reason."""
    refused: Counter[str] = Counter()
    strings = Strings()
    resources: list[Resource] = []
    attributes = SparseText(strings)
    rows: list[tuple[int, ...]] = []
    events: list[int] = []
    for resource_logs in message.resource_logs:
        resource = len(resources)
        resources.append(resource_of(resource_logs.resource))
        for scope in resource_logs.scope_logs:
            for record in scope.log_records:
                time = record.time_unix_nano or record.observed_time_unix_nano
                if not 0 < time < 1 << 62:
                    refused["a log record without a time"] += 1
                    continue
                attributes.put(len(rows), record.attributes)
                body = strings.index(text_of(record.body))
                trace = record.trace_id if len(record.trace_id) == 16 else bytes(16)
                halves = int.from_bytes(trace[:8], "big"), int.from_bytes(trace[8:], "big")
                rows.append((resource, time, min(max(int(record.severity_number), 0), 24), *halves, int.from_bytes(record.span_id[:8], "big"), body))
                events.append(strings.index(record.event_name) if record.event_name else -1)
    table = np.array(rows, dtype=np.uint64).reshape(-1, 7)
    batch = LogBatch(
        strings=tuple(strings.texts),
        resources=tuple(resources),
        resource=frozen(table[:, 0], np.int32),
        time=frozen(table[:, 1], np.int64),
        severity=frozen(table[:, 2], np.uint8),
        trace_high=frozen(table[:, 3], np.uint64),
        trace_low=frozen(table[:, 4], np.uint64),
        span_id=frozen(table[:, 5], np.uint64),
        body=frozen(table[:, 6], np.int32),
        event=frozen(events, np.int32),
        attributes=attributes.columns(len(rows)),
    )
    return batch, rejections(refused)
