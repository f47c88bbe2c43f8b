"""A run followed to its verdict, with an estate and a server that are only told of."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import build_schema, graphql_sync
from rich.console import Console

from api.client import ServerUnreachableError, WhenceClient
from demo.audiences import Chronicle, Screen, Silent
from demo.following import STALLED_AFTER, Audience, Course, Outlook, Scene
from demo.processes import DemoError
from demo.verdict import SECOND, Verdict

SCHEMA = build_schema((Path(__file__).parents[2] / "docs" / "schema.graphql").read_text(encoding="utf-8"))
START = 1_767_600_000
DATABASE, SERVICE, ENTRY = "database:eu/shop/orders-db/orders", "service:eu/shop/orders", "service:eu/shop/web"
INJECTED = 30


def iso(seconds: float) -> str:
    """An instant that many seconds after the start."""
    whole = START + int(seconds)
    return f"2026-01-05T{whole % 86_400 // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}Z"


class Estate:
    """Five seconds of event time at each look; broken after INJECTED."""

    def __init__(self, *, alive: bool = True) -> None:
        self.now = 0
        self.alive = alive
        self.speeds: list[float] = []

    def take(self) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = [{"event": "started", "at": START * SECOND}] if self.now == 0 else []
        if self.alive:
            self.now += 5
        if self.now == INJECTED:
            said.append({"event": "injected", "at": (START + self.now) * SECOND, "entities": [DATABASE], "defect": "slow_query"})
        return [*said, {"event": "progress", "at": (START + self.now) * SECOND, "visits": self.now * 26, "requests": 9}]

    def go_at(self, speed: float) -> None:
        self.speeds.append(speed)


class Server:
    """Diagnoses what the estate has reached; opens an incident fifteen seconds after the injection."""

    def __init__(self, estate: Estate, *, opens: bool = True) -> None:
        self.estate = estate
        self.opens = opens

    def client(self) -> WhenceClient:
        return WhenceClient("http://whence.test", transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        return httpx.Response(200, json=graphql_sync(SCHEMA, body["query"], self.held(), variable_values=body["variables"]).formatted)

    def held(self) -> dict[str, Any]:
        now, condition = self.estate.now, {"entity": DATABASE, "condition": "latency_high"}
        broken = now > INJECTED
        evidence: dict[str, Any] = {
            **condition,
            "weight": 2.5,
            "logLikelihoodRatio": 3.0,
            "observed": "60 ms on average",
            "amount": 0.05,
            "unit": "s",
            "onset": iso(INJECTED),
        }
        cause: dict[str, Any] = {
            "entity": DATABASE,
            "kind": "database",
            "cluster": "eu",
            "namespace": "shop",
            "name": "orders-db/orders",
            "service": None,
            "defect": "slow_query",
        }
        cause |= {
            "summary": "A query became expensive.",
            "probability": 0.9 if broken else 0.01,
            "onset": iso(INJECTED) if broken else None,
            "explains": [condition],
        }
        cause |= {
            "evidence": [evidence, evidence | {"weight": -1.0, "condition": "errors_high"}],
            "remedies": [{"action": "Add the index.", "effect": "Fast.", "risk": "Load."}],
        }
        symptom = {**condition, "probability": 1.0, "observed": "60 ms on average", "amount": 0.05, "unit": "s", "onset": iso(INJECTED)}
        incident: dict[str, Any] = {
            "id": "i1",
            "entity": DATABASE,
            "defect": "slow_query",
            "state": "OPEN",
            "openedAt": iso(INJECTED + 15),
            "onset": None,
            "closedAt": None,
        }
        incident |= {"probability": 0.9, "peakProbability": 0.9, "symptoms": [condition], "evidence": [], "impacts": [], "changes": []}
        measured = {"seconds": 60.0, "requests": 600, "errors": 0, "requestRate": 10.0, "errorRatio": 0.0, "meanDurationSeconds": 0.02}
        call = {
            "source": ENTRY,
            "kind": "calls",
            "target": SERVICE,
            "sources": [],
            "confidence": 1.0,
            "firstSeen": iso(0),
            "lastSeen": iso(now),
            "statistics": measured,
        }
        step = {**condition, "observed": "60 ms on average", "change": 7.5, "logLikelihoodRatio": 4.0}
        account = {"before": -6.0, "steps": [step, step | {"condition": "errors_high", "change": -1.0}], "others": 2, "rest": 1.7, "after": 2.2}
        why: dict[str, Any] = {"entity": DATABASE, "defect": "slow_query", "account": account, "paths": [], "leader": None, "behind": None}
        effect = condition | {"before": 0.01, "after": 0.95}
        return {
            "diagnosis": {"at": iso(now), "exact": True, "stale": "", "rootCauses": [cause], "symptoms": [symptom] * broken, "ruledOut": [], "omitted": 0},
            "explanation": {"at": iso(now), "exact": True, "causes": [why], "entropy": 0.1, "wouldTell": []},
            "rootCauses": [cause],
            "incidents": [incident] * (self.opens and now >= INJECTED + 15),
            "topology": {"at": iso(now), "root": ENTRY, "entities": [], "relations": [call], "truncated": False},
            "impact": {"entity": DATABASE, "defect": "slow_query", "condition": None, "effects": [effect], "exact": True, "standardError": 0.0},
            "whatIf": {"interventions": [], "effects": [condition | {"before": 0.99, "after": 0.1}], "causes": [], "exact": True, "standardError": 0.0},
        }


class Watching(Silent):
    """Remembers."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self.heard: list[tuple[Verdict, Outlook]] = []

    def watch(self, scene: Scene) -> None:
        self.scenes.append(scene)

    def hear(self, verdict: Verdict, outlook: Outlook) -> None:
        self.heard.append((verdict, outlook))


