"""Instants of event time as people write them: ISO 8601 in UTC, with as many digits of the second as there are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

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
    seconds, rest = divmod(at, SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{(EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}{fraction}Z"
