"""Findings that read the same requests: together they say no more than the one that says most, however often the requests are counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from schema.identity import EntityRef
from schema.verdicts import Finding

READS = {"slower": "durations", "slower_own": "durations", "failing": "failures", "failing_own": "failures"}
"""What a detector reads of the requests that a service, its endpoints and its pods all count."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A finding whose ratio is tempered, the ratio before that, and the detector that read requests one by one; none where only their sums are known."""

    finding: Finding
    raw: float = 0.0
    detector: str = ""


def used_once(weighed: Iterable[Weighed], service_of: Callable[[EntityRef], EntityRef | None]) -> Iterator[Finding]:
    """The findings; where those that speak for an abnormal service read the same requests, their sum is at most the strongest of them untempered."""
    sums: dict[tuple[EntityRef, str], float] = defaultdict(float)
    strongest: dict[tuple[EntityRef, str], float] = defaultdict(float)
    read = []
    for each in weighed:
        reads, ratio = READS.get(each.detector), each.finding.log_likelihood_ratio
        if reads is None or ratio <= 0.0:
            yield each.finding
            continue
        entity = each.finding.condition.entity
        group = service_of(entity) or entity, reads
        sums[group] += ratio
        strongest[group] = max(strongest[group], each.raw)
        read.append((group, each.finding))
    for group, finding in read:
        share = min(1.0, strongest[group] / sums[group])
        yield replace(finding, log_likelihood_ratio=finding.log_likelihood_ratio * share)
