"""Batches in, closed windows of event time out. Nothing counts before its window closes, so the order of arrival leaves no trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graph.live import LiveGraph
from graph.resolver import ResolvedResource, Resolver
from graph.topology import StructureChange, TopologyDelta
from ingest.bounded import BoundedTable
from ingest.memory import AssemblerMemory
from ingest.observations import topology_delta
from ingest.rows import LogRow, SpanRow, log_rows, span_rows
from ingest.samples import SampleReader, point_rows, sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, count_behaviour, count_segment, log_table, request_table
from ingest.trace_table import TraceTable
from ingest.traces import segments_of
from ingest.watermark import Watermark
from schema.batches import Batch, LogBatch, MetricBatch, Resource, SpanBatch
from schema.identity import EntityRef
from schema.windows import Change, ChangeKind, TelemetryWindow

SECOND = 1_000_000_000
ResourceKey = tuple[tuple[str, str], ...]
EVENT_KINDS: dict[str, ChangeKind] = {
    "OOMKilling": ChangeKind.OOM_KILLED,
    "OOMKilled": ChangeKind.OOM_KILLED,
    "NodeNotReady": ChangeKind.NODE_NOT_READY,
    "Killing": ChangeKind.RESTART,
    "BackOff": ChangeKind.RESTART,
    "ScalingReplicaSet": ChangeKind.SCALE,
}
VERSION = "service.version"


@dataclass(frozen=True, slots=True)
class AssemblerSettings:
    """Times in seconds of event time. `rows`: how many rows may wait in open windows; `pending`: spans and records that wait for their request.

    `leap_seconds`: how far ahead of the others one batch may move the watermark. `skew_seconds`: how much later than its caller a callee may end, by clocks that differ.
    """

    window_seconds: float = 5.0
    lateness_seconds: float = 5.0
    trace_patience_seconds: float = 30.0
    entry_patience_seconds: float = 10.0
    skew_seconds: float = 0.2
    leap_seconds: float = 3600.0
    rows: int = 2_000_000
    pending: int = 1_000_000

    @property
    def window(self) -> int:
        """Nanoseconds."""
        return int(self.window_seconds * SECOND)


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window's telemetry, the observations it made of the estate, and what they changed."""

    delta: TopologyDelta
    window: TelemetryWindow
    changes: tuple[StructureChange, ...]


@dataclass(slots=True)
class _Buffer:
    spans: list[tuple[SpanBatch, list[int]]] = field(default_factory=list)
    points: list[tuple[MetricBatch, list[int]]] = field(default_factory=list)
    logs: list[tuple[LogBatch, list[int]]] = field(default_factory=list)
    rows: int = 0


