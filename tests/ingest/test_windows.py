"""Windows of event time: what leaves no trace (order, repetition, batching), what is late, what is bounded."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from graph.topology import StructureEvent
from ingest.assembler import AssemblerSettings
from ingest.otlp.decode_logs import decode_logs
from schema.batches import Batch, LogBatch
from schema.identity import EntityRef
from schema.windows import Change, ChangeKind
from tests.ingest.telemetry import CLIENT, CONSUMER, INTERNAL, PRODUCER, SECOND, SERVER, START, Estate, batch, pairs, service, span
from tests.ingest.test_samples import gauge, metrics

KAFKA = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
MYSQL = {"db.system.name": "mysql", "server.address": "db"}
FRONT = service("front")
Made = tuple[str, Span]


def logs(name: str, *records: tuple[float, str, int, tuple[int, int]], attributes: dict[str, str] | None = None) -> LogBatch:
    """(seconds, body, severity, (trace, span)) as a batch of one service."""
    made = [
        LogRecord(
            time_unix_nano=START + round(at * SECOND),
            severity_number=severity,  # type: ignore[arg-type]  # any number may come
            trace_id=trace.to_bytes(16, "big"),
            span_id=span_id.to_bytes(8, "big"),
            body=pairs({"body": body})[0].value,
            attributes=pairs(attributes or {}),
        )
        for at, body, severity, (trace, span_id) in records
    ]
    resource = Resource(attributes=pairs({"service.name": name, "service.namespace": "shop", "k8s.cluster.name": "c1"}))
    decoded, refused = decode_logs(ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=resource, scope_logs=[ScopeLogs(log_records=made)])]))
    assert not refused.count
    return decoded


def content(value: Any) -> Any:
    """A value as what can be compared to the byte."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value) and not isinstance(value, type):
        return tuple((each.name, content(getattr(value, each.name))) for each in fields(value))
    if isinstance(value, tuple):
        return tuple(map(content, value))
    return repr(value)


def outcome(batches: Iterable[Batch], pending: int) -> tuple[Any, Any]:
    """All closed windows, and the graph they left."""
    estate = Estate(AssemblerSettings(pending=pending))
    estate.send(*batches)
    estate.finish(100)
    return content(tuple(estate.windows)), content(estate.graph.snapshot())


def _trace(trace: int, at: float, randomness: random.Random) -> list[Made]:
    """A request through services, a database and a topic, some of it failing, some of it in other windows."""
    fails, length = randomness.random() < 0.3, randomness.choice([0.3, 2.0, 7.0])
    spans = [
        span("front", 1, 0, at, at + length, SERVER, failed=fails, attributes={"http.route": "/buy", "http.request.method": "POST"}, trace=trace),
        span("front", 2, 1, at, at + length * 0.9, CLIENT, failed=fails, trace=trace),
        span("cart", 3, 2, at + length * 0.1, at + length * 0.8, SERVER, failed=fails, exceptions=["Empty"] if fails else (), trace=trace),
        span("cart", 4, 3, at + length * 0.2, at + length * 0.4, CLIENT, attributes=MYSQL, trace=trace),
        span("cart", 5, 3, at + length * 0.4, at + length * 0.5, PRODUCER, attributes=KAFKA, trace=trace),
        span("mailer", 6, 5, at + length * 0.5, at + length * 2.5, CONSUMER, attributes=KAFKA, trace=trace),
        span("front", 7, 1, at + length * 0.5, at + length * 1.5, INTERNAL, trace=trace),
    ]
    return [each for each in spans if randomness.random() < 0.95]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Batch], list[Batch]]:
    """The same telemetry in order, and re-batched in an order that the watermark allows."""
    randomness = random.Random(draw(st.integers(0, 1 << 32)))
    spans = [each for trace in range(1, draw(st.integers(1, 8))) for each in _trace(trace, randomness.uniform(0, 20), randomness)]
    others: list[tuple[float, Batch]] = [
        (at, metrics({"service.name": "cart", "k8s.cluster.name": "c1"}, gauge("db.client.connection.pending_requests", ({}, at, randomness.random()))))
        for at in (1.0, 6.0, 11.0)
    ]
    others += [(at, logs("cart", (at, f"order {at} refused", 17, (1, 3)))) for at in (2.0, 2.5, 14.0)]

    def timed(groups: Iterable[Sequence[Made]]) -> list[tuple[float, Batch]]:
        return [(max(_end(each) for each in group), batch(*group)) for group in groups if group]

    plain = sorted([*timed([each] for each in spans), *others], key=lambda pair: pair[0])
    shuffled = spans[:]
    randomness.shuffle(shuffled)
    shuffled.sort(key=lambda each: int(_end(each)))
    size = draw(st.integers(1, 7))
    together = [shuffled[at : at + size] for at in range(0, len(shuffled), size)]
    groups = [part for group in together for part in ([group] if _end(group[-1]) - _end(group[0]) < 2 else [[each] for each in group])]
    # The allowed lateness is 5 s: a batch holds less than 2 s and comes up to 2.9 s late.
    late = sorted([*timed(groups), *others], key=lambda pair: pair[0] + randomness.uniform(0, 2.9))
    return [each for _, each in plain], [each for _, each in late]


