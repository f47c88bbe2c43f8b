"""From posteriors to a diagnosis: who stands first, what is explained, what speaks for and against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from reasoning.compile import compile_network
from reasoning.diagnosis import diagnose, log_evidence_of
from reasoning.inference import posteriors
from schema.verdicts import DefectRef, Diagnosis, Finding
from tests.reasoning.estates import CART, CHAIN, FRONT, ORDERS, ORDERS_DB, SECOND, SLOW_QUERY, START, estate, knowledge, latency, slow

RULES = knowledge()
ALL_SLOW = [slow(place, 5.0, START + delay * SECOND) for place, delay in ((ORDERS_DB, 0), (ORDERS, 5), (CART, 10), (FRONT, 2))]


def diagnosed(findings: Sequence[Finding]) -> Diagnosis:
    graph = estate()
    compiled = compile_network(RULES, graph, {key: {"share_of_latency_excess": 1.0} for key in CHAIN})
    solved = posteriors(compiled.network, log_evidence_of(compiled, findings))
    return diagnose(START, compiled, findings, solved, graph, RULES, ())


def test_the_cause_at_the_end_of_the_chain_stands_first_and_explains_all_of_it() -> None:
    first = diagnosed(ALL_SLOW).root_causes[0]
    assert first.cause == SLOW_QUERY
    assert first.probability > 0.9
    assert first.explains == tuple(sorted(latency(each) for each in (ORDERS_DB, ORDERS, CART, FRONT)))
    assert first.onset == START
    assert first.service is None


def test_a_cause_explains_only_what_lies_above_it() -> None:
    causes = {cause.cause: cause for cause in diagnosed(ALL_SLOW).root_causes}
    assert causes[DefectRef(CART, "slow_code")].explains == tuple(sorted((latency(CART), latency(FRONT))))
    assert causes[DefectRef(CART, "slow_code")].onset == START + 2 * SECOND
    assert causes[DefectRef(CART, "slow_code")].service == CART


def test_evidence_speaks_for_and_against_in_the_order_of_its_weight() -> None:
    calm = slow(ORDERS, -2.0, name="own_time_high")
    found = diagnosed([*ALL_SLOW[1:], slow(ORDERS_DB, -2.0), calm])
    by_cause = {cause.cause: {each.finding.condition: each.weight for each in cause.evidence} for cause in found.root_causes}
    assert by_cause[SLOW_QUERY][latency(ORDERS_DB)] < -1.5
    assert by_cause[SLOW_QUERY][latency(ORDERS)] > 0.5
    for cause in found.root_causes[:3]:
        sizes = [abs(each.weight) for each in cause.evidence]
        assert sizes == sorted(sizes, reverse=True)


def test_causes_that_are_equally_likely_stand_in_ascending_identity() -> None:
    causes = [cause.cause for cause in diagnosed([]).root_causes]
    assert causes == [SLOW_QUERY, *(DefectRef(each, "slow_code") for each in (CART, FRONT, ORDERS))]


def test_symptoms_are_the_findings_that_show_something_by_descending_belief() -> None:
    symptoms = diagnosed([*ALL_SLOW, slow(CART, -1.0, name="own_time_high")]).symptoms
    assert {symptom.finding.condition for symptom in symptoms} == {latency(each) for each in (ORDERS_DB, ORDERS, CART, FRONT)}
    beliefs = [symptom.probability for symptom in symptoms]
    assert beliefs == sorted(beliefs, reverse=True)


def test_a_finding_on_what_the_network_does_not_hold_is_passed_over() -> None:
    stray = slow(FRONT, 5.0, name="haunted")
    assert diagnosed([*ALL_SLOW, stray]).symptoms == diagnosed(ALL_SLOW).symptoms
    compiled = compile_network(RULES, estate(), {})
    assert not log_evidence_of(compiled, [stray]).any()
    assert np.count_nonzero(log_evidence_of(compiled, [stray, *ALL_SLOW])) == len(ALL_SLOW)


def test_the_priors_stand_where_nothing_was_seen() -> None:
    assert [cause.probability for cause in diagnosed([]).root_causes] == pytest.approx([0.002, 0.001, 0.001, 0.001])
