"""The subscription `diagnoses` over graphql-transport-ws."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from api.graphql.limits import Limits
from api.http import build_application
from api.hub import DiagnosisHub
from api.runtime import Runtime
from tests.api import synthetic_estate as estate

PROTOCOL = "graphql-transport-ws"
WATCH = "subscription ($first: Int! = 10) { diagnoses(first: $first) { at rootCauses { entity probability } } }"


@pytest.fixture
def runtime() -> Runtime:
    made = asyncio.run(estate.runtime())
    estate.believe(made, estate.diagnosis(30))
    return made


@pytest.fixture
def client(runtime: Runtime) -> Iterator[TestClient]:
    with TestClient(build_application(runtime)) as made:
        yield made


def greet(socket: WebSocketTestSession) -> None:
    socket.send_json({"type": "connection_init"})
    assert socket.receive_json() == {"type": "connection_ack"}


def subscribe(socket: WebSocketTestSession, name: str = "1", query: str = WATCH, **variables: Any) -> None:
    socket.send_json({"id": name, "type": "subscribe", "payload": {"query": query, "variables": variables}})


def test_a_subscriber_gets_the_latest_diagnosis_then_each_new_one_in_text_frames(runtime: Runtime, client: TestClient) -> None:
    with client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket, first=1)
        frame = socket.receive()
        assert "bytes" not in frame or frame["bytes"] is None
        assert json.loads(frame["text"]) == {
            "id": "1",
            "type": "next",
            "payload": {"data": {"diagnoses": {"at": "2026-01-05T08:05:30Z", "rootCauses": [{"entity": "database:c1/web/orders", "probability": 0.9}]}}},
        }
        assert client.portal is not None
        client.portal.call(estate.believe, runtime, estate.diagnosis(35))
        assert socket.receive_json()["payload"]["data"]["diagnoses"]["at"] == "2026-01-05T08:05:35Z"
        assert runtime.hub.subscribers == 1
        socket.send_json({"id": "1", "type": "complete"})
        socket.send_json({"type": "ping"})
        assert socket.receive_json() == {"type": "pong"}
        assert runtime.hub.subscribers == 0


def test_a_subscriber_that_leaves_gives_its_place_back(runtime: Runtime, client: TestClient) -> None:
    with client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket)
        socket.receive_json()
        assert runtime.hub.subscribers == 1
    assert runtime.hub.subscribers == 0


def test_the_end_of_the_hub_completes_the_subscription(runtime: Runtime, client: TestClient) -> None:
    with client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket)
        socket.receive_json()
        assert client.portal is not None
        client.portal.call(runtime.hub.close)
        assert socket.receive_json() == {"id": "1", "type": "complete"}


def test_a_query_is_answered_on_the_same_socket(client: TestClient) -> None:
    with client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket, "q", "{ status { entities } }")
        assert socket.receive_json()["payload"] == {"data": {"status": {"entities": 4}}}
        assert socket.receive_json() == {"id": "q", "type": "complete"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { diagnoses(first: 0) { at } }", "BAD_USER_INPUT"),
        ("subscription { nonsense }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { diagnoses { at }", "GRAPHQL_PARSE_FAILED"),
    ],
)
def test_a_bad_subscription_gets_an_error_or_an_end_with_the_reason(client: TestClient, query: str, code: str) -> None:
    with client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket, query=query)
        if code == "GRAPHQL_PARSE_FAILED":
            with pytest.raises(WebSocketDisconnect) as ended:
                socket.receive_json()
            assert (ended.value.code, "Syntax Error" in (ended.value.reason or "")) == (4400, True)
            return
        answer = socket.receive_json()
        errors = answer["payload"] if answer["type"] == "error" else answer["payload"]["errors"]
        assert [error["extensions"]["code"] for error in errors] == [code]


def test_too_costly_a_subscription_is_refused(runtime: Runtime) -> None:
    with TestClient(build_application(runtime, limits=Limits(nodes=5))) as client, client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket)
        answer = socket.receive_json()
        errors = answer["payload"] if answer["type"] == "error" else answer["payload"]["errors"]
        assert [error["extensions"]["code"] for error in errors] == ["QUERY_TOO_LARGE"]


def test_one_more_subscriber_than_there_are_places_is_told_to_come_later(runtime: Runtime) -> None:
    runtime.hub = DiagnosisHub(limit=1)
    estate.believe(runtime, estate.diagnosis())
    with TestClient(build_application(runtime)) as client, client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket, "1")
        socket.receive_json()
        subscribe(socket, "2")
        answer = socket.receive_json()
        errors = answer["payload"] if answer["type"] == "error" else answer["payload"]["errors"]
        assert [error["extensions"]["code"] for error in errors] == ["TOO_MANY_SUBSCRIBERS"]


def test_operations_on_one_socket_are_limited(runtime: Runtime) -> None:
    with TestClient(build_application(runtime, limits=Limits(operations=1))) as client, client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        subscribe(socket, "1")
        socket.receive_json()
        subscribe(socket, "2")
        assert "limit" in socket.receive_json()["payload"][0]["message"]


@pytest.mark.parametrize(
    "message",
    [
        "not json", "7", "[]", "null", "{}", '{"type": 7}', '{"type": "subscribe"}', '{"type": "subscribe", "id": []}', '{"type": "nonsense"}',
        '{"type": "subscribe", "id": "1"}', '{"type": "subscribe", "id": "1", "payload": "x"}', '{"type": "subscribe", "id": "1", "payload": {"query": 7}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ status { at } }", "variables": []}}', '{"type": "complete"}',
        '{"type": "ping", "payload": "' + "x" * 300_000 + '"}',
    ],
)  # fmt: skip
def test_a_message_of_the_wrong_shape_ends_the_connection_with_a_reason(client: TestClient, caplog: pytest.LogCaptureFixture, message: str) -> None:
    with client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        socket.send_text(message)
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_json()
        assert ended.value.code == 4400
        assert ended.value.reason
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_binary_messages_end_the_connection(client: TestClient) -> None:
    with client.websocket_connect("/graphql", subprotocols=[PROTOCOL]) as socket:
        greet(socket)
        socket.send_bytes(b"{}")
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_json()
        assert ended.value.code == 4400


def test_another_protocol_is_not_spoken(client: TestClient) -> None:
    with client.websocket_connect("/graphql", subprotocols=["graphql-ws"]) as socket, pytest.raises(WebSocketDisconnect) as ended:
        socket.receive_json()
    assert ended.value.code == 4406


def test_a_page_of_another_origin_may_not_listen(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as ended,
        client.websocket_connect("/graphql", subprotocols=[PROTOCOL], headers={"origin": "https://elsewhere.example"}),
    ):
        pass
    assert ended.value.code == 1008


async def test_a_reader_that_stalls_is_dropped_and_gives_its_place_back() -> None:
    runtime = await estate.runtime()
    estate.believe(runtime, estate.diagnosis())
    application = build_application(runtime, limits=Limits(stall=0.01))
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    stuck = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send" and '"next"' in message["text"]:
            stuck.set()
            await asyncio.Event().wait()

    incoming.put_nowait({"type": "websocket.connect"})
    incoming.put_nowait({"type": "websocket.receive", "text": '{"type": "connection_init"}'})
    subscribe_message = {"id": "1", "type": "subscribe", "payload": {"query": WATCH}}
    incoming.put_nowait({"type": "websocket.receive", "text": json.dumps(subscribe_message)})
    scope = {"type": "websocket", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"", "root_path": "", "scheme": "ws", "headers": []}
    running = asyncio.create_task(application({**scope, "subprotocols": [PROTOCOL]}, incoming.get, send))
    await stuck.wait()
    assert runtime.hub.subscribers == 1
    await asyncio.wait_for(running, 10)
    assert runtime.hub.subscribers == 0
