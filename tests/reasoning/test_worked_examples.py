"""Every worked example that stands in a rule file."""

from __future__ import annotations

import pytest

from reasoning.examples import run_example
from schema.knowledge import CausalKnowledge, WorkedExample
from schema.loader import load_knowledge

KNOWLEDGE = load_knowledge()


@pytest.mark.parametrize("example", KNOWLEDGE.examples, ids=lambda example: f"{example.location}: {example.name}")
def test_the_knowledge_does_as_its_examples_say(example: WorkedExample) -> None:
    result = run_example(KNOWLEDGE, example)
    assert result.passed, result.detail


def test_every_kind_with_defects_has_an_example() -> None:
    tried = {text.partition(":")[0] for example in KNOWLEDGE.examples for text in example.entities}
    assert {name for name, kind in KNOWLEDGE.kinds.items() if kind.defects} <= tried


@pytest.mark.parametrize(
    ("symptoms", "first", "told"),
    [
        ({"service:c/shop/cart.latency_high": 1.0}, "", "wanted 1.00"),
        ({}, "service:c/shop/cart.unavailable", "wanted service:c/shop/cart.unavailable first"),
    ],
)
def test_an_example_the_knowledge_contradicts_fails_and_says_what_was_found(symptoms: dict[str, float], first: str, told: str) -> None:
    causes = ("service:c/shop/cart.slow_code",) if symptoms else ()
    entities = {"service:c/shop/cart": "service"}
    findings = {} if symptoms else {"service:c/shop/cart.own_time_high": 5.0}
    result = run_example(KNOWLEDGE, WorkedExample("wrong", "here:1", entities, (), {}, causes, symptoms, findings, first))
    assert not result.passed
    assert told in result.detail


@pytest.mark.parametrize(
    ("unlike", "findings", "told"),
    [
        ("worker_pool_exhausted", {"own_time_high": 5.0, "latency_high": 5.0, "worker_use_high": 2.0}, "wanted less than half of the first"),
        ("unavailable", {"own_time_high": 5.0, "latency_high": 5.0, "unanswered_high": -2.0}, "would show nothing of what was found"),
    ],
)
def test_what_an_example_is_unlike_must_look_like_it_and_stay_well_behind(unlike: str, findings: dict[str, float], told: str) -> None:
    cart = "service:c/shop/cart"
    found = {f"{cart}.{condition}": ratio for condition, ratio in findings.items()}
    result = run_example(KNOWLEDGE, WorkedExample("wrong", "here:1", {cart: "service"}, (), {}, (), {}, found, f"{cart}.slow_code", f"{cart}.{unlike}"))
    assert not result.passed
    assert told in result.detail


def test_an_example_of_a_condition_that_is_not_there_fails_with_its_place() -> None:
    example = WorkedExample("wrong", "here:1", {"service:c/shop/cart": "service"}, (), {}, ("service:c/shop/cart.haunted",), {}, {}, "")
    result = run_example(KNOWLEDGE, example)
    assert not result.passed
    assert result.detail.startswith("here:1: service:c/shop/cart.haunted is no condition or defect")


def test_knowledge_is_not_empty() -> None:
    assert isinstance(KNOWLEDGE, CausalKnowledge)
    assert len(KNOWLEDGE.examples) > 80
