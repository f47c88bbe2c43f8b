"""What each stream remembers: its last minutes, observation by observation, and a baseline of what it was like before.

What leaves the last minutes teaches the baseline, weighted by the probability that it was normal; the baseline fades by time observed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from math import exp

import numpy as np

from reasoning.native import compiled
from schema.batches import Float64, Int64

SECOND = 1_000_000_000
MEMORY = 180 * SECOND
KEPT = 2  # the newest observations stay however old they are: coarse metrics come every few minutes
CAPACITY = 36
PAST = 120
LEAST_PAST = 3
FADE = 3600.0 * SECOND
LONGEST_GAP = 600 * SECOND
ABNORMAL_ODDS = -4.6  # ln of the odds that a stream misbehaves at a random moment, about 1 in 100


@compiled
def normal_weight(ratio: float) -> float:
    """The probability that what has this ratio for being abnormal was normal."""
    return 1.0 / (1.0 + exp(min(max(ratio + ABNORMAL_ODDS, -50.0), 50.0)))


@dataclass(slots=True)
class StreamArrays:
    """The state of S streams of k sums an observation: rings of `held` observations from `first`.

    at: Int64[S, CAPACITY]; sums: Float64[S, CAPACITY, k]; baseline: Float64[S, k], faded sums of what was normal before.
    past: Float64[S, PAST or 0], a ring of `taught` single values for streams judged by their median; middle, spread: Float64[S],
    its median and 1.48 MAD, nan below three values. last: Float64[S], the ratio judged last.
    """

    at: Int64
    sums: Float64
    first: Int64
    held: Int64
    baseline: Float64
    past: Float64
    taught: Int64
    middle: Float64
    spread: Float64
    last: Float64

    @classmethod
    def empty(cls, rows: int, width: int, past: int) -> StreamArrays:
        """Rows without observations."""
        return cls(
            at=np.zeros((rows, CAPACITY), np.int64),
            sums=np.zeros((rows, CAPACITY, width)),
            first=np.zeros(rows, np.int64),
            held=np.zeros(rows, np.int64),
            baseline=np.zeros((rows, width)),
            past=np.zeros((rows, past)),
            taught=np.zeros(rows, np.int64),
            middle=np.full(rows, np.nan),
            spread=np.full(rows, np.nan),
            last=np.zeros(rows),
        )


@dataclass(frozen=True, slots=True)
class StreamsState:
    """Streams as they are kept: S keys in order of their rows, and arrays of S rows."""

    keys: tuple[Hashable, ...]
    arrays: StreamArrays

    def under(self, keys: Sequence[Hashable]) -> StreamsState:
        """The streams under other keys, one for each; streams whose key is None are left out."""
        rows = np.array([row for row, key in enumerate(keys) if key is not None], np.int64)
        arrays = StreamArrays(*(getattr(self.arrays, field.name)[rows] for field in fields(StreamArrays)))
        return StreamsState(tuple(key for key in keys if key is not None), arrays)


class StreamTable:
    """Streams by key. Bounded by `limit`; streams refused are counted. `levels`: judged by the median of their past, not by sums."""

    def __init__(self, width: int, limit: int, *, levels: bool = False, kept: int = KEPT) -> None:
        self.keys: dict[Hashable, int] = {}
        self.refused = 0
        self._limit = limit
        self._width = width
        self._past = PAST if levels else 0
        self._kept = kept
        self.arrays = StreamArrays.empty(64, width, self._past)

    def __len__(self) -> int:
        return len(self.keys)

    def row(self, key: Hashable) -> int:
        """The row of a stream, made on first use; -1 when there is no room."""
        row = self.keys.get(key)
        if row is not None:
            return row
        if len(self.keys) >= self._limit:
            self.refused += 1
            return -1
        row = self.keys[key] = len(self.keys)
        if row >= self.arrays.first.size:
            self._double()
        return row

    def observe(self, rows: Int64, at: int, sums: Float64) -> None:
        """Adds an observation to each of `rows` (rows below 0 are passed over). sums: Float64[r, k]."""
        if rows.size:
            a = self.arrays
            _observe(a.at, a.sums, a.first, a.held, a.baseline, a.past, a.taught, a.middle, a.spread, a.last, self._kept, rows, at, np.array(sums, np.float64))

    def newest(self, rows: Int64) -> Float64:
        """The newest observation of each stream, Float64[r, k]; zeros for rows below 0 and for streams without one."""
        a = self.arrays
        found = np.asarray(a.sums[rows, (a.first[rows] + a.held[rows] - 1) % CAPACITY])
        return np.where(((rows >= 0) & (a.held[rows] > 0))[:, None], found, 0.0)

    def state(self) -> StreamsState:
        """A copy of everything."""
        arrays = StreamArrays(*(getattr(self.arrays, field.name)[: len(self.keys)].copy() for field in fields(StreamArrays)))
        return StreamsState(tuple(self.keys), arrays)

    def fits(self, state: StreamsState) -> bool:
        """Whether a state is of streams like these."""
        return (state.arrays.baseline.shape[1], state.arrays.past.shape[1]) == (self._width, self._past)

    def restore(self, state: StreamsState) -> None:
        """Takes over what a table of the same width was; what there is no room for is refused, and counted."""
        kept = state.keys[: self._limit]
        self.refused += len(state.keys) - len(kept)
        self.keys = {key: row for row, key in enumerate(kept)}
        rows = max(64, 1 << (len(kept) - 1).bit_length()) if kept else 64
        self.arrays = StreamArrays.empty(rows, self._width, self._past)
        for field in fields(StreamArrays):
            getattr(self.arrays, field.name)[: len(kept)] = getattr(state.arrays, field.name)[: len(kept)]

    def begin_as_silent_sibling(self, row: int, sibling: int) -> None:
        """A coin that turns up now was tossed as often as its sibling, and never showed. Columns are (shown, trials)."""
        a = self.arrays
        for table in (a.at, a.first, a.held, a.sums, a.baseline):
            table[row] = table[sibling]
        a.sums[row, :, 0] = 0.0
        a.baseline[row, 0] = 0.0

    def _double(self) -> None:
        old = self.arrays
        self.arrays = StreamArrays.empty(2 * old.first.size, self._width, self._past)
        for field in fields(StreamArrays):
            known = getattr(old, field.name)
            getattr(self.arrays, field.name)[: len(known)] = known


@compiled
def _observe(
    at: Int64,
    sums: Float64,
    first: Int64,
    held: Int64,
    baseline: Float64,
    past: Float64,
    taught: Int64,
    middle: Float64,
    spread: Float64,
    last: Float64,
    kept: int,
    rows: Int64,
    now: int,
    values: Float64,
) -> None:
    for place in range(rows.size):
        row = rows[place]
        if row < 0:
            continue
        while held[row] > 0 and (held[row] == CAPACITY or (held[row] > kept and at[row, first[row]] <= now - MEMORY)):
            slot = first[row]
            weight = normal_weight(last[row])
            if past.shape[1] == 0:
                following = at[row, (slot + 1) % CAPACITY] if held[row] > 1 else now
                fade = exp(-min(following - at[row, slot], LONGEST_GAP) / FADE)
                for column in range(baseline.shape[1]):
                    baseline[row, column] = baseline[row, column] * fade + weight * sums[row, slot, column]
            elif weight > 0.5 or taught[row] < LEAST_PAST:
                past[row, taught[row] % PAST] = sums[row, slot, 0]
                taught[row] += 1
                if taught[row] >= LEAST_PAST:
                    known = past[row, : min(taught[row], PAST)]
                    middle[row] = np.median(known)
                    spread[row] = 1.4826 * np.median(np.abs(known - middle[row]))
            first[row] = (slot + 1) % CAPACITY
            held[row] -= 1
        slot = (first[row] + held[row]) % CAPACITY
        at[row, slot] = now
        sums[row, slot] = values[place]
        held[row] += 1
