"""Spans that wait for the rest of their trace. Bounded; a trace that lost its root is taken as it is after a while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ingest.rows import LogRow, SpanRow


class TraceTable:
    """Traces under way. A trace is complete when its root has ended; without one, `patience` nanoseconds after its last span."""

    def __init__(self, *, patience: int, limit: int) -> None:
        self._patience = patience
        self._limit = limit
        self._spans: dict[int, list[SpanRow]] = {}
        self._logs: dict[int, list[LogRow]] = {}
        self._last: dict[int, int] = {}
        self._held = 0
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Spans and records refused, by reason."""
        return dict(self._dropped)

    def add(self, spans: Sequence[SpanRow], logs: Sequence[LogRow]) -> None:
        """Takes a window's spans and span-bound records, in canonical order."""
        for span in spans:
            if self._held >= self._limit:
                self._dropped["pending_spans_full"] += 1
                continue
            self._spans.setdefault(span.trace, []).append(span)
            self._last[span.trace] = max(self._last.get(span.trace, 0), span.end)
            self._held += 1
        for record in logs:
            if self._held >= self._limit:
                self._dropped["pending_logs_full"] += 1
                continue
            self._logs.setdefault(record.span[0], []).append(record)
            self._last[record.span[0]] = max(self._last.get(record.span[0], 0), record.time)
            self._held += 1

    def take_complete(self, now: int) -> list[tuple[list[SpanRow], list[LogRow]]]:
        """The traces that are complete at event time `now`, in ascending trace id, with their records."""
        ready = [
            trace
            for trace, last in self._last.items()
            if now - last >= self._patience or (trace in self._spans and any(span.parent == 0 for span in self._spans[trace]))
        ]
        taken = []
        for trace in sorted(ready):
            spans, logs = self._spans.pop(trace, []), self._logs.pop(trace, [])
            del self._last[trace]
            self._held -= len(spans) + len(logs)
            taken.append((sorted(spans, key=lambda span: (span.start, span.id)), sorted(logs)))
        return taken
