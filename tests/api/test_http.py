"""The HTTP application: GraphQL by POST, its page, health, readiness, metrics."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.graphql.limits import Limits
from api.http import build_application
from api.runtime import Runtime
from ingest.otlp.receiving import ReceiverCounts
from tests.api import synthetic_estate as estate


@pytest.fixture
async def runtime() -> Runtime:
    made = await estate.runtime()
    estate.believe(made, estate.diagnosis())
    return made


@pytest.fixture
async def counts() -> ReceiverCounts:
    return ReceiverCounts()


@pytest.fixture
async def client(runtime: Runtime, counts: ReceiverCounts) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(runtime, counts) as made:
        yield made


def client_of(runtime: Runtime, counts: ReceiverCounts | None = None, limits: Limits | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=build_application(runtime, counts, limits=limits))
    return httpx.AsyncClient(transport=transport, base_url="http://whence")


async def metrics(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}


async def test_a_query_is_answered(client: httpx.AsyncClient) -> None:
    query = "query A($first: Int!) { rootCauses(first: $first) { entity } } query B { status { at } }"
    answer = await client.post("/graphql", json={"query": query, "variables": {"first": 1}, "operationName": "A"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"data": {"rootCauses": [{"entity": "database:c1/web/orders"}]}}


async def test_an_error_has_a_message_a_place_and_a_code(client: httpx.AsyncClient) -> None:
    answer = await client.post("/graphql", json={"query": "{ diagnosis(first: 0) { at } }"})
    assert answer.status_code == 200
    message = "`first` is 0; give a number from 1 to 100."
    error = {"message": message, "locations": [{"line": 1, "column": 3}], "path": ["diagnosis"], "extensions": {"code": "BAD_USER_INPUT"}}
    assert answer.json() == {"data": None, "errors": [error]}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "hint"),
    [
        (b"[]", "application/json", 400, "Batches"),
        (b'[{"query": "{ status { at } }"}]', "application/json", 400, "Batches"),
        (b'"text"', "application/json", 400, "one JSON object"),
        (b"7", "application/json", 400, "one JSON object"),
        (b"null", "application/json", 400, "one JSON object"),
        (b"", "application/json", 400, "not JSON"),
        (b"{", "application/json", 400, "not JSON"),
        (b"\xff\xfe", "application/json", 400, "not JSON"),
        (b"[" * 5000, "application/json", 400, "not JSON"),
        (b"{}", "application/json", 400, "`query` must be a text"),
        (b'{"query": null}', "application/json", 400, "`query` must be a text"),
        (b'{"query": {"a": 1}}', "application/json", 400, "`query` must be a text"),
        (b'{"query": ""}', "application/json", 400, "`query` is empty"),
        (b'{"query": "{ status { at } }", "variables": []}', "application/json", 400, "`variables`"),
        (b'{"query": "{ status { at } }", "variables": "x"}', "application/json", 400, "`variables`"),
        (b'{"query": "{ status { at } }", "operationName": 7}', "application/json", 400, "`operationName`"),
        (b'{"query": "query A { status { at } }", "operationName": "B"}', "application/json", 400, "B"),
        (b'{"query": "subscription { diagnoses { at } }"}', "application/json", 400, "websocket"),
        (b'{"query": "mutation { a }"}', "application/json", 400, "queries only"),
        (b'{"query": "fragment F on Query { status { at } }"}', "application/json", 400, "operation"),
        (b'{"query": "{ status { at } }"}', "text/plain", 400, "application/json"),
        (b'{"query": "{ status { at } }"}', "", 400, "application/json"),
        (b"query=%7B%7D", "application/x-www-form-urlencoded", 400, "application/json"),
        (b"--x--", "multipart/form-data; boundary=x", 400, "application/json"),
        (b'{"query": "' + b" " * 300_000 + b'"}', "application/json", 413, "larger"),
    ],
)
async def test_what_is_no_request_is_refused_and_told_what_would_be(client: httpx.AsyncClient, body: bytes, content_type: str, status: int, hint: str) -> None:
    answer = await client.post("/graphql", content=body, headers={"content-type": content_type})
    assert answer.status_code == status
    (error,) = answer.json()["errors"]
    assert hint in error["message"]
    assert error["extensions"]["code"] == "BAD_REQUEST"


async def test_one_of_several_operations_must_be_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/graphql", json={"query": "query A { status { at } } query B { status { at } }"})
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "operationName" in error["message"]


async def test_queries_by_get_are_not_taken(client: httpx.AsyncClient) -> None:
    for address, accept in (("/graphql?query={status{at}}", "text/html"), ("/graphql?query={status{at}}", "*/*"), ("/graphql", "application/json")):
        answer = await client.get(address, headers={"accept": accept})
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert "POST" in answer.json()["errors"][0]["message"]
    for method in ("PUT", "DELETE", "PATCH"):
        assert (await client.request(method, "/graphql")).status_code == 405


async def test_a_failure_of_our_own_reaches_the_client_without_its_reason(runtime: Runtime, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(runtime), "diagnosis", property(lambda _: 1 / 0))
    answer = await client.post("/graphql", json={"query": "{ rootCauses { entity } }"})
    assert answer.status_code == 200
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["INTERNAL"]
    assert "division" not in answer.text


async def test_an_answer_that_takes_too_long_is_given_up(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = asyncio.Event()

    async def never(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    monkeypatch.setattr(runtime, "incidents", never)
    async with client_of(runtime, limits=Limits(seconds=0.01)) as client:
        answer = await client.post("/graphql", json={"query": "{ incidents { id } }"})
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["DEADLINE_EXCEEDED"]
    assert stopped.is_set()


async def test_work_stops_when_the_client_hangs_up(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def never(*_: object) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    monkeypatch.setattr(runtime, "incidents", never)
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b'{"query": "{ incidents { id } }"}', "more_body": False})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    application = build_application(runtime)
    scope = {"type": "http", "method": "POST", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"", "root_path": "", "scheme": "http"}
    running = asyncio.create_task(application({**scope, "headers": [(b"content-type", b"application/json")]}, messages.get, send))
    await started.wait()
    messages.put_nowait({"type": "http.disconnect"})
    await running
    assert stopped.is_set()


async def test_a_browser_gets_graphiql_from_our_own_files_alone(client: httpx.AsyncClient) -> None:
    for address in ("/", "/graphql"):
        page = await client.get(address, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        used = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(used) >= 7
        for asset in used:
            assert asset == "data:," or asset.startswith("/graphiql/"), asset
            if asset.startswith("/"):
                answer = await client.get(asset)
                assert answer.status_code == 200, asset
                assert len(answer.content) > 50


async def test_the_queries_graphiql_starts_with_are_valid(runtime: Runtime, client: httpx.AsyncClient) -> None:
    script = (await client.get("/graphiql/whence.js")).text
    welcome = script.split("`")[1]
    for name in ("WhatBroke", "Around"):
        answer = await client.post(
            "/graphql", json={"query": welcome, "operationName": name, "variables": {"root": "service:c1/web/shop"} if name == "Around" else {}}
        )
        assert "errors" not in answer.json(), answer.text
    subscription = await client.post("/graphql", json={"query": welcome, "operationName": "Watch"})
    assert "websocket" in subscription.json()["errors"][0]["message"]


async def test_files_outside_the_page_are_not_served(client: httpx.AsyncClient) -> None:
    for address in ("/graphiql/../door.py", "/graphiql/%2e%2e/door.py", "/graphiql/", "/docs", "/openapi.json"):
        assert (await client.get(address)).status_code == 404


async def test_alive_and_ready(runtime: Runtime, client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"alive": True}
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})
    runtime.ready = False
    runtime._writer._trouble = "the disk is full"
    not_ready = await client.get("/readyz")
    assert not_ready.status_code == 503
    assert not_ready.json() == {"ready": False, "reasons": ["Whence is starting or stopping.", "The store takes no writes: the disk is full"]}
    assert (await client.get("/healthz")).status_code == 200


async def test_metrics_tell_what_was_done_and_where_it_stands(runtime: Runtime, counts: ReceiverCounts, client: httpx.AsyncClient) -> None:
    counts.requests["traces"] = 2
    counts.received_items["traces"] = 90
    counts.refused_items["traces", 'bad "id"'] = 10
    counts.refused_requests["logs", "too_large"] = 1
    runtime._writer.durable_through = estate.at(28)
    runtime.windows_closed = 6
    runtime._knowledge_trouble = "rules/node.yaml:2: broken"
    runtime.knowledge_reloads["refused"] = 3
    await client.post("/graphql", json={"query": "{ status { at } }"})
    await client.post("/graphql", json={"query": "{ diagnosis(first: 0) { at } }"})
    await client.post("/graphql", json=[])
    told = await metrics(client)
    expected: list[tuple[str, dict[str, str], float]] = [
        ("whence_ready", {}, 1),
        ("whence_store_ok", {}, 1),
        ("whence_knowledge_ok", {}, 0),
        ("whence_knowledge_info", {"version": runtime.pipeline.knowledge.version}, 1),
        ("whence_knowledge_reloads_total", {"outcome": "refused"}, 3),
        ("whence_event_time_seconds", {}, estate.at(30) / estate.SECOND),
        ("whence_durable_lag_seconds", {}, 2),
        ("whence_entities", {}, 4),
        ("whence_relations", {}, 3),
        ("whence_open_incidents", {}, 0),
        ("whence_windows_closed_total", {}, 6),
        ("whence_subscribers", {}, 0),
        ("whence_root_cause_probability", {"entity": "database:c1/web/orders", "kind": "database", "defect": "slow_query"}, 0.9),
        ("whence_otlp_requests_total", {"signal": "traces"}, 2),
        ("whence_otlp_items_total", {"signal": "traces"}, 90),
        ("whence_otlp_items_refused_total", {"signal": "traces", "reason": 'bad "id"'}, 10),
        ("whence_otlp_requests_refused_total", {"signal": "logs", "reason": "too_large"}, 1),
        ("whence_graphql_requests_total", {"outcome": "answered"}, 1),
        ("whence_graphql_requests_total", {"outcome": "user_error"}, 1),
        ("whence_graphql_requests_total", {"outcome": "refused"}, 1),
    ]
    for name, labels, value in expected:
        assert told[name, frozenset(labels.items())] == value, name


async def test_metrics_of_root_causes_are_bounded_and_nothing_is_late_before_the_first_write(runtime: Runtime, client: httpx.AsyncClient) -> None:
    estate.believe(runtime, estate.diagnosis(causes=40))
    told = await metrics(client)
    assert sum(name == "whence_root_cause_probability" for name, _ in told) == 10
    assert told["whence_durable_lag_seconds", frozenset()] == 0


async def test_two_applications_share_no_counts(runtime: Runtime) -> None:
    async with client_of(runtime) as one, client_of(runtime) as other:
        await one.post("/graphql", json={"query": "{ status { at } }"})
        assert ("whence_graphql_requests_total", frozenset({("outcome", "answered")})) not in await metrics(other)
