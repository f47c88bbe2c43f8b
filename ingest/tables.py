"""Segments and calls counted into the tables of a window. Everything is keyed by name until the end, then sorted and interned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.otlp.columns import Strings, frozen
from ingest.rows import LogRow
from ingest.templates import operation_name
from ingest.traces import Call, Origin, Segment
from schema.identity import EntityRef
from schema.windows import DURATION_BINS, BehaviourTable, CallTable, LogTable, RequestTable, duration_bin

Intern = Callable[[EntityRef], int]
COUNT_LEVELS = (1, 2, 4, 8)
LARGEST = (1 << 63) - 1


@dataclass(slots=True)
class RequestCount:
    """What an entity served in a window."""

    errors: int = 0
    own_errors: int = 0
    durations: list[int] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    summed_requests: int = 0
    summed_duration: int = 0
    detailed: bool = True

    def serve(self, duration: int, own: int, *, failed: bool, own_failed: bool) -> None:
        """Counts one request."""
        self.durations.append(duration)
        self.own.append(own)
        self.errors += failed
        self.own_errors += own_failed

    @property
    def requests(self) -> int:
        """How many, by spans or by metrics."""
        return len(self.durations) + self.summed_requests


@dataclass(slots=True)
class CallCount:
    """What travelled along a relation in a window, seen from its source."""

    calls: int = 0
    errors: int = 0
    timeouts: int = 0
    durations: list[int] = field(default_factory=list)
    target_duration: int = 0
    gaps: list[int] = field(default_factory=list)
    carrying: int = 0
    failed_source: int = 0
    answered: int = 0  # by a span of the target
    traced: bool = True


@dataclass(slots=True)
class WindowCounts:
    """All counts of a window under way."""

    requests: dict[EntityRef, RequestCount] = field(default_factory=dict)
    calls: dict[tuple[EntityRef, str, EntityRef], CallCount] = field(default_factory=dict)
    shown: dict[tuple[EntityRef, str, str, str, int], float] = field(default_factory=dict)
    trials: dict[tuple[EntityRef, str, str], float] = field(default_factory=dict)
    errors: set[str] = field(default_factory=set)
    reached: dict[str, EntityRef] = field(default_factory=dict)
    logs: Counter[tuple[EntityRef, str, bool]] = field(default_factory=Counter)
    samples: dict[tuple[EntityRef, str], list[float]] = field(default_factory=dict)
    links: set[tuple[EntityRef, str, EntityRef]] = field(default_factory=set)
    endpoints: dict[Origin, EntityRef] = field(default_factory=dict)

    def request_count(self, ref: EntityRef) -> RequestCount:
        """The count of an entity, made on first use."""
        count = self.requests.get(ref)
        if count is None:
            count = self.requests[ref] = RequestCount()
        return count

    def endpoint(self, origin: Origin) -> EntityRef:
        """The endpoint a request was sent to; it is part of its service."""
        ref = self.endpoints.get(origin)
        if ref is None:
            service = origin.service
            ref = self.endpoints[origin] = EntityRef("endpoint", service.cluster, service.namespace, f"{service.name} {origin.operation}")
            self.links.add((ref, "part_of", service))
        return ref

    def call_count(self, source: EntityRef, relation: str, target: EntityRef) -> CallCount:
        """The count of a relation, made on first use."""
        key = (source, relation, target)
        count = self.calls.get(key)
        if count is None:
            count = self.calls[key] = CallCount()
        return count


def network_path(source: EntityRef, target: EntityRef) -> EntityRef:
    """The network between two services."""
    return EntityRef("network_path", source.cluster, source.namespace, f"{source.name}->{target.name}")


def count_segment(counts: WindowCounts, segment: Segment, speaks_itself: Callable[[EntityRef], bool]) -> None:
    """Adds one request, its calls and the traffic of peers that don't speak for themselves."""
    if segment.is_request:
        _count_request(counts, segment)
    touched: dict[tuple[EntityRef, str, EntityRef], bool] = {}
    for call in segment.calls:
        for relation, target in _edges(segment, call):
            key = (segment.service, relation, target)
            _count_call(counts.call_count(*key), call)
            touched[key] = touched.get(key, False) or (call.failed and call.waits and segment.failed)
        if call.served is None and call.relation != "consumes_from" and not speaks_itself(call.target):
            counts.request_count(call.target).serve(call.end - call.start, call.end - call.start, failed=call.failed, own_failed=call.failed)
    if segment.took_from is not None:
        key = (segment.service, "consumes_from", segment.took_from)
        counts.call_count(*key).calls += 1
        touched[key] = False
    if segment.is_request:
        for key, blamed in touched.items():
            counts.calls[key].carrying += 1
            counts.calls[key].failed_source += blamed


