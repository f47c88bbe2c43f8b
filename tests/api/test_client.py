"""The public client against the published schema: graphql-core executes what it asks, as a server would."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import GraphQLObjectType, build_schema, graphql_sync

from api.client import (
    CauseSets,
    Diagnosis,
    Effect,
    Entity,
    Evidence,
    Explanation,
    Impact,
    Incident,
    Instant,
    Intervention,
    NextObservation,
    QueryRefusedError,
    Relation,
    RelationStatistics,
    RootCause,
    RuledOut,
    ServerUnreachableError,
    Status,
    Symptom,
    Topology,
    WhatIf,
    WhenceClient,
    as_json,
)
from api.client_results import selection

SCHEMA = build_schema((Path(__file__).parents[2] / "docs" / "schema.graphql").read_text(encoding="utf-8"))
RESULTS = (
    CauseSets,
    Explanation,
    NextObservation,
    Diagnosis,
    Effect,
    Entity,
    Evidence,
    Impact,
    Incident,
    Relation,
    RelationStatistics,
    RootCause,
    RuledOut,
    Status,
    Symptom,
    Topology,
    WhatIf,
)
ENTITY = "service:prod/shop/checkout"
NOON, LATER = "2026-03-01T12:00:00Z", "2026-03-01T12:00:10.000000007Z"
NOON_NANOSECONDS = 1_772_366_400_000_000_000
CONDITION = {"entity": ENTITY, "condition": "latency_high"}
CAUSE = {
    "entity": ENTITY,
    "kind": "service",
    "cluster": "prod",
    "namespace": "shop",
    "name": "checkout",
    "service": None,
    "defect": "slow_code",
    "summary": "Slow.",
    "probability": 0.9,
    "onset": LATER,
    "explains": [CONDITION],
    "evidence": [{**CONDITION, "weight": 2.0, "logLikelihoodRatio": 3.0, "observed": "slower", "amount": 1.5, "unit": "s", "onset": None}],
    "remedies": [{"action": "Roll back.", "effect": "Fast again.", "risk": "None."}],
}
INCIDENT = {
    "id": "i1",
    "entity": ENTITY,
    "defect": "slow_code",
    "state": "OPEN",
    "openedAt": NOON,
    "onset": NOON,
    "closedAt": None,
    "probability": 0.9,
    "peakProbability": 0.95,
    "symptoms": [CONDITION],
    "evidence": [],
    "impacts": [],
    "changes": [],
}
EFFECT = {**CONDITION, "before": 0.1, "after": 0.8}
STATUS = {
    "at": None,
    "version": "1",
    "knowledge": "k",
    "knowledgeTrouble": "",
    "entities": 3,
    "relations": 2,
    "openIncidents": 0,
    "ready": True,
    "durableThrough": NOON,
    "storeTrouble": "",
    "unsettled": 3,
    "unsettledEntities": ["service:c/shop/cart"],
    "dropped": [{"reason": "late", "count": 2.0}],
}


def served(root: Mapping[str, Any], asked: list[dict[str, Any]] | None = None) -> WhenceClient:
    """A client of a server that holds `root` and validates every query against the published schema."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if asked is not None:
            asked.append(body)
        result = graphql_sync(SCHEMA, body["query"], root, variable_values=body["variables"])
        return httpx.Response(200, json=result.formatted)

    return client_of(answer)


def client_of(answer: Callable[[httpx.Request], httpx.Response]) -> WhenceClient:
    """A client whose requests `answer` answers."""
    return WhenceClient("http://whence.test/", transport=httpx.MockTransport(answer))


def resolver(value: object, seen: dict[str, Any]) -> Callable[..., object]:
    def resolve(*_: object, **arguments: Any) -> object:
        seen.update(arguments)
        return value

    return resolve


def test_a_diagnosis_is_read_down_to_the_evidence() -> None:
    symptom = {**CONDITION, "probability": 0.99, "observed": "slower", "amount": 1.5, "unit": "s", "onset": LATER}
    held = {"at": NOON, "exact": True, "stale": "", "rootCauses": [CAUSE], "symptoms": [symptom], "omitted": 2}
    with served({"diagnosis": held | {"ruledOut": [{"entity": ENTITY, "defect": "unavailable", "because": "It answers."}]}}) as client:
        found = client.diagnosis()
    cause = found.root_causes[0]
    assert (cause.entity, cause.defect, cause.probability, cause.service) == (ENTITY, "slow_code", 0.9, None)
    assert (cause.evidence[0].log_likelihood_ratio, cause.explains[0].condition, cause.remedies[0].action) == (3.0, "latency_high", "Roll back.")
    assert found.at == NOON_NANOSECONDS
    assert cause.onset == NOON_NANOSECONDS + 10_000_000_007
    assert found.symptoms[0].onset == cause.onset
    assert found.ruled_out[0].because == "It answers."


