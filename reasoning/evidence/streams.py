"""Streams: each remembers its last minutes and a baseline of what it was like before, and judges the one by the other.

What leaves the last minutes teaches the baseline, weighted by the probability that it was normal; the baseline fades by time observed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from reasoning.evidence.likelihood import coin, shifted, student
from schema.windows import DURATION_BINS, bin_seconds

SECOND = 1_000_000_000
AGES = (15 * SECOND, 30 * SECOND, 60 * SECOND, 120 * SECOND, 180 * SECOND)
MEMORY = AGES[-1]
FADE = 3600.0 * SECOND
ABNORMAL_ODDS = -4.6
TAILS = (0.5, 0.1, 0.02)
BIN_SECONDS = bin_seconds()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A log-likelihood ratio with its onset, the excess per request (or level), and what was compared."""

    ratio: float
    onset: int
    amount: float
    before: float
    after: float
    count: float


def normal_weight(ratio: float) -> float:
    """The probability that what has this ratio for being abnormal was normal."""
    return 1.0 / (1.0 + exp(min(max(ratio + ABNORMAL_ODDS, -50.0), 50.0)))


def best_onset(ratios: list[tuple[float, int]]) -> tuple[float, int]:
    """The best of several onsets, paying for the choice; when none speaks for a change, the least hostile of the long looks."""
    ratio, age = max(ratios)
    return (ratio - log(len(ratios)) if ratio > log(len(ratios)) else min(ratio, ratios[-1][0])), age


@dataclass(slots=True)
class CoinStream:
    """Shares: how many of n showed it. `two_sided`: fewer is as odd as more."""

    worth: float
    two_sided: bool = False
    recent: deque[tuple[int, float, float]] = field(default_factory=deque)
    shown: float = 0.0
    trials: float = 0.0
    last: float = 0.0

    def observe(self, at: int, shown: float, trials: float) -> None:
        """Adds a window's counts and lets the old ones teach the baseline."""
        self.recent.append((at, shown, trials))
        while self.recent and self.recent[0][0] <= at - MEMORY:
            _, old_shown, old_trials = self.recent.popleft()
            fade, weight = exp(-5 * SECOND / FADE), normal_weight(self.last)
            self.shown = self.shown * fade + weight * old_shown
            self.trials = self.trials * fade + weight * old_trials

    def judge(self, now: int, least: float) -> Judgement | None:
        """None while too little was seen."""
        if self.trials < least:
            return None
        ratios, counts = [], {}
        for age in AGES:
            shown = sum(row[1] for row in self.recent if row[0] > now - age)
            trials = sum(row[2] for row in self.recent if row[0] > now - age)
            if trials < 3:
                continue
            ratio = coin(shown, trials, self.shown, self.trials, self.worth)
            if not self.two_sided and shown * self.trials <= self.shown * trials:
                ratio = min(ratio, 0.0)
            ratios.append((ratio, age))
            counts[age] = (shown, trials)
        if not ratios:
            return None
        ratio, age = best_onset(ratios)
        self.last = ratio
        shown, trials = counts[age]
        before = self.shown / self.trials
        return Judgement(ratio, now - age, shown - before * trials, before, shown / trials, trials)


@dataclass(slots=True)
class DurationStream:
    """Durations as histograms: the coin of being slower than the baseline's own quantiles, if the excess is material."""

    worth: float
    recent: deque[tuple[int, NDArray[np.float64]]] = field(default_factory=deque)
    baseline: NDArray[np.float64] = field(default_factory=lambda: np.zeros(DURATION_BINS))
    last: float = 0.0

    def observe(self, at: int, histogram: NDArray[np.int32]) -> None:
        """Adds a window's histogram and lets the old ones teach the baseline."""
        self.recent.append((at, histogram.astype(np.float64)))
        while self.recent and self.recent[0][0] <= at - MEMORY:
            self.baseline = self.baseline * exp(-5 * SECOND / FADE) + normal_weight(self.last) * self.recent.popleft()[1]

    def judge(self, now: int, least: float) -> Judgement | None:
        """None while too little was seen."""
        total = float(self.baseline.sum())
        if total < least:
            return None
        above = self.baseline[::-1].cumsum()[::-1]
        before = float(self.baseline @ BIN_SECONDS) / total
        ratios, means = [], {}
        for age in AGES:
            rows = [row[1] for row in self.recent if row[0] > now - age]
            histogram = np.sum(rows, axis=0) if rows else np.zeros(DURATION_BINS)
            count = float(histogram.sum())
            if count < 5:
                continue
            mean = float(histogram @ BIN_SECONDS) / count
            ratios.append((self._ratio(histogram, count, above, total, mean - before, before), age))
            means[age] = (mean, count)
        if not ratios:
            return None
        ratio, age = best_onset(ratios)
        self.last = ratio
        mean, count = means[age]
        return Judgement(ratio, now - age, mean - before, before, mean, count)

    def _ratio(self, histogram: NDArray[np.float64], count: float, above: NDArray[np.float64], total: float, excess: float, before: float) -> float:
        tail = histogram[::-1].cumsum()[::-1]
        best = -np.inf
        for share in TAILS:
            place = int(np.argmax(above <= share * total))
            slower = tail[place] * total > above[place] * count
            ratio = coin(float(tail[place]), count, float(above[place]), total, self.worth)
            best = max(best, ratio if slower else min(ratio, 0.0))
        # A shift that nobody would notice is no evidence, however sure it is.
        return float(min(best, -1.0)) if excess < max(0.25 * before, 0.0005) else float(best)


@dataclass(slots=True)
class LevelStream:
    """A value now and then: Student's t round the median of its past. `transform` is the caller's."""

    recent: deque[tuple[int, float]] = field(default_factory=deque)
    past: deque[float] = field(default_factory=lambda: deque(maxlen=240))
    last: float = 0.0

    def observe(self, at: int, value: float) -> None:
        """Adds a value and lets old ones become the past, if they were normal."""
        self.recent.append((at, value))
        while self.recent and self.recent[0][0] <= at - MEMORY:
            _, old = self.recent.popleft()
            if normal_weight(self.last) > 0.5 or len(self.past) < 3:
                self.past.append(old)

    def middle_and_scale(self, floor: float) -> tuple[float, float] | None:
        """Median and scale (1.48 MAD, at least `floor`) of the past; None while it is too short."""
        if len(self.past) < 3:
            return None
        values = np.array(self.past)
        middle = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - middle)))
        return middle, max(sqrt(spread * spread + floor * floor), 1e-9)

    def judge(self, now: int, floor: float, *, upward: bool, wide: float = 10.0, share: bool = False) -> Judgement | None:
        """Evidence of the last values; a share is compared with any share being as likely, else with a `wide` times wider spread."""
        level = self.middle_and_scale(floor)
        if level is None or not self.recent:
            return None
        middle, scale = level
        ratios, values = [], {}
        for age in AGES:
            seen = [value for at, value in self.recent if at > now - age]
            if not seen:
                continue
            ratio = 0.0
            for value in seen:
                deviation = (value - middle) / scale
                each = -student(deviation, 4.0) + log(scale) if share else shifted(deviation, 4.0, wide)
                ratio += each if (deviation > 0) == upward else min(each, 0.0)
            ratios.append((ratio, age))
            values[age] = float(np.mean(seen))
        if not ratios:
            return None
        ratio, age = best_onset(ratios)
        self.last = ratio
        return Judgement(ratio, now - age, values[age] - middle, middle, values[age], float(len(self.recent)))
