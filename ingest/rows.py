"""Spans and log records as rows of Python, taken out of their batches in canonical order when a window closes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from graph.resolver import ResolvedResource
from schema.batches import LogBatch, Resource, SpanBatch, SpanKind, StatusCode

ERROR_SEVERITY = 17


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
    links: list[tuple[int, int]] = field(default_factory=list)

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.end - self.start

    @property
    def timed_out(self) -> bool:
        """The span's own error says that it waited too long."""
        text = (self.attributes.get("error.type", "") + self.attributes.get("rpc.response.status_code", "")).lower()
        return "timeout" in text or "deadline" in text or any("timeout" in kind.lower() for kind in self.exceptions)


@dataclass(frozen=True, slots=True, order=True)
class LogRow:
    """One log record. `span`: (trace, span id), (0, 0) when it names none."""

    time: int
    service: str
    text: str
    severity: int
    span: tuple[int, int]
    home: ResolvedResource = field(compare=False)
    resource: Resource = field(compare=False)
    attributes: Mapping[str, str] = field(compare=False)

    @property
    def is_error(self) -> bool:
        """Severity ERROR or worse."""
        return self.severity >= ERROR_SEVERITY


def span_rows(batch: SpanBatch, rows: Iterable[int], homes: list[ResolvedResource]) -> list[SpanRow]:
    """The chosen rows of a batch."""
    strings, columns = batch.strings, {key: column for key, column in batch.attributes.items() if not key.startswith(("k8s.", "service.name"))}
    found: dict[int, SpanRow] = {}
    for row in rows:
        attributes = {key: strings[column[row]] for key, column in columns.items() if column[row] >= 0}
        code = attributes.get("http.response.status_code", "")
        found[row] = SpanRow(
            trace=int(batch.trace_high[row]) << 64 | int(batch.trace_low[row]),
            id=int(batch.span_id[row]),
            parent=int(batch.parent_id[row]),
            name=strings[batch.name[row]],
            kind=int(batch.kind[row]),
            start=int(batch.start[row]),
            end=int(batch.end[row]),
            failed=batch.status[row] == StatusCode.ERROR or (len(code) == 3 and code[0] == "5"),
            home=homes[batch.resource[row]],
            attributes=attributes,
        )
    for row, place in zip(batch.exception_row.tolist(), batch.exception_type.tolist(), strict=True):
        if row in found:
            found[row].exceptions.append(strings[place])
    for row, high, low, span in zip(
        batch.link_row.tolist(), batch.link_trace_high.tolist(), batch.link_trace_low.tolist(), batch.link_span_id.tolist(), strict=True
    ):
        if row in found:
            found[row].links.append((high << 64 | low, span))
    return list(found.values())


def log_rows(batch: LogBatch, rows: Iterable[int], homes: list[ResolvedResource]) -> list[LogRow]:
    """The chosen rows of a batch."""
    strings = batch.strings
    return [
        LogRow(
            time=int(batch.time[row]),
            service=str(homes[batch.resource[row]].service or ""),
            text=strings[batch.body[row]],
            severity=int(batch.severity[row]),
            span=(int(batch.trace_high[row]) << 64 | int(batch.trace_low[row]), int(batch.span_id[row])),
            home=homes[batch.resource[row]],
            resource=batch.resources[batch.resource[row]],
            attributes={key: strings[column[row]] for key, column in batch.attributes.items() if column[row] >= 0},
        )
        for row in rows
    ]


OUTGOING = frozenset({SpanKind.CLIENT, SpanKind.PRODUCER})
INCOMING = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