class WindowAssembler:
    """Buffers rows by the window of their event time and closes windows in order; deltas go into the graph as they close."""

    def __init__(self, graph: LiveGraph, resolver: Resolver, *, settings: AssemblerSettings) -> None:
        self._graph = graph
        self._resolver = resolver
        self._settings = settings
        self._buffers: dict[int, _Buffer] = {}
        self._rows = 0
        self._watermark = Watermark(lateness=int(settings.lateness_seconds * SECOND), leap=int(settings.leap_seconds * SECOND))
        self._closed_until = 0
        self._traces = TraceTable(
            patience=int(settings.trace_patience_seconds * SECOND),
            entry_patience=int(settings.entry_patience_seconds * SECOND),
            skew=int(settings.skew_seconds * SECOND),
            limit=settings.pending,
        )
        self._samples = SampleReader(resolver)
        self._dropped: Counter[str] = Counter()
        self._speaking: BoundedTable[EntityRef, bool] = BoundedTable(settings.pending, "speakers_forgotten", self._dropped)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Rows not used, by reason."""
        total = self._dropped + Counter(self._traces.dropped) + Counter(self._samples.dropped) + Counter(self._resolver.dropped) + Counter(self._graph.dropped)
        return dict(sorted(total.items()))

    @property
    def watermark(self) -> int:
        """Event time up to which telemetry is taken to be complete."""
        return self._watermark.time

    def memory(self) -> AssemblerMemory:
        """A copy of what later windows depend on."""
        return AssemblerMemory(self._closed_until, self.watermark, tuple(self._speaking.entries()), self._samples.memory())

    def restore(self, memory: AssemblerMemory) -> None:
        """Goes on after the windows that another closed, before the first batch."""
        self._closed_until = memory.closed_until
        self._watermark.restore(memory.watermark)
        for ref in memory.speaking:
            self._speaking.put(ref, True)
        self._samples.restore(memory.samples)

    def add(self, batch: Batch) -> None:
        """Takes a batch; rows of closed windows are late, rows beyond the bound are refused, both counted."""
        times = batch.end if isinstance(batch, SpanBatch) else batch.time
        if not len(times):
            return
        self._watermark.observe(times)
        if self._watermark.horizon < self._closed_until:
            # Most senders say that the windows closed so far were of a wrong clock, or of another recording before a restart.
            self._closed_until = max(self.watermark, 0) // self._settings.window * self._settings.window
        windows = times // self._settings.window
        for window in np.unique(windows).tolist():
            self._put(window, batch, np.flatnonzero(windows == window))

    def close_ready(self) -> Iterator[ClosedWindow]:
        """The windows that the watermark has passed, in order."""
        yield from self.close_until(self.watermark)

    def close_until(self, instant: int) -> Iterator[ClosedWindow]:
        """All windows that end at or before `instant`, no matter the watermark."""
        length = self._settings.window
        while self._buffers and (first := min(self._buffers)) * length + length <= instant:
            buffer = self._buffers.pop(first)
            self._rows -= buffer.rows
            self._closed_until = (first + 1) * length
            yield self._close(first * length, buffer)

    def _put(self, window: int, batch: Batch, rows: NDArray[np.int64]) -> None:
        if (window + 1) * self._settings.window <= self._closed_until:
            self._dropped["late"] += len(rows)
            return
        if self._rows + len(rows) > self._settings.rows:
            self._dropped["buffer_full"] += len(rows)
            return
        if window > self._believed and self._unbelieved() + len(rows) > self._settings.rows // 10:
            self._dropped["ahead"] += len(rows)
            return
        buffer = self._buffers.setdefault(window, _Buffer())
        chosen = rows.tolist()
        if isinstance(batch, SpanBatch):
            buffer.spans.append((batch, chosen))
        elif isinstance(batch, MetricBatch):
            buffer.points.append((batch, chosen))
        else:
            buffer.logs.append((batch, chosen))
        buffer.rows += len(chosen)
        self._rows += len(chosen)

    @property
    def _believed(self) -> int:
        """The last window whose time is believed."""
        return self._watermark.horizon // self._settings.window

    def _unbelieved(self) -> int:
        """Rows that wait in windows whose time is not believed yet."""
        return sum(buffer.rows for window, buffer in self._buffers.items() if window > self._believed)

    def _close(self, start: int, buffer: _Buffer) -> ClosedWindow:
        end = start + self._settings.window
        homes = self._resolve(buffer, end)
        records = sorted(row for batch, rows in buffer.logs for row in log_rows(batch, rows, _homes_of(batch, homes)))
        counts = WindowCounts()
        self._count_traces(counts, self._spans(buffer, homes), records, end)
        for record in records:
            if record.home.service is not None:
                counts.logs[record.home.service, record.template, record.is_error] += 1
        self._samples.read(sorted(row for batch, rows in buffer.points for row in point_rows(batch, rows)), counts)
        delta = topology_delta(end, homes.values(), counts)
        versions = self._versions(delta)
        structure = self._graph.apply(delta)
        deploys = [
            Change(start, self._graph.intern(ref), ChangeKind.DEPLOY, f"{VERSION} {versions[ref]} -> {now}")
            for ref, now in self._versions(delta).items()
            if versions[ref] and versions[ref] != now
        ]
        window = TelemetryWindow(
            start=start,
            end=end,
            requests=request_table(counts, self._graph.intern),
            calls=call_table(counts, self._graph.intern),
            behaviour=behaviour_table(counts, self._graph.intern),
            samples=sample_table(counts, self._graph.intern),
            logs=log_table(counts, self._graph.intern),
            changes=tuple(sorted([*deploys, *self._events(records)])),
            dropped=self.dropped,
        )
        return ClosedWindow(delta, window, structure)

    def _resolve(self, buffer: _Buffer, end: int) -> dict[ResourceKey, ResolvedResource]:
        """The entities of the resources that sent something in this window."""
        resources = {
            _key(resource): resource
            for group in (buffer.spans, buffer.points, buffer.logs)
            for batch, rows in group
            for resource in (batch.resources[place] for place in np.unique(batch.resource[rows]).tolist())
        }
        self._resolver.learn((resources[key] for key in sorted(resources)), end)
        return {key: self._resolver.resource(resources[key], end) for key in sorted(resources)}

    def _spans(self, buffer: _Buffer, homes: Mapping[ResourceKey, ResolvedResource]) -> list[SpanRow]:
        spans = sorted((row for batch, rows in buffer.spans for row in span_rows(batch, rows, _homes_of(batch, homes))), key=_span_order)
        for ref in sorted({ref for span in spans for ref in (span.home.service, span.home.pod) if ref is not None}):
            self._speaking.put(ref, True)
        return spans

    def _count_traces(self, counts: WindowCounts, spans: list[SpanRow], records: list[LogRow], end: int) -> None:
        self._traces.add(spans, [record for record in records if record.span[0] and record.span[1]])
        for piece in self._traces.take(end):
            segments = segments_of(piece.spans, self._resolver.peer, piece.counted)
            for segment in segments:
                count_segment(counts, segment, self._speaking.__contains__)
            count_behaviour(counts, segments, piece.logs)
            self._traces.remember(piece, segments, end)

    def _versions(self, delta: TopologyDelta) -> dict[EntityRef, str]:
        """The version in force of each service that told one; empty where it is not known yet."""
        told = [seen.ref for seen in delta.entities if VERSION in seen.attributes]
        known = {ref: self._graph.entity(ref) for ref in told}
        return {ref: entity.attributes.get(VERSION, "") if entity is not None else "" for ref, entity in known.items()}

    def _events(self, records: list[LogRow]) -> list[Change]:
        found = []
        for record in records:
            reason = record.attributes.get("k8s.event.reason", "")
            kind = EVENT_KINDS.get(reason)
            if kind is None:
                self._dropped["unknown_event"] += reason != ""
                continue
            subject = self._resolver.event_entity(record.resource, record.attributes)
            if subject is None:
                continue
            found.append(Change(record.time, self._graph.intern(subject), kind, record.text[:200]))
        return found


def _homes_of(batch: Batch, homes: Mapping[ResourceKey, ResolvedResource]) -> dict[int, ResolvedResource]:
    keys = enumerate(map(_key, batch.resources))
    return {place: homes[key] for place, key in keys if key in homes}


def _key(resource: Resource) -> ResourceKey:
    return tuple(sorted(resource.attributes.items()))


def _span_order(span: SpanRow) -> tuple[int, int, int, int, int, str]:
    return span.trace, span.start, span.id, span.end, span.kind, span.name
