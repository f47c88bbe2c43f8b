"""What the estate sends has the shapes of real SDKs and receivers."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter, defaultdict
from itertools import pairwise

import opentelemetry.semconv._incubating.attributes as incubating
import opentelemetry.semconv.attributes as stable
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.living import SECOND, START, Run, SentSpan, live

OF_RECEIVERS = {"kafka.cluster.alias", "postgresql.database.name", "redis.version"}  # named by the Collector's receivers, not by the conventions


def conventional_names() -> set[str]:
    """Every attribute name of the semantic conventions the SDK is installed with."""
    modules = [each for package in (stable, incubating) for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    return {value for each in modules for value in vars(importlib.import_module(each.name)).values() if isinstance(value, str)}


def settled(run: Run, end: float = 25.0) -> list[SentSpan]:
    """Spans whose parents have been sent before the run ended."""
    return [each for each in run.spans if each.start + each.seconds < end]


def test_ids_are_unique_and_as_long_as_they_must_be(quiet: Run) -> None:
    ids = Counter((each.span.trace_id, each.span.span_id) for each in quiet.spans)
    assert max(ids.values()) == 1
    assert {(len(trace), len(span)) for trace, span in ids} == {(16, 8)}


def test_every_parent_is_there(quiet: Run) -> None:
    spans = {(each.span.trace_id, each.span.span_id): each for each in quiet.spans}
    children = [each for each in settled(quiet) if each.span.parent_span_id]
    assert len(children) > 1_000
    for child in children:
        parent = spans[child.span.trace_id, child.span.parent_span_id]
        if parent.span.kind == Span.SPAN_KIND_PRODUCER:
            assert child.span.kind == Span.SPAN_KIND_CONSUMER
        elif child.span.kind == Span.SPAN_KIND_SERVER:
            assert parent.span.kind == Span.SPAN_KIND_CLIENT
            assert parent.resource["service.name"] != child.resource["service.name"]
        else:
            assert parent.resource["service.name"] == child.resource["service.name"]


def test_only_the_entry_and_consumers_of_their_own_trace_have_no_parent(quiet: Run) -> None:
    roots = {(each.resource["service.name"], each.span.kind) for each in quiet.spans if not each.span.parent_span_id}
    assert roots == {("storefront", Span.SPAN_KIND_SERVER), ("notification", Span.SPAN_KIND_CONSUMER)}


def test_children_run_within_their_parents(quiet: Run) -> None:
    spans = {(each.span.trace_id, each.span.span_id): each.span for each in quiet.spans}
    for each in settled(quiet):
        parent = spans.get((each.span.trace_id, each.span.parent_span_id))
        if parent is not None:
            assert parent.start_time_unix_nano <= each.span.start_time_unix_nano
            if each.span.kind != Span.SPAN_KIND_CONSUMER and parent.status.code != parent.status.STATUS_CODE_ERROR:  # a caller may give up earlier
                assert each.span.end_time_unix_nano <= parent.end_time_unix_nano + 1_000


def test_consumers_link_to_what_was_sent(quiet: Run) -> None:
    sent = {(each.span.trace_id, each.span.span_id) for each in quiet.spans if each.span.kind == Span.SPAN_KIND_PRODUCER}
    links = [link for each in settled(quiet) if each.span.kind == Span.SPAN_KIND_CONSUMER for link in each.span.links]
    assert links
    assert {(link.trace_id, link.span_id) for link in links} <= sent


def test_spans_are_sent_after_they_ended_and_soon(quiet: Run) -> None:
    for each in quiet.spans:
        assert each.span.start_time_unix_nano < each.span.end_time_unix_nano
        assert 0 <= each.sent_at - (each.start + each.seconds) <= 2.6


def test_attribute_names_are_those_of_the_conventions(quiet: Run) -> None:
    known = conventional_names() | OF_RECEIVERS
    used = {key for each in quiet.spans for key in (*each.attributes, *each.resource)} | {key for resource, _ in quiet.metrics for key in resource}
    assert used - known == set()


@pytest.mark.parametrize(
    ("service", "kind", "required"),
    [
        ("catalogue", Span.SPAN_KIND_SERVER, {"http.request.method", "http.route", "http.response.status_code"}),
        ("pricing", Span.SPAN_KIND_SERVER, {"rpc.system.name", "rpc.method", "rpc.response.status_code"}),
        ("account", Span.SPAN_KIND_SERVER, {"http.method", "http.route", "http.status_code"}),
        ("account", Span.SPAN_KIND_CLIENT, {"db.system", "db.name", "db.statement", "net.peer.name"}),
        ("inventory", Span.SPAN_KIND_CLIENT, {"db.system.name", "db.namespace", "db.query.text", "server.address"}),
        ("checkout", Span.SPAN_KIND_PRODUCER, {"messaging.system", "messaging.destination.name", "messaging.operation.type"}),
        ("fulfilment", Span.SPAN_KIND_CONSUMER, {"messaging.system", "messaging.destination.name", "messaging.consumer.group.name"}),
        ("payment", Span.SPAN_KIND_CLIENT, {"http.request.method", "server.address", "server.port", "url.full"}),
    ],
)
def test_a_span_says_what_its_convention_requires(quiet: Run, service: str, kind: Span.SpanKind.ValueType, required: set[str]) -> None:
    found = [each for each in quiet.spans if each.resource["service.name"] == service and each.span.kind == kind]
    assert found
    assert all(required <= each.attributes.keys() for each in found)


def test_failures_have_a_type_and_a_status() -> None:
    broken = live(20.0, fault="external_outage", inject_at=5.0)
    failed = [each for each in broken.spans if each.failed and each.resource["service.name"] in {"payment", "checkout"}]
    assert failed
    assert all("error.type" in each.attributes and each.span.status.message for each in failed)
    assert any(event.name == "exception" for each in broken.spans for event in each.span.events) or all(
        each.attributes.get("http.response.status_code") for each in failed
    )


def test_cumulative_counters_never_fall_except_by_a_restart(leaking: Run) -> None:
    series: dict[tuple[object, ...], list[tuple[int, int, float]]] = defaultdict(list)
    for resource, metric in leaking.metrics:
        points: list[tuple[NumberDataPoint | HistogramDataPoint, float]] = [(point, float(point.count)) for point in metric.histogram.data_points]
        points += [(point, point.as_double or float(point.as_int)) for point in metric.sum.data_points if metric.sum.is_monotonic]
        for point, value in points:
            key = (metric.name, *sorted(resource.items()), *sorted((pair.key, str(pair.value)) for pair in point.attributes))
            series[key].append((point.time_unix_nano, point.start_time_unix_nano, value))
    assert len(series) > 50
    restarts = 0
    for points_of_one in series.values():
        for (time, start, value), (next_time, next_start, next_value) in pairwise(points_of_one):
            assert time < next_time
            restarts += next_start > start
            assert next_value >= value or next_start > start
    assert restarts > 0


def test_histograms_add_up(quiet: Run) -> None:
    points = [point for _, metric in quiet.metrics for point in metric.histogram.data_points]
    assert points
    for point in points:
        assert sum(point.bucket_counts) == point.count
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1


def test_the_sdk_and_the_spans_count_the_same_requests(quiet: Run) -> None:
    counted: dict[str, int] = {}
    for resource, metric in quiet.metrics:
        if metric.name == "http.server.request.duration" and resource["service.name"] == "catalogue":
            counted[str(resource["k8s.pod.name"])] = sum(point.count for point in metric.histogram.data_points)
    served = sum(1 for _ in quiet.served("catalogue"))
    assert 0.7 * served < sum(counted.values()) <= served  # the last collection was up to ten seconds ago


def test_metrics_come_every_ten_seconds(quiet: Run) -> None:
    times = sorted(at for resource, at, _ in quiet.gauges("k8s.node.cpu.usage") if resource["k8s.node.name"] == "west-app-1")
    assert len(times) >= 4
    assert all(later - earlier == pytest.approx(10.0) for earlier, later in pairwise(times))


def test_log_lines_belong_to_spans(quiet: Run) -> None:
    spans = {(each.span.trace_id, each.span.span_id) for each in quiet.spans}
    written = [record for resource, record in quiet.logs if "service.name" in resource and record.time_unix_nano < START + 25 * SECOND]
    assert written
    assert all((record.trace_id, record.span_id) in spans for record in written)
