"""Batches in, closed windows of event time out. Nothing counts before its window closes, so the order of arrival leaves no trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graph.live import LiveGraph
from graph.resolver import ResolvedResource, Resolver
from graph.topology import EntityObservation, RelationKey, RelationObservation, StructureChange, StructureEvent, TopologyDelta
from ingest.rows import LogRow, SpanRow, log_rows, span_rows
from ingest.samples import SampleReader, point_rows
from ingest.tables import WindowCounts, behaviour_table, call_table, count_behaviour, count_segment, log_table, network_path, request_table
from ingest.templates import log_template
from ingest.trace_table import TraceTable
from ingest.traces import Segment, segments_of
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
CONFIDENCE = {"paired": 0.99, "client": 0.9, "resource": 0.99, "service_graph": 0.8}


@dataclass(frozen=True, slots=True)
class AssemblerSettings:
    """Times in seconds of event time. `rows`: how many rows may wait in open windows."""

    window_seconds: float = 5.0
    lateness_seconds: float = 5.0
    trace_patience_seconds: float = 30.0
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
        self._latest = 0
        self._closed_until = 0
        self._traces = TraceTable(patience=int(settings.trace_patience_seconds * SECOND), limit=settings.pending)
        self._samples = SampleReader(resolver)
        self._versions: dict[EntityRef, set[str]] = {}
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Rows not used, by reason."""
        total = self._dropped + Counter(self._traces.dropped) + Counter(self._samples.dropped) + Counter(self._resolver.dropped) + Counter(self._graph.dropped)
        return dict(sorted(total.items()))

    @property
    def watermark(self) -> int:
        """Event time up to which telemetry is taken to be complete."""
        return self._latest - int(self._settings.lateness_seconds * SECOND)

    def add(self, batch: Batch) -> None:
        """Takes a batch; rows of closed windows are late, rows beyond the bound are refused, both counted."""
        times = batch.end if isinstance(batch, SpanBatch) else batch.time
        if not len(times):
            return
        windows = times // self._settings.window
        for window in np.unique(windows).tolist():
            self._put(window, batch, np.flatnonzero(windows == window))
        self._latest = max(self._latest, int(times.max()))

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

    def _close(self, start: int, buffer: _Buffer) -> ClosedWindow:
        end = start + self._settings.window
        homes = self._resolve(buffer, end)
        spans = sorted(
            (row for batch, rows in buffer.spans for row in span_rows(batch, rows, [homes[_key(each)] for each in batch.resources])), key=_span_order
        )
        records = sorted(row for batch, rows in buffer.logs for row in log_rows(batch, rows, [homes[_key(each)] for each in batch.resources]))
        points = sorted(row for batch, rows in buffer.points for row in point_rows(batch, rows))
        counts = WindowCounts()
        self._traces.add(spans, [record for record in records if record.span[0] and record.span[1]])
        for trace_spans, trace_logs in self._traces.take_complete(end):
            self._count_trace(counts, trace_spans, trace_logs)
        for record in records:
            if record.home.service is not None:
                counts.logs[record.home.service, log_template(record.text), record.is_error] += 1
        samples_refs: list[EntityRef] = []
        table = self._samples.read(points, counts, lambda ref: samples_refs.append(ref) or self._graph.intern(ref))  # type: ignore[func-returns-value]  # notes which entities metrics showed
        delta = self._delta(end, homes, counts, samples_refs)
        changes = self._graph.apply(delta)
        window = TelemetryWindow(
            start=start,
            end=end,
            requests=request_table(counts, self._graph.intern),
            calls=call_table(counts, self._graph.intern),
            behaviour=behaviour_table(counts, self._graph.intern),
            samples=table,
            logs=log_table(counts, self._graph.intern),
            changes=tuple(sorted([*self._deploys(changes), *self._events(records)])),
            dropped=self.dropped,
        )
        return ClosedWindow(delta, window, changes)

    def _resolve(self, buffer: _Buffer, end: int) -> dict[ResourceKey, ResolvedResource]:
        batches = [batch for group in (buffer.spans, buffer.points, buffer.logs) for batch, _ in group]
        resources = {_key(resource): resource for batch in batches for resource in batch.resources}
        self._resolver.learn(resources.values(), end)
        return {key: self._resolver.resource(resources[key], end) for key in sorted(resources)}

    def _count_trace(self, counts: WindowCounts, spans: list[SpanRow], logs: list[LogRow]) -> None:
        segments: list[Segment] = segments_of(spans, self._resolver.peer)
        for segment in segments:
            count_segment(counts, segment)
        by_span: dict[int, list[LogRow]] = {}
        for record in logs:
            by_span.setdefault(record.span[1], []).append(record)
        count_behaviour(counts, segments, by_span)
        for segment in segments:
            for source in self._topics(segment):
                counts.call_count(segment.service, "consumes_from", source).calls += 1

    def _topics(self, segment: Segment) -> list[EntityRef]:
        entry = segment.entry
        if not entry.attributes.get("messaging.destination.name") or entry.kind != 5:
            return []
        topic = self._resolver.peer(entry.home, entry.attributes, entry.start)
        return [topic] if topic is not None else []

    def _delta(self, end: int, homes: Mapping[ResourceKey, ResolvedResource], counts: WindowCounts, measured: list[EntityRef]) -> TopologyDelta:
        entities: dict[EntityRef, EntityObservation] = {ref: EntityObservation(ref, "otlp.metrics", end, {}) for ref in measured}
        entities.update({ref: EntityObservation(ref, "otlp.traces", end, {}) for ref in counts.requests})
        relations: dict[RelationKey, RelationObservation] = {}
        for home in homes.values():
            for own in (home.service, home.pod, home.container, home.node, home.workload, home.namespace, home.cluster):
                if own is not None:
                    labels = home.labels.get(own, {}) or (entities[own].attributes if own in entities else {})
                    entities[own] = EntityObservation(own, "otlp.resource", end, labels)
            for key in (RelationKey(*relation) for relation in home.relations):
                relations[key] = RelationObservation(key, "otlp.resource", end, CONFIDENCE["resource"])
        for key in _implied(counts):
            relations[key] = RelationObservation(key, "otlp.traces", end, CONFIDENCE["paired"])
        for (source, kind, target), count in counts.calls.items():
            key = RelationKey(source, kind, target)
            how = "paired" if count.gaps else "client" if count.durations else "service_graph"
            origin = "otlp.metrics" if how == "service_graph" and kind == "calls" else "otlp.traces"
            relations[key] = RelationObservation(key, origin, end, CONFIDENCE[how], count.calls, count.errors, sum(count.durations) / SECOND)
        return TopologyDelta(end, tuple(entities[ref] for ref in sorted(entities)), tuple(relations[key] for key in sorted(relations)))

    def _deploys(self, changes: tuple[StructureChange, ...]) -> list[Change]:
        found = []
        for change in changes:
            if change.event not in {StructureEvent.ENTITY_CHANGED, StructureEvent.ENTITY_APPEARED}:
                continue
            entity = self._graph.entity(change.entity)
            version = entity.attributes.get("service.version", "") if entity is not None else ""
            known = self._versions.setdefault(change.entity, set())
            if version and version not in known:
                if known:
                    found.append(Change(change.at, self._graph.intern(change.entity), ChangeKind.DEPLOY, f"service.version {version}"))
                known.add(version)
        return found

    def _events(self, records: list[LogRow]) -> list[Change]:
        found = []
        for record in records:
            kind = EVENT_KINDS.get(record.attributes.get("k8s.event.reason", ""))
            if kind is None:
                continue
            subject = self._resolver.event_entity(record.resource, record.attributes)
            if subject is None:
                continue
            found.append(Change(record.time, self._graph.intern(subject), kind, record.text[:200]))
        return found


def _implied(counts: WindowCounts) -> Iterator[RelationKey]:
    """Endpoints are part of their service; a network path leads to the service that was called across it."""
    for ref in counts.requests:
        if ref.kind == "endpoint":
            yield RelationKey(ref, "part_of", EntityRef("service", ref.cluster, ref.namespace, ref.name.split(" ", 1)[0]))
    for source, kind, target in counts.calls:
        path = network_path(source, target)
        if kind == "calls" and (source, "traverses", path) in counts.calls:
            yield RelationKey(path, "leads_to", target)


def _key(resource: Resource) -> ResourceKey:
    return tuple(sorted(resource.attributes.items()))


def _span_order(span: SpanRow) -> tuple[int, int, int]:
    return span.trace, span.start, span.id
