"""What to look at next: the reading that takes most doubt, as solving under both its values says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reasoning.compile import CompiledNetwork, compile_network
from reasoning.diagnosis import log_evidence_of
from reasoning.inference import posteriors
from reasoning.next_observation import entropy, next_observations
from reasoning.regions import PlanCache
from schema.batches import Float64
from schema.knowledge import CausalKnowledge, CauseLink, DefectRule
from schema.verdicts import ConditionRef, DefectRef, Finding, NextObservation
from tests.reasoning.estates import CART, CHAIN, FRONT, ORDERS, ORDERS_DB, SLOW_QUERY, condition, estate, knowledge, slow

LOCKS = DefectRef(ORDERS_DB, "lock_contention")
WAITS = ConditionRef(ORDERS_DB, "lock_waits_high")
ALL_SLOW = [slow(each, 5.0) for each in (ORDERS_DB, ORDERS, CART, FRONT)]


def rules(detector: str = "slower") -> CausalKnowledge:
    """A database is slow by a query or by locks, and only locks make sessions wait for them."""
    plain = knowledge()
    database = plain.kinds["database"]
    database = replace(
        database,
        conditions={**database.conditions, "lock_waits_high": replace(condition("lock_waits_high"), detector=detector)},
        defects={**database.defects, "lock_contention": DefectRule("lock_contention", "", 0.0015, {}, (), "test")},
        links=(*database.links, CauseLink("lock_contention", "latency_high", 0.9), CauseLink("lock_contention", "lock_waits_high", 0.8)),
    )
    return replace(plain, kinds={**plain.kinds, "database": database})


def network(of: CausalKnowledge) -> CompiledNetwork:
    return compile_network(of, estate(), {key: {"share_of_latency_excess": 1.0} for key in CHAIN})


def asked(findings: list[Finding], of: CausalKnowledge) -> tuple[float, tuple[NextObservation, ...]]:
    compiled = network(of)
    evidence = log_evidence_of(compiled, findings)
    return next_observations(compiled, evidence, posteriors(compiled.network, evidence), of, PlanCache())


def test_what_tells_look_alikes_apart_comes_first_with_what_either_answer_would_mean() -> None:
    doubt, (first, *_) = asked(ALL_SLOW, rules())
    assert first.condition == WAITS
    assert 0.9 < first.gain < doubt
    assert first.if_shown.cause == LOCKS
    assert first.if_shown.probability > 0.95
    assert first.if_not.cause == SLOW_QUERY
    assert first.if_not.probability > 0.8


def test_the_gain_is_the_entropy_less_that_after_either_reading() -> None:
    of = rules()
    compiled = network(of)
    _, (first, *_) = asked(ALL_SLOW, of)
    evidence = log_evidence_of(compiled, ALL_SLOW)
    place = compiled.index[WAITS]
    rule = of.kinds["database"].conditions["lock_waits_high"]
    wanted = np.ones(len(compiled.names), np.bool_)
    leading = posteriors(compiled.network, evidence).probability >= 0.01

    def after(ratio: float) -> Float64:
        read = evidence.copy()
        read[place] = ratio
        return posteriors(compiled.network, read, wanted=wanted).probability

    def doubt(belief: Float64) -> float:
        return float(entropy(belief[compiled.is_defect & leading]).sum())

    holds = after(0.0)[place]
    shown = (1.0 - rule.false_negative) * holds + rule.false_positive * (1.0 - holds)
    yes = after(float(np.log((1.0 - rule.false_negative) / rule.false_positive)))
    no = after(float(np.log(rule.false_negative / (1.0 - rule.false_positive))))
    assert first.probability == pytest.approx(shown)
    assert first.gain == pytest.approx(doubt(after(0.0)) - shown * doubt(yes) - (1.0 - shown) * doubt(no))
    assert first.if_shown.probability == pytest.approx(yes[compiled.index[LOCKS]])
    assert first.if_not.probability == pytest.approx(no[compiled.index[SLOW_QUERY]])


def test_a_detector_that_is_never_wrong_tells_all_there_is_to_tell() -> None:
    of = rules()
    database = of.kinds["database"]
    sure = replace(database.conditions["lock_waits_high"], leak=0.0, false_positive=0.0, false_negative=0.0)
    of = replace(of, kinds={**of.kinds, "database": replace(database, conditions={**database.conditions, "lock_waits_high": sure})})
    first = asked(ALL_SLOW, of)[1][0]
    assert (first.condition, first.if_shown.cause) == (WAITS, LOCKS)
    assert first.if_shown.probability == pytest.approx(1.0)


def test_what_has_a_finding_or_no_detector_is_not_asked_for() -> None:
    for findings, of in (([*ALL_SLOW, slow(ORDERS_DB, -0.1, name="lock_waits_high")], rules()), (ALL_SLOW, rules(detector=""))):
        assert WAITS not in {each.condition for each in asked(findings, of)[1]}


def test_where_nothing_is_in_doubt_nothing_is_asked_for() -> None:
    assert asked([], rules()) == (0.0, ())
