"""Onsets that last: a look reaches back three minutes, an episode as far as its condition has been seen to hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reasoning.evidence.streams import SECOND
from schema.verdicts import ConditionRef, Finding

HOLDS = 1.0  # nats from which a finding keeps an episode going
GRACE = 60 * SECOND


@dataclass(slots=True)
class _Episode:
    onset: int
    last: int


class Episodes:
    """The episode each condition is in. It ends when its finding has not spoken for it for GRACE."""

    def __init__(self) -> None:
        self._going: dict[ConditionRef, _Episode] = {}

    def state(self) -> Mapping[ConditionRef, tuple[int, int]]:
        """Of each episode that goes on, its onset and when its finding last spoke for it."""
        return {condition: (episode.onset, episode.last) for condition, episode in self._going.items()}

    def restore(self, state: Mapping[ConditionRef, tuple[int, int]]) -> None:
        """Takes over episodes."""
        self._going = {condition: _Episode(onset, last) for condition, (onset, last) in state.items()}

    def date(self, now: int, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings with the onset of their episode."""
        self._going = {condition: episode for condition, episode in self._going.items() if episode.last > now - GRACE}
        for finding in findings:
            if finding.onset is None or finding.log_likelihood_ratio < HOLDS:
                yield finding
                continue
            episode = self._going.setdefault(finding.condition, _Episode(finding.onset, now))
            episode.onset, episode.last = min(episode.onset, finding.onset), now
            yield replace(finding, onset=episode.onset)
