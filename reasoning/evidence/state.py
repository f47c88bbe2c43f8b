"""What evidence hands to the rest of reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graph.topology import RelationKey
from reasoning.evidence.streams import StreamsState
from schema.verdicts import ConditionRef, Finding


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """All findings at event time `at`, sorted by condition, and the live relation attributes that are known now.

    quiet: the relations over which nothing went lately though their source was at work, and the event time of what went last.
    """

    at: int
    findings: tuple[Finding, ...]
    live: Mapping[RelationKey, Mapping[str, float]]
    quiet: Mapping[RelationKey, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvidenceMemory:
    """What evidence remembers: streams by table, and of each condition's episode the onset and when its finding last spoke for it."""

    streams: Mapping[str, StreamsState]
    episodes: Mapping[ConditionRef, tuple[int, int]]
