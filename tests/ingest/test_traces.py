"""From spans to requests, calls and edges."""

from __future__ import annotations

import pytest

from schema.identity import EntityRef
from tests.ingest.telemetry import ANY, CLIENT, CONSUMER, INTERNAL, PRODUCER, SECOND, Estate, batch, service, span

FRONT, CART, STOCK = service("front"), service("cart"), service("stock")
ORDERS_TOPIC = EntityRef("topic", "c1", "", "orders")
KAFKA = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
MUCH_LATER = batch(span("front", 900, 0, 200.0, 200.1, trace=99))


def test_a_call_is_paired_with_the_server_that_answers_it_across_batches() -> None:
    estate = Estate()
    estate.send(batch(span("cart", 3, 2, 1.1, 1.5)))
    estate.send(batch(span("front", 1, 0, 1.0, 2.0)), batch(span("front", 2, 1, 1.05, 1.6, CLIENT)), MUCH_LATER)
    call = estate.calls()[FRONT, "calls", CART]
    assert (call["calls"], call["answered"], call["paired"], call["carrying"]) == (1, 1, 1, 1)
    assert call["duration"] == pytest.approx(0.55 * SECOND)
    assert call["target_duration"] == pytest.approx(0.4 * SECOND)
    assert call["gap"] == pytest.approx(0.15 * SECOND)
    assert estate.related(FRONT, "calls", CART)
    path = EntityRef("network_path", "c1", "shop", "front->cart")
    assert estate.related(FRONT, "traverses", path)
    assert estate.related(path, "leads_to", CART)


def test_own_time_is_what_no_call_was_waited_for_and_overlapping_calls_count_once() -> None:
    estate = Estate()
    estate.send(
        batch(
            span("front", 1, 0, 1.0, 2.0),
            span("front", 2, 1, 1.1, 1.5, CLIENT, attributes={"service.peer.name": "a"}),
            span("front", 3, 1, 1.3, 1.7, CLIENT, attributes={"service.peer.name": "b"}),
        ),
        MUCH_LATER,
    )
    assert estate.finish(10).requests(FRONT)["own"] == pytest.approx(0.4 * SECOND)


@pytest.mark.parametrize(("callee_fails", "own_errors"), [(True, 0), (False, 1)])
def test_an_error_is_a_requests_own_unless_a_call_it_waited_for_failed(callee_fails: bool, own_errors: int) -> None:
    estate = Estate()
    estate.send(
        batch(span("front", 1, 0, 1.0, 2.0, failed=True), span("front", 2, 1, 1.1, 1.5, CLIENT, failed=callee_fails), span("cart", 3, 2, 1.2, 1.4)), MUCH_LATER
    )
    assert estate.requests(FRONT) | {"own_errors": own_errors, "errors": 1} == estate.requests(FRONT)
    assert estate.calls()[FRONT, "calls", CART]["failed_source"] == callee_fails


@pytest.mark.parametrize(
    ("attributes", "relation", "peer"),
    [
        ({"db.system.name": "postgresql", "server.address": "orders-db", "db.namespace": "orders"}, "queries", "database"),
        ({"db.system": "redis", "net.peer.name": "carts"}, "queries", "cache"),
        ({"messaging.system": "rabbitmq", "messaging.destination": "mails"}, "publishes_to", "queue"),
        ({"http.request.method": "POST", "server.address": "api.payments.example.com"}, "calls", "external_service"),
        ({"http.method": "POST", "http.url": "https://api.payments.example.com/v1/charge", "net.peer.name": "api.payments.example.com"}, "calls", "external_service"),
        ({"peer.service": "legacy"}, "calls", "service"),
    ],
)  # fmt: skip
def test_a_peer_without_telemetry_becomes_an_entity_with_an_edge_and_the_traffic_its_clients_see(attributes: dict[str, str], relation: str, peer: str) -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 2.0), span("front", 2, 1, 1.1, 1.5, CLIENT, attributes=attributes, failed=True)), MUCH_LATER)
    ((_, found, target),) = [key for key in estate.calls() if key[1] != "traverses"]
    assert (found, target.kind) == (relation, peer)
    assert estate.related(FRONT, relation, target)
    assert estate.graph.entity(target) is not None
    assert estate.requests(target) == {"requests": 1, "errors": 1, "own_errors": 1, "duration": 0.4 * SECOND, "own": 0.4 * SECOND}


def test_a_service_that_speaks_for_itself_is_not_served_a_second_time_by_calls_that_timed_out() -> None:
    estate = Estate()
    timed_out = span("front", 2, 1, 1.0, 2.0, CLIENT, attributes={"service.peer.name": "cart", "error.type": "timeout"}, failed=True)
    estate.send(batch(span("front", 1, 0, 1.0, 2.0, failed=True), timed_out))
    estate.send(batch(span("cart", 4, 0, 3.0, 3.1, trace=2)), MUCH_LATER)
    call = estate.calls()[FRONT, "calls", CART]
    assert (call["calls"], call["timeouts"], call["answered"]) == (1, 1, 0)
    assert estate.requests(CART)["requests"] == 1


