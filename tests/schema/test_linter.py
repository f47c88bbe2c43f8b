"""What the linter finds, and that it finds nothing to mend in the packaged knowledge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schema.knowledge import CausalKnowledge, PropagationRule, Toward
from schema.linter import Doubt, Numbers, count_numbers, lint
from schema.loader import load_knowledge
from schema.strength import constant, expression

KNOWLEDGE = load_knowledge()


def about(knowledge: CausalKnowledge, doubt: Doubt) -> list[str]:
    return [each.about for each in lint(knowledge) if each.doubt == doubt]


def travelling(strength: float | str) -> CausalKnowledge:
    chosen = expression(strength, 0.3) if isinstance(strength, str) else constant(strength)
    rule = PropagationRule("calls", Toward.SOURCE, "service", "demand_low", "service", "demand_low", chosen)
    return replace(KNOWLEDGE, propagation=(*KNOWLEDGE.propagation, rule))


def test_nothing_in_the_packaged_knowledge_must_be_mended() -> None:
    assert [each for each in lint(KNOWLEDGE) if each.is_fault] == []


def test_a_condition_without_a_cause_is_unreachable_and_so_is_what_only_it_would_cause() -> None:
    assert about(KNOWLEDGE, Doubt.UNREACHABLE) == []
    cache = KNOWLEDGE.kinds["cache"]
    links = tuple(link for link in cache.links if link.cause not in {"memory_full", "cold_cache"})
    changed = replace(KNOWLEDGE, kinds={**KNOWLEDGE.kinds, "cache": replace(cache, links=links)})
    assert about(changed, Doubt.UNREACHABLE) == ["cache.evictions_high", "cache.hit_ratio_low", "cache.memory_use_high"]


def test_defects_with_the_same_effects_are_one_ambiguous_group() -> None:
    assert about(KNOWLEDGE, Doubt.AMBIGUOUS) == []
    node = KNOWLEDGE.kinds["node"]
    defects = {**node.defects, **{name: replace(node.defects["down"], name=name) for name in ("gone", "lost")}}
    links = (*node.links, *(replace(link, cause=name) for link in node.links if link.cause == "down" for name in ("gone", "lost")))
    changed = replace(KNOWLEDGE, kinds={**KNOWLEDGE.kinds, "node": replace(node, defects=defects, links=links)})
    assert about(changed, Doubt.AMBIGUOUS) == ["node.down, node.gone, node.lost"]


def test_what_only_metrics_tell_apart_is_said() -> None:
    assert "database.lock_contention, database.slow_query" in about(KNOWLEDGE, Doubt.NEEDS_METRICS)


def test_an_attribute_that_shows_nothing_is_unused() -> None:
    assert about(KNOWLEDGE, Doubt.UNUSED) == ["pod_phase", "pool_pending"]
    service = KNOWLEDGE.kinds["service"]
    blind = {**service.conditions, "heap_use_high": replace(service.conditions["heap_use_high"], attribute="", detector="")}
    changed = replace(KNOWLEDGE, kinds={**KNOWLEDGE.kinds, "service": replace(service, conditions=blind)})
    assert "heap_share" in about(changed, Doubt.UNUSED)


def test_an_attribute_of_another_kind_can_not_show_a_condition() -> None:
    node = KNOWLEDGE.kinds["node"]
    wrong = {**node.conditions, "cpu_use_high": replace(node.conditions["cpu_use_high"], attribute="lock_waits")}
    changed = replace(KNOWLEDGE, kinds={**KNOWLEDGE.kinds, "node": replace(node, conditions=wrong)})
    assert about(changed, Doubt.UNMEASURED) == ["node.cpu_use_high"]


def test_a_cycle_that_may_go_round_for_certain_is_told_and_a_fading_one_is_not() -> None:
    assert about(travelling(1.0), Doubt.NO_DECAY) == ["service.demand_low"]
    assert about(travelling("min(1, 2 * latency_growth)"), Doubt.NO_DECAY) == ["service.demand_low"]
    assert about(travelling("0.99 * share_of_requests"), Doubt.NO_DECAY) == []


def test_a_kind_without_a_source_and_a_remedy_without_risk_must_be_mended() -> None:
    node = KNOWLEDGE.kinds["node"]
    down = node.defects["down"]
    silent = replace(down, remedies=(replace(down.remedies[0], risk="None known."),))
    changed = replace(KNOWLEDGE, kinds={**KNOWLEDGE.kinds, "node": replace(node, source="", defects={**node.defects, "down": silent})})
    assert [(each.doubt, each.about) for each in lint(changed) if each.is_fault] == [(Doubt.NO_SOURCE, "node"), (Doubt.NO_REMEDY, "node.down")]


@pytest.mark.parametrize("role", ["first", "unlike"])
def test_every_defect_has_an_example_that_ranks_it_first_and_one_that_only_looks_like_it(role: str) -> None:
    doubt = Doubt.NO_EXAMPLE if role == "first" else Doubt.NO_LOOKALIKE
    assert about(KNOWLEDGE, doubt) == []
    fewer = tuple(example for example in KNOWLEDGE.examples if not getattr(example, role).endswith(".disk_full"))
    assert about(replace(KNOWLEDGE, examples=fewer), doubt) == ["node.disk_full"]


def test_guesses_are_counted_apart_from_numbers_with_a_source() -> None:
    path = KNOWLEDGE.kinds["network_path"]
    measured = replace(path, source="an incident review", defects={name: replace(each, source="a paper") for name, each in path.defects.items()})
    assert count_numbers(path, KNOWLEDGE) == Numbers(7, 6)  # a prior, a link by definition, three rates, an expression and what serves without it
    assert count_numbers(measured, KNOWLEDGE) == Numbers(7, 0)


def test_a_number_counts_by_its_own_source_before_that_of_its_defect_or_file() -> None:
    path = KNOWLEDGE.kinds["network_path"]
    delay = replace(path.defects["network_delay"], raised_by={"deploy": 2.0, "config": 2.0}, sources={"deploy": "a paper"})
    assert count_numbers(replace(path, defects={"network_delay": delay}), KNOWLEDGE) == Numbers(9, 7)
    plain = replace(path, links=tuple(replace(link, source="") for link in path.links))
    assert count_numbers(plain, KNOWLEDGE) == Numbers(7, 7)
    rules = tuple(replace(rule, source="a paper") if rule.from_kind == "network_path" else rule for rule in KNOWLEDGE.propagation)
    assert count_numbers(path, replace(KNOWLEDGE, propagation=rules)) == Numbers(7, 4)