def _count_request(counts: WindowCounts, segment: Segment) -> None:
    service = segment.service
    served = [service, counts.endpoint(segment.origin)]
    if segment.entry.home.pod is not None:
        served.append(segment.entry.home.pod)
    own_time = segment.own_time
    for ref in served:
        counts.request_count(ref).serve(segment.entry.duration, own_time, failed=segment.failed, own_failed=segment.failed_by_itself)
    if segment.caller is not None and segment.caller.service != service:
        counts.links.add((segment.caller.service, "calls", service))


def _edges(segment: Segment, call: Call) -> list[tuple[str, EntityRef]]:
    if call.target == segment.service:
        return []
    if call.client is None or call.target.kind != "service" or not call.waits:
        return [(call.relation, call.target)]
    return [(call.relation, call.target), ("traverses", network_path(segment.service, call.target))]


def _count_call(count: CallCount, call: Call) -> None:
    count.calls += 1
    count.errors += call.failed
    count.timeouts += call.timed_out
    count.answered += call.served is not None
    count.durations.append(call.end - call.start)
    if call.client is not None and call.served is not None and call.waits:
        count.target_duration += call.served.duration
        count.gaps.append(max(call.client.duration - call.served.duration, 0))


def count_behaviour(counts: WindowCounts, segments: Iterable[Segment], logs: Mapping[int, list[LogRow]]) -> None:
    """The coins of one trace: which events each operation showed, one vote a trace and operation (docs/reasoning/evidence.md)."""
    requests = [segment for segment in segments if segment.is_request]
    keys = [(segment.service, _stream_name(segment.caller), segment.origin.operation) for segment in requests]
    votes = Counter(keys)
    for segment, key in zip(requests, keys, strict=True):
        weight = 1.0 / votes[key]
        counts.trials[key] = counts.trials.get(key, 0.0) + weight
        for event, times in _events(counts, segment, logs).items():
            for level in COUNT_LEVELS:
                if times >= level:
                    counts.shown[*key, event, level] = counts.shown.get((*key, event, level), 0.0) + weight


def _stream_name(caller: Origin | None) -> str:
    return f"{caller.service.name} {caller.operation}" if caller is not None else ""


def _events(counts: WindowCounts, segment: Segment, logs: Mapping[int, list[LogRow]]) -> Counter[str]:
    events: Counter[str] = Counter()
    for span in (segment.entry, *segment.spans):
        if span is not segment.entry:
            events[f"span {operation_name(span.name)}"] += 1
        for kind in span.exceptions:
            events[f"exception {kind}"] += 1
            counts.errors.add(f"exception {kind}")
        for record in logs.get(span.id, ()):
            event = f"log {record.template}"
            events[event] += 1
            if record.is_error:
                counts.errors.add(event)
    for call in segment.calls:
        event = f"call {call.target.name} {call.operation}"
        events[event] += 1
        counts.reached[event] = call.target
        if call.failed:
            events[f"failed {event}"] += 1
            counts.errors.add(f"failed {event}")
            counts.reached[f"failed {event}"] = call.target
    if segment.failed:
        events["failed"] += 1
        counts.errors.add("failed")
    return events


def request_table(counts: WindowCounts, intern: Intern) -> RequestTable:
    """Rows in ascending entity."""
    rows = sorted(counts.requests.items())
    return RequestTable(
        entity=frozen([intern(ref) for ref, _ in rows], np.int32),
        requests=_sums([count.requests for _, count in rows]),
        errors=_sums([count.errors for _, count in rows]),
        own_errors=_sums([count.own_errors for _, count in rows]),
        duration=_sums([sum(count.durations) + count.summed_duration for _, count in rows]),
        own=_sums([sum(count.own) for _, count in rows]),
        duration_histogram=_histograms(count.durations for _, count in rows),
        own_histogram=_histograms(count.own for _, count in rows),
        detailed=frozen([count.detailed for _, count in rows], np.bool_),
    )


