"""The event time up to which telemetry is taken to be complete. Clocks that run far ahead do not move it while most others disagree."""

from __future__ import annotations

from collections import deque

import numpy as np

from schema.batches import Int64

VOTERS = 8
TO_LEAP = 6  # of the last VOTERS batches


class Watermark:
    """The latest event time that is believed, less the allowed lateness. Times in nanoseconds.

    A batch up to `leap` ahead of the latest is believed at once. Further ahead it may be a gap in the telemetry or one sender's
    wrong clock: it is believed once most of the last batches are there. If most are far behind, the latest was wrong and falls back.
    """

    def __init__(self, *, lateness: int, leap: int) -> None:
        self._lateness = lateness
        self._leap = leap
        self._recent: deque[int] = deque(maxlen=VOTERS)
        self._latest = 0

    def restore(self, time: int) -> None:
        """Goes on from a watermark; the first batches may still overrule it."""
        self._latest = time + self._lateness

    @property
    def time(self) -> int:
        """The watermark."""
        return self._latest - self._lateness

    @property
    def horizon(self) -> int:
        """Times beyond it are not believed yet."""
        return self._latest + self._leap

    def observe(self, times: Int64) -> None:
        """Takes note of a batch, by its latest time that is not far from its others."""
        latest = int(times[times <= np.median(times) + self._leap].max())
        self._recent.append(latest)
        if not self._latest or self._latest < latest <= self.horizon:
            self._latest = latest
            return
        ahead = [time for time in self._recent if time > self.horizon]
        behind = [time for time in self._recent if time < self._latest - self._leap]
        if len(ahead) >= min(TO_LEAP, len(self._recent)):
            self._latest = min(ahead)
        elif 2 * len(behind) > VOTERS:
            self._latest = max(behind)
