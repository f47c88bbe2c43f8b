"""GraphQL over verdicts: diagnoses, root causes, incidents, impact, what-if, status."""

from __future__ import annotations

import pytest

from api.graphql.diagnosis_pages import DiagnosisPages
from api.runtime import Runtime
from reasoning.errors import InconsistentEvidenceError
from schema.identity import EntityRef
from schema.verdicts import IncidentState
from tests.api import synthetic_estate as estate
from tests.api.asking import ask, refused

ORDERS = "database:c1/web/orders"


@pytest.fixture
async def runtime() -> Runtime:
    return await estate.runtime()


async def test_before_the_first_window_there_is_an_empty_diagnosis_of_no_instant(runtime: Runtime) -> None:
    assert await ask(
        runtime, "{ diagnosis { at exact stale rootCauses { entity } symptoms { entity } ruledOut { entity } omitted } rootCauses { entity } }"
    ) == {
        "diagnosis": {"at": None, "exact": True, "stale": "", "rootCauses": [], "symptoms": [], "ruledOut": [], "omitted": 0},
        "rootCauses": [],
    }


async def test_a_diagnosis_tells_all_that_is_believed(runtime: Runtime) -> None:
    estate.believe(runtime, estate.diagnosis())
    finding = {"entity": "service:c1/web/cart", "condition": "latency_high", "observed": "0.3 s more than usual", "amount": 0.3, "unit": "s"}
    finding["onset"] = "2026-01-05T08:05:01.25Z"
    answer = await ask(
        runtime,
        """{ diagnosis { at exact stale
            rootCauses { entity kind cluster namespace name service defect summary probability onset explains { entity condition }
                evidence { entity condition weight logLikelihoodRatio observed amount unit onset } remedies { action effect risk } }
            symptoms { entity condition probability observed amount unit onset }
            ruledOut { entity defect because } } }""",
    )
    assert answer["diagnosis"] == {
        "at": "2026-01-05T08:05:30Z",
        "exact": True,
        "stale": "",
        "rootCauses": [
            {
                "entity": ORDERS,
                "kind": "database",
                "cluster": "c1",
                "namespace": "web",
                "name": "orders",
                "service": None,
                "defect": "slow_query",
                "summary": "A query became slow.",
                "probability": 0.9,
                "onset": "2026-01-05T08:05:01Z",
                "explains": [{"entity": "service:c1/web/cart", "condition": "latency_high"}],
                "evidence": [{**finding, "weight": 2.5, "logLikelihoodRatio": 4.5}],
                "remedies": [{"action": "add an index", "effect": "the query is quick again", "risk": "writes cost more"}],
            }
        ],
        "symptoms": [{**finding, "probability": 0.99}],
        "ruledOut": [{"entity": "service:c1/web/shop", "defect": "cpu_starved", "because": "it began after its effects"}],
    }


async def test_root_causes_are_as_many_as_asked_for_and_what_is_left_out_is_counted(runtime: Runtime) -> None:
    estate.believe(runtime, estate.diagnosis(causes=30, symptoms=503))
    answer = await ask(
        runtime,
        "{ diagnosis(first: 3) { rootCauses { probability } symptoms { entity } omitted } rootCauses(first: 25) { defect } few: rootCauses { defect } }",
    )
    assert [cause["probability"] for cause in answer["diagnosis"]["rootCauses"]] == [0.9, 0.45, 0.3]
    assert (len(answer["diagnosis"]["symptoms"]), answer["diagnosis"]["omitted"]) == (500, 3)
    assert (len(answer["rootCauses"]), len(answer["few"])) == (25, 20)


async def test_the_diagnosis_of_an_instant_is_the_last_that_was_made_by_then(runtime: Runtime) -> None:
    estate.believe(runtime, estate.diagnosis(30, causes=1))
    estate.believe(runtime, estate.diagnosis(35, causes=2))
    query = '{ diagnosis(at: "%s") { at rootCauses { defect } } rootCauses(at: "%s") { defect } }'
    answer = await ask(runtime, query % (("2026-01-05T08:05:34Z",) * 2))
    assert answer["diagnosis"]["at"] == "2026-01-05T08:05:30Z"
    assert len(answer["diagnosis"]["rootCauses"]) == len(answer["rootCauses"]) == 1
    assert len((await ask(runtime, query % (("2026-01-05T08:05:35Z",) * 2)))["rootCauses"]) == 2
    assert "2026-01-05T08:05:30Z" in await refused(runtime, '{ diagnosis(at: "2026-01-05T08:05:29Z") { at } }', "NOT_FOUND")


async def test_a_new_diagnosis_takes_the_place_of_the_last_one_at_once(runtime: Runtime) -> None:
    pages = DiagnosisPages()
    older, newer = estate.diagnosis(30, causes=5), estate.diagnosis(35, causes=5)
    assert pages.page(older, 2) is pages.page(older, 2)
    assert [len(pages.page(older, size).root_causes) for size in (1, 3, 2)] == [1, 3, 2]
    assert (pages.page(newer, 2).at, pages.page(older, 2).at) == (estate.at(35), estate.at(30))


