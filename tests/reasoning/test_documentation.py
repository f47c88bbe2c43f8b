"""The example in docs/reasoning.md, number by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reasoning.belief import BeliefState
from reasoning.cores import influence
from reasoning.counterfactual import counterfactual
from reasoning.inference import evidence_weights, posteriors
from reasoning.network import causal_network, network_of

PAGE = (Path(__file__).parents[2] / "docs" / "reasoning.md").read_text(encoding="utf-8")
QUERY, DATABASE, CODE, SERVICE = range(4)
NETWORK = causal_network(np.array([0.002, 0.0, 0.001, 0.0]), [(QUERY, DATABASE, 0.9), (DATABASE, SERVICE, 0.95), (CODE, SERVICE, 0.9)])
EVIDENCE = np.array([0.0, np.log(20.0), 0.0, np.log(50.0)])


INFERENCE = (Path(__file__).parents[2] / "docs" / "reasoning" / "inference.md").read_text(encoding="utf-8")


def told(text: str, value: float) -> None:
    """The page says so, and it is so."""
    assert text in PAGE + INFERENCE
    assert float(text.strip("*")) == pytest.approx(value, abs=0.6 * 10.0 ** -len(text.strip("*").partition(".")[2]))


def test_the_example_followed_by_hand_is_what_the_solver_finds() -> None:
    solved = posteriors(NETWORK, EVIDENCE)
    told("**0.6216**", solved.probability[QUERY])
    told("**0.0170**", solved.probability[CODE])
    without = posteriors(NETWORK, np.where(np.arange(4) == DATABASE, 0.0, EVIDENCE)).probability
    told("0.0761", without[QUERY])
    told("0.0400", without[CODE])
    told("2.99", evidence_weights(solved, EVIDENCE, np.array([QUERY], np.int64))[0, DATABASE])
    worlds = counterfactual(NETWORK, {QUERY: False}, EVIDENCE, np.random.default_rng(1))
    told("**0.0169**", worlds.after[SERVICE])
    told("**0.6372**", worlds.before[SERVICE])


def test_the_messages_and_the_core_followed_by_hand_are_those_of_the_engine() -> None:
    links = (np.array([QUERY, DATABASE, CODE], np.int32), np.array([DATABASE, SERVICE, SERVICE], np.int32), np.array([0.9, 0.95, 0.9]))
    clusters, defects = np.array([0, 0, 1, 1], np.int32), np.array([True, False, True, False])
    state = BeliefState(network_of(NETWORK.leak, *links, clusters, defects), EVIDENCE)
    told("0.96693", np.exp(state._messages.log_phi[0, 1]))
    told("3.8187", state._messages.log_lambda[0, 1])
    told("0.2251", influence(state._clusters, state._messages, 0))
    told("**0.6216**", state.probability[QUERY])
    told("**0.6216**", state.probability[DATABASE])
    table = 50.0 - 49.0 * np.outer([1.0, 0.05], [1.0, 0.1])
    summed = table @ [0.999, 0.001]
    told("1.0441", summed[0])
    told("47.5522", summed[1])
    assert np.log(summed[1] / summed[0]) == pytest.approx(state._messages.log_lambda[0, 1], abs=1e-4)
