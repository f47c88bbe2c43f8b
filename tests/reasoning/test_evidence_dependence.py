"""Findings that read the same requests say together no more than one of them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.evidence.dependence import Weighed, used_once
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, Finding

BACK, OTHER = (EntityRef("service", "c", "shop", name) for name in ("back", "other"))
POD = EntityRef("pod", "c", "shop", "back-1")


def weighed(entity: EntityRef, condition: str, detector: str, ratio: float, raw: float) -> Weighed:
    return Weighed(Finding(ConditionRef(entity, condition), ratio, None, 0.0, "s", ""), raw, detector)


def service_of(entity: EntityRef) -> EntityRef | None:
    return BACK if entity == POD else entity


def told(findings: Iterable[Weighed]) -> dict[tuple[EntityRef, str], float]:
    return {(each.condition.entity, each.condition.condition): each.log_likelihood_ratio for each in used_once(findings, service_of)}


def test_a_weak_word_is_no_stronger_for_being_said_three_times() -> None:
    same = [
        weighed(BACK, "latency_high", "slower", 2.0, 2.0),
        weighed(BACK, "own_time_high", "slower_own", 3.0, 3.0),
        weighed(POD, "own_time_high", "slower_own", 3.0, 3.0),
    ]
    found = told(same)
    assert sum(found.values()) == pytest.approx(3.0)
    assert found[BACK, "own_time_high"] == found[POD, "own_time_high"] > found[BACK, "latency_high"]


def test_what_was_tempered_may_be_said_again_up_to_what_it_was_before() -> None:
    found = told([weighed(BACK, "latency_high", "slower", 6.0, 40.0), weighed(POD, "own_time_high", "slower_own", 6.0, 38.0)])
    assert set(found.values()) == {6.0}


def test_other_requests_other_readings_and_words_against_are_left_alone() -> None:
    apart = [
        weighed(BACK, "latency_high", "slower", 2.0, 2.0),
        weighed(BACK, "own_time_high", "slower_own", -1.5, -1.5),
        weighed(OTHER, "latency_high", "slower", 2.0, 2.0),
        weighed(BACK, "errors_high", "failing", 2.0, 2.0),
        weighed(BACK, "behaviour_changed", "behaving_differently", 5.0, 5.0),
    ]
    assert sorted(told(apart).values()) == [-1.5, 2.0, 2.0, 2.0, 5.0]


@given(st.lists(st.tuples(st.floats(0.1, 6.0), st.floats(0.0, 30.0)), min_size=1, max_size=6))
def test_nothing_is_ever_raised_and_the_sum_never_passes_the_strongest(ratios: list[tuple[float, float]]) -> None:
    entities = [EntityRef("pod", "c", "shop", f"back-{i}") for i in range(len(ratios))]
    findings = [weighed(entity, "own_time_high", "slower_own", ratio, ratio + more) for entity, (ratio, more) in zip(entities, ratios, strict=True)]
    found = list(used_once(findings, lambda _: BACK))
    assert all(0.0 < each.log_likelihood_ratio <= before[0] + 1e-12 for each, before in zip(found, ratios, strict=True))
    assert sum(each.log_likelihood_ratio for each in found) <= max(ratio + more for ratio, more in ratios) + 1e-9