def test_a_server_that_outlives_its_callers_timeout_counts_when_it_ends_with_its_caller_and_its_error() -> None:
    estate = Estate()
    timed_out = span("front", 2, 1, 1.0, 2.0, CLIENT, attributes={"service.peer.name": "cart", "error.type": "timeout"}, failed=True)
    estate.send(batch(span("front", 1, 0, 1.0, 2.0, failed=True), timed_out))
    estate.send(batch(span("cart", 3, 2, 1.1, 12.0, failed=True), span("cart", 4, 3, 11.0, 11.9, CLIENT, attributes={"db.system.name": "mysql"})))
    estate.send(batch(span("front", 9, 0, 21.0, 21.1, trace=2)))
    assert estate.windows[-1].window.end <= 16 * SECOND + 1_700_000_000 * SECOND
    assert estate.requests(CART) == {"requests": 1, "errors": 1, "own_errors": 1, "duration": 10.9 * SECOND, "own": 10.0 * SECOND}
    behaviour = estate.windows[-1].window.behaviour
    assert [behaviour.strings[caller] for caller in behaviour.caller.tolist() if caller >= 0] == ["front operation of front"] * len(behaviour.entity)
    assert any(key[1] == "queries" for key in estate.calls())


def test_a_child_whose_clock_is_behind_still_pairs_with_its_caller() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 4.0, 4.95), span("front", 2, 1, 4.1, 4.9, CLIENT)), batch(span("cart", 3, 2, 4.3, 5.05)), MUCH_LATER)
    assert estate.calls()[FRONT, "calls", CART]["paired"] == 1


def test_a_message_is_published_and_consumed_without_anybody_waiting_for_the_consumer() -> None:
    estate = Estate()
    published = span("front", 2, 1, 1.1, 1.2, PRODUCER, attributes=KAFKA)
    consumed = span("cart", 3, 2, 1.3, 1.9, CONSUMER, attributes=KAFKA | {"messaging.operation.type": "process"}, failed=True)
    estate.send(batch(span("front", 1, 0, 1.0, 2.0, failed=True), published, consumed), MUCH_LATER)
    assert {key[:2] for key in estate.calls()} == {(FRONT, "publishes_to"), (CART, "consumes_from")}
    assert estate.requests(FRONT)["own"] == pytest.approx(0.9 * SECOND)
    assert estate.requests(FRONT)["own_errors"] == 1
    assert estate.requests(CART)["own_errors"] == 1
    taken = estate.calls()[CART, "consumes_from", ORDERS_TOPIC]
    assert (taken["calls"], taken["carrying"], taken["duration"]) == (1, 1, 0)
    assert estate.related(CART, "consumes_from", ORDERS_TOPIC)


def test_a_consumer_that_ends_long_after_its_producers_trace_counts_in_its_own_window() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 1.5), span("front", 2, 1, 1.1, 1.2, PRODUCER, attributes=KAFKA)))
    consumer = span("cart", 3, 2, 40.0, 41.0, CONSUMER, attributes=KAFKA, failed=True, exceptions=["BrokenOrder"])
    estate.send(batch(consumer, span("cart", 4, 3, 40.1, 40.4, CLIENT), span("stock", 5, 4, 40.2, 40.3)))
    estate.send(batch(span("front", 9, 0, 51.0, 51.1, trace=2)))
    assert estate.requests(CART) == {"requests": 1, "errors": 1, "own_errors": 1, "duration": SECOND, "own": 0.7 * SECOND}
    assert estate.calls()[CART, "calls", STOCK]["paired"] == 1
    assert estate.related(CART, "consumes_from", ORDERS_TOPIC)
    assert not estate.graph.relations(source=FRONT, kind="calls")
    assert "exception BrokenOrder" in estate.windows[-1].window.behaviour.strings


def test_polling_a_topic_consumes_from_it_and_publishes_nothing() -> None:
    estate = Estate()
    poll = span("cart", 1, 0, 1.0, 4.0, CLIENT, attributes=KAFKA | {"messaging.operation.type": "receive"})
    estate.send(batch(poll), MUCH_LATER)
    assert [key[1] for key in estate.calls()] == ["consumes_from"]
    assert estate.requests(ORDERS_TOPIC)["requests"] == 0


def test_a_consumer_that_starts_its_own_trace_is_joined_by_the_topic() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 2.0, PRODUCER, attributes=KAFKA), span("cart", 2, 0, 2.0, 2.5, CONSUMER, trace=2, attributes=KAFKA)), MUCH_LATER)
    assert estate.related(FRONT, "publishes_to", ORDERS_TOPIC)
    assert estate.related(CART, "consumes_from", ORDERS_TOPIC)


def test_a_server_whose_caller_sends_no_spans_counts_ten_seconds_later_with_its_calls() -> None:
    estate = Estate()
    estate.send(batch(span("front", 3, 77, 1.0, 3.0, failed=True), span("front", 4, 3, 1.5, 2.5, CLIENT), span("cart", 5, 4, 1.6, 2.4)))
    estate.send(*(batch(span("stock", 10 + at, 0, at, at + 0.1, trace=at)) for at in range(5, 24, 5)))
    assert estate.windows[-1].window.end == 1_700_000_015 * SECOND
    assert estate.requests(FRONT)["errors"] == 1
    assert estate.calls()[FRONT, "calls", CART]["paired"] == 1