def course(client: WhenceClient, estate: Estate, audience: Audience, *, waited: list[float] | None = None) -> Course:
    slept: list[float] = [] if waited is None else waited
    return Course(client, estate, audience, "slow_query", 1, ENTRY, lambda: None, 4.0, sleep=slept.append, clock=lambda: sum(slept))


def test_a_run_is_followed_to_the_incident_and_explained() -> None:
    estate, audience = Estate(), Watching()
    verdict = course(Server(estate).client(), estate, audience).to_verdict()
    assert (verdict.correct, verdict.seconds) == (True, 15.0)
    assert estate.speeds == [4.0]
    (heard, outlook) = audience.heard[0]
    assert heard is verdict
    assert outlook.impact is not None
    assert outlook.without is not None
    assert audience.scenes[-1].visits_per_second == pytest.approx(26.0)


def test_patience_is_event_time() -> None:
    estate = Estate()
    verdict = course(Server(estate, opens=False).client(), estate, Silent()).to_verdict()
    assert (verdict.incident, verdict.seconds) == (None, 180.0)


def test_a_run_that_stands_still_is_given_up() -> None:
    estate, waited = Estate(alive=False), list[float]()
    following = course(Server(estate).client(), estate, Silent(), waited=waited)
    following.clock = lambda: 40.0 * sum(waited)
    with pytest.raises(DemoError, match="Nothing moved"):
        following.to_verdict()
    assert following.clock() == pytest.approx(STALLED_AFTER, abs=20.0)


def test_a_server_that_is_busy_for_a_while_is_asked_again() -> None:
    estate = Estate()
    server, tries = Server(estate), iter(range(1_000))

    def answer(request: httpx.Request) -> httpx.Response:
        if next(tries) in {3, 4, 9}:
            raise httpx.ReadTimeout("busy", request=request)
        return server.answer(request)

    client = WhenceClient("http://whence.test", transport=httpx.MockTransport(answer))
    assert course(client, estate, Silent()).to_verdict().correct


@pytest.mark.parametrize("question", ["whatIf", "explanation", "rootCauses"])
def test_a_verdict_is_asked_for_again_when_the_server_is_busy(question: str) -> None:
    estate, audience, busy = Estate(), Watching(), iter(range(1_000))
    server = Server(estate)

    def answer(request: httpx.Request) -> httpx.Response:
        if question in json.loads(request.content)["query"] and estate.now > INJECTED and next(busy) < 3:
            raise httpx.ReadTimeout("busy", request=request)
        return server.answer(request)

    client = WhenceClient("http://whence.test", transport=httpx.MockTransport(answer))
    assert course(client, estate, audience).to_verdict().correct
    assert next(busy) > 3
    assert len(audience.heard) == 1


def test_a_server_that_never_answers_is_given_up() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("busy", request=request)

    estate = Estate()
    with pytest.raises(ServerUnreachableError):
        course(WhenceClient("http://whence.test", transport=httpx.MockTransport(answer)), estate, Silent()).to_verdict()


def test_the_chronicle_tells_each_thing_once_in_order() -> None:
    estate, output = Estate(), StringIO()
    course(Server(estate).client(), estate, Chronicle(Console(file=output, width=120))).to_verdict()
    told = output.getvalue()
    lines = [line[7:] for line in told.splitlines() if line[2:3] == ":"]
    assert lines == [
        "the estate is alive: 2 services call each other, 26 visits/s",
        "fault injected: slow_query (Whence is not told)",
        "symptom: database orders-db/orders, latency high (60 ms on average)",
        "most probable cause: database orders-db/orders, slow query, 90%",
        "incident opened: database orders-db/orders, slow query",
    ]
    in_order(
        told,
        "15 s after the fault",
        "-6.0  before any finding",
        "+7.5  database orders-db/orders: latency high",
        "-1.0  database orders-db/orders: errors high",
        "+1.7  2 more findings together",
        "+2.2  in all: 90.0%",
        "What it takes down",
        "95%",
        "Add the index.",
        "If it were fixed",
        "Whence is right.",
    )


def test_the_screen_shows_symptoms_causes_and_what_is_right() -> None:
    estate = Estate()
    console = Console(file=StringIO(), width=110, height=40, force_terminal=True, record=True)
    with Screen(console) as screen:
        course(Server(estate).client(), estate, screen).to_verdict()
    shown = console.export_text()
    in_order(shown, "What it takes down", "What would fix it", "Whence is right.")
    output = console.file
    assert isinstance(output, StringIO)
    for text in ("nothing is broken yet", "slow_query since 00:", "Symptoms", "Root causes", "90.0%", "10.0/s"):
        assert text in output.getvalue()


def in_order(text: str, *parts: str) -> None:
    place = 0
    for part in parts:
        place = text.index(part, place)
