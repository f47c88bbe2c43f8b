"""The detectors: streams in, judgements out. Each looks back over several ages, averages over them: the onset is hidden.

Judgements are arrays over the streams asked for, nan in `ratio` where too little was seen or nothing lately: unknown is not absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log1p, sqrt

import numpy as np

from reasoning.evidence.likelihood import FALLS, SHIFTS, above_usual, below_usual, coin, near_limit, shifted
from reasoning.evidence.streams import CAPACITY, KEPT, MEMORY, SECOND, StreamTable
from reasoning.native import compiled
from schema.batches import Float64, Int64

AGES = np.array([5, 10, 15, 30, 60, 120, 180], np.int64) * SECOND
AGES.setflags(write=False)
SLOWEST_THAT_MATTERS = 0.0005
WANDER_OF_MEAN = 0.12
WANDER_OF_LOG = 0.1
NEAR_LIMIT, BELOW_USUAL, ABOVE_USUAL, INCREASED, NOT_READY = range(5)
LEVEL_DETECTORS = {"near_limit": NEAR_LIMIT, "below_usual": BELOW_USUAL, "above_usual": ABOVE_USUAL, "increased": INCREASED, "not_ready": NOT_READY}
LEAST_SEEN = 3.0  # requests in a look
STATE_IS_BAD, STATE_IS_GOOD = 12.0, -2.3
USUAL_OF_A_STATE = 0.5


@dataclass(frozen=True, slots=True)
class Judgements:
    """Per stream: ratio, the log-likelihood ratio; onset: Int64, ns; before, after: the level compared; count: observations or trials."""

    ratio: Float64
    onset: Int64
    before: Float64
    after: Float64
    count: Float64

    @classmethod
    def unknown(cls, streams: int) -> Judgements:
        """Nothing is known of any."""
        return cls(np.full(streams, np.nan), np.zeros(streams, np.int64), np.zeros(streams), np.zeros(streams), np.zeros(streams))


def judge_coins(table: StreamTable, rows: Int64, now: int, *, least: float, worth: Float64, sides: int) -> Judgements:
    """Streams of (shown, trials, ...): does it show more often than before, or (sides 2) more or less often?

    `least`: trials before a look, in the baseline and since. worth: Float64[r], what they count for at most.
    """
    found, a = Judgements.unknown(rows.size), table.arrays
    _coins(a.at, a.sums, a.first, a.held, a.baseline, a.last, rows, now, least, worth, sides, found.ratio, found.onset, found.before, found.after, found.count)
    return found


def judge_means(table: StreamTable, rows: Int64, now: int, *, least: float, wander: float, sign: float) -> Judgements:
    """Streams of (n, sum x, sum x^2): is the mean higher (sign 1) or lower (sign -1) than before? `wander`: how a mean drifts by itself."""
    found, a = Judgements.unknown(rows.size), table.arrays
    _means(a.at, a.sums, a.first, a.held, a.baseline, a.last, rows, now, least, wander, sign, found.ratio, found.onset, found.before, found.after, found.count)
    return found


def judge_durations(table: StreamTable, rows: Int64, now: int, *, least: float) -> Judgements:
    """Streams of (n, sum s, sum s^2, sum ln s, sum (ln s)^2): are requests slower, in the mean of seconds or of their logarithms?"""
    found, a = Judgements.unknown(rows.size), table.arrays
    _durations(a.at, a.sums, a.first, a.held, a.baseline, a.last, rows, now, least, found.ratio, found.onset, found.before, found.after, found.count)
    return found


def judge_levels(table: StreamTable, rows: Int64, now: int, detector: Int64, floor: Float64) -> Judgements:
    """Streams of single values by the detector of each (NEAR_LIMIT ...). floor: Float64[r], a difference that does not matter."""
    found, a = Judgements.unknown(rows.size), table.arrays
    _levels(
        a.at, a.sums, a.first, a.held, a.middle, a.spread, a.last, rows, now, detector, floor, found.ratio, found.onset, found.before, found.after, found.count
    )
    return found


@compiled
def is_fresh(at: Int64, first: int, held: int, now: int) -> bool:
    """The newest observation is of the last minutes, or no older than two of the stream's own intervals."""
    if held == 0:
        return False
    newest = at[(first + held - 1) % CAPACITY]
    interval = newest - at[(first + held - 2) % CAPACITY] if held > 1 else 0
    return bool(now - newest < max(MEMORY, 2 * interval))