def call_table(counts: WindowCounts, intern: Intern) -> CallTable:
    """Rows in ascending source, relation, target."""
    rows = sorted(counts.calls.items())
    relations = Strings()
    served = {ref: count.requests for ref, count in counts.requests.items()}

    def whole(pick: Callable[[CallCount], int]) -> NDArray[np.int64]:
        return _sums([pick(count) for _, count in rows])

    return CallTable(
        source=frozen([intern(key[0]) for key, _ in rows], np.int32),
        relation=frozen([relations.index(key[1]) for key, _ in rows], np.int32),
        target=frozen([intern(key[2]) for key, _ in rows], np.int32),
        relations=tuple(relations.texts),
        calls=whole(lambda count: count.calls),
        errors=whole(lambda count: count.errors),
        timeouts=whole(lambda count: count.timeouts),
        duration=whole(lambda count: sum(count.durations)),
        target_duration=whole(lambda count: count.target_duration),
        answered=whole(lambda count: count.answered),
        paired=whole(lambda count: len(count.gaps)),
        gap=whole(lambda count: sum(count.gaps)),
        carrying=whole(lambda count: count.carrying),
        source_requests=_sums([served.get(key[0], 0) for key, _ in rows]),
        failed_source=whole(lambda count: count.failed_source),
        duration_histogram=_histograms(count.durations for _, count in rows),
        gap_histogram=_histograms(count.gaps for _, count in rows),
    )


def behaviour_table(counts: WindowCounts, intern: Intern) -> BehaviourTable:
    """Rows in ascending service, caller, operation, event, times. A row for an operation without events keeps its trials."""
    strings = Strings()
    with_events = {key[:3] for key in counts.shown}
    rows = sorted([*counts.shown.items(), *(((*key, "", 1), 0.0) for key in counts.trials if key not in with_events)])
    reached = [counts.reached.get(key[3]) for key, _ in rows]
    return BehaviourTable(
        entity=frozen([intern(key[0]) for key, _ in rows], np.int32),
        caller=frozen([strings.index(key[1]) if key[1] else -1 for key, _ in rows], np.int32),
        operation=frozen([strings.index(key[2]) for key, _ in rows], np.int32),
        event=frozen([strings.index(key[3] if key[4] == 1 else f"{key[3]} x{key[4]}") for key, _ in rows], np.int32),
        strings=tuple(strings.texts),
        error=frozen([key[3] in counts.errors for key, _ in rows], np.bool_),
        calls=frozen([-1 if ref is None else intern(ref) for ref in reached], np.int32),
        shown=frozen([shown for _, shown in rows], np.float64),
        trials=frozen([counts.trials[key[:3]] for key, _ in rows], np.float64),
    )


def log_table(counts: WindowCounts, intern: Intern) -> LogTable:
    """Rows in ascending service and template."""
    strings, rows = Strings(), sorted(counts.logs.items())
    return LogTable(
        entity=frozen([intern(key[0]) for key, _ in rows], np.int32),
        template=frozen([strings.index(key[1]) for key, _ in rows], np.int32),
        strings=tuple(strings.texts),
        error=frozen([key[2] for key, _ in rows], np.bool_),
        records=frozen([number for _, number in rows], np.int64),
    )


def _sums(values: list[int]) -> NDArray[np.int64]:
    """Whole numbers as a column; what no honest sender reaches ends at its bound."""
    return frozen([min(value, LARGEST) for value in values], np.int64)


def _histograms(durations: Iterable[list[int]]) -> NDArray[np.int32]:
    rows = [
        np.bincount(duration_bin(np.asarray(each, dtype=np.int64)), minlength=DURATION_BINS) if each else np.zeros(DURATION_BINS, np.int64)
        for each in durations
    ]
    return frozen(np.array(rows).reshape(-1, DURATION_BINS), np.int32)
