"""Who may move time on."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.assembler import AssemblerSettings
from ingest.watermark import Watermark
from tests.ingest.telemetry import SECOND, Estate, batch, service, span

HOUR = 3600


def watermark(*times: float) -> float:
    """After batches of one row each, in seconds."""
    made = Watermark(lateness=5 * SECOND, leap=HOUR * SECOND)
    for time in times:
        made.observe(np.array([round(time * SECOND)], dtype=np.int64))
    return made.time / SECOND


def test_the_watermark_is_the_latest_time_less_the_lateness() -> None:
    assert watermark(100, 107, 103) == 102


def test_one_sender_with_a_wrong_clock_moves_nothing() -> None:
    assert watermark(100, 100_000, 101, 102, 100_001, 103) == 98


def test_a_gap_in_all_telemetry_is_believed_after_a_few_batches() -> None:
    gap = [*range(100, 110), *range(100_000, 100_006)]
    assert watermark(*gap[:-1]) == 104
    assert watermark(*gap) == 99_995
    assert watermark(*gap, 100_007) == 100_002


def test_a_wrong_first_batch_is_given_up_when_most_disagree() -> None:
    assert watermark(100_000, 100, 101, 102, 103) == 99_995
    assert watermark(100_000, 100, 101, 102, 103, 104) == 99


def test_one_wrong_row_among_good_ones_moves_nothing() -> None:
    made = Watermark(lateness=0, leap=HOUR * SECOND)
    made.observe(np.array([1, 2, 3, 100_000], dtype=np.int64) * SECOND)
    assert made.time == 3 * SECOND


@pytest.mark.parametrize("ahead", [2 * HOUR, 3_000_000_00.0])
def test_a_span_from_the_future_does_not_make_the_present_late(ahead: float) -> None:
    estate = Estate(AssemblerSettings(rows=100))
    for at in range(30):
        estate.send(batch(span("front", 1, 0, at, at + 0.5, trace=at + 1)))
        if at % 3 == 0:
            estate.send(batch(span("broken", 1, 0, ahead + at, ahead + at + 1, trace=100 + at)))
    assert estate.finish(29).requests(service("front"))["requests"] == 25
    assert "late" not in estate.assembler.dropped


def test_rows_that_are_not_believed_take_no_more_than_their_share_of_the_room() -> None:
    estate = Estate(AssemblerSettings(rows=50))
    for at in range(30):
        estate.send(batch(span("front", 1, 0, at, at + 0.5, trace=at + 1)), batch(span("broken", 1, 0, 1e6, 1e6 + at, trace=100 + at)))
    assert estate.assembler.dropped == {"ahead": 25}
