"""What can't be reasoned about: a named error with the entities, the last diagnosis kept and marked stale, and the next window as if nothing had been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf, nan

import pytest

from graph.topology import RelationKey
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from reasoning.errors import InconsistentEvidenceError, InvalidEvidenceError, InvalidNetworkError, ReasoningError
from reasoning.evidence.state import EvidenceState
from reasoning.reasoner import Reasoner
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, PropagationRule, Strength, Toward
from schema.verdicts import DefectRef, Finding, Incident
from schema.windows import TelemetryWindow
from tests.reasoning.estates import CART, CHAIN, FRONT, ORDERS, ORDERS_DB, SECOND, SLOW_QUERY, START, calls, estate, knowledge, slow

WINDOW = 5 * SECOND
ILL = (slow(ORDERS_DB, 6.0, START), slow(ORDERS, 6.0, START))
LIVE: Mapping[RelationKey, Mapping[str, float]] = {}


class Scripted:
    """Stands in for the detectors."""

    def __init__(self) -> None:
        self.findings: tuple[Finding, ...] = ()

    def observe(self, window: TelemetryWindow) -> EvidenceState:
        return EvidenceState(window.end, self.findings, LIVE)


class Running:
    """A reasoner whose findings are given window by window."""

    def __init__(self, rules: CausalKnowledge | None = None, relations: tuple[RelationKey, ...] = CHAIN) -> None:
        self.graph = estate(relations)
        self.reasoner = Reasoner(rules or knowledge(), self.graph)
        self.evidence = Scripted()
        self.reasoner._evidence = self.evidence  # type: ignore[assignment]  # all that a reasoner asks of it here is to observe
        self.windows = 0

    def see(self, *findings: Finding) -> str:
        """Why the diagnosis after a window with these findings is stale; empty where it is not."""
        self.windows += 1
        self.evidence.findings = findings
        end, counts, intern = START + self.windows * WINDOW, WindowCounts(), self.graph.intern
        tables = (request_table(counts, intern), call_table(counts, intern), behaviour_table(counts, intern), sample_table(counts, intern))
        return self.reasoner.observe(TelemetryWindow(end - WINDOW, end, *tables, log_table(counts, intern), ())).stale

    def opened(self) -> list[Incident]:
        return list(self.reasoner.incidents)


IMPOSSIBLE = (slow(ORDERS_DB, inf), slow(ORDERS, -inf))  # under a link of strength 1 and without leaks


def certain() -> CausalKnowledge:
    """A slow database makes its service slow for sure, and nothing else slows a service."""
    known = knowledge()
    kinds = {name: replace(kind, conditions={each: replace(rule, leak=0.0) for each, rule in kind.conditions.items()}) for name, kind in known.kinds.items()}
    rules = tuple(replace(rule, strength=Strength("1", frozenset(), 1.0, lambda _: 1.0)) for rule in known.propagation)
    return replace(known, kinds=kinds, propagation=rules)


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        (IMPOSSIBLE, ("No state of the estate agrees with the findings", f"latency_high of {ORDERS_DB}", f"latency_high of {ORDERS}")),
        ((slow(CART, nan),), ("is not a number", f"That is latency_high of {CART}.")),
    ],
)
def test_findings_that_say_nothing_possible_keep_the_last_diagnosis(findings: tuple[Finding, ...], told: tuple[str, ...]) -> None:
    running = Running(certain())
    assert running.see(*ILL) == ""
    before = running.reasoner.diagnosis
    assert before.root_causes[0].cause == SLOW_QUERY
    stale = running.see(*findings)
    assert all(each in stale for each in told)
    assert replace(running.reasoner.diagnosis, stale="") == before
    assert running.see(*ILL) == ""
    assert running.reasoner.diagnosis.at == before.at + 2 * WINDOW


def test_a_stale_diagnosis_opens_no_incident_and_closes_none() -> None:
    running = Running(certain())
    running.see(*ILL)
    for _ in range(20):
        assert running.see(*IMPOSSIBLE)
        assert running.reasoner.changed_incidents() == ()
    assert not running.opened()
    for _ in range(3):
        running.see(*ILL)
    opened = running.opened()
    assert len(opened) == 1
    for _ in range(20):
        running.see(*IMPOSSIBLE)
    assert running.opened() == opened


def broken(strength: float) -> CausalKnowledge:
    """Rules as no rule file can hold them: a propagation of this strength, which Strength.under would clip."""
    known = knowledge()
    rule = known.propagation[0]
    return replace(known, propagation=(replace(rule, strength=Strength("?", frozenset(), strength, lambda _: strength)), *known.propagation[1:]))


def with_prior(prior: float) -> CausalKnowledge:
    known = knowledge()
    database = known.kinds["database"]
    defects = {name: replace(rule, prior_per_hour=prior) for name, rule in database.defects.items()}
    return replace(known, kinds={**known.kinds, "database": replace(database, defects=defects)})


def into_a_defect() -> CausalKnowledge:
    """A propagation that would make slow code an effect, and so close a cycle through what never has a cause."""
    known = knowledge()
    rule = PropagationRule("calls", Toward.TARGET, "service", "latency_high", "service", "slow_code", Strength("1", frozenset(), 0.5, lambda _: 0.5))
    return replace(known, propagation=(*known.propagation, rule))


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (broken(nan), ("is nan: a probability between 0 and 1 is needed", f"latency_high of {ORDERS}", f"latency_high of {CART}")),
        (with_prior(-0.5), ("is -0.5: a probability between 0 and 1 is needed", f"slow_query of {ORDERS_DB}")),
        (with_prior(nan), ("is nan: a probability between 0 and 1 is needed", f"slow_query of {ORDERS_DB}")),
        (into_a_defect(), ("a defect has no causes", f"slow_code of {CART}", f"latency_high of {FRONT}")),
    ],
)
def test_rules_that_are_no_probabilities_or_make_effects_of_defects_are_told_with_the_entities(rules: CausalKnowledge, told: tuple[str, ...]) -> None:
    running = Running(rules)
    stale = running.see(*ILL)
    assert all(each in stale for each in told), stale
    assert running.reasoner.diagnosis.root_causes == ()
    with pytest.raises(InvalidNetworkError):
        running.reasoner.what_if(())
    with pytest.raises(InvalidNetworkError):
        running.reasoner.impact(DefectRef(ORDERS_DB, "slow_query"))


def test_a_strength_that_is_no_number_around_a_ring_of_services_is_told_too() -> None:
    running = Running(broken(nan), (*CHAIN, calls(ORDERS, FRONT)))
    assert "a probability between 0 and 1 is needed" in running.see(*ILL)


def test_a_strength_beyond_one_counts_as_one() -> None:
    assert Running(broken(1.7)).see(*ILL) == ""


def test_a_finding_on_what_is_not_there_says_nothing() -> None:
    running = Running()
    running.see(*ILL)
    before = running.reasoner.diagnosis.root_causes
    assert running.see(*ILL, slow(EntityRef("service", "c", "shop", "nobody"), nan)) == ""
    assert [cause.probability for cause in running.reasoner.diagnosis.root_causes] == [cause.probability for cause in before]


def test_every_such_error_is_one_the_reasoner_expects() -> None:
    assert all(issubclass(error, ReasoningError) for error in (InconsistentEvidenceError, InvalidEvidenceError, InvalidNetworkError))
