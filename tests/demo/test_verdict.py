"""When there is a verdict, and whether it is right: by what Whence said, never by the truth."""

from __future__ import annotations

from dataclasses import replace

from api.client import Incident, Instant, RootCause
from demo.verdict import PATIENCE, SECOND, Injection, Verdict, verdict_of

BROKEN = "database:eu/shop/orders-db/orders"
AT = 1_000 * SECOND
INJECTION = Injection("slow_query", AT, (BROKEN, "database:eu/shop/other"), "slow_query", 1)
CAUSE = RootCause(BROKEN, "database", "eu", "shop", "orders-db/orders", None, "slow_query", "Slow.", 0.9, None, (), (), ())
WRONG = replace(CAUSE, defect="lock_contention")


def incident(opened: int, cause: RootCause = CAUSE) -> Incident:
    return Incident(f"{opened}", cause.entity, cause.defect, "OPEN", Instant(opened), None, None, 0.9, 0.9, ())


def causes(at: int) -> tuple[RootCause, ...]:
    """Wrong for twenty seconds after the injection, right from then on."""
    return (WRONG, CAUSE) if at < AT + 20 * SECOND else (CAUSE, WRONG)


def given(*incidents: Incident, diagnosed: float) -> Verdict | None:
    return verdict_of(INJECTION, round(AT + diagnosed * SECOND), incidents, causes)


def test_without_an_incident_there_is_no_verdict_yet() -> None:
    assert given(diagnosed=PATIENCE - 1) is None


def test_the_verdict_is_what_stood_when_the_first_incident_opened_however_late_we_look() -> None:
    first, later = incident(AT + 10 * SECOND, WRONG), incident(AT + 30 * SECOND)
    verdict = given(later, first, diagnosed=90.0)
    assert verdict is not None
    assert (verdict.incident, verdict.seconds, verdict.correct) == (first, 10.0, False)


def test_the_true_entity_and_defect_must_stand_first() -> None:
    verdict = given(incident(AT + 25 * SECOND), diagnosed=25.0)
    assert verdict is not None
    assert verdict.correct
    assert verdict.root_causes[0] == CAUSE


def test_patience_ends_and_what_stands_first_counts() -> None:
    verdict = given(diagnosed=PATIENCE)
    assert verdict is not None
    assert (verdict.incident, verdict.seconds, verdict.correct) == (None, PATIENCE, True)


def test_an_incident_after_patience_ended_changes_nothing() -> None:
    verdict = given(incident(round(AT + (PATIENCE + 5) * SECOND)), diagnosed=PATIENCE + 10)
    assert verdict is not None
    assert verdict.incident is None


def test_incidents_before_the_injection_are_false_and_no_verdict() -> None:
    false = incident(AT - 60 * SECOND, WRONG)
    assert given(false, diagnosed=20.0) is None
    verdict = given(false, incident(AT + 30 * SECOND), diagnosed=40.0)
    assert verdict is not None
    assert verdict.false_incidents == (false,)


def test_no_root_cause_at_all_is_wrong() -> None:
    verdict = verdict_of(INJECTION, round(AT + PATIENCE * SECOND), (), lambda _: ())
    assert verdict is not None
    assert not verdict.correct


def test_any_of_the_true_entities_is_right_but_no_other_defect() -> None:
    assert INJECTION.is_named_by(replace(CAUSE, entity="database:eu/shop/other"))
    assert not INJECTION.is_named_by(replace(CAUSE, entity="database:eu/shop/unknown"))
    assert not INJECTION.is_named_by(WRONG)


def test_the_json_has_the_promised_fields() -> None:
    verdict = given(incident(AT + 25 * SECOND), diagnosed=25.0)
    assert verdict is not None
    told = verdict.as_json()
    assert told["fault"] == {
        "name": "slow_query",
        "entities": [BROKEN, "database:eu/shop/other"],
        "entity": BROKEN,
        "defect": "slow_query",
        "injected_at": AT,
        "seed": 1,
    }
    assert (told["seconds_to_verdict"], told["verdict_correct"]) == (25.0, True)
    assert told["root_causes"][0]["entity"] == BROKEN
    assert told["incident"]["opened_at"] == "1970-01-01T00:17:05Z"