async def test_incidents_come_newest_first_and_by_state(runtime: Runtime) -> None:
    await runtime.store.save_incidents([estate.incident(1), estate.incident(2, IncidentState.RECOVERED), estate.incident(3)])
    answer = await ask(
        runtime,
        "{ incidents { id } open: incidents(state: OPEN, first: 1) { id } recovered: incidents(state: RECOVERED) { id state openedAt closedAt onset } }",
    )
    assert [incident["id"] for incident in answer["incidents"]] == ["i3", "i2", "i1"]
    assert answer["open"] == [{"id": "i3"}]
    assert answer["recovered"] == [
        {"id": "i2", "state": "RECOVERED", "openedAt": "2026-01-05T08:05:02Z", "closedAt": "2026-01-05T08:06:02Z", "onset": "2026-01-05T08:05:00.5Z"}
    ]
    full = await ask(runtime, "{ incidents(first: 1) { __typename entity defect closedAt probability peakProbability symptoms { entity condition } } }")
    assert full["incidents"] == [
        {
            "__typename": "Incident",
            "entity": ORDERS,
            "defect": "slow_query",
            "closedAt": None,
            "probability": 0.8,
            "peakProbability": 0.95,
            "symptoms": [{"entity": "service:c1/web/cart", "condition": "latency_high"}],
        }
    ]


async def test_a_past_incident_tells_why_what_it_took_down_and_what_was_changed_before(runtime: Runtime) -> None:
    await runtime.store.save_incidents([estate.incident_in_full()])
    answer = await ask(
        runtime,
        """{ incidents { evidence { entity condition weight logLikelihoodRatio observed onset }
             impacts { entity condition before after } changes { at entity kind detail } } }""",
    )
    assert answer["incidents"] == [
        {
            "evidence": [
                {
                    "entity": ORDERS, "condition": "latency_high", "weight": 3.25, "logLikelihoodRatio": 4.5,
                    "observed": "mean 0.02 s -> 0.27 s over 240 requests", "onset": "2026-01-05T08:05:00.5Z",
                }
            ],
            "impacts": [{"entity": "service:c1/web/cart", "condition": "latency_high", "before": 0.01, "after": 0.8}],
            "changes": [{"at": "2026-01-05T08:04:50Z", "entity": ORDERS, "kind": "config", "detail": "work_mem 64MB -> 4MB"}],
        }
    ]  # fmt: skip


async def test_the_impact_of_a_slow_database_reaches_its_callers(runtime: Runtime) -> None:
    answer = await ask(
        runtime, f'{{ impact(entity: "{ORDERS}", defect: "slow_query") {{ entity defect condition effects {{ entity condition before after }} }} }}'
    )
    impact = answer["impact"]
    assert (impact["entity"], impact["defect"], impact["condition"]) == (ORDERS, "slow_query", None)
    assert {"database", "service"} <= {effect["entity"].partition(":")[0] for effect in impact["effects"]}
    assert all(effect["after"] > effect["before"] for effect in impact["effects"])
    first = await ask(runtime, f'{{ impact(entity: "{ORDERS}", condition: "latency_high", first: 1) {{ condition effects {{ entity }} }} }}')
    assert (first["impact"]["condition"], len(first["impact"]["effects"])) == ("latency_high", 1)


