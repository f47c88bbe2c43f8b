"""What can't have caused what: causes after their effects, and ways that did not exist then."""

from __future__ import annotations

from reasoning.compile import NetworkCompiler
from reasoning.constraints import TOLERANCE, forbidden_links
from reasoning.diagnosis import log_evidence_of
from reasoning.inference import posteriors
from schema.verdicts import DefectRef
from tests.reasoning.estates import CART, CHAIN, FRONT, ORDERS, ORDERS_DB, PODS, SECOND, SLOW_QUERY, START, calls, estate, knowledge, latency, show, slow

RULES = knowledge()
LATE = START + TOLERANCE + SECOND


def test_a_cause_that_began_well_after_its_effect_is_ruled_out_and_told_why() -> None:
    compiled = NetworkCompiler(RULES, estate()).compile({})
    forbidden, reasons = forbidden_links(compiled, [slow(ORDERS_DB, 5.0, LATE), slow(ORDERS, 5.0, START)])
    assert [(compiled.names[compiled.cause[link]], compiled.names[compiled.effect[link]]) for link in forbidden.nonzero()[0]] == [
        (latency(ORDERS_DB), latency(ORDERS))
    ]
    assert [reason.cause for reason in reasons] == [SLOW_QUERY]
    assert reasons[0].because == ("latency_high of database:c/shop/orders-db began 91 s after latency_high of service:c/shop/orders, so it can't be its cause")


def test_a_ruled_out_cause_no_longer_explains_the_symptom() -> None:
    compiled = NetworkCompiler(RULES, estate()).compile({calls(ORDERS, ORDERS_DB): {"share_of_latency_excess": 1.0}})
    findings = [slow(ORDERS_DB, 5.0, LATE), slow(ORDERS, 5.0, START)]
    own = DefectRef(ORDERS, "slow_code")
    free = posteriors(compiled.network, log_evidence_of(compiled, findings)).probability
    bound = posteriors(compiled.without(forbidden_links(compiled, findings)[0]).network, log_evidence_of(compiled, findings)).probability
    assert bound[compiled.index[own]] > 5.0 * free[compiled.index[own]]


def test_what_lies_within_the_clocks_tolerance_may_stand() -> None:
    compiled = NetworkCompiler(RULES, estate()).compile({})
    assert not forbidden_links(compiled, [slow(ORDERS_DB, 5.0, START + TOLERANCE), slow(ORDERS, 5.0, START)])[0].any()


def test_doubtful_findings_rule_nothing_out() -> None:
    compiled = NetworkCompiler(RULES, estate()).compile({})
    assert not forbidden_links(compiled, [slow(ORDERS_DB, 1.0, LATE), slow(ORDERS, 5.0, START)])[0].any()


def test_nothing_travels_a_relation_that_came_to_be_afterwards() -> None:
    graph = estate([calls(FRONT, ORDERS), CHAIN[2]])
    show(graph, [calls(FRONT, CART)], at=START + 4 * TOLERANCE)
    show(graph, [calls(CART, ORDERS)], at=START + 8 * TOLERANCE)
    compiled = NetworkCompiler(RULES, graph).compile({})
    forbidden, reasons = forbidden_links(compiled, [slow(CART, 5.0, START + 5 * TOLERANCE)])
    assert [compiled.names[compiled.cause[link]] for link in forbidden.nonzero()[0]] == [latency(ORDERS)]
    assert reasons == ()
    forbidden, _ = forbidden_links(compiled, [slow(FRONT, 5.0, START + 2 * TOLERANCE)])
    assert not forbidden.any(), "CART and its relation came together: telemetry may just have begun to show them"


def test_nothing_travels_with_requests_over_a_relation_that_had_carried_none_for_a_while() -> None:
    quiet = {calls(ORDERS, ORDERS_DB): START}
    compiled = NetworkCompiler(RULES, estate()).compile({}, quiet=quiet)
    forbidden, reasons = forbidden_links(compiled, [slow(ORDERS, 5.0, LATE)])
    assert [(compiled.names[compiled.cause[link]], compiled.names[compiled.effect[link]]) for link in forbidden.nonzero()[0]] == [
        (latency(ORDERS_DB), latency(ORDERS))
    ]
    assert [(reason.cause, reason.because) for reason in reasons] == [
        (SLOW_QUERY, "the last request between database:c/shop/orders-db and service:c/shop/orders went 91 s before latency_high of the latter began")
    ]
    assert not forbidden_links(compiled, [slow(ORDERS, 5.0, START + TOLERANCE)])[0].any(), "a circuit may have opened for what came over it"
    assert not forbidden_links(compiled, [slow(ORDERS, 1.0, LATE)])[0].any()


def test_what_needs_no_requests_travels_a_quiet_relation() -> None:
    compiled = NetworkCompiler(RULES, estate([calls(CART, PODS[0])])).compile({}, quiet={calls(CART, PODS[0]): START})
    assert not compiled.quiet.any()
