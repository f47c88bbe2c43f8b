"""Hard constraints: what can't have caused what, whatever the probabilities say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasoning.compile import CompiledNetwork
from reasoning.network import Bool
from schema.batches import Int64
from schema.verdicts import ConditionRef, DefectRef, Finding, RuledOut

SECOND = 1_000_000_000
# Onsets are known to the width of the looks that find them (a cause judged over 15 s, its effect over 180 s).
TOLERANCE = 90 * SECOND
SURE = 3.0
NEVER = -1


def forbidden_links(compiled: CompiledNetwork, findings: Sequence[Finding]) -> tuple[Bool, tuple[RuledOut, ...]]:
    """Links that can't have carried anything, bool[k] over the compiled links, and the defects that thereby explain nothing.

    A condition is no cause of what began before it, nor is anything that travels a relation which came to be afterwards, or with
    requests over one that had carried none for a while; all beyond the clocks' tolerance, and only where the findings are sure.
    """
    onset = np.full(len(compiled.names), NEVER, np.int64)
    for finding in findings:
        place = compiled.index.get(finding.condition)
        if place is not None and finding.onset is not None and finding.log_likelihood_ratio >= SURE:
            onset[place] = finding.onset
    began, followed = onset[compiled.cause], onset[compiled.effect]
    across = compiled.cluster[compiled.cause] != compiled.cluster[compiled.effect]
    late = across & (began != NEVER) & (followed != NEVER) & (began - followed > TOLERANCE)
    absent = across & (followed != NEVER) & (compiled.since - followed > TOLERANCE)
    quiet = across & (followed != NEVER) & (compiled.quiet > 0) & (followed - compiled.quiet > TOLERANCE)
    reasons = {*_late_reasons(compiled, late, onset), *_absent_reasons(compiled, absent, onset), *_quiet_reasons(compiled, quiet, onset)}
    return late | absent | quiet, tuple(sorted(reasons, key=_order))


def _late_reasons(compiled: CompiledNetwork, late: Bool, onset: Int64) -> list[RuledOut]:
    reasons: list[RuledOut] = []
    for link in np.flatnonzero(late).tolist():
        cause, effect = compiled.names[compiled.cause[link]], compiled.names[compiled.effect[link]]
        assert isinstance(cause, ConditionRef)
        assert isinstance(effect, ConditionRef)
        seconds = (onset[compiled.cause[link]] - onset[compiled.effect[link]]) / SECOND
        because = f"{cause.condition} of {cause.entity} began {seconds:.0f} s after {effect.condition} of {effect.entity}, so it can't be its cause"
        reasons.extend(RuledOut(defect, because) for defect in _defects_of(compiled, int(compiled.cause[link])))
    return reasons


def _absent_reasons(compiled: CompiledNetwork, absent: Bool, onset: Int64) -> list[RuledOut]:
    reasons: list[RuledOut] = []
    for link in np.flatnonzero(absent).tolist():
        cause, effect = compiled.names[compiled.cause[link]], compiled.names[compiled.effect[link]]
        assert isinstance(effect, ConditionRef)
        seconds = (compiled.since[link] - onset[compiled.effect[link]]) / SECOND
        because = f"{effect.condition} of {effect.entity} began {seconds:.0f} s before {cause.entity} had to do with it, so it can't come from there"
        reasons.extend(RuledOut(defect, because) for defect in _defects_of(compiled, int(compiled.cause[link])))
    return reasons


def _quiet_reasons(compiled: CompiledNetwork, quiet: Bool, onset: Int64) -> list[RuledOut]:
    reasons: list[RuledOut] = []
    for link in np.flatnonzero(quiet).tolist():
        cause, effect = compiled.names[compiled.cause[link]], compiled.names[compiled.effect[link]]
        assert isinstance(effect, ConditionRef)
        seconds = (onset[compiled.effect[link]] - compiled.quiet[link]) / SECOND
        because = f"the last request between {cause.entity} and {effect.entity} went {seconds:.0f} s before {effect.condition} of the latter began"
        reasons.extend(RuledOut(defect, because) for defect in _defects_of(compiled, int(compiled.cause[link])))
    return reasons


def _defects_of(compiled: CompiledNetwork, variable: int) -> list[DefectRef]:
    """The variable if it is a defect, else the defects that cause it directly."""
    causes = [variable, *compiled.cause[compiled.effect == variable].tolist()]
    return [name for place in causes if isinstance(name := compiled.names[place], DefectRef)]


def _order(reason: RuledOut) -> tuple[DefectRef, str]:
    return reason.cause, reason.because
