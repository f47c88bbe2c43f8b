"""Instants of event time as people write them: ISO 8601 in UTC, with as many digits of the second as there are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FRACTION = re.compile(r"[.,](\d{1,9})")


class InstantError(ValueError):
    """A text that is no instant; the message shows how to write one."""


def parse_instant(text: str) -> int:
    """Epoch nanoseconds of an ISO 8601 text; without an offset it is UTC. Raises InstantError."""
    try:
        fraction = FRACTION.search(text)
        whole = datetime.fromisoformat(FRACTION.sub("", text, count=1))
        aware = whole if whole.tzinfo else whole.replace(tzinfo=UTC)
        digits = int(fraction[1].ljust(9, "0")) if fraction else 0
        return (aware - EPOCH) // timedelta(seconds=1) * SECOND + digits
    except (ValueError, OverflowError):
        raise InstantError(f"{text!r} is no instant: write ISO 8601 such as 2026-03-01T12:30:00Z.") from None


def write_instant(at: int) -> str:
    """Epoch nanoseconds as ISO 8601 in UTC, e.g. 2026-03-01T12:30:00.25Z."""
    minute, rest = divmod(at, 60 * SECOND)
    seconds, part = divmod(rest, SECOND)
    fraction = f".{part:09d}".rstrip("0") if part else ""
    return f"{_write_minute(minute)}:{seconds:02d}{fraction}Z"


@lru_cache(maxsize=1024)
def _write_minute(minutes: int) -> str:
    # An answer holds thousands of instants, nearly all of the same few minutes.
    return (EPOCH + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")