def test_a_diagnosis_comes_with_its_explanation_and_sets_in_one_answer() -> None:
    step = {**CONDITION, "logLikelihoodRatio": 2.0, "observed": "slower", "change": 2.5}
    account = {"before": -6.0, "steps": [step], "others": 3, "rest": 0.5, "after": -3.0}
    path = {"strength": 0.9, "hops": [{**CONDITION, "relation": "", "strength": 0.9}]}
    cause = {"entity": ENTITY, "defect": "slow_code"}
    told = {**CONDITION, "gain": 0.7, "probability": 0.4, "ifShown": cause | {"probability": 0.9}, "ifNot": cause | {"probability": 0.2}}
    explained = {**cause, "account": account, "paths": [path], "leader": None, "behind": None}
    held = {
        "diagnosis": {"at": NOON, "exact": True, "stale": "", "rootCauses": [CAUSE], "symptoms": [], "ruledOut": [], "omitted": 0},
        "explanation": {"at": NOON, "exact": True, "causes": [explained], "entropy": 0.9, "wouldTell": [told]},
        "causeSets": {"at": NOON, "exact": False, "sets": [{"probability": 0.6, "causes": [cause]}]},
    }
    with served(held) as client:
        diagnosis, explanation, sets = client.explained(first=3, sets=2)
        assert client.explained()[2] is None
    assert diagnosis.at == explanation.at == NOON_NANOSECONDS
    assert explanation.causes[0].account.steps[0].change == 2.5
    assert explanation.causes[0].behind is None
    assert explanation.would_tell[0].if_shown.probability == 0.9
    assert sets is not None
    assert (sets.exact, sets.sets[0].causes[0].defect) == (False, "slow_code")


def test_what_is_asked_reaches_the_server_with_its_types() -> None:
    seen: dict[str, Any] = {}
    with served({"rootCauses": resolver([CAUSE], seen), "incidents": resolver([INCIDENT], seen)}) as client:
        assert client.root_causes(at=NOON_NANOSECONDS, first=3)[0].defect == "slow_code"
        assert seen == {"at": NOON, "first": 3}
        seen.clear()
        assert client.incidents(state="OPEN")[0].closed_at is None
        assert seen == {"state": "OPEN", "first": 20}


def test_an_impact_names_either_a_defect_or_a_condition() -> None:
    seen: dict[str, Any] = {}
    held = {"entity": ENTITY, "defect": "slow_code", "condition": None, "effects": [EFFECT], "exact": False, "standardError": 0.003}
    with served({"impact": resolver(held, seen)}) as client:
        found = client.impact(ENTITY, defect="slow_code")
    assert seen == {"entity": ENTITY, "defect": "slow_code", "first": 50}
    assert (found.effects[0].before, found.effects[0].after) == (0.1, 0.8)
    assert (found.exact, found.standard_error) == (False, 0.003)


def test_an_intervention_goes_there_and_back() -> None:
    seen: dict[str, Any] = {}
    asked = Intervention(ENTITY, "slow_code", value=False)
    held = {"interventions": [as_json(asked)], "effects": [EFFECT], "causes": [{"entity": ENTITY, "defect": "unavailable", "probability": 0.1}]}
    with served({"whatIf": resolver(held | {"exact": False, "standardError": None}, seen)}) as client:
        found = client.what_if([asked])
    assert seen["do"] == [as_json(asked)]
    assert found.interventions == (asked,)
    assert found.causes[0].probability == 0.1
    assert (found.exact, found.standard_error) == (False, None)


