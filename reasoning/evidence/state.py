"""What evidence hands to the rest of reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph.topology import RelationKey
from schema.verdicts import Finding


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """All findings at event time `at`, sorted by condition, and the live relation attributes that are known now."""

    at: int
    findings: tuple[Finding, ...]
    live: Mapping[RelationKey, Mapping[str, float]]