@compiled
def _reach(at: Int64, first: int, held: int, now: int, which: int) -> int:
    """How many of the newest observations the look of age `which` covers; at least which + 1 up to KEPT."""
    covered = 0
    while covered < held:
        slot = (first + held - 1 - covered) % CAPACITY
        if at[slot] <= now - AGES[which] and covered >= min(which + 1, KEPT):
            break
        covered += 1
    return covered


@compiled
def _look_back(
    at: Int64, sums: Float64, first: int, held: int, now: int, column: int, least: float, total: Float64, covered: Int64, age: Int64
) -> int:  # fmt: skip
    """The looks at one stream: their sums, Float64[looks, k], how many observations each covers, and their ages. Returns how many.

    A look that covers no more than the one before it, or less than `least` in `column`, is left out.
    """
    looks = reached = 0
    running = np.zeros(sums.shape[1])
    for which in range(AGES.size):
        reach = _reach(at, first, held, now, which)
        if reach == reached:
            continue
        for each in range(reached, reach):
            running += sums[(first + held - 1 - each) % CAPACITY]
        reached = reach
        if running[column] >= least:
            total[looks], covered[looks], age[looks] = running, reach, AGES[which]
            looks += 1
    return looks


@compiled
def _averaged(ratios: Float64) -> float:
    """Any of the looks may be the one since the onset, each as likely: log of the mean of the likelihood ratios."""
    largest = ratios.max()
    return float(largest + log(np.mean(np.exp(ratios - largest))))


@compiled
def _coins(
    at: Int64, sums: Float64, first: Int64, held: Int64, baseline: Float64, last: Float64, rows: Int64, now: int, least: float, worth: Float64, sides: int,
    ratio: Float64, onset: Int64, before: Float64, after: Float64, count: Float64,
) -> None:  # fmt: skip
    total, covered, age, ratios = np.empty((AGES.size, sums.shape[2])), np.empty(AGES.size, np.int64), np.empty(AGES.size, np.int64), np.empty(AGES.size)
    for place in range(rows.size):
        row = rows[place]
        if not is_fresh(at[row], first[row], held[row], now):
            continue
        looks = _look_back(at[row], sums[row], first[row], held[row], now, 1, LEAST_SEEN, total, covered, age)
        known_shown, known_trials = baseline[row, 0], baseline[row, 1]
        for each in range(held[row]):
            slot = (first[row] + each) % CAPACITY
            known_shown += sums[row, slot, 0]
            known_trials += sums[row, slot, 1]
        judged, best = 0, -1
        for look in range(looks):
            shown, trials = total[look, 0], total[look, 1]
            # If the onset was where the look begins, what is still held of the time before it is as normal as the baseline.
            base_shown, base_trials = max(known_shown - shown, 0.0), known_trials - trials
            if base_trials < least:
                continue
            ratios[judged] = coin(shown, trials, base_shown, base_trials, worth[place])
            if sides == 1 and shown * base_trials <= base_shown * trials:
                ratios[judged] = min(ratios[judged], 0.0)
            if best < 0 or ratios[judged] > ratios[best]:
                best = judged
                onset[place], before[place] = now - age[look], base_shown / base_trials
                after[place], count[place] = shown / trials, trials
            judged += 1
        if judged:
            ratio[place] = last[row] = _averaged(ratios[:judged])


@compiled
def _means(
    at: Int64, sums: Float64, first: Int64, held: Int64, baseline: Float64, last: Float64, rows: Int64, now: int, least: float, wander: float, sign: float,
    ratio: Float64, onset: Int64, before: Float64, after: Float64, count: Float64,
) -> None:  # fmt: skip
    total, covered, age, ratios = np.empty((AGES.size, 3)), np.empty(AGES.size, np.int64), np.empty(AGES.size, np.int64), np.empty(AGES.size)
    sizes = SHIFTS if sign > 0.0 else FALLS
    for place in range(rows.size):
        row = rows[place]
        base = baseline[row, 0]
        if base < least or not is_fresh(at[row], first[row], held[row], now):
            continue
        usual = baseline[row, 1] / base
        variance = max(baseline[row, 2] / base - usual * usual, 0.0)
        looks = _look_back(at[row], sums[row], first[row], held[row], now, 0, 1.0, total, covered, age)
        for look in range(looks):
            n = total[look, 0]
            scale = sqrt(variance * (1 / n + 1 / base) + (wander * usual) ** 2 + 1e-12)
            ratios[look] = shifted(sign * (total[look, 1] / n - usual), scale, sizes * max(usual, 1e-6))
        best = np.argmax(ratios[:looks])
        ratio[place] = last[row] = _averaged(ratios[:looks])
        onset[place], before[place] = now - age[best], usual
        after[place], count[place] = total[best, 1] / total[best, 0], total[best, 0]