def _end(each: Made) -> float:
    return (each[1].end_time_unix_nano - START) / SECOND


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arrivals(), st.sampled_from([12, 1_000_000]))
def test_repetition_order_of_arrival_and_batching_leave_no_trace(both: tuple[list[Batch], list[Batch]], pending: int) -> None:
    """Not even in what a table that is too small refuses."""
    plain, shuffled = both
    first = outcome(plain, pending)
    assert first == outcome(plain, pending)
    assert first == outcome(shuffled, pending)


def test_a_span_of_a_closed_window_is_late_and_counted() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 2.0)), batch(span("front", 2, 0, 11.0, 12.0, trace=2)))
    estate.send(batch(span("front", 3, 0, 1.0, 2.0, trace=3), span("front", 4, 0, 11.0, 12.1, trace=4)))
    assert estate.finish().assembler.dropped == {"late": 1}
    assert estate.requests(FRONT)["requests"] == 3
    assert estate.windows[-1].window.dropped == {"late": 1}


def test_a_window_closes_when_the_watermark_passes_it_and_not_before() -> None:
    estate = Estate()
    estate.send(batch(span("front", 1, 0, 1.0, 2.0)), batch(span("front", 2, 0, 9.0, 9.99, trace=2)))
    assert not estate.windows
    estate.send(batch(span("front", 3, 0, 9.5, 10.0, trace=3)))
    (closed,) = estate.windows
    assert (closed.window.start, closed.window.end) == (START, START + 5 * SECOND)


@pytest.mark.parametrize(("bounds", "reason"), [({"rows": 2}, "buffer_full"), ({"pending": 2}, "waiting_spans_full")])
def test_tables_are_bounded_and_count_what_they_drop(bounds: dict[str, int], reason: str) -> None:
    estate = Estate(AssemblerSettings(**bounds))
    for trace in range(1, 6):
        estate.send(batch(span("front", 1, 77, 1.0, 2.0, trace=trace)))
    assert estate.finish(10).assembler.dropped == {reason: 3}


def test_what_was_counted_is_forgotten_oldest_first_within_the_bound() -> None:
    estate = Estate(AssemblerSettings(pending=3))
    estate.send(*(batch(span("front", 1, 0, 1.0 + trace, 2.0 + trace, trace=trace)) for trace in range(1, 6)))
    assert estate.finish(20).assembler.dropped == {"counted_traces_forgotten": 2}


def test_log_records_count_by_template_and_those_of_a_span_show_in_its_operations_behaviour() -> None:
    estate = Estate()
    estate.send(logs("front", (1.5, "order 17 refused by bank 3", 17, (1, 1)), (1.6, "order 18 refused by bank 4", 17, (0, 0))))
    estate.send(batch(span("front", 1, 0, 1.0, 2.0)))
    window = estate.finish(10).windows[0].window
    assert (window.logs.strings, window.logs.records.tolist(), window.logs.error.tolist()) == (("order refused by bank",), [2], [True])
    shown = {window.behaviour.strings[event]: times for event, times in zip(window.behaviour.event.tolist(), window.behaviour.shown.tolist(), strict=True)}
    assert shown["log order refused by bank"] == 1.0


def test_each_trace_has_one_vote_an_operation() -> None:
    estate = Estate()
    estate.send(batch(*(span("cart", at, 0, 1.0, 2.0, exceptions=["Empty"] if at == 1 else ()) for at in range(1, 5)), span("cart", 9, 0, 1.0, 2.0, trace=2)))
    table = estate.finish(10).windows[0].window.behaviour
    row = table.strings.index("exception Empty")
    at = table.event.tolist().index(row)
    assert (table.shown[at], table.trials[at], table.error[at]) == (0.25, 2.0, True)


