"""From metric points to samples of attributes and sums of requests."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ingest.otlp.decode_metrics import decode_metrics
from schema.batches import MetricBatch
from schema.identity import EntityRef
from tests.ingest.telemetry import SECOND, START, Estate, batch, pairs, service, span

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
CART = service("cart")
SERVICE = {"service.name": "cart", "service.namespace": "shop", "k8s.cluster.name": "c1"}
POD = {"k8s.cluster.name": "c1", "k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.container.name": "app"}
CONTAINER = EntityRef("container", "c1", "shop", "cart-1/app")
Point = tuple[Mapping[str, str | int], float, float]


def _points(points: tuple[Point, ...]) -> list[NumberDataPoint]:
    return [NumberDataPoint(time_unix_nano=START + round(at * SECOND), as_double=value, attributes=pairs(labels)) for labels, at, value in points]


def gauge(name: str, *points: Point) -> Metric:
    return Metric(name=name, gauge=Gauge(data_points=_points(points)))


def total(name: str, *points: Point, monotonic: bool = True) -> Metric:
    return Metric(name=name, sum=Sum(data_points=_points(points), is_monotonic=monotonic, aggregation_temporality=CUMULATIVE))


def durations(name: str, unit: str, *points: tuple[float, int, float]) -> Metric:
    data = [HistogramDataPoint(time_unix_nano=START + round(at * SECOND), count=count, sum=total) for at, count, total in points]
    return Metric(name=name, unit=unit, histogram=Histogram(data_points=data, aggregation_temporality=CUMULATIVE))


def metrics(resource: Mapping[str, str], *each: Metric) -> MetricBatch:
    decoded, refused = decode_metrics(
        ExportMetricsServiceRequest(
            resource_metrics=[ResourceMetrics(resource=Resource(attributes=pairs(resource)), scope_metrics=[ScopeMetrics(metrics=each)])]
        )
    )
    assert not refused.count
    return decoded


def samples(estate: Estate) -> dict[tuple[EntityRef, str], list[float]]:
    """The means of each window."""
    found: dict[tuple[EntityRef, str], list[float]] = {}
    for closed in estate.windows:
        table = closed.window.samples
        for entity, attribute, mean in zip(table.entity.tolist(), table.attribute.tolist(), table.mean.tolist(), strict=True):
            found.setdefault((estate.graph.ref(entity), table.attributes[attribute]), []).append(mean)
    return found


def test_a_share_of_a_limit_is_taken_pool_by_pool_whichever_comes_first() -> None:
    used, name = {"db.client.connection.state": "used"}, "db.client.connection.pool.name"
    estate = Estate()
    estate.send(
        metrics(
            SERVICE,
            total("db.client.connection.count", ({**used, name: "a"}, 1, 9), ({**used, name: "b"}, 1, 10), monotonic=False),
            total("db.client.connection.count", ({"db.client.connection.state": "idle", name: "a"}, 1, 1), monotonic=False),
            total("db.client.connection.max", ({name: "a"}, 2, 10), ({name: "b"}, 2, 100), monotonic=False),
        )
    )
    assert samples(estate.finish())[CART, "pool_use_share"] == [pytest.approx((0.9 + 0.1) / 2)]


def test_metrics_of_the_old_conventions_show_the_same_attributes() -> None:
    estate = Estate()
    estate.send(
        metrics(
            SERVICE,
            total("db.client.connections.usage", ({"state": "used", "pool.name": "a"}, 1, 3), ({"state": "idle", "pool.name": "a"}, 1, 7), monotonic=False),
            total("db.client.connections.max", ({"pool.name": "a"}, 1, 10), monotonic=False),
            total("db.client.connections.pending_requests", ({"pool.name": "a"}, 1, 2), monotonic=False),
            total("process.runtime.jvm.memory.usage", ({"type": "heap", "pool": "old"}, 1, 50), ({"type": "non_heap"}, 1, 5), monotonic=False),
            total("process.runtime.jvm.memory.limit", ({"type": "heap", "pool": "old"}, 1, 200), monotonic=False),
        ),
        metrics(SERVICE, durations("db.client.connections.wait_time", "ms", (1, 10, 40.0))),
        metrics(SERVICE, durations("db.client.connections.wait_time", "ms", (6, 20, 240.0))),
    )
    found = {attribute: values for (_, attribute), values in samples(estate.finish()).items()}
    assert found == {"pool_use_share": [0.3], "pool_pending": [2.0], "heap_share": [0.25], "pool_wait": [pytest.approx(0.02)]}


def test_a_sum_that_may_fall_is_a_level_and_one_that_may_not_is_what_it_grew_by() -> None:
    estate = Estate()
    for at, pending in ((1, 3.0), (6, 5.0), (11, 2.0)):
        estate.send(metrics(SERVICE, total("db.client.connection.pending_requests", ({}, at, pending), monotonic=False)))
        estate.send(metrics(POD, gauge("k8s.container.restarts", ({}, at, 4.0 if at < 10 else 6.0))))
    found = samples(estate.finish())
    assert found[CART, "pool_pending"] == [3.0, 5.0, 2.0]
    assert found[CONTAINER, "restarts"] == [0.0, 0.0, 2.0]


def test_a_counter_that_was_reset_grew_by_what_is_there_now() -> None:
    estate = Estate()
    for at, restarts in ((1, 10.0), (6, 3.0)):
        estate.send(metrics(POD, gauge("k8s.container.restarts", ({}, at, restarts))))
    assert samples(estate.finish())[CONTAINER, "restarts"] == [0.0, 3.0]


def test_a_hit_ratio_is_hits_among_hits_and_misses_of_the_window() -> None:
    estate = Estate()
    for at, hits, misses in ((1, 1000.0, 1000.0), (6, 1030.0, 1010.0)):
        cache = {"k8s.cluster.name": "c1", "k8s.namespace.name": "shop", "server.address": "carts"}
        estate.send(metrics(cache, total("redis.keyspace.hits", ({}, at, hits)), total("redis.keyspace.misses", ({}, at, misses))))
    ((key, values),) = samples(estate.finish()).items()
    assert (key[0].kind, key[1], values) == ("cache", "hit_ratio", [0.75])


@pytest.mark.parametrize(("name", "unit", "one_second"), [("http.server.request.duration", "s", 1.0), ("http.server.duration", "ms", 1000.0)])
def test_requests_of_a_service_without_spans_are_summed_from_its_own_metrics(name: str, unit: str, one_second: float) -> None:
    estate = Estate()
    estate.send(metrics(SERVICE, durations(name, unit, (1, 100, 50 * one_second))), metrics(SERVICE, durations(name, unit, (6, 110, 53 * one_second))))
    assert estate.finish().requests(CART) == {"requests": 10, "errors": 0, "own_errors": 0, "duration": 3 * SECOND, "own": 0}
    assert not estate.windows[-1].window.requests.detailed.any()


def test_requests_of_a_service_with_spans_are_not_counted_a_second_time_from_metrics() -> None:
    estate = Estate()
    estate.send(batch(span("cart", 1, 0, 1.0, 2.0)), metrics(SERVICE, durations("http.server.request.duration", "s", (1, 100, 50.0))))
    estate.send(metrics(SERVICE, durations("http.server.request.duration", "s", (6, 110, 53.0))))
    assert estate.finish().requests(CART)["requests"] == 1


def test_service_graph_metrics_make_calls_that_no_span_shows() -> None:
    ends = {"client": "front", "server": "cart"}
    estate = Estate()
    for at, calls in ((1, 100.0), (6, 130.0)):
        estate.send(metrics({"k8s.cluster.name": "c1", "k8s.namespace.name": "shop"}, total("traces_service_graph_request_total", (ends, at, calls))))
    ((key, sums),) = estate.finish().calls().items()
    assert (key[0].name, key[1], key[2].name, sums["calls"]) == ("front", "calls", "cart", 30)
    (relation,) = estate.graph.relations(kind="calls")
    assert relation.sources == ("otlp.metrics",)


def test_a_metric_that_nothing_reads_is_counted() -> None:
    estate = Estate()
    estate.send(metrics(SERVICE, gauge("weather.temperature", ({}, 1, 20.0))))
    assert estate.finish().assembler.dropped == {"unknown_metric": 1}


@pytest.mark.parametrize("seconds", [1e300, -1e300])
def test_a_value_that_no_window_holds_is_refused_and_counted(seconds: float) -> None:
    estate = Estate()
    for at, total_seconds in ((1, 0.0), (6, seconds), (11, -seconds)):
        estate.send(metrics(SERVICE, durations("http.server.request.duration", "s", (at, 10 * at, total_seconds))))
    assert estate.finish().requests(CART)["requests"] == 0
    assert estate.assembler.dropped == {"implausible_value": 2}


def test_sums_beyond_the_columns_range_end_at_its_bound() -> None:
    estate = Estate()
    estate.send(batch(*(span("cart", at, 0, -1_600_000_000, 2_800_000_000, trace=at) for at in range(1, 5))))
    assert estate.finish(1e10).requests(CART)["duration"] == (1 << 63) - 1
