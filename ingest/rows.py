"""Spans and log records as rows of Python, taken out of their batches in canonical order when a window closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graph.resolver import ResolvedResource
from ingest.templates import log_template
from schema.batches import Int32, LogBatch, Resource, SpanBatch, SpanKind, StatusCode

ERROR_SEVERITY = 17
GRPC_DEADLINE = "4"  # DEADLINE_EXCEEDED, as old senders write it
OUTGOING = frozenset({SpanKind.CLIENT, SpanKind.PRODUCER})
INCOMING = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
IGNORED = ("k8s.", "service.name")  # on spans these repeat the resource


@dataclass(slots=True)
class SpanRow:
    """One span with its resolved resource. `failed`: status ERROR, or a 5xx answer."""

    trace: int
    id: int
    parent: int
    name: str
    kind: int
    start: int
    end: int
    failed: bool
    home: ResolvedResource
    attributes: Mapping[str, str]
    exceptions: list[str] = field(default_factory=list)

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.end - self.start

    @property
    def timed_out(self) -> bool:
        """The span failed and its own error says that it waited too long."""
        if not self.failed:
            return False
        code = self.attributes.get("rpc.response.status_code", "")
        text = (self.attributes.get("error.type", "") + code).lower()
        return "timeout" in text or "deadline" in text or code == GRPC_DEADLINE or any("timeout" in kind.lower() for kind in self.exceptions)


@dataclass(frozen=True, slots=True, order=True)
class LogRow:
    """One log record. `span`: (trace, span id), (0, 0) when it names none."""

    time: int
    service: str
    text: str
    severity: int
    span: tuple[int, int]
    template: str
    home: ResolvedResource = field(compare=False)
    resource: Resource = field(compare=False)
    attributes: Mapping[str, str] = field(compare=False)

    @property
    def is_error(self) -> bool:
        """Severity ERROR or worse."""
        return self.severity >= ERROR_SEVERITY


def span_rows(batch: SpanBatch, rows: Sequence[int], homes: Mapping[int, ResolvedResource]) -> list[SpanRow]:
    """The chosen rows of a batch. `homes`: by place in the batch's resources."""
    strings = batch.strings
    attributes = _attributes(strings, {key: column for key, column in batch.attributes.items() if not key.startswith(IGNORED)}, rows)
    columns = (batch.trace_high, batch.trace_low, batch.span_id, batch.parent_id, batch.name, batch.kind, batch.status, batch.start, batch.end, batch.resource)
    table = zip(*(column[rows].tolist() for column in columns), attributes, strict=True)
    found = [
        SpanRow(high << 64 | low, span, parent, strings[name], kind, start, end, _failed(status, held), homes[home], held)
        for high, low, span, parent, name, kind, status, start, end, home, held in table
    ]
    if len(batch.exception_row):
        by_row = dict(zip(rows, found, strict=True))
        for row, place in zip(batch.exception_row.tolist(), batch.exception_type.tolist(), strict=True):
            if row in by_row:
                by_row[row].exceptions.append(strings[place])
    return found


def log_rows(batch: LogBatch, rows: Sequence[int], homes: Mapping[int, ResolvedResource]) -> list[LogRow]:
    """The chosen rows of a batch. `homes`: by place in the batch's resources."""
    strings = batch.strings
    templates = {place: log_template(strings[place]) for place in set(batch.body[rows].tolist())}
    columns = (batch.time, batch.severity, batch.trace_high, batch.trace_low, batch.span_id, batch.body, batch.resource)
    table = zip(*(column[rows].tolist() for column in columns), _attributes(strings, batch.attributes, rows), strict=True)
    return [
        LogRow(
            time=time,
            service=str(homes[home].service or ""),
            text=strings[body],
            severity=severity,
            span=(high << 64 | low, span),
            template=templates[body],
            home=homes[home],
            resource=batch.resources[home],
            attributes=held,
        )
        for time, severity, high, low, span, body, home, held in table
    ]


def _attributes(strings: tuple[str, ...], columns: Mapping[str, Int32], rows: Sequence[int]) -> list[dict[str, str]]:
    """The text attributes of each row."""
    found: list[dict[str, str]] = [{} for _ in rows]
    for key, column in columns.items():
        for held, place in zip(found, column[rows].tolist(), strict=True):
            if place >= 0:
                held[key] = strings[place]
    return found


def _failed(status: int, attributes: Mapping[str, str]) -> bool:
    code = attributes.get("http.response.status_code", "")
    return status == StatusCode.ERROR or (len(code) == 3 and code[0] == "5")
