"""Impact and what-if: predictions as pgmpy's do(), counterfactuals as the sum over all luck."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reasoning.counterfactual
import reasoning.intervention
import reasoning.sampled_pair
from reasoning.compile import CompiledNetwork, compile_network
from reasoning.counterfactual import counterfactual
from reasoning.diagnosis import log_evidence_of
from reasoning.errors import UnknownVariableError
from reasoning.intervention import forced_probabilities, impact, what_if
from reasoning.network import CausalNetwork, causal_network
from schema.batches import Float64
from schema.verdicts import DefectRef, Intervention
from tests.reasoning import networks
from tests.reasoning.estates import CART, CHAIN, FRONT, ORDERS, ORDERS_DB, PODS, SLOW_QUERY, calls, estate, knowledge, latency, slow
from tests.reasoning.networks import enumerated, links_of, problems

RULES = knowledge()
LIVE = {key: {"share_of_latency_excess": 1.0} for key in CHAIN}


def chain() -> CompiledNetwork:
    return compile_network(RULES, estate([*CHAIN, *(calls(CART, pod) for pod in PODS)]), LIVE)


@given(problems(most=7), st.data())
def test_forcing_is_conditioning_in_the_network_without_the_links_into_it(problem: tuple[CausalNetwork, Float64], data: st.DataObject) -> None:
    network, evidence = problem
    variable, value = data.draw(st.integers(0, len(network) - 1)), data.draw(st.booleans())
    leak = network.leak.copy()
    leak[variable] = float(value)
    cut = causal_network(leak, [link for link in links_of(network) if link[1] != variable])
    evidence[variable] = 0.0
    below = networks.reachable(network, variable)
    for seen in (evidence, np.zeros(len(network))):
        np.testing.assert_allclose(forced_probabilities(network, {variable: value}, seen)[below], enumerated(cut, seen)[0][below], atol=1e-10)


@settings(max_examples=60)
@given(problems(most=5, strongest=4.0).filter(lambda problem: problem[0].strength.size <= 7), st.data())
def test_a_counterfactual_shares_all_luck_with_what_happened(problem: tuple[CausalNetwork, Float64], data: st.DataObject) -> None:
    network, evidence = problem
    variables = data.draw(st.lists(st.integers(0, len(network) - 1), min_size=1, max_size=2, unique=True))
    values = dict.fromkeys(variables, data.draw(st.booleans()))
    found = counterfactual(network, values, evidence, np.random.default_rng(1))
    before, after = networks.counterfactual(network, values, evidence)
    assert found.exact
    np.testing.assert_allclose(found.before, before, atol=1e-9)
    np.testing.assert_allclose(found.after, after, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_forces_in_both_directions_are_sampled_and_the_standard_error_covers_the_error(seed: int) -> None:
    random = np.random.default_rng(seed)
    links = [(0, 2, random.uniform(0.3, 0.9)), (1, 2, random.uniform(0.3, 0.9)), (2, 3, 0.9), (1, 4, 0.8), (3, 4, 0.4)]
    network = causal_network(np.array([0.05, 0.03, 0.01, 0.01, 0.01]), links)
    evidence = np.array([0.0, 0.0, 3.0, 3.0, -2.0])
    found = counterfactual(network, {0: False, 1: True}, evidence, np.random.default_rng(seed))
    assert not found.exact
    assert found.standard_error is not None
    assert 0.0 < found.standard_error < 0.016
    before, after = networks.counterfactual(network, {0: False, 1: True}, evidence)
    np.testing.assert_allclose(found.before, before, atol=1e-9)
    np.testing.assert_allclose(found.after, after, atol=4.0 * found.standard_error)


def test_a_pair_of_worlds_too_wide_to_solve_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    links = [(cause, effect, random.uniform(0.2, 0.7)) for cause in range(3) for effect in range(3, 6)]
    network, evidence = causal_network(np.array([0.2, 0.1, 0.1, 0.02, 0.02, 0.02]), links), np.array([0.0, 0.0, 0.0, 2.0, 3.0, -1.0])
    exact = counterfactual(network, {0: False}, evidence, random)
    monkeypatch.setattr(reasoning.counterfactual, "_pair", lambda *_: None)
    found = counterfactual(network, {0: False}, evidence, random)
    assert (exact.exact, exact.standard_error, found.exact) == (True, 0.0, False)
    assert found.standard_error is not None
    np.testing.assert_allclose(found.after, exact.after, atol=4.0 * found.standard_error)


def test_what_can_not_even_be_sampled_says_that_nobody_knows_how_far_off_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network, evidence = causal_network(np.array([0.05, 0.03, 0.01]), [(0, 2, 0.8), (1, 2, 0.7)]), np.array([0.0, 0.0, 3.0])
    monkeypatch.setattr(reasoning.sampled_pair, "MOST_CELLS", 1)
    found = counterfactual(network, {0: False, 1: True}, evidence, np.random.default_rng(1))
    assert (found.exact, found.standard_error) == (False, None)
    np.testing.assert_allclose(found.after, networks.counterfactual(network, {0: False, 1: True}, evidence)[1], atol=0.15)


def test_to_mend_the_true_cause_ends_the_symptoms_it_explains_and_nothing_else() -> None:
    compiled = chain()
    findings = [slow(each, 5.0) for each in (ORDERS_DB, ORDERS, CART, FRONT)] + [slow(PODS[0], 4.0, name="cpu_use_high")]
    evidence = log_evidence_of(compiled, findings)
    answer = what_if(compiled, evidence, (Intervention(ORDERS_DB, "slow_query", value=False),), np.random.default_rng(1))
    moved = {effect.condition: effect for effect in answer.effects}
    for entity in (ORDERS_DB, ORDERS, CART, FRONT):
        assert moved[latency(entity)].before > 0.95
        assert moved[latency(entity)].after < 0.15
    assert answer.effects[0].before - answer.effects[0].after == max(effect.before - effect.after for effect in answer.effects)
    assert all(effect.condition.entity != PODS[0] for effect in answer.effects)
    assert SLOW_QUERY not in answer.causes


def test_to_mend_another_cause_leaves_the_symptoms_as_they_are() -> None:
    compiled = chain()
    evidence = log_evidence_of(compiled, [slow(each, 5.0) for each in (ORDERS_DB, ORDERS, CART, FRONT)])
    answer = what_if(compiled, evidence, (Intervention(CART, "slow_code", value=False),), np.random.default_rng(1))
    assert all(abs(effect.after - effect.before) < 0.05 for effect in answer.effects)
    assert answer.causes[SLOW_QUERY] > 0.7


def test_a_break_between_cause_and_symptom_spares_what_lies_above_it() -> None:
    compiled = chain()
    evidence = log_evidence_of(compiled, [slow(each, 5.0) for each in (ORDERS_DB, ORDERS, CART, FRONT)])
    answer = what_if(compiled, evidence, (Intervention(CART, "latency_high", value=False),), np.random.default_rng(1))
    moved = {effect.condition: effect.after for effect in answer.effects}
    assert moved[latency(CART)] == 0.0
    assert moved[latency(FRONT)] < 0.1
    assert latency(ORDERS) not in moved


def test_impact_is_what_a_cause_takes_down_whatever_is_seen_now() -> None:
    found = impact(chain(), SLOW_QUERY, np.random.default_rng(1))
    effects = found.effects
    assert (found.exact, found.standard_error) == (True, 0.0)
    assert [effect.condition for effect in effects] == [latency(each) for each in (ORDERS_DB, ORDERS, CART, FRONT)]
    assert [effect.after for effect in effects] == pytest.approx([0.9, 0.9 * 0.98, 0.9 * 0.98**2, 0.9 * 0.98**3], abs=0.01)
    assert all(effect.before < 0.02 for effect in effects)


def test_impact_on_a_network_too_wide_is_sampled_and_gives_its_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = {effect.condition: effect for effect in impact(chain(), SLOW_QUERY, np.random.default_rng(1)).effects}
    monkeypatch.setattr(reasoning.intervention, "MOST_UNCUT", 0)
    found = impact(chain(), SLOW_QUERY, np.random.default_rng(1))
    assert not found.exact
    assert 0.001 < found.standard_error < 0.004
    assert [effect.condition for effect in found.effects] == list(exact)
    for effect in found.effects:
        assert effect.after == pytest.approx(exact[effect.condition].after, abs=4.0 * found.standard_error)
        assert effect.before == pytest.approx(exact[effect.condition].before, abs=4.0 * found.standard_error)
    assert impact(chain(), SLOW_QUERY, np.random.default_rng(1)) == found


def test_a_what_if_says_whether_it_is_exact() -> None:
    compiled = chain()
    evidence = log_evidence_of(compiled, [slow(each, 5.0) for each in (ORDERS_DB, ORDERS)])
    mend = Intervention(ORDERS_DB, "slow_query", value=False)
    alone = what_if(compiled, evidence, (mend,), np.random.default_rng(1))
    both = what_if(compiled, evidence, (mend, Intervention(CART, "slow_code", value=True)), np.random.default_rng(1))
    assert (alone.exact, alone.standard_error, both.exact) == (True, 0.0, False)
    assert both.standard_error is not None
    assert 0.0 < both.standard_error < 0.016


def test_what_does_not_exist_can_not_be_forced() -> None:
    with pytest.raises(UnknownVariableError, match="service:c/shop/cart has no defect or condition 'haunted': ask `whence topology`"):
        what_if(chain(), np.zeros(len(chain().names)), (Intervention(CART, "haunted", value=True),), np.random.default_rng(1))
    with pytest.raises(UnknownVariableError, match="'haunted'"):
        impact(chain(), DefectRef(CART, "haunted"), np.random.default_rng(1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_predictions_are_those_of_pgmpys_do(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = 6
    links = [(i, j, random.uniform(0.1, 0.9)) for j in range(count) for i in range(j) if random.random() < 0.5]
    network = causal_network(random.uniform(0.01, 0.3, count), links)
    variable, value = int(random.integers(0, 3)), bool(seed % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.inference import CausalInference  # noqa: PLC0415 - its import warns

        from tests.reasoning.oracle import pgmpy_network  # noqa: PLC0415

        oracle = CausalInference(pgmpy_network(count, network.leak, links))
        below = np.flatnonzero(networks.reachable(network, variable))
        wanted = [oracle.query([str(v)], do={str(variable): int(value)}, show_progress=False).values[1] for v in below if v != variable]
    found = forced_probabilities(network, {variable: value})
    np.testing.assert_allclose([found[v] for v in below if v != variable], wanted, atol=1e-9)
