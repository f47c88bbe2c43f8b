"""The example in docs/reasoning.md, number by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reasoning.counterfactual import counterfactual
from reasoning.inference import evidence_weights, posteriors
from reasoning.network import causal_network

PAGE = (Path(__file__).parents[2] / "docs" / "reasoning.md").read_text(encoding="utf-8")
QUERY, DATABASE, CODE, SERVICE = range(4)
NETWORK = causal_network(np.array([0.002, 0.0, 0.001, 0.0]), [(QUERY, DATABASE, 0.9), (DATABASE, SERVICE, 0.95), (CODE, SERVICE, 0.9)])
EVIDENCE = np.array([0.0, np.log(20.0), 0.0, np.log(50.0)])


def told(text: str, value: float) -> None:
    """The page says so, and it is so."""
    assert text in PAGE
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
