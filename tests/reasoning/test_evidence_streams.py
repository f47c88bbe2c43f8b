"""Streams and detectors: what is remembered, what teaches the baseline, and what is unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.evidence.detectors import LEVEL_DETECTORS, Judgements, judge_coins, judge_durations, judge_levels, judge_means
from reasoning.evidence.streams import MEMORY, SECOND, StreamTable, normal_weight

WINDOW = 5 * SECOND
ROW = np.array([0], np.int64)


def fed(table: StreamTable, readings: list[tuple[int, list[float]]], key: str = "stream") -> int:
    """Observes (time, sums) in order; returns the time of the last."""
    row = np.array([table.row(key)], np.int64)
    for at, sums in readings:
        table.observe(row, at, np.array([sums]))
    return readings[-1][0]


def durations(seconds: float, count: int) -> list[float]:
    return [count, count * seconds, count * seconds**2 * 1.2, count * np.log(seconds), count * (np.log(seconds) ** 2 + 0.2)]


def steady(windows: int, sums: list[float], start: int = 0) -> list[tuple[int, list[float]]]:
    return [((start + i + 1) * WINDOW, list(sums)) for i in range(windows)]


def slower(table: StreamTable, now: int, least: float = 30.0) -> Judgements:
    return judge_durations(table, ROW, now, least=least)


def test_requests_that_take_twice_as_long_are_slower_and_the_onset_is_when_they_began() -> None:
    table = StreamTable(5, 10)
    now = fed(table, steady(72, durations(0.1, 20)) + steady(6, durations(0.22, 20), start=72))
    judged = slower(table, now)
    assert judged.ratio[0] > 2.0
    assert judged.onset[0] == now - 6 * WINDOW
    assert judged.before[0] == pytest.approx(0.1, rel=0.05)


def test_requests_that_take_as_long_as_ever_speak_against() -> None:
    table = StreamTable(5, 10)
    now = fed(table, steady(80, durations(0.1, 20)))
    assert slower(table, now).ratio[0] < -1.0


def test_half_a_millisecond_more_is_nothing() -> None:
    table = StreamTable(5, 10)
    now = fed(table, steady(72, durations(0.0004, 50)) + steady(8, durations(0.0008, 50), start=72))
    assert slower(table, now).ratio[0] < 1.0


def test_too_little_past_is_unknown() -> None:
    table = StreamTable(5, 10)
    now = fed(table, steady(38, durations(0.1, 5)))
    assert np.isnan(slower(table, now).ratio[0])


def test_silence_is_unknown_once_the_last_minutes_are_empty() -> None:
    table = StreamTable(5, 10)
    now = fed(table, steady(80, durations(0.1, 20)))
    assert not np.isnan(slower(table, now + MEMORY // 2).ratio[0])
    assert np.isnan(slower(table, now + 2 * MEMORY).ratio[0])


def test_metrics_that_come_every_five_minutes_are_judged_by_the_newest_two() -> None:
    table = StreamTable(1, 10, levels=True)
    readings = [((i + 1) * 300 * SECOND, [0.2 + 0.01 * (i % 2)]) for i in range(20)] + [(21 * 300 * SECOND, [0.9]), (22 * 300 * SECOND, [0.95])]
    now = fed(table, readings)
    near = np.array([LEVEL_DETECTORS["near_limit"]], np.int64)
    assert judge_levels(table, ROW, now + 200 * SECOND, near, np.array([0.03])).ratio[0] > 2.0


def test_a_fault_that_lasts_does_not_become_the_norm() -> None:
    table = StreamTable(2, 10)
    row = np.array([table.row("errors")], np.int64)
    for at, sums in steady(72, [0.0, 20.0]) + steady(240, [12.0, 20.0], start=72):
        table.observe(row, at, np.array([sums]))
        judged = judge_coins(table, ROW, at, least=30.0, worth=np.full(1, 100.0), sides=1)
    assert judged.ratio[0] > 4.0
    assert judged.before[0] < 0.05


def test_fewer_errors_are_no_symptom_but_a_missing_event_is() -> None:
    table = StreamTable(2, 10)
    now = fed(table, steady(72, [10.0, 20.0]) + steady(12, [0.0, 20.0], start=72))
    assert judge_coins(table, ROW, now, least=30.0, worth=np.full(1, 100.0), sides=1).ratio[0] <= 0.0
    assert judge_coins(table, ROW, now, least=30.0, worth=np.full(1, 100.0), sides=2).ratio[0] > 4.0


def test_what_is_held_of_the_time_before_an_onset_is_its_reference() -> None:
    table = StreamTable(2, 10)
    now = fed(table, steady(20, [0.0, 2.0]) + steady(8, [2.0, 2.0], start=20))
    assert not table.arrays.baseline[0].any()
    judged = judge_coins(table, ROW, now, least=10.0, worth=np.full(1, 100.0), sides=2)
    assert judged.ratio[0] > 8.0
    assert judged.before[0] < 0.15
    assert judged.onset[0] < now - 5 * WINDOW


def test_a_coin_that_turns_up_now_was_tossed_before_and_never_showed() -> None:
    table = StreamTable(2, 10)
    fed(table, steady(72, [0.0, 20.0]), key="operation")
    table.begin_as_silent_sibling(table.row("new event"), table.row("operation"))
    row = np.array([table.row("new event")], np.int64)
    for at, sums in steady(6, [15.0, 20.0], start=72):
        table.observe(row, at, np.array([sums]))
    assert judge_coins(table, row, 78 * WINDOW, least=10.0, worth=np.full(1, 100.0), sides=2).ratio[0] > 4.0


def test_demand_that_rises_is_busier_and_demand_that_vanishes_is_quieter() -> None:
    table = StreamTable(3, 10)
    root = np.sqrt(40.0)
    now = fed(table, steady(72, [1.0, root, 40.0]) + steady(12, [1.0, 2 * root, 160.0], start=72))
    assert judge_means(table, ROW, now, least=6.0, wander=0.15, sign=1.0).ratio[0] > 1.0
    assert judge_means(table, ROW, now, least=6.0, wander=0.15, sign=-1.0).ratio[0] < 0.0
    gone = StreamTable(3, 10)
    now = fed(gone, steady(72, [1.0, root, 40.0]) + steady(12, [1.0, 0.0, 0.0], start=72))
    assert judge_means(gone, ROW, now, least=6.0, wander=0.15, sign=-1.0).ratio[0] > 2.0


def test_a_state_needs_no_past() -> None:
    table = StreamTable(1, 10, levels=True)
    now = fed(table, steady(3, [0.0]))
    ready = np.array([LEVEL_DETECTORS["not_ready"]], np.int64)
    assert judge_levels(table, ROW, now, ready, np.zeros(1)).ratio[0] > 4.0


def test_one_restart_is_an_event_however_long_the_look() -> None:
    table = StreamTable(1, 10, levels=True)
    now = fed(table, [*steady(72, [0.0]), (73 * WINDOW, [1.0]), *steady(12, [0.0], start=73)])
    increased = np.array([LEVEL_DETECTORS["increased"]], np.int64)
    assert judge_levels(table, ROW, now, increased, np.array([0.2])).ratio[0] > 0.5


def test_a_full_table_refuses_and_counts() -> None:
    table = StreamTable(2, 2)
    assert [table.row(key) for key in ("a", "b", "c", "a")] == [0, 1, -1, 0]
    assert table.refused == 1
    table.observe(np.array([-1], np.int64), 1, np.array([[1.0, 1.0]]))
    assert not table.arrays.held.any()


@given(st.integers(1, 200))
def test_a_stream_is_judged_alike_however_many_stand_beside_it(others: int) -> None:
    alone, crowded = StreamTable(5, 1_000), StreamTable(5, 1_000)
    readings = steady(50, durations(0.1, 20)) + steady(4, durations(0.3, 20), start=50)
    now = fed(alone, readings)
    for place in range(others):
        fed(crowded, steady(2, durations(0.5, 3)), key=f"other {place}")
    fed(crowded, readings)
    row = np.array([crowded.row("stream")], np.int64)
    assert judge_durations(crowded, row, now, least=30.0).ratio[0] == slower(alone, now).ratio[0]


@given(st.floats(-50, 50))
def test_what_looks_abnormal_teaches_less(ratio: float) -> None:
    assert 0.0 <= normal_weight(ratio) <= normal_weight(ratio - 1.0) <= 1.0
