"""What the linter finds, and that it finds nothing to mend in the packaged knowledge."""

from __future__ import annotations

from dataclasses import replace

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


def test_a_condition_without_a_cause_is_unreachable() -> None:
    assert "node.disk_use_high" in about(KNOWLEDGE, Doubt.UNREACHABLE)
    assert "node.cpu_use_high" not in about(KNOWLEDGE, Doubt.UNREACHABLE)


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
    assert "heap_share" in about(KNOWLEDGE, Doubt.UNUSED)
    assert "lock_waits" not in about(KNOWLEDGE, Doubt.UNUSED)


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


def test_guesses_are_counted_apart_from_numbers_with_a_source() -> None:
    path = KNOWLEDGE.kinds["network_path"]
    measured = replace(path, source="an incident review", defects={name: replace(each, source="a paper") for name, each in path.defects.items()})
    assert count_numbers(path, KNOWLEDGE) == Numbers(7, 7)  # a prior, a link, three rates, an expression and what serves without it
    assert count_numbers(measured, KNOWLEDGE) == Numbers(7, 0)
