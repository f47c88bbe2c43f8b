"""Hard constraints: what can't have caused what, whatever the probabilities say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graph.live import LiveGraph
from reasoning.compile import CompiledNetwork, Name
from schema.verdicts import ConditionRef, DefectRef, Finding, RuledOut

SECOND = 1_000_000_000
# Onsets are known to the width of the looks that find them (a cause judged over 15 s, its effect over 180 s).
TOLERANCE = 90 * SECOND
SURE = 3.0


def forbidden_links(compiled: CompiledNetwork, findings: Sequence[Finding], graph: LiveGraph) -> tuple[frozenset[tuple[Name, Name]], tuple[RuledOut, ...]]:
    """Links whose cause began after its effect, beyond the clocks' tolerance, and the defects that thereby explain nothing."""
    onsets = {finding.condition: finding.onset for finding in findings if finding.onset is not None and finding.log_likelihood_ratio >= SURE}
    skip: set[tuple[Name, Name]] = set()
    reasons: list[RuledOut] = []
    for parent, child, _ in compiled.links:
        cause, effect = compiled.names[parent], compiled.names[child]
        late = _late(cause, effect, onsets)
        if late <= TOLERANCE:
            continue
        skip.add((cause, effect))
        if isinstance(cause, ConditionRef) and isinstance(effect, ConditionRef):
            for defect in _sole_defects(compiled, parent):
                because = (
                    f"{cause.condition} of {cause.entity} began {late / SECOND:.0f} s after {effect.condition} of {effect.entity}, so it can't be its cause"
                )
                reasons.append(RuledOut(defect, because))
    unique = {(reason.cause, reason.because): reason for reason in reasons}
    return frozenset(skip), tuple(unique[key] for key in sorted(unique))


def _late(cause: Name, effect: Name, onsets: Mapping[ConditionRef, int]) -> int:
    if not isinstance(cause, ConditionRef) or not isinstance(effect, ConditionRef) or cause.entity == effect.entity:
        return 0
    began, followed = onsets.get(cause), onsets.get(effect)
    return began - followed if began is not None and followed is not None else 0


def _sole_defects(compiled: CompiledNetwork, condition: int) -> list[DefectRef]:
    return [name for parent, child, _ in compiled.links if child == condition and isinstance(name := compiled.names[parent], DefectRef)]
