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
BROKERS = frozenset({"topic", "queue"})
TAKING = frozenset({"receive", "settle"})


@dataclass(frozen=True, slots=True)
class Origin:
    """The request a span belongs to."""

    service: EntityRef
    operation: str


@dataclass(slots=True)
class Call:
    """One outgoing call. `target`: the called segment's service, or a peer without telemetry. `served`: the called entry span.

    `waits`: the caller's time passes while the call is under way.
    """

    relation: str
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
    """The run of spans of one service below one entry span. `caller`: the request that waited for it, if that is known.

    `is_request` is False where the request was counted before, is not known, or is a wait for messages: only the calls count then.
    `took_from`: the topic or queue whose message it works on.
    """

    entry: SpanRow
    origin: Origin
    is_request: bool
    caller: Origin | None = None
    took_from: EntityRef | None = None
    spans: list[SpanRow] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def service(self) -> EntityRef:
        """The service that did the work."""
        return self.origin.service

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

    @property
    def failed_by_itself(self) -> bool:
        """The request failed although nothing it waited for did."""
        return self.failed and not any(call.failed and call.waits for call in self.calls)


def segments_of(spans: Sequence[SpanRow], peer_of: PeerOf, counted: Mapping[int, Origin] | None = None) -> list[Segment]:
    """The segments of one trace (or of what came of it), in order of their entry's start. Spans in canonical order.

    `counted`: the request each span of the trace that was counted before belonged to.
    """
    counted = counted or {}
    by_id = {span.id: span for span in spans}
    segments: dict[int, Segment] = {}
    for span in spans:
        if span.home.service is not None and _is_entry(span, by_id.get(span.parent)):
            segments[span.id] = _segment(span, span.home.service, counted.get(span.parent), peer_of)
    owners = _owners(spans, by_id, segments)
    called: dict[int, list[SpanRow]] = {}
    for span in spans:
        segment = owners[span.id]
        if segment is None:
            continue
        if span.id not in segments:
            segment.spans.append(span)
        elif span.parent in by_id and span.kind != SpanKind.CONSUMER:
            caller = owners[span.parent]
            segment.caller = caller.origin if caller is not None else None
            called.setdefault(span.parent, []).append(span)
    for span in spans:
        segment = owners[span.id]
        if segment is not None:
            segment.calls.extend(_calls(span, called.get(span.id, []), peer_of))
    return list(segments.values())


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
    if parent is None or parent.home.service != span.home.service:
        return True
    # A server span right below another of the same service is the same request, seen by two instrumentations.
    return span.kind == SpanKind.CONSUMER or (span.kind == SpanKind.SERVER and parent.kind != SpanKind.SERVER)


def _segment(entry: SpanRow, service: EntityRef, caller: Origin | None, peer_of: PeerOf) -> Segment:
    origin = Origin(service, operation_of(entry))
    if entry.kind == SpanKind.CONSUMER:
        topic = peer_of(entry.home, entry.attributes, entry.start) if entry.attributes.get("messaging.destination.name") else None
        return Segment(entry, origin, entry.attributes.get("messaging.operation.type") not in TAKING, took_from=topic)
    if entry.kind not in INCOMING and caller is not None and caller.service == service:
        return Segment(entry, caller, is_request=False)
    lost_its_request = caller is None and entry.parent != 0 and entry.kind in OUTGOING
    return Segment(entry, origin, is_request=not lost_its_request, caller=caller)


def _owners(spans: Sequence[SpanRow], by_id: Mapping[int, SpanRow], segments: Mapping[int, Segment]) -> dict[int, Segment | None]:
    owners: dict[int, Segment | None] = {**segments}
    for span in spans:
        path: list[int] = []
        at: SpanRow | None = span
        while at is not None and at.id not in owners:
            owners[at.id] = None  # Parents that form a circle end here.
            path.append(at.id)
            at = by_id.get(at.parent)
        if at is not None:
            for each in path:
                owners[each] = owners[at.id]
    return owners


def _calls(span: SpanRow, served: Sequence[SpanRow], peer_of: PeerOf) -> list[Call]:
    client = span if span.kind in OUTGOING else None
    calls = []
    for entry in served:
        assert entry.home.service is not None
        waits = span.kind != SpanKind.PRODUCER and entry.start < span.end
        start, end = (client.start, client.end) if client else (entry.start, entry.end)
        failed = entry.failed or (client is not None and client.failed)
        timed_out = client is not None and client.timed_out
        calls.append(Call("calls", entry.home.service, start, end, failed, timed_out, waits, client, entry, operation_of(entry)))
    if client is not None and not served:
        target = peer_of(client.home, client.attributes, client.start)
        if target is not None and target != client.home.service:
            relation = _relation(client, target)
            calls.append(Call(relation, target, client.start, client.end, client.failed, client.timed_out, True, client, None, operation_name(client.name)))
    return calls


def _relation(client: SpanRow, target: EntityRef) -> str:
    if target.kind in {"database", "cache"}:
        return "queries"
    if target.kind in BROKERS:
        return "consumes_from" if client.attributes.get("messaging.operation.type") in TAKING else "publishes_to"
    return "calls"
