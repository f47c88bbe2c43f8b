"""A table that forgets, and says so."""

from __future__ import annotations

from collections import Counter

from ingest.bounded import BoundedTable


def test_the_entry_put_longest_ago_makes_room_and_is_counted() -> None:
    dropped: Counter[str] = Counter()
    table: BoundedTable[str, int] = BoundedTable(2, "series_forgotten", dropped)
    for key in ("a", "b", "a", "c"):
        table.put(key, len(key))
    assert ("a" in table, "b" in table, table.get("c"), table.get("b")) == (True, False, 1, None)
    assert dropped == {"series_forgotten": 1}
