"""Diagnoses to many subscribers: a slot each, the newest wins, so that a slow reader costs nothing but its own news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from schema.verdicts import Diagnosis

SUBSCRIBERS = 1_000


class TooManySubscribersError(Exception):
    """The hub is full; the message says what to do."""


class DiagnosisHub:
    """`publish` never waits."""

    def __init__(self, *, limit: int = SUBSCRIBERS) -> None:
        self._limit = limit
        self._waiting: set[asyncio.Event] = set()
        self._latest: Diagnosis | None = None
        self._closed = False
        self.refused = 0

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._waiting)

    def publish(self, diagnosis: Diagnosis) -> None:
        """Hands a diagnosis to everyone who listens."""
        self._latest = diagnosis
        self._wake()

    def close(self) -> None:
        """Ends every subscription once it told the latest diagnosis."""
        self._closed = True
        self._wake()

    async def subscribe(self) -> AsyncIterator[Diagnosis]:
        """The latest diagnosis, then each new one. Raises TooManySubscribersError."""
        if len(self._waiting) >= self._limit:
            self.refused += 1
            raise TooManySubscribersError(f"{self._limit} subscribers listen already: try again later.")
        news = asyncio.Event()
        self._waiting.add(news)
        told: Diagnosis | None = None
        try:
            while True:
                if self._latest is not None and self._latest is not told:
                    told = self._latest
                    yield told
                    continue
                if self._closed:
                    return
                news.clear()
                await news.wait()
        finally:
            self._waiting.discard(news)

    def _wake(self) -> None:
        for news in self._waiting:
            news.set()
