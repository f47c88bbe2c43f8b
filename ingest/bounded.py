"""A table that has a maximum and counts what it forgets."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedTable(Generic[K, V]):
    """A dictionary in which the entry that was put longest ago makes room; `reason` names the loss in `dropped`."""

    def __init__(self, limit: int, reason: str, dropped: Counter[str]) -> None:
        self._limit = limit
        self._reason = reason
        self._dropped = dropped
        self._entries: dict[K, V] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """The value last put."""
        return self._entries.get(key)

    def entries(self) -> dict[K, V]:
        """A copy, the entry put longest ago first."""
        return dict(self._entries)

    def put(self, key: K, value: V) -> None:
        """Keeps a value as the newest entry."""
        if self._entries.pop(key, None) is None and len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
            self._dropped[self._reason] += 1
        self._entries[key] = value
