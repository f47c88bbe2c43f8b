"""Coarse rows judged at one onset: what broke when those who feel it began to feel it, and what had moved before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from graph.live import LiveGraph
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from reasoning.evidence.coarse import COIN_WIDTH, coin_sums
from reasoning.evidence.engine import EvidenceEngine
from reasoning.evidence.onsets import HELD_ROWS, LOOKS, PLACES, Onsets, average, coins_at_onsets, either, levels_at_onsets, shared_onset
from reasoning.evidence.state import EvidenceState
from reasoning.evidence.streams import SECOND, StreamTable
from schema.batches import Float64
from schema.identity import EntityRef
from schema.loader import load_knowledge
from schema.windows import TelemetryWindow

ROW = 300 * SECOND
ENTRY, CULPRIT, EARLIER = 1, 2, 3
BEFORE_ALL = PLACES - 1


def levels(*streams: Sequence[float]) -> Onsets:
    table = StreamTable(1, 10, levels=True, kept=HELD_ROWS)
    rows = np.array([table.row(each) for each in range(len(streams))], np.int64)
    for at, values in enumerate(zip(*streams, strict=True)):
        table.observe(rows, (at + 1) * ROW, np.log(np.array(values))[:, None])
    return levels_at_onsets(table, rows, len(streams[0]) * ROW, 0.15)


def rows(before: float, after: float, rows_after: int, length: int = 40) -> list[float]:
    """Seconds a request, row by row, with a wobble of 4 %."""
    return [(after if at >= length - rows_after else before) * (1.0 + 0.04 * ((-1) ** at)) for at in range(length)]


def test_a_step_says_most_at_its_own_onset() -> None:
    found = levels(rows(0.1, 0.3, 2))
    assert int(np.nanargmax(found.ratio[0])) == LOOKS.tolist().index(2)
    assert found.ratio[0, 1] > 4.0
    assert found.at[0, 1] == 39 * ROW
    assert np.exp(found.before[0, 1]) == pytest.approx(0.1, rel=0.05)


def test_what_moved_earlier_and_stayed_is_no_news_and_yet_not_normal() -> None:
    found = levels(rows(0.1, 0.3, HELD_ROWS + 2))
    assert np.nanmax(found.ratio[0, :-1]) < 1.0
    assert found.ratio[0, BEFORE_ALL] > 2.0


def coins(failed: Sequence[float], requests: Sequence[float]) -> Float64:
    table = StreamTable(COIN_WIDTH, 10, kept=HELD_ROWS)
    row = np.array([table.row("coin")], np.int64)
    for at, sums in enumerate(coin_sums(np.array(failed), np.array(requests))):
        table.observe(row, (at + 1) * ROW, sums[None, :])
    ratio: Float64 = coins_at_onsets(table, row, len(failed) * ROW, np.full(1, 2000.0), 30.0).ratio[0]
    return ratio


def test_few_requests_that_failed_in_the_rows_before_too_began_before() -> None:
    ratio = coins([0.0] * 30 + [4.0] * 8, [12.0] * 30 + [4.0] * 8)
    assert np.nanmax(ratio[:-1]) < 1.5
    assert ratio[BEFORE_ALL] > 10.0


def test_failures_among_many_requests_are_dated_by_the_rows_before() -> None:
    ratio = coins([0.0] * 34 + [30.0] * 2, [1000.0] * 36)
    assert ratio[LOOKS.tolist().index(2)] > 4.0
    assert np.nanargmax(ratio) == LOOKS.tolist().index(2)


def test_fewer_failures_are_no_symptom_at_any_onset() -> None:
    assert np.nanmax(coins([20.0] * 34 + [0.0] * 2, [100.0] * 36)) <= 0.0


def test_what_began_with_its_callers_trouble_is_told_from_what_began_before() -> None:
    raw = levels(rows(0.2, 0.4, 2), rows(0.05, 0.25, 2), rows(0.05, 0.25, 4))
    onsets = replace(raw, ratio=np.minimum(raw.ratio, 5.0))
    alone = average(onsets.ratio)
    shared = shared_onset([ENTRY, CULPRIT, EARLIER], onsets, alone, [(ENTRY, CULPRIT), (ENTRY, EARLIER)])
    assert np.isnan(shared.ratio[0])
    assert shared.ratio[1] > alone[1]
    assert shared.ratio[2] < min(alone[2], shared.ratio[1] - 1.0)
    assert (shared.felt[1:] > 0.8).all()
    assert shared.place[1] == LOOKS.tolist().index(2)


def test_an_onset_is_asked_of_those_who_wait_and_of_no_others() -> None:
    onsets = levels(rows(0.2, 0.4, 2), rows(0.05, 0.25, 4))
    alone = average(onsets.ratio)
    assert not shared_onset([ENTRY, EARLIER], onsets, alone, []).felt.any()
    assert not shared_onset([ENTRY, EARLIER], onsets, alone, [(CULPRIT, EARLIER)]).felt.any()


def test_callers_that_call_each_other_have_no_entry_and_the_search_ends() -> None:
    onsets = levels(rows(0.2, 0.4, 2), rows(0.05, 0.25, 2))
    assert not shared_onset([ENTRY, CULPRIT], onsets, average(onsets.ratio), [(ENTRY, CULPRIT), (CULPRIT, ENTRY)]).felt.any()


def test_an_average_passes_over_what_is_unknown() -> None:
    some = np.full((2, PLACES), np.nan)
    some[0, :2] = np.log([1.0, 3.0])
    assert average(some)[0] == pytest.approx(np.log(2.0))
    assert np.isnan(average(some)[1])


def test_where_nothing_is_felt_a_stream_speaks_for_itself_and_else_mostly_for_the_onset_felt() -> None:
    alone, shared = np.array([4.0, 4.0, np.nan]), np.array([np.nan, -2.0, np.nan])
    found = either(alone, shared, np.array([0.0, 0.9, 0.0]))
    assert found[0] == 4.0
    assert -2.0 < found[1] < 3.0
    assert np.isnan(found[2])


SHOP, STORE, BATCH = (EntityRef("service", "c", "shop", name) for name in ("shop", "store", "batch"))


def coarse_estate(rows_of: Iterable[dict[EntityRef, tuple[int, float]]]) -> EvidenceState:
    """Rows of five minutes: requests and seconds a request. shop calls store and batch; nobody calls shop."""
    graph = LiveGraph()
    engine = EvidenceEngine(load_knowledge(), graph)
    for number, row in enumerate(rows_of, 1):
        counts = WindowCounts()
        for ref, (requests, seconds) in row.items():
            count = counts.request_count(ref)
            count.detailed, count.summed_requests, count.summed_duration = False, requests, round(requests * seconds * 1e9)
            if ref != SHOP:
                counts.call_count(SHOP, "calls", ref).calls = requests
        served, calls = request_table(counts, graph.intern), call_table(counts, graph.intern)
        behaviour, samples, logs = behaviour_table(counts, graph.intern), sample_table(counts, graph.intern), log_table(counts, graph.intern)
        state = engine.observe(TelemetryWindow(number * ROW - 5 * SECOND, number * ROW, served, calls, behaviour, samples, logs, ()))
    return state


def test_a_service_that_was_slow_before_the_shop_was_counts_for_less_than_the_one_that_began_with_it() -> None:
    calm, worse = {SHOP: (600, 0.09), STORE: (900, 0.010), BATCH: (6, 0.5)}, {SHOP: (600, 0.13), STORE: (900, 0.037), BATCH: (6, 3.0)}
    history = [{ref: (requests, seconds * (1.0 + 0.05 * ((-1) ** at))) for ref, (requests, seconds) in calm.items()} for at in range(60)]
    state = coarse_estate([*history, *[{**calm, BATCH: worse[BATCH]}] * 2, *[worse] * 2])
    ratio = {(each.condition.entity, each.condition.condition): each.log_likelihood_ratio for each in state.findings}
    assert ratio[STORE, "own_time_high"] > ratio[BATCH, "own_time_high"] + 1.0
    assert ratio[STORE, "latency_high"] > 1.0
