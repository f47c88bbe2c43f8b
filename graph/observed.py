"""What the live graph remembers of one entity or relation. Merging commutes: minima, maxima, and sums of integers only."""

from __future__ import annotations

from dataclasses import dataclass, field

from graph.topology import RelationStatistics

SECOND = 1_000_000_000
VALUES_PER_LABEL = 8


@dataclass(slots=True)
class Label:
    """The values an attribute was seen with, each with its first and last time.

    While a deployment rolls, pods of both versions speak: the value that appeared last stands, until it went unseen for `hold`.
    Without that a canary would change its service every window.
    """

    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def observe(self, value: str, time: int) -> bool:
        """Merges one sighting; True when a value had to be forgotten to stay within VALUES_PER_LABEL."""
        first, last = self.spans.get(value, (time, time))
        self.spans[value] = (min(first, time), max(last, time))
        if len(self.spans) <= VALUES_PER_LABEL:
            return False
        del self.spans[min(self.spans, key=lambda known: (self.spans[known][1], known))]
        return True

    def standing(self, hold: int) -> str:
        """The value in force; empty when none was seen."""
        if len(self.spans) < 2:
            return next(iter(self.spans), "")
        alive_since = max(last for _, last in self.spans.values()) - hold
        return max((first, value) for value, (first, last) in self.spans.items() if last >= alive_since)[1]


@dataclass(slots=True)
class EntityState:
    """An entity as observed so far."""

    first_seen: int
    last_seen: int
    sources: tuple[str, ...] = ()
    labels: dict[str, Label] = field(default_factory=dict)

    def see(self, source: str, time: int) -> None:
        """One more sighting."""
        if source not in self.sources:
            self.sources = tuple(sorted((*self.sources, source)))
        self.first_seen = min(self.first_seen, time)
        self.last_seen = max(self.last_seen, time)

    def attributes(self, hold: int) -> dict[str, str]:
        """The values in force, in ascending order of their names."""
        return {name: self.labels[name].standing(hold) for name in sorted(self.labels)}


@dataclass(slots=True)
class Traffic:
    """Requests, errors and nanoseconds in a bounded ring of windows; each window by source, for two sources may count the same calls."""

    windows: dict[tuple[int, str], tuple[int, int, int]] = field(default_factory=dict)
    first: int = 0
    newest: int = 0

    def add(self, window: int, source: str, sums: tuple[int, int, int], keep: int) -> None:
        """Adds to a window; windows that `keep` newer ones have pushed out are forgotten."""
        self.first = min(self.first, window) if self.windows else window
        if window > self.newest:
            self.newest = window
            self.windows = {key: row for key, row in self.windows.items() if key[0] > window - keep}
        if window > self.newest - keep:
            known = self.windows.get((window, source), (0, 0, 0))
            self.windows[window, source] = (known[0] + sums[0], known[1] + sums[1], known[2] + sums[2])

    def statistics(self, window: int, keep: int, length: int) -> RelationStatistics:
        """Sums over the `keep` windows up to `window`, each `length` nanoseconds; fewer while the relation is younger than that."""
        best: dict[int, tuple[int, int, int]] = {}
        for (each, _), row in self.windows.items():
            if each > window - keep and row > best.get(each, (0, 0, 0)):
                best[each] = row
        covered = min(keep, max(1, window - self.first + 1))
        return RelationStatistics(
            seconds=covered * length / SECOND,
            requests=sum(row[0] for row in best.values()),
            errors=sum(row[1] for row in best.values()),
            duration=sum(row[2] for row in best.values()) / SECOND,
        )


@dataclass(slots=True)
class RelationState:
    """A relation as observed so far. `floor`: the confidence it was restored with; `traffic` is None until requests were seen.

    `sources` and `combined` follow from `by_source`; reasoning reads them every window, they change hardly ever.
    """

    first_seen: int
    last_seen: int
    by_source: dict[str, float] = field(default_factory=dict)
    floor: float = 0.0
    traffic: Traffic | None = None
    sources: tuple[str, ...] = ()
    combined: float = 0.0

    def __post_init__(self) -> None:
        self._combine()

    def see(self, source: str, time: int, confidence: float) -> None:
        """One more sighting; a source is as sure as it ever was."""
        self.first_seen = min(self.first_seen, time)
        self.last_seen = max(self.last_seen, time)
        if confidence > self.by_source.get(source, -1.0):
            self.by_source[source] = confidence
            self._combine()

    def _combine(self) -> None:
        """Independent sources: 1 - prod(1 - c)."""
        self.sources = tuple(sorted(self.by_source))
        doubt = 1.0
        for source in self.sources:
            doubt *= 1.0 - self.by_source[source]
        self.combined = max(self.floor, 1.0 - doubt)
