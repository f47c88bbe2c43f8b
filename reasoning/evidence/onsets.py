"""Coarse metrics at one onset: what broke began when those who feel it began to feel it.

A stream of rows is judged at every onset its held rows allow, against the rows just before it, so that what had moved earlier and stayed
is no news. The onsets that entries (callers without callers) see weigh the onsets of what they call (docs/reasoning/evidence.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from math import exp, log, sqrt

import numpy as np

from reasoning.evidence.detectors import LEAST_SEEN, Judgements, is_fresh
from reasoning.evidence.likelihood import HARMLESS_MOVE, above_usual, coin
from reasoning.evidence.streams import CAPACITY, PAST, StreamTable
from reasoning.native import compiled
from schema.batches import Float64, Int64

LOOKS = np.array([1, 2, 3, 4, 6, 8, 12], np.int64)
"""How many of the newest rows come after the onset; the last place of every array of onsets stands for an onset before all rows that are held."""
LOOKS.setflags(write=False)
REFERENCE = 2
HELD_ROWS = 6
WANDER = 0.05  # of the logarithm of a mean, from row to row
PLACES = LOOKS.size + 1
OTHERWISE = 0.05  # of what goes wrong below an entry that suffers, so much has nothing to do with that: a guess
STEP = 0.886  # standard deviations to the mean absolute difference of two
LEAST_WEIGHT = 1e-6
LEAST_AGREEMENT = 1e-3
TINY = 1e-300
NEVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Onsets:
    """Per stream and onset, Float64[r, PLACES]: ratio, nan where unknown; before, after: the levels compared. at: Int64, ns, 0 before all that is held.

    interval: Float64[r], ns between rows.
    """

    ratio: Float64
    before: Float64
    after: Float64
    count: Float64
    at: Int64
    interval: Float64


def levels_at_onsets(table: StreamTable, rows: Int64, now: int, wander: float) -> Onsets:
    """Streams of the logarithms of means: did they rise? `wander`: how a level drifts from what it usually is."""
    found, a = _unknown(rows.size), table.arrays
    _levels(
        a.at, a.sums, a.first, a.held, a.past, a.taught, a.middle, a.spread, rows, now, wander,
        found.ratio, found.before, found.after, found.count, found.at, found.interval,
    )  # fmt: skip
    return found


def coins_at_onsets(table: StreamTable, rows: Int64, now: int, worth: Float64, least: float) -> Onsets:
    """Streams of (shown, trials, ...): does it show more often?"""
    found, a = _unknown(rows.size), table.arrays
    _coins(
        a.at, a.sums, a.first, a.held, a.baseline, rows, now, worth, least,
        found.ratio, found.before, found.after, found.count, found.at, found.interval,
    )  # fmt: skip
    return found


def _unknown(streams: int) -> Onsets:
    shape = streams, PLACES
    return Onsets(np.full(shape, np.nan), np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64), np.ones(streams))


@compiled
def _sum(sums: Float64, first: int, held: int, after: int, rows: int, column: int) -> float:
    """Over `rows` rows, the newest of them the one before the `after` newest."""
    total = 0.0
    for each in range(after, after + rows):
        total += sums[(first + held - 1 - each) % CAPACITY, column]
    return total


@compiled
def _step(past: Float64, taught: int) -> float:
    """By how much neighbours in the past differ: the standard deviation that a normal distribution with their mean absolute difference has."""
    known = min(taught, PAST)
    total = 0.0
    for each in range(1, known):
        total += abs(past[(taught - known + each) % PAST] - past[(taught - known + each - 1) % PAST])
    return STEP * total / max(known - 1, 1)


@compiled
def _interval(at: Int64, first: int, held: int) -> float:
    return float((at[(first + held - 1) % CAPACITY] - at[first]) / max(held - 1, 1))


@compiled
def _levels(
    at: Int64, sums: Float64, first: Int64, held: Int64, past: Float64, taught: Int64, middle: Float64, spread: Float64, rows: Int64, now: int, wander: float,
    ratio: Float64, before: Float64, after: Float64, count: Float64, onset: Int64, interval: Float64,
) -> None:  # fmt: skip
    for place in range(rows.size):
        row = rows[place]
        start, n, usual = first[row], held[row], middle[row]
        if np.isnan(usual) or not is_fresh(at[row], start, n, now):
            continue
        interval[place] = max(_interval(at[row], start, n), 1.0)
        step = _step(past[row], taught[row])
        for which in range(LOOKS.size):
            seen = LOOKS[which]
            rest = min(REFERENCE, n - seen)
            if rest > 0:
                now_at, was_at = _sum(sums[row], start, n, 0, seen, 0) / seen, _sum(sums[row], start, n, seen, rest, 0) / rest
                ratio[place, which] = above_usual(now_at, was_at, sqrt(step * step * (1.0 / seen + 1.0 / rest) + WANDER**2))
                before[place, which], after[place, which], count[place, which] = was_at, now_at, seen
                onset[place, which] = at[row, (start + n - seen) % CAPACITY]
        mean = _sum(sums[row], start, n, 0, n, 0) / n
        ratio[place, -1] = above_usual(mean, usual, sqrt(spread[row] ** 2 / n + wander**2))
        before[place, -1], after[place, -1], count[place, -1] = usual, mean, n


@compiled
def _more_often(shown: float, trials: float, base_shown: float, base_trials: float, worth: float) -> float:
    ratio = coin(shown, trials, base_shown, base_trials, worth)
    return min(ratio, 0.0) if shown * base_trials <= base_shown * trials else ratio


@compiled
def _since(shown: float, trials: float, was_shown: float, was_trials: float, past_shown: float, past_trials: float, worth: float) -> float:
    """As the rows just before are, or as those and the past are: now and then a rate moves and stays, and the past tells nothing any more."""
    moved = coin(was_shown, was_trials, past_shown, past_trials, worth) + log(HARMLESS_MOVE / (1.0 - HARMLESS_MOVE))
    share = 1.0 / (1.0 + exp(-moved))
    alike = _more_often(shown, trials, was_shown + past_shown, was_trials + past_trials, worth)
    if was_trials <= 0.0:
        return alike
    return -log((1.0 - share) * exp(-alike) + share * exp(-_more_often(shown, trials, was_shown, was_trials, worth)))


@compiled
def _coins(
    at: Int64, sums: Float64, first: Int64, held: Int64, baseline: Float64, rows: Int64, now: int, worth: Float64, least: float,
    ratio: Float64, before: Float64, after: Float64, count: Float64, onset: Int64, interval: Float64,
) -> None:  # fmt: skip
    for place in range(rows.size):
        row = rows[place]
        start, n, base_shown, base_trials = first[row], held[row], baseline[row, 0], baseline[row, 1]
        if base_trials < least or not is_fresh(at[row], start, n, now):
            continue
        interval[place] = max(_interval(at[row], start, n), 1.0)
        a_row = base_trials / max(baseline[row, 3], 1.0)
        for which in range(LOOKS.size):
            seen = LOOKS[which]
            rest = min(REFERENCE, n - seen)
            if rest <= 0 or _sum(sums[row], start, n, 0, seen, 1) < LEAST_SEEN:
                continue
            shown, trials = _sum(sums[row], start, n, 0, seen, 0), _sum(sums[row], start, n, 0, seen, 1)
            was_shown, was_trials = _sum(sums[row], start, n, seen, rest, 0), _sum(sums[row], start, n, seen, rest, 1)
            # What came long before counts for a row at most.
            past = min(a_row / base_trials, 1.0)
            ratio[place, which] = _since(shown, trials, was_shown, was_trials, past * base_shown, past * base_trials, worth[place])
            before[place, which] = was_shown / was_trials if was_trials > 0.0 else base_shown / base_trials
            after[place, which], count[place, which] = shown / trials, trials
            onset[place, which] = at[row, (start + n - seen) % CAPACITY]
        shown, trials = _sum(sums[row], start, n, 0, n, 0), _sum(sums[row], start, n, 0, n, 1)
        if trials >= LEAST_SEEN:
            ratio[place, -1] = _more_often(shown, trials, base_shown, base_trials, worth[place])
            before[place, -1], after[place, -1], count[place, -1] = base_shown / base_trials, shown / trials, trials


@dataclass(frozen=True, slots=True)
class At:
    """Per stream: `ratio`, nan where unknown; `place` of its likeliest onset; `felt`: how surely those above feel anything, 0 where they say nothing.

    Float64[r], Int64[r], Float64[r].
    """

    ratio: Float64
    place: Int64
    felt: Float64


def together(levels: Onsets, coins: Onsets) -> Onsets:
    """Streams of logarithms, told in what they are logarithms of, and then streams of coins."""
    seconds = replace(levels, before=np.exp(levels.before), after=np.exp(levels.after))
    return Onsets(*(np.concatenate([getattr(seconds, each.name), getattr(coins, each.name)]) for each in fields(Onsets)))


def judged_at(onsets: Onsets, chosen: At) -> Judgements:
    """Judgements of streams at one onset each. An onset before all that is held is dated by the oldest that is known."""
    rows = np.arange(chosen.ratio.size)
    oldest = np.where(onsets.at > 0, onsets.at, NEVER).min(axis=1, initial=NEVER)
    at = np.where(onsets.at[rows, chosen.place] > 0, onsets.at[rows, chosen.place], oldest)
    return Judgements(chosen.ratio, at, onsets.before[rows, chosen.place], onsets.after[rows, chosen.place], onsets.count[rows, chosen.place])


def by_itself(onsets: Onsets) -> At:
    """Each stream at any onset."""
    return At(average(onsets.ratio), np.argmax(np.nan_to_num(onsets.ratio, nan=-np.inf), axis=1), np.zeros(len(onsets.ratio)))


def either(alone: Float64, shared: Float64, felt: Float64) -> Float64:
    """The ratios of what began with what is felt, as surely as that is felt, or else at any time: Float64[r]."""
    found, rows = alone.copy(), felt > 0.0
    told = (1.0 - OTHERWISE) * felt[rows]
    found[rows] = np.logaddexp(np.log1p(-told) + alone[rows], np.log(told) + shared[rows])
    return found


def average(ratios: Float64) -> Float64:
    """Any onset that is known is as likely: Float64[r, PLACES] -> Float64[r], nan where none is."""
    known = ~np.isnan(ratios)
    highest = np.where(known, ratios, -np.inf).max(axis=1)
    some = known.any(axis=1)
    top = np.where(some, highest, 0.0)[:, None]
    mean = np.where(known, np.exp(np.where(known, ratios, 0.0) - top), 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(some, top[:, 0] + np.log(np.where(some, mean, 1.0)), np.nan)


def shared_onset(entities: Sequence[int], onsets: Onsets, alone: Float64, calls: Iterable[tuple[int, int]]) -> At:
    """entities: of each stream. alone: `average` of their ratios. calls: caller and callee, waited for. Only what speaks by itself is asked when it began."""
    below: dict[int, set[int]] = {}
    for source, target in calls:
        below.setdefault(source, set()).add(target)
    called = set[int]().union(*below.values())
    streams: dict[int, list[int]] = {}
    for place in np.flatnonzero(~np.isnan(alone)).tolist():
        streams.setdefault(entities[place], []).append(place)
    weights, felt = np.zeros((len(entities), PLACES)), np.zeros(len(entities))
    for entry in sorted((below.keys() & streams.keys()) - called):
        told = max(streams[entry], key=lambda place: (float(alone[place]), -place))
        feels = float(1.0 / (1.0 + np.exp(-alone[told])))
        for place in (place for entity in _reached(entry, below) for place in streams.get(entity, ()) if alone[place] > 0.0):
            weights[place] += feels * _carried(onsets, told, place)
            felt[place] = max(felt[place], feels)
    ratio, likeliest = np.full(len(entities), np.nan), np.full(len(entities), PLACES - 1)
    for place in np.flatnonzero(weights.sum(axis=1) > LEAST_WEIGHT).tolist():
        terms = weights[place] / weights[place].sum() * _scaled(onsets.ratio[place])
        ratio[place], likeliest[place] = np.nanmax(onsets.ratio[place]) + np.log(terms.sum() + TINY), int(np.argmax(terms))
    return At(ratio, likeliest, np.where(np.isnan(ratio), 0.0, felt))


def _reached(entry: int, below: dict[int, set[int]]) -> set[int]:
    """What an entry calls, directly or not; not the entry."""
    reached, ahead = set[int](), [entry]
    while ahead:
        for each in below.get(ahead.pop(), ()):
            if each not in reached:
                reached.add(each)
                ahead.append(each)
    return reached - {entry}


def _carried(onsets: Onsets, told: int, place: int) -> Float64:
    """How likely each onset of one stream is, Float64[PLACES], by those of another: the rows of the two may begin an interval apart."""
    apart = (onsets.at[place, :-1, None] - onsets.at[told, None, :-1]) / max(onsets.interval[place], onsets.interval[told])
    agree = np.zeros((PLACES, PLACES))
    agree[:-1, :-1] = np.exp(-2.0 * np.clip(apart, -6.0, 6.0) ** 2)
    agree[-1, -1] = 1.0
    agree[np.isnan(onsets.ratio[place])] = 0.0
    total = agree.sum(axis=0)
    when = _scaled(onsets.ratio[told])
    return np.asarray(np.divide(agree, total, out=np.zeros_like(agree), where=total > LEAST_AGREEMENT) @ (when / when.sum()))


def _scaled(ratios: Float64) -> Float64:
    """Likelihood ratios by their greatest; 0 where unknown."""
    return np.asarray(np.exp(np.nan_to_num(ratios - np.nanmax(ratios), nan=-np.inf)))