def test_what_happens_often_in_a_request_is_told_apart_by_how_often() -> None:
    estate = Estate()
    queries = [span("cart", 10 + at, 1, 1.0, 1.1, CLIENT, attributes=MYSQL, name=f"query {at}", failed=True) for at in range(5)]
    estate.send(batch(span("cart", 1, 0, 1.0, 2.0), *queries))
    table = estate.finish(10).windows[0].window.behaviour
    rows = zip(table.event.tolist(), table.error.tolist(), table.calls.tolist(), strict=True)
    shown = {table.strings[event]: (error, estate.graph.ref(calls).kind if calls >= 0 else "") for event, error, calls in rows}
    assert shown == {
        **{f"span query *{often}": (False, "") for often in ("", " x2", " x4")},
        **{f"call db query *{often}": (False, "database") for often in ("", " x2", " x4")},
        **{f"failed call db query *{often}": (True, "database") for often in ("", " x2", " x4")},
    }


def test_a_rollout_is_one_deployment_though_both_versions_answer_for_a_while() -> None:
    estate = Estate()
    for at in range(1, 100, 5):
        seen = ["1.0", "1.1"] if at in {31, 36, 41} else ["1.0"] if at < 31 else ["1.1"]
        for place, version in enumerate(seen):
            labels = {"service.version": version, "k8s.pod.name": f"front-{version}", "k8s.namespace.name": "shop"}
            estate.send(batch(span("front", 1, 0, at, at + 0.5, trace=at * 10 + place), resource=labels))
    changes = [change for closed in estate.finish().windows for change in closed.window.changes]
    assert changes == [Change(START + 30 * SECOND, estate.graph.find(FRONT) or 0, ChangeKind.DEPLOY, "service.version 1.0 -> 1.1")]


def test_a_kubernetes_event_is_a_change_of_the_object_it_speaks_of() -> None:
    estate = Estate()
    about = {"k8s.event.reason": "OOMKilling", "k8s.object.kind": "Pod", "k8s.object.name": "front-1", "k8s.namespace.name": "shop"}
    estate.send(logs("", (1.0, "Memory cgroup out of memory", 13, (0, 0)), attributes=about))
    (change,) = estate.finish().windows[0].window.changes
    assert (change.kind, estate.graph.ref(change.entity), change.time) == (ChangeKind.OOM_KILLED, EntityRef("pod", "c1", "shop", "front-1"), START + SECOND)


def test_a_kubernetes_event_that_raises_nothing_is_counted_and_other_logs_are_not() -> None:
    estate = Estate()
    about = {"k8s.object.kind": "Pod", "k8s.object.name": "front-1", "k8s.namespace.name": "shop"}
    for reason in ({"k8s.event.reason": "TaintManagerEviction"}, {"k8s.event.reason": "Killing"}, {}):
        estate.send(logs("", (1.0, "told", 13, (0, 0)), attributes={**about, **reason}))
    assert len(estate.finish().windows[0].window.changes) == 1
    assert estate.assembler.dropped == {"unknown_event": 1}


def test_a_resource_brings_its_pod_node_and_workload_into_the_graph() -> None:
    estate = Estate()
    resource = {"k8s.namespace.name": "shop", "k8s.pod.name": "front-1", "k8s.deployment.name": "front", "k8s.node.name": "n1", "service.criticality": "high"}
    estate.send(batch(span("front", 1, 0, 1.0, 2.0), resource=resource))
    estate.finish()
    pod, node, workload = EntityRef("pod", "c1", "shop", "front-1"), EntityRef("node", "c1", "", "n1"), EntityRef("workload", "c1", "shop", "front")
    assert estate.related(FRONT, "runs_on", pod)
    assert estate.related(pod, "runs_on", node)
    assert estate.related(pod, "part_of", workload)
    entity = estate.graph.entity(FRONT)
    assert entity is not None
    assert entity.attributes["service.criticality"] == "high"
    assert estate.requests(pod)["requests"] == 1
    assert {change.event for change in estate.windows[0].changes} == {StructureEvent.ENTITY_APPEARED, StructureEvent.RELATION_APPEARED}