async def test_a_what_if_forces_defects_and_conditions(runtime: Runtime) -> None:
    query = """query ($do: [InterventionInput!]!, $first: Int! = 50) { whatIf(do: $do, first: $first) {
        exact standardError interventions { entity name value } effects { entity condition before after } causes { entity defect probability } } }"""
    forced = [{"entity": ORDERS, "name": "slow_query", "value": True}]
    answer = (await ask(runtime, query, {"do": forced}))["whatIf"]
    assert answer["interventions"] == forced
    assert (answer["exact"], answer["standardError"]) == (True, 0.0)
    assert answer["causes"][0] == {"entity": ORDERS, "defect": "slow_query", "probability": 1.0}
    probabilities = [cause["probability"] for cause in answer["causes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert any(effect["entity"] == ORDERS and effect["after"] > 0.5 for effect in answer["effects"])
    few = (await ask(runtime, query, {"do": forced, "first": 1}))["whatIf"]
    assert (len(few["effects"]), len(few["causes"])) == (1, 1)


@pytest.mark.parametrize(
    ("query", "code", "hint"),
    [
        ("{ diagnosis(first: 0) { at } }", "BAD_USER_INPUT", "from 1 to 100"),
        ("{ rootCauses(first: 101) { entity } }", "BAD_USER_INPUT", "from 1 to 100"),
        ("{ incidents(first: 101) { id } }", "BAD_USER_INPUT", "from 1 to 100"),
        ("{ incidents(state: LOST) { id } }", "GRAPHQL_VALIDATION_FAILED", "IncidentState"),
        (f'{{ impact(entity: "{ORDERS}", defect: "slow_query", first: 501) {{ entity }} }}', "BAD_USER_INPUT", "from 1 to 500"),
        (f'{{ impact(entity: "{ORDERS}") {{ entity }} }}', "BAD_USER_INPUT", "Give `defect` or `condition`"),
        (f'{{ impact(entity: "{ORDERS}", defect: "slow_query", condition: "latency_high") {{ entity }} }}', "BAD_USER_INPUT", "not both"),
        (f'{{ impact(entity: "{ORDERS}", defect: "slow_qery") {{ entity }} }}', "NOT_FOUND", "choose from"),
        (f'{{ impact(entity: "{ORDERS}", defect: "latency_high") {{ entity }} }}', "NOT_FOUND", "slow_query"),
        (f'{{ impact(entity: "{ORDERS}", condition: "slow_query") {{ entity }} }}', "NOT_FOUND", "latency_high"),
        ('{ impact(entity: "database:c1/web/none", defect: "slow_query") { entity } }', "NOT_FOUND", "There is no entity"),
        ('{ impact(entity: "orders", defect: "slow_query") { entity } }', "BAD_USER_INPUT", "kind:cluster/namespace/name"),
        ("{ whatIf(do: []) { causes { entity } } }", "BAD_USER_INPUT", "from 1 to 20"),
        (f'{{ whatIf(do: [{{entity: "{ORDERS}", name: "nonsense", value: true}}]) {{ causes {{ entity }} }} }}', "NOT_FOUND", "choose from"),
        (f'{{ whatIf(do: [{{entity: "{ORDERS}", name: "slow_query"}}]) {{ causes {{ entity }} }} }}', "GRAPHQL_VALIDATION_FAILED", "value"),
    ],
)
async def test_what_can_not_be_answered_is_refused_with_a_code_and_a_hint(runtime: Runtime, query: str, code: str, hint: str) -> None:
    message = await refused(runtime, query, code)
    assert hint in message


async def test_reasoning_that_fails_says_why(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise InconsistentEvidenceError([1, 2], "a and b")

    monkeypatch.setattr(runtime.pipeline.reasoner, "impact", fail)
    monkeypatch.setattr(runtime.pipeline.reasoner, "what_if", fail)
    assert "a and b" in await refused(runtime, f'{{ impact(entity: "{ORDERS}", defect: "slow_query") {{ entity }} }}', "REASONING_FAILED")
    query = f'{{ whatIf(do: [{{entity: "{ORDERS}", name: "slow_query", value: true}}]) {{ causes {{ entity }} }} }}'
    assert "a and b" in await refused(runtime, query, "REASONING_FAILED")


async def test_a_failure_of_our_own_is_masked_and_logged_with_its_trace(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime, "status", lambda: 1 / 0)
    message = await refused(runtime, "{ status { at } }", "INTERNAL")
    assert "division" not in message
    (record,) = [record for record in caplog.records if record.name == "whence.graphql"]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_mistakes_of_the_client_are_not_logged(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="whence")
    await refused(runtime, "{ diagnosis(first: 0) { at } }", "BAD_USER_INPUT")
    await refused(runtime, "{ nonsense }", "GRAPHQL_VALIDATION_FAILED")
    await refused(runtime, "{", "GRAPHQL_PARSE_FAILED")
    await refused(runtime, "query ($first: Int!) { diagnosis(first: $first) { at } }", "GRAPHQL_VALIDATION_FAILED", {"first": "x"})
    await refused(runtime, "query ($at: DateTime) { diagnosis(at: $at) { at } }", "GRAPHQL_VALIDATION_FAILED", {"at": "then"})
    assert [record for record in caplog.records if "execution" in record.name or record.name.startswith("whence")] == []


async def test_status_tells_where_whence_stands(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    estate.believe(runtime, estate.diagnosis())
    monkeypatch.setattr(type(runtime.pipeline.assembler), "dropped", {"late": 3, "buffer_full": 1})
    answer = await ask(
        runtime,
        "{ status { at version knowledge entities relations openIncidents ready durableThrough storeTrouble unsettled unsettledEntities"
        " dropped { reason count } } }",
    )
    dropped = answer["status"].pop("dropped")
    assert [drop for drop in dropped if drop["reason"] in {"late", "buffer_full"}] == [
        {"reason": "buffer_full", "count": 1.0},
        {"reason": "late", "count": 3.0},
    ]
    assert answer["status"] == {
        "at": "2026-01-05T08:05:30Z",
        "version": "1.2.3",
        "knowledge": runtime.pipeline.knowledge.version,
        "entities": 4,
        "relations": 3,
        "openIncidents": 0,
        "ready": True,
        "durableThrough": None,
        "storeTrouble": "",
        "unsettled": 0,
        "unsettledEntities": [],
    }


async def test_status_names_what_found_no_rest_up_to_a_hundred(runtime: Runtime) -> None:
    runtime.pipeline.reasoner.unsettled = tuple(EntityRef("pod", "c", "shop", f"cart-{each:03}") for each in range(120))
    status = (await ask(runtime, "{ status { unsettled unsettledEntities } }"))["status"]
    assert status["unsettled"] == 120
    assert status["unsettledEntities"] == [f"pod:c/shop/cart-{each:03}" for each in range(100)]
