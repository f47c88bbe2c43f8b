"""Instants: what is written is read back, whatever way people write it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.instants import InstantError, parse_instant, write_instant


@given(st.integers(0, (1 << 62)))
def test_what_is_written_is_read_back(at: int) -> None:
    assert parse_instant(write_instant(at)) == at


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # hypothesis wants naive bounds
def test_it_agrees_with_the_standard_library(moment: datetime) -> None:
    assert datetime.fromisoformat(write_instant(parse_instant(moment.isoformat()))) == moment


def test_offsets_and_naive_times_are_told_apart() -> None:
    assert parse_instant("2026-03-01T12:30:00+02:00") == parse_instant("2026-03-01T10:30:00Z") == parse_instant("2026-03-01T10:30:00")


def test_nanoseconds_survive() -> None:
    assert write_instant(1_000_000_000_123_456_789) == "2001-09-09T01:46:40.123456789Z"


@pytest.mark.parametrize("text", ["", "yesterday", "12:30", "2026-13-01", "2026-03-01T25:00:00Z", "99999999999999"])
def test_what_is_no_instant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InstantError, match="write ISO 8601 such as"):
        parse_instant(text)