def test_a_server_whose_caller_is_slow_to_end_still_has_its_caller() -> None:
    estate = Estate()
    estate.send(batch(span("cart", 3, 2, 1.0, 1.5)))
    estate.send(batch(span("front", 2, 1, 0.9, 9.5, CLIENT)), batch(span("front", 1, 0, 0.8, 29.5)), MUCH_LATER)
    assert estate.calls()[FRONT, "calls", CART]["paired"] == 1


def test_a_trace_whose_root_is_never_seen_counts_after_a_while() -> None:
    estate = Estate()
    estate.send(batch(span("cart", 3, 77, 1.0, 1.5, INTERNAL, failed=True)))
    estate.send(*(batch(span("front", 10 + at, 0, at, at + 0.1, trace=at)) for at in range(10, 50, 5)))
    assert estate.requests(CART)["errors"] == 1


def test_calls_of_a_request_that_runs_for_hours_show_before_it_ends() -> None:
    estate = Estate()
    estate.send(batch(span("front", 3, 77, 1.0, 1.5, CLIENT, attributes={"db.system.name": "mysql", "server.address": "db"})))
    estate.send(*(batch(span("cart", 10 + at, 0, at, at + 0.1, trace=at)) for at in range(10, 50, 5)))
    assert [key[1] for key in estate.calls()] == ["queries"]
    assert estate.requests(FRONT)["requests"] == 0


def test_work_that_goes_on_after_the_answer_adds_its_calls_but_no_second_request() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 2.0)))
    estate.send(batch(span("front", 2, 1, 1.5, 9.0, INTERNAL), span("front", 3, 2, 8.0, 8.5, CLIENT, attributes={"service.peer.name": "cart"})), MUCH_LATER)
    assert estate.finish(20).requests(FRONT)["requests"] == 1
    assert [(key[1], key[2].name, sums["calls"]) for key, sums in estate.calls().items()] == [("calls", "cart", 1), ("traverses", "front->cart", 1)]


def test_a_span_sent_twice_counts_once() -> None:
    estate = Estate()
    twice = batch(span("front", 1, 0, 1.0, 2.0))
    estate.send(twice, twice, MUCH_LATER)
    assert estate.requests(FRONT)["requests"] == 1
    assert estate.assembler.dropped == {"duplicate_spans": 1}


def test_parents_that_form_a_circle_are_dropped_and_counted() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 2, 1.0, 2.0, INTERNAL), span("front", 2, 1, 1.0, 2.0, INTERNAL)), MUCH_LATER)
    assert estate.finish().assembler.dropped == {"spans_without_request": 2}


def test_a_service_that_calls_itself_waits_but_has_no_edge_to_itself() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 2.0), span("front", 2, 1, 1.1, 1.9, CLIENT), span("front", 3, 2, 1.2, 1.8)), MUCH_LATER)
    assert estate.calls() == {}
    assert estate.requests(FRONT)["own"] == pytest.approx(0.8 * SECOND)


def test_two_instrumentations_of_one_request_make_one_request() -> None:
    estate = Estate()
    estate.send(
        batch(span("front", 1, 0, 1.0, 2.0), span("front", 2, 1, 1.1, 1.9), span("front", 3, 2, 1.2, 1.8, CLIENT), span("cart", 4, 3, 1.3, 1.7)), MUCH_LATER
    )
    assert estate.requests(FRONT)["requests"] == 1
    assert estate.calls()[FRONT, "calls", CART]["paired"] == 1


def test_spans_of_no_kind_are_cut_where_the_service_changes() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 2.0, ANY), span("front", 2, 1, 1.1, 1.8, ANY), span("cart", 3, 2, 1.2, 1.6, ANY, failed=True)), MUCH_LATER)
    call = estate.calls()[FRONT, "calls", CART]
    assert (call["calls"], call["errors"], call["duration"], call["paired"]) == (1, 1, 0.4 * SECOND, 0)
    assert estate.requests(FRONT)["own"] == pytest.approx(0.6 * SECOND)
    (relation,) = estate.graph.relations(source=FRONT, kind="calls")
    assert relation.confidence == pytest.approx(0.99)


def test_senders_of_the_old_conventions_are_understood() -> None:
    estate = Estate()
    old: dict[str, str | int] = {"http.method": "GET", "http.status_code": 503, "net.peer.name": "cart.shop.svc.cluster.local"}
    estate.send(
        batch(span("cart", 5, 0, 0.5, 0.6, trace=2), span("front", 1, 0, 1.0, 2.0, attributes={"http.method": "GET", "http.route": "/cart"})),
        batch(span("front", 2, 1, 1.1, 1.5, CLIENT, attributes=old)),
        MUCH_LATER,
    )
    assert estate.calls()[FRONT, "calls", CART]["errors"] == 1
    assert estate.graph.entity(EntityRef("endpoint", "c1", "shop", "front GET /cart")) is not None