@compiled
def _durations(
    at: Int64, sums: Float64, first: Int64, held: Int64, baseline: Float64, last: Float64, rows: Int64, now: int, least: float,
    ratio: Float64, onset: Int64, before: Float64, after: Float64, count: Float64,
) -> None:  # fmt: skip
    total, covered, age, ratios = np.empty((AGES.size, 5)), np.empty(AGES.size, np.int64), np.empty(AGES.size, np.int64), np.empty(AGES.size)
    in_logs = np.log1p(SHIFTS)
    for place in range(rows.size):
        row = rows[place]
        base = baseline[row, 0]
        if base < least or not is_fresh(at[row], first[row], held[row], now):
            continue
        usual, usual_log = baseline[row, 1] / base, baseline[row, 3] / base
        variance = max(baseline[row, 2] / base - usual * usual, 0.0)
        variance_log = max(baseline[row, 4] / base - usual_log * usual_log, 0.0)
        looks = _look_back(at[row], sums[row], first[row], held[row], now, 0, LEAST_SEEN, total, covered, age)
        for look in range(looks):
            n = total[look, 0]
            spread = 1 / n + 1 / base
            scale = sqrt(variance * spread + (WANDER_OF_MEAN * usual) ** 2 + SLOWEST_THAT_MATTERS**2)
            in_seconds = shifted(total[look, 1] / n - usual, scale, SHIFTS * usual)
            # What half a millisecond is in logarithms of this stream's durations.
            least_log = log1p(SLOWEST_THAT_MATTERS / usual)
            scale = sqrt(variance_log * spread + WANDER_OF_LOG**2 + least_log**2)
            ratios[look] = max(in_seconds, shifted(total[look, 3] / n - usual_log, scale, in_logs)) - log(2.0)
        if looks:
            best = np.argmax(ratios[:looks])
            ratio[place] = last[row] = _averaged(ratios[:looks])
            onset[place], before[place] = now - age[best], usual
            after[place], count[place] = total[best, 1] / total[best, 0], total[best, 0]


@compiled
def _level_ratio(detector: int, mean: float, total: float, readings: int, usual: float, scale: float) -> float:
    if detector == NOT_READY:
        return STATE_IS_BAD if mean < USUAL_OF_A_STATE else STATE_IS_GOOD
    if detector == NEAR_LIMIT:
        return near_limit(mean, usual, scale)
    if detector == BELOW_USUAL:
        return below_usual(mean, usual, scale)
    if detector == INCREASED:
        # Events of the whole look together: one event stays one, however long the look.
        return above_usual(total, usual * readings, scale)
    return above_usual(mean, usual, scale)


@compiled
def _levels(
    at: Int64, sums: Float64, first: Int64, held: Int64, middle: Float64, spread: Float64, last: Float64, rows: Int64, now: int, detector: Int64, floor: Float64,
    ratio: Float64, onset: Int64, before: Float64, after: Float64, count: Float64,
) -> None:  # fmt: skip
    total, covered, age, ratios = np.empty((AGES.size, 1)), np.empty(AGES.size, np.int64), np.empty(AGES.size, np.int64), np.empty(AGES.size)
    for place in range(rows.size):
        row = rows[place]
        needs_past = detector[place] != NOT_READY and detector[place] != NEAR_LIMIT
        if (np.isnan(middle[row]) and needs_past) or not is_fresh(at[row], first[row], held[row], now):
            continue
        looks = _look_back(at[row], sums[row], first[row], held[row], now, 0, -np.inf, total, covered, age)
        for look in range(looks):
            scale = sqrt(spread[row] ** 2 / covered[look] + floor[place] ** 2)
            ratios[look] = _level_ratio(detector[place], total[look, 0] / covered[look], total[look, 0], covered[look], middle[row], scale)
        best = np.argmax(ratios[:looks])
        ratio[place] = last[row] = _averaged(ratios[:looks])
        onset[place], before[place], count[place] = now - age[best], middle[row], covered[best]
        after[place] = total[best, 0] if detector[place] == INCREASED else total[best, 0] / covered[best]
