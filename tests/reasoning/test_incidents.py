"""Incidents: what opens, changes and closes one, and what it is kept with."""

from __future__ import annotations

from dataclasses import replace

from graph.live import LiveGraph
from reasoning.incident_context import MOST_CHANGES, changes_before, impacts_of
from reasoning.incidents import IncidentSettings, IncidentTracker
from schema.identity import EntityRef
from schema.verdicts import (
    ConditionRef,
    DefectRef,
    Diagnosis,
    Effect,
    EntityChange,
    Evidence,
    Finding,
    Impact,
    Incident,
    IncidentState,
    RootCause,
)
from schema.windows import Change, ChangeKind
from tests.reasoning.estates import CART, FRONT, ORDERS, ORDERS_DB, PODS, SECOND, START, calls, estate

SLOW = DefectRef(CART, "slow_code")
FRONT_LATE, CART_LATE = ConditionRef(FRONT, "latency_high"), ConditionRef(CART, "latency_high")
EFFECTS = (Effect(FRONT_LATE, 0.01, 0.9),)


def deployed(at: int, ref: EntityRef) -> EntityChange:
    return EntityChange(at - 9 * SECOND, ref, ChangeKind.DEPLOY, "1 -> 2")


class Context:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[DefectRef] = []

    def impacts(self, cause: DefectRef) -> tuple[Effect, ...]:
        self.asked.append(cause)
        return EFFECTS

    def changes_before(self, at: int, cause: RootCause) -> tuple[EntityChange, ...]:
        return (deployed(at, cause.cause.entity),)


def evidence(ratio: float, weight: float) -> Evidence:
    return Evidence(Finding(CART_LATE, ratio, START, 0.2, "s", "slower"), weight)


def cause(probability: float, *explains: ConditionRef, name: DefectRef = SLOW, weighed: tuple[Evidence, ...] = ()) -> RootCause:
    return RootCause(name, "", None, probability, START, explains, weighed, ())


class Windows:
    """A tracker, window by window."""

    def __init__(self, tracker: IncidentTracker | None = None) -> None:
        self.tracker, self.context, self.at = tracker or IncidentTracker(IncidentSettings(confirming=1, clearing=2)), Context(), START

    def see(self, *causes: RootCause) -> tuple[Incident, ...]:
        self.at += SECOND
        return self.tracker.follow(Diagnosis(self.at, causes, (), (), exact=True), self.context)


def test_an_incident_opens_with_its_evidence_what_it_takes_down_and_what_was_changed_before() -> None:
    windows = Windows()
    (opened,) = windows.see(cause(0.8, CART_LATE, weighed=(evidence(4.0, 3.0), evidence(-1.0, -0.5))))
    assert (opened.evidence, opened.impacts, opened.changes) == ((evidence(4.0, 3.0), evidence(-1.0, -0.5)), EFFECTS, (deployed(windows.at, CART),))
    assert windows.see(cause(0.8, CART_LATE, weighed=(evidence(4.1, 3.1),))) == ()
    assert windows.context.asked == [SLOW]


def test_what_is_kept_of_an_open_incident_is_what_was_told() -> None:
    windows, told = Windows(), dict[str, Incident]()
    for probability, explains, weight in ((0.6, (CART_LATE,), 1.0), (0.61, (CART_LATE,), 2.0), (0.9, (CART_LATE,), 3.0), (0.9, (FRONT_LATE,), 4.0)):
        told |= {each.id: each for each in windows.see(cause(probability, *explains, weighed=(evidence(4.0, weight),)))}
        (held,) = windows.tracker.open
        assert replace(told[held.id], probability=held.probability, peak_probability=held.peak_probability) == held
    assert held.symptoms == (CART_LATE, FRONT_LATE)
    assert held.evidence == (evidence(4.0, 4.0),)


def test_evidence_that_was_not_weighed_when_it_opened_is_kept_once_it_is() -> None:
    windows = Windows()
    windows.see(cause(0.8, CART_LATE))
    (told,) = windows.see(cause(0.8, CART_LATE, weighed=(evidence(4.0, 3.0),)))
    assert told.evidence == (evidence(4.0, 3.0),)
    assert windows.see(cause(0.8, CART_LATE)) == ()


def test_what_spoke_for_it_while_it_was_likely_stays_when_it_is_over() -> None:
    windows = Windows()
    windows.see(cause(0.9, CART_LATE, weighed=(evidence(4.0, 3.0),)))
    windows.see(cause(0.1, weighed=(evidence(-2.0, -3.0),)))
    (over,) = windows.see()
    assert (over.state, over.closed_at, over.symptoms, over.evidence, over.impacts) == (
        IncidentState.RECOVERED, windows.at, (CART_LATE,), (evidence(4.0, 3.0),), EFFECTS
    )  # fmt: skip


def test_many_that_open_at_once_are_assessed_one_a_window_and_a_restart_assesses_none_again() -> None:
    windows = Windows()
    names = [DefectRef(ref, "slow_code") for ref in (FRONT, CART, ORDERS)]
    likely = [cause(0.9, name=name) for name in names]
    assert [bool(each.impacts) for each in windows.see(*likely)].count(True) == 1
    assert [len(windows.see(*likely)) for _ in range(3)] == [1, 1, 0]
    again = IncidentTracker(IncidentSettings(confirming=1, clearing=2))
    again.restore(windows.tracker.open)
    restarted = Windows(again)
    assert restarted.see(*likely) == ()
    assert restarted.context.asked == []


def test_only_what_is_raised_counts_as_impact() -> None:
    effects = (Effect(FRONT_LATE, 0.1, 0.9), Effect(CART_LATE, 0.5, 0.505), Effect(ConditionRef(ORDERS, "latency_high"), 0.4, 0.1))
    assert impacts_of(Impact(SLOW, effects)) == effects[:1]


def graph() -> LiveGraph:
    """front -> cart -> orders -> orders-db; cart runs on a pod, orders on another."""
    return estate((calls(FRONT, CART), calls(CART, ORDERS), calls(ORDERS, ORDERS_DB), calls(CART, PODS[0]), calls(ORDERS, PODS[1])))


def changed(live: LiveGraph, ref: EntityRef, at: int, detail: str = "") -> Change:
    return Change(START + at * SECOND, live.intern(ref), ChangeKind.DEPLOY, detail)


def test_changes_before_an_incident_are_those_of_the_last_hour_that_touch_what_it_is_about() -> None:
    live, hour = graph(), 3600
    about = cause(0.9, FRONT_LATE)
    told = [
        changed(live, CART, hour, "itself"),
        changed(live, PODS[0], hour, "its pod"),
        changed(live, ORDERS, hour, "what it stands on"),
        changed(live, FRONT, hour, "who suffers"),
        changed(live, ORDERS_DB, hour, "too far"),
        changed(live, CART, 1, "too early"),
        changed(live, CART, 2 * hour, "later"),
    ]
    found = changes_before(START + (hour + 10) * SECOND, about, told, live)
    assert {each.detail for each in found} == {"itself", "its pod", "what it stands on", "who suffers"}
    assert EntityChange(START + hour * SECOND, PODS[0], ChangeKind.DEPLOY, "its pod") in found


def test_of_very_many_changes_the_latest_are_kept() -> None:
    live = graph()
    told = [changed(live, CART, number, f"{number}") for number in range(100)]
    found = changes_before(START + 100 * SECOND, cause(0.9), told, live)
    assert [each.detail for each in found] == [f"{number}" for number in range(100 - MOST_CHANGES, 100)]
