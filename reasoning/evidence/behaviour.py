"""The behaviour coin: does an operation, called by whom it is called, do other things than before? (docs/reasoning/evidence.md)

An event is a local span, a log template, an exception; new ones count as much as missing ones. Calls and their failures are judged
along the relations, not here.
"""

from __future__ import annotations

import numpy as np

from reasoning.evidence.detectors import Judgements, judge_coins
from reasoning.evidence.streams import StreamsState, StreamTable
from schema.batches import Int64
from schema.windows import BehaviourTable

EVENTS_AN_OPERATION = 400
LEAST_TRIALS = 3.0
DETECTOR = "behaving_differently"
FAILED = "failed"
Operation = tuple[int, str, str]


class BehaviourStreams:
    """A coin for each (service, caller, operation, event). Events beyond EVENTS_AN_OPERATION are counted, not kept."""

    def __init__(self, limit: int, worth: float) -> None:
        self._table = StreamTable(2, limit)
        self._worth = worth
        self._events: dict[Operation, dict[str, int]] = {}
        self._refused = 0

    @property
    def refused(self) -> int:
        """Streams not opened."""
        return self._table.refused + self._refused

    def state(self) -> StreamsState:
        """A copy of everything."""
        return self._table.state()

    def fits(self, state: StreamsState) -> bool:
        """Whether a state is of streams like these."""
        return self._table.fits(state)

    def restore(self, state: StreamsState) -> None:
        """Takes over streams."""
        self._table.restore(state)
        self._events = {}
        for key, row in self._table.keys.items():
            assert isinstance(key, tuple)
            entity, caller, operation, event = key
            self._events.setdefault((entity, caller, operation), {"": -1})[event] = row

    def observe(self, now: int, table: BehaviourTable) -> None:
        """Every event of an operation is tossed once a request, whether it shows or not."""
        trials: dict[Operation, float] = {}
        shown: dict[int, float] = {}
        for row in range(len(table.entity)):
            caller = table.strings[table.caller[row]] if table.caller[row] >= 0 else ""
            operation = (int(table.entity[row]), caller, table.strings[table.operation[row]])
            trials[operation] = float(table.trials[row])
            event = table.strings[table.event[row]]
            stream = self._stream(operation, event if table.calls[row] < 0 and event != FAILED else "")
            if event and stream >= 0:
                shown[stream] = float(table.shown[row])
        rows, sums = [], []
        for operation, tossed in trials.items():
            for event, stream in self._events[operation].items():
                rows.append(stream)
                sums.append((shown.get(stream, 0.0) if event else 0.0, tossed))
        self._table.observe(np.array(rows, np.int64), now, np.array(sums).reshape(-1, 2))

    def judge(self, now: int) -> tuple[list[tuple[int, str]], Judgements, list[str]]:
        """The oddest event of each service, less what looking at all of the operation's events costs: (keys, judgements, events)."""
        rows = np.arange(len(self._table), dtype=np.int64)
        judged = judge_coins(self._table, rows, now, least=LEAST_TRIALS, worth=np.full(rows.size, self._worth), sides=2)
        best: dict[int, tuple[float, int, str]] = {}
        for (entity, _, operation), streams in self._events.items():
            members = np.fromiter(streams.values(), np.int64, len(streams))[1:]  # the first is the operation itself
            known = members[~np.isnan(judged.ratio[members])]
            if not known.size:
                continue
            oddest = int(known[np.argmax(judged.ratio[known])])
            ratio = float(judged.ratio[oddest])
            ratio -= np.log(known.size) if ratio > 0 else 0.0
            if entity not in best or ratio > best[entity][0]:
                event = list(streams)[int(np.flatnonzero(members == oddest)[0]) + 1]
                best[entity] = (ratio, oddest, f"{operation}: {event}")
        return self._chosen(best, judged)

    def _chosen(self, best: dict[int, tuple[float, int, str]], judged: Judgements) -> tuple[list[tuple[int, str]], Judgements, list[str]]:
        rows: Int64 = np.array([row for _, row, _ in best.values()], np.int64)
        ratio = np.array([ratio for ratio, _, _ in best.values()])
        chosen = Judgements(ratio, judged.onset[rows], judged.before[rows], judged.after[rows], judged.count[rows])
        return [(entity, DETECTOR) for entity in best], chosen, [event for _, _, event in best.values()]

    def _stream(self, operation: Operation, event: str) -> int:
        """The row of an event; each operation begins with a stream of its own, "", that only counts requests."""
        events = self._events.get(operation)
        if events is None:
            events = self._events[operation] = {"": self._table.row((*operation, ""))}
        row = events.get(event)
        if row is not None:
            return row
        if len(events) > EVENTS_AN_OPERATION:
            self._refused += 1
            return -1
        row = self._table.row((*operation, event))
        if row >= 0:
            events[event] = row
            self._table.begin_as_silent_sibling(row, events[""])
        return row
