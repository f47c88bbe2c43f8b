"""An explanation adds up to what is believed, goes from near to far, and says what keeps the others behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import reasoning.explanation
from reasoning.compile import CompiledNetwork, compile_network
from reasoning.diagnosis import log_evidence_of
from reasoning.explanation import explain
from reasoning.inference import evidence_weights, posteriors
from schema.verdicts import Account, CauseExplanation, DefectRef, Finding
from tests.reasoning.estates import CART, CHAIN, FRONT, ORDERS, ORDERS_DB, PODS, SLOW_QUERY, calls, estate, knowledge, latency, slow

RULES = knowledge()
GRAPH = estate([*CHAIN, *(calls(CART, pod) for pod in PODS)])
ALL_SLOW = [slow(each, 5.0) for each in (FRONT, CART, ORDERS, ORDERS_DB)]
SLOW_CART, SLOW_FRONT = DefectRef(CART, "slow_code"), DefectRef(FRONT, "slow_code")


def network() -> CompiledNetwork:
    return compile_network(RULES, GRAPH, {key: {"share_of_latency_excess": 1.0} for key in CHAIN})


def explained(findings: Sequence[Finding], *causes: DefectRef) -> tuple[CauseExplanation, ...]:
    compiled = network()
    solved = posteriors(compiled.network, log_evidence_of(compiled, findings))
    return explain(compiled, findings, solved, [compiled.index[cause] for cause in causes], GRAPH, RULES)


def log_odds(findings: Sequence[Finding], cause: DefectRef) -> float:
    compiled = network()
    everything = np.ones(len(compiled.names), np.bool_)
    belief = posteriors(compiled.network, log_evidence_of(compiled, findings), wanted=everything).probability[compiled.index[cause]]
    return float(np.log(belief) - np.log1p(-belief))


def adds_up(account: Account) -> bool:
    return account.before + sum(step.change for step in account.steps) + account.rest == pytest.approx(account.after, abs=1e-9)


@pytest.mark.parametrize("cause", [SLOW_QUERY, SLOW_CART, SLOW_FRONT])
def test_an_account_goes_from_the_prior_to_the_posterior(cause: DefectRef) -> None:
    findings = [*ALL_SLOW, slow(CART, -2.0, name="own_time_high"), slow(PODS[0], 3.0, name="cpu_use_high")]
    (told,) = explained(findings, cause)
    assert told.account.before == pytest.approx(log_odds([], cause))
    assert told.account.after == pytest.approx(log_odds(findings, cause))
    assert adds_up(told.account)
    assert len(told.account.steps) + told.account.others == len(findings)


def test_each_step_is_what_a_finding_changes_once_those_before_it_are_known() -> None:
    (told,) = explained(ALL_SLOW, SLOW_QUERY)
    known: list[Finding] = []
    for step in told.account.steps:
        before = log_odds(known, SLOW_QUERY)
        known.append(step.finding)
        assert step.change == pytest.approx(log_odds(known, SLOW_QUERY) - before)
    assert [step.finding.condition for step in told.account.steps][:2] == [latency(ORDERS_DB), latency(ORDERS)]


def test_findings_that_repeat_each_other_weigh_little_alone_and_much_together() -> None:
    compiled = network()
    evidence = log_evidence_of(compiled, ALL_SLOW)
    alone = evidence_weights(posteriors(compiled.network, evidence), evidence, np.array([compiled.index[SLOW_QUERY]], np.int64))
    (told,) = explained(ALL_SLOW, SLOW_QUERY)
    assert alone.sum() < 3.0
    assert told.account.after - told.account.before > 8.0
    assert told.account.steps[0].change > 4.0


def test_a_finding_against_the_cause_is_a_step_down() -> None:
    (told,) = explained([*ALL_SLOW, slow(CART, -3.0, name="own_time_high")], SLOW_CART)
    assert {step.finding.condition.condition: step.change < 0.0 for step in told.account.steps}["own_time_high"]
    assert adds_up(told.account)


def test_findings_that_say_little_are_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoning.explanation, "MOST_STEPS", 1)
    (told,) = explained(ALL_SLOW, SLOW_QUERY)
    assert (len(told.account.steps), told.account.others) == (1, 3)
    assert adds_up(told.account)


def test_of_very_many_findings_only_the_nearest_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoning.explanation, "FEWEST_SOLVED", 2)
    monkeypatch.setattr(reasoning.explanation, "MOST_SOLVED", 2)
    (told,) = explained(ALL_SLOW, SLOW_QUERY)
    assert [step.finding.condition for step in told.account.steps] == [latency(ORDERS_DB), latency(ORDERS)]
    assert told.account.others == 2
    assert told.account.after == pytest.approx(log_odds(ALL_SLOW, SLOW_QUERY))


def test_the_way_to_a_symptom_names_its_hops_and_relations() -> None:
    (told,) = explained(ALL_SLOW, SLOW_QUERY)
    furthest = next(path for path in told.paths if path.hops[-1].condition == latency(FRONT))
    assert [(hop.condition, hop.relation) for hop in furthest.hops] == [
        (latency(ORDERS_DB), ""),
        (latency(ORDERS), "queries"),
        (latency(CART), "calls"),
        (latency(FRONT), "calls"),
    ]
    assert furthest.strength == pytest.approx(np.prod([hop.strength for hop in furthest.hops]))
    assert [path.strength for path in told.paths] == sorted((path.strength for path in told.paths), reverse=True)
    assert len(told.paths) == 4


def test_a_way_may_lead_from_who_runs_to_where_it_runs() -> None:
    (told,) = explained([slow(PODS[0], 5.0, name="cpu_use_high")], SLOW_CART)
    assert [(hop.condition.entity, hop.relation) for hop in told.paths[0].hops] == [(PODS[0], "runs_on")]


def test_what_keeps_a_runner_up_behind_the_first_adds_up_too() -> None:
    first, second = explained([*ALL_SLOW, slow(CART, -3.0, name="own_time_high")], SLOW_QUERY, SLOW_CART)
    assert (first.leader, first.behind) == (None, None)
    assert second.leader == SLOW_QUERY
    assert second.behind is not None
    assert adds_up(second.behind)
    assert second.behind.after == pytest.approx(second.account.after - first.account.after)
    against = {step.finding.condition for step in second.behind.steps if step.change < -1.0}
    assert latency(ORDERS_DB) in against


def test_causes_that_share_no_finding_are_not_compared() -> None:
    compiled = compile_network(RULES, estate([calls(FRONT, CART), calls(ORDERS, ORDERS_DB)]), {})
    findings = [slow(FRONT, 5.0), slow(ORDERS_DB, 5.0)]
    solved = posteriors(compiled.network, log_evidence_of(compiled, findings))
    told = explain(compiled, findings, solved, [compiled.index[SLOW_QUERY], compiled.index[SLOW_CART]], GRAPH, RULES)
    assert told[1].behind is None
    assert told[1].leader is None


def test_a_cause_that_no_finding_reaches_keeps_its_prior() -> None:
    (told,) = explained([], SLOW_QUERY)
    assert (told.account.steps, told.account.others, told.paths) == ((), 0, ())
    assert (told.account.before, told.account.after) == pytest.approx((float(np.log(0.002 / 0.998)),) * 2)
