"""Spans that wait for the rest of their request, and what is remembered of those already counted. Bounded, drops counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ingest.rows import LogRow, SpanRow
from ingest.traces import Origin, Segment
from schema.batches import SpanKind


@dataclass(frozen=True, slots=True)
class Piece:
    """Spans of one trace that can be counted, in order of their start; their log records by span id; what was counted before by span id."""

    trace: int
    spans: list[SpanRow]
    logs: Mapping[int, list[LogRow]]
    counted: Mapping[int, Origin]


@dataclass(slots=True)
class _Waiting:
    spans: dict[int, SpanRow] = field(default_factory=dict)
    logs: dict[int, list[LogRow]] = field(default_factory=dict)
    last: int = 0
    records: int = 0


class TraceTable:
    """Traces under way. Spans are taken as soon as the outermost span above them has ended: a root, a message's consumer,

    a child of a span that was taken before (a server that outlives a caller's timeout), or a server whose caller did not show
    `entry_patience` after the answer, for it sends no spans. `skew` is allowed for clocks that differ. What never finds an
    outermost span is taken `patience` after the trace's last. Nanoseconds.
    """

    def __init__(self, *, patience: int, entry_patience: int, skew: int, limit: int) -> None:
        self._patience = patience
        self._entry_patience = entry_patience
        self._skew = skew
        self._limit = limit
        self._waiting: dict[int, _Waiting] = {}
        self._held = 0
        self._counted: dict[int, tuple[int, dict[int, Origin]]] = {}
        self._remembered = 0
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Spans and records not used, by reason."""
        return dict(self._dropped)

    def add(self, spans: Sequence[SpanRow], logs: Sequence[LogRow]) -> None:
        """Takes a window's spans and span-bound records, in canonical order."""
        for span in spans:
            if self._held >= self._limit:
                self._dropped["waiting_spans_full"] += 1
                continue
            waiting = self._waiting.setdefault(span.trace, _Waiting())
            if span.id in waiting.spans or span.id in self._known(span.trace):
                self._dropped["duplicate_spans"] += 1
                continue
            waiting.spans[span.id] = span
            waiting.last = max(waiting.last, span.end)
            self._held += 1
        for record in logs:
            if self._held >= self._limit:
                self._dropped["waiting_records_full"] += 1
                continue
            waiting = self._waiting.setdefault(record.span[0], _Waiting())
            waiting.logs.setdefault(record.span[1], []).append(record)
            waiting.last = max(waiting.last, record.time)
            waiting.records += 1
            self._held += 1

    def take(self, now: int) -> list[Piece]:
        """What can be counted at event time `now`, in ascending trace id."""
        for trace in [trace for trace, (at, _) in self._counted.items() if now - at >= self._patience]:
            self._forget(trace)
        taken = []
        for trace in sorted(self._waiting):
            waiting = self._waiting[trace]
            known = self._known(trace)
            tired = now - waiting.last >= self._patience
            chosen = list(waiting.spans.values()) if tired else self._below_outermost(waiting.spans, known, now)
            if chosen:
                logs = {span.id: waiting.logs.pop(span.id) for span in chosen if span.id in waiting.logs}
                for span in chosen:
                    del waiting.spans[span.id]
                waiting.records -= (records := sum(map(len, logs.values())))
                self._held -= len(chosen) + records
                taken.append(Piece(trace, sorted(chosen, key=lambda span: (span.start, span.id)), logs, known))
            if tired and waiting.records:
                self._dropped["records_without_span"] += waiting.records
                self._held -= waiting.records
            if tired or not (waiting.spans or waiting.logs):
                del self._waiting[trace]
        return taken

    def remember(self, piece: Piece, segments: Sequence[Segment], now: int) -> None:
        """Keeps which request each span of a piece belonged to, for what comes after. The oldest traces are forgotten first."""
        origins = dict(piece.counted)
        for segment in segments:
            for span in (segment.entry, *segment.spans):
                origins[span.id] = segment.origin
        self._dropped["spans_without_request"] += len(piece.spans) - (len(origins) - len(piece.counted))
        if piece.trace in self._counted:
            self._forget(piece.trace)
        self._counted[piece.trace] = (now, origins)
        self._remembered += len(origins)
        while self._remembered > self._limit:
            self._forget(next(iter(self._counted)))
            self._dropped["counted_traces_forgotten"] += 1

    def _below_outermost(self, spans: Mapping[int, SpanRow], known: Mapping[int, Origin], now: int) -> list[SpanRow]:
        """The spans that stand below an outermost span which has ended."""
        reached = {span.id: True for span in spans.values() if span.end <= now - self._skew and self._is_outermost(span, spans, known, now)}
        if not reached:
            return []
        for span in spans.values():
            path, at = [], span
            while at.id not in reached:
                reached[at.id] = False  # Parents that form a circle end here.
                path.append(at.id)
                if at.parent not in spans:
                    break
                at = spans[at.parent]
            for each in path:
                reached[each] = reached[at.id]
        return [span for span in spans.values() if reached[span.id]]

    def _is_outermost(self, span: SpanRow, spans: Mapping[int, SpanRow], known: Mapping[int, Origin], now: int) -> bool:
        if not span.parent or span.kind == SpanKind.CONSUMER:
            return True
        if span.parent in spans:
            return False
        return span.parent in known or (span.kind == SpanKind.SERVER and span.end <= now - self._entry_patience)

    def _known(self, trace: int) -> Mapping[int, Origin]:
        found = self._counted.get(trace)
        return found[1] if found is not None else {}

    def _forget(self, trace: int) -> None:
        _, origins = self._counted.pop(trace)
        self._remembered -= len(origins)