def test_a_topology_has_relations_with_and_without_statistics() -> None:
    entity = {"id": ENTITY, "kind": "service", "cluster": "prod", "namespace": "shop", "name": "checkout", "service": ENTITY}
    entity |= {"attributes": [{"name": "version", "value": "2"}], "sources": ["traces"], "firstSeen": NOON, "lastSeen": LATER, "__typename": "Entity"}  # type: ignore[dict-item]
    relation = {
        "source": ENTITY,
        "kind": "calls",
        "target": "service:prod/shop/cart",
        "sources": ["traces"],
        "confidence": 1.0,
        "firstSeen": NOON,
        "lastSeen": NOON,
    }
    measured = {"seconds": 60.0, "requests": 120, "errors": 6, "requestRate": 2.0, "errorRatio": 0.05, "meanDurationSeconds": 0.2}
    relations = [relation | {"statistics": measured}, relation | {"statistics": None}]
    with served({"topology": {"at": NOON, "root": ENTITY, "entities": [entity], "relations": relations, "truncated": False}}) as client:
        found = client.topology(ENTITY, depth=2)
    assert found.relations[0].statistics is not None
    assert found.relations[0].statistics.request_rate == 2.0
    assert found.relations[1].statistics is None
    assert (found.entities[0].attributes[0].value, found.entities[0].sources) == ("2", ("traces",))


def test_a_server_that_saw_nothing_yet_has_no_instant() -> None:
    with served({"status": STATUS}) as client:
        found = client.status()
    assert found.at is None
    assert found.dropped[0].count == 2.0


def test_nothing_is_declared_that_was_not_given() -> None:
    asked: list[dict[str, Any]] = []
    with served({"entities": {"edges": []}, "status": STATUS}, asked) as client:
        assert client.entities() == ()
        client.status()
    assert asked[0]["variables"] == {"first": 100}
    assert asked[1]["query"].startswith("query {")


def test_the_reasons_of_a_refusal_are_told() -> None:
    refusal = {"errors": [{"message": "There is no entity x.", "extensions": {"code": "NOT_FOUND"}}, {"message": "Ask for less."}], "data": None}
    with (
        client_of(lambda _: httpx.Response(200, json=refusal)) as client,
        pytest.raises(QueryRefusedError, match=r"There is no entity x\.; Ask for less\.") as caught,
    ):
        client.status()
    assert caught.value.codes == ("NOT_FOUND",)


@pytest.mark.parametrize(
    "answer", [httpx.Response(502, text="Bad Gateway"), httpx.Response(200, json=["no"]), httpx.Response(404, json={"detail": "Not Found"})]
)
def test_what_is_no_graphql_is_no_whence(answer: httpx.Response) -> None:
    with client_of(lambda _: answer) as client, pytest.raises(QueryRefusedError, match="is this the address of a Whence"):
        client.status()


def test_nobody_at_home_is_one_sentence_with_the_remedy() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with client_of(refuse) as client, pytest.raises(ServerUnreachableError) as caught:
        client.status()
    assert str(caught.value) == "No Whence answers at http://whence.test: start `whence serve`, or give --server URL."


def test_a_slow_server_is_told_from_none() -> None:
    def dawdle(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    with client_of(dawdle) as client, pytest.raises(ServerUnreachableError, match="did not answer in time"):
        client.status()


def test_waiting_for_a_server_ends_when_it_is_ready() -> None:
    answers = iter([None, 503, 200])
    waited: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        status = next(answers)
        if status is None:
            raise httpx.ConnectError("refused", request=request)
        assert request.url.path == "/readyz"
        return httpx.Response(status)

    with client_of(answer) as client:
        client.wait_ready(5.0, every=0.5, clock=lambda: sum(waited), sleep=waited.append)
    assert waited == [0.5, 0.5]


def test_waiting_for_a_server_has_an_end() -> None:
    waited: list[float] = []
    with client_of(lambda _: httpx.Response(503)) as client, pytest.raises(ServerUnreachableError, match="did not get ready within 2 s"):
        client.wait_ready(2.0, every=1.0, clock=lambda: sum(waited), sleep=waited.append)


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_a_result_has_all_that_its_type_in_the_schema_has(kind: type) -> None:
    offered = SCHEMA.get_type(kind.__name__)
    assert isinstance(offered, GraphQLObjectType)
    read = {"".join(word.capitalize() if place else word for place, word in enumerate(field.name.split("_"))) for field in fields(kind)}
    assert read == set(offered.fields)


def test_an_instant_prints_as_people_write_it() -> None:
    assert f"{Instant(NOON_NANOSECONDS)}" == NOON
    assert as_json(Instant(NOON_NANOSECONDS + 10_000_000_007)) == LATER


def test_a_selection_names_every_field_of_nested_results() -> None:
    text = selection(RootCause)
    assert "logLikelihoodRatio" in text
    assert "explains { entity condition }" in text
