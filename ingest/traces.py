"""Traces cut into segments: one service's work for one request, with its calls, its own time and what happened in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graph.resolver import ResolvedResource
from ingest.rows import INCOMING, OUTGOING, SpanRow
from ingest.templates import operation_name
from schema.batches import SpanKind
from schema.identity import EntityRef

PeerOf = Callable[[ResolvedResource, Mapping[str, str], int], EntityRef | None]


@dataclass(slots=True)
class Call:
    """One outgoing call. `target`: the called segment's service, or a peer without telemetry. `served`: the called entry span."""

    target: EntityRef
    start: int
    end: int
    failed: bool
    timed_out: bool
    waits: bool
    client: SpanRow | None
    served: SpanRow | None
    operation: str


@dataclass(slots=True)
class Segment:
    """The run of spans of one service below one entry span."""

    entry: SpanRow
    service: EntityRef
    operation: str
    caller: Segment | None
    spans: list[SpanRow] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def own_time(self) -> int:
        """Nanoseconds of the entry span in which no call was waited for."""
        waited, reach = 0, self.entry.start
        for start, end in sorted((max(call.start, self.entry.start), min(call.end, self.entry.end)) for call in self.calls if call.waits):
            if end > reach:
                waited += end - max(start, reach)
                reach = end
        return max(self.entry.duration - waited, 0)

    @property
    def failed(self) -> bool:
        """The request failed."""
        return self.entry.failed


def segments_of(spans: Sequence[SpanRow], peer_of: PeerOf) -> list[Segment]:
    """The segments of one trace (or of what came of it), in order of their entry's start. Spans in canonical order."""
    by_id = {span.id: span for span in spans}
    segments: dict[int, Segment] = {}
    entries = [span for span in spans if _is_entry(span, by_id.get(span.parent)) and span.home.service is not None]
    for entry in entries:
        assert entry.home.service is not None
        segments[entry.id] = Segment(entry, entry.home.service, operation_of(entry), None)
    owner = {span.id: _owner(span, by_id, segments) for span in spans}
    called: dict[int, list[SpanRow]] = {}
    for span in spans:
        segment = owner[span.id]
        if segment is None:
            continue
        if span.id in segments:
            segment.caller = owner.get(span.parent)
            if span.parent in by_id:
                called.setdefault(span.parent, []).append(span)
        else:
            segment.spans.append(span)
    for span in spans:
        segment = owner[span.id]
        if segment is not None:
            segment.calls.extend(_calls(span, called.get(span.id, []), peer_of))
    return [segments[entry.id] for entry in entries]


def operation_of(entry: SpanRow) -> str:
    """The operation an entry span serves: method and route, or RPC method, or its name."""
    attributes = entry.attributes
    if attributes.get("http.route"):
        return f"{attributes.get('http.request.method', '')} {attributes['http.route']}".strip()
    if attributes.get("rpc.method"):
        service = attributes.get("rpc.service", "")
        return f"{service}/{attributes['rpc.method']}".strip("/")
    return operation_name(entry.name)


def _is_entry(span: SpanRow, parent: SpanRow | None) -> bool:
    if span.kind in INCOMING:
        return True
    if parent is not None:
        return parent.home.service != span.home.service
    return span.parent == 0 or span.kind not in OUTGOING


def _owner(span: SpanRow, by_id: Mapping[int, SpanRow], segments: Mapping[int, Segment]) -> Segment | None:
    seen = set()
    at: SpanRow | None = span
    while at is not None and at.id not in seen:
        if at.id in segments:
            return segments[at.id]
        seen.add(at.id)
        at = by_id.get(at.parent)
    return None


def _calls(span: SpanRow, served: Sequence[SpanRow], peer_of: PeerOf) -> list[Call]:
    client = span if span.kind in OUTGOING else None
    calls = []
    for entry in served:
        assert entry.home.service is not None
        asynchronous = entry.kind == SpanKind.CONSUMER or span.kind == SpanKind.PRODUCER or entry.start >= span.end
        start, end = (client.start, client.end) if client else (entry.start, entry.end)
        failed = (client.failed if client else False) or entry.failed
        timed_out = client.timed_out if client else False
        calls.append(Call(entry.home.service, start, end, failed, timed_out, not asynchronous, client, entry, operation_of(entry)))
    if client is not None and (not served or client.kind == SpanKind.PRODUCER):
        target = peer_of(client.home, client.attributes, client.start)
        if target is not None and target != client.home.service:
            calls.append(Call(target, client.start, client.end, client.failed, client.timed_out, True, client, None, operation_name(client.name)))
    return calls
