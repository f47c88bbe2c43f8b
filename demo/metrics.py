"""Metric points in the shapes of SDKs and of the Collector's receivers: kubeletstats, k8s_cluster, postgresql, redis, kafkametrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Histogram as HistogramData
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from demo import conventions
from demo.compute import Container, Node
from demo.kubernetes import Kubernetes
from demo.pods import Placement, Pod, Service
from demo.resources import DURATION_BOUNDS, Histogram
from demo.stores import Cache, Database, Topic
from demo.telemetry import Value, Words

MEBIBYTE = 1 << 20
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
Point = tuple[Mapping[str, Value], float]


class Meter:
    """Builds metrics of one collection. `start`, `now`: epoch nanoseconds of the series' start and of this collection."""

    def __init__(self, words: Words, start: int, now: int) -> None:
        self.words = words
        self.start = start
        self.now = now

    def resource(self, attributes: Mapping[str, Value], metrics: Iterable[Metric], scope: str) -> ResourceMetrics:
        """The metrics of one resource."""
        return self.of(Resource(attributes=self.words.pairs(attributes)), metrics, scope)

    def of(self, resource: Resource, metrics: Iterable[Metric], scope: str) -> ResourceMetrics:
        """The metrics of a resource already built."""
        scoped = ScopeMetrics(metrics=metrics)
        scoped.scope.name = scope
        return ResourceMetrics(resource=resource, scope_metrics=[scoped])

    def gauge(self, name: str, unit: str, *points: Point) -> Metric:
        """A level."""
        return Metric(name=name, unit=unit, gauge=Gauge(data_points=[self._number(point, start=0) for point in points]))

    def total(self, name: str, unit: str, *points: Point, monotonic: bool = True) -> Metric:
        """A cumulative sum; not monotonic: a level that was added up."""
        data = Sum(data_points=[self._number(point, self.start) for point in points], aggregation_temporality=CUMULATIVE, is_monotonic=monotonic)
        return Metric(name=name, unit=unit, sum=data)

    def histogram(self, name: str, unit: str, points: Sequence[tuple[Mapping[str, Value], Histogram]]) -> Metric:
        """Cumulative histograms."""
        data = [
            HistogramDataPoint(
                attributes=self._pairs(attributes),
                start_time_unix_nano=self.start,
                time_unix_nano=self.now,
                count=each.count,
                sum=each.sum,
                bucket_counts=each.counts,
                explicit_bounds=DURATION_BOUNDS,
            )
            for attributes, each in points
        ]
        return Metric(name=name, unit=unit, histogram=HistogramData(data_points=data, aggregation_temporality=CUMULATIVE))

    def _number(self, point: Point, start: int) -> NumberDataPoint:
        attributes, value = point
        pairs = self._pairs(attributes)
        if isinstance(value, int):
            return NumberDataPoint(attributes=pairs, start_time_unix_nano=start, time_unix_nano=self.now, as_int=value)
        return NumberDataPoint(attributes=pairs, start_time_unix_nano=start, time_unix_nano=self.now, as_double=value)

    def _pairs(self, attributes: Mapping[str, Value]) -> list[KeyValue]:
        return self.words.pairs(attributes)


def pod_metrics(meter: Meter, pod: Pod) -> ResourceMetrics:
    """What the SDK in a pod measures."""
    spec = pod.service.spec
    http = {"url.scheme": "http"}
    metrics = [
        meter.total("http.server.active_requests", "{request}", (http, pod.active), monotonic=False),
        meter.gauge("http.server.max_requests", "{request}", (http, pod.workers.line.size)),
    ]
    for rpc, name in ((False, "http.server.request.duration"), (True, "rpc.server.call.duration")):
        points = [
            (conventions.incoming(operation, status), each)
            for (operation, status), each in sorted(pod.durations.items())
            if conventions.is_rpc(operation) == rpc
        ]
        if points and not spec.old_names:
            metrics.append(meter.histogram(name, "s", points))
    if spec.consumer is not None:
        metrics = []
    if pod.pool is not None:
        named = {"db.client.connection.pool.name": f"{spec.database}-pool"}
        pool, state = pod.pool, "db.client.connection.state"
        used = (named | {state: "used"}, pool.used), (named | {state: "idle"}, max(pool.open - pool.used, 0))
        metrics += [
            meter.total("db.client.connection.count", "{connection}", *used, monotonic=False),
            meter.total("db.client.connection.max", "{connection}", (named, pool.size), monotonic=False),
            meter.total("db.client.connection.pending_requests", "{request}", (named, pool.pending), monotonic=False),
            meter.total("db.client.connection.timeouts", "{timeout}", (named, pool.timeouts)),
            meter.histogram("db.client.connection.wait_time", "s", [(named, pool.wait_time)]),
        ]
    return meter.of(pod.recorder.resource, metrics, "io.opentelemetry.runtime")


class Kubelet:
    """The node agent's kubeletstats (and cAdvisor's throttling), which needs what the counters said last time."""

    SCOPE = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/kubeletstatsreceiver"

    def __init__(self, node: Node, kubernetes: Kubernetes) -> None:
        self.node = node
        self.kubernetes = kubernetes
        self._last: dict[str, tuple[float, int, int]] = {}
        self._last_node = 0.0

    def collect(self, meter: Meter, interval: float) -> list[ResourceMetrics]:
        """The node, its pods and their containers."""
        node, used = self.node, self.node.cpu_seconds
        cores, self._last_node = max(used - self._last_node, 0.0) / interval, used
        memory = node.memory_used
        resource = {"k8s.cluster.name": node.cluster, "k8s.node.name": node.name}
        metrics = [
            meter.gauge("k8s.node.cpu.usage", "{cpu}", ({}, cores)),
            meter.gauge("k8s.node.cpu.utilization", "1", ({}, min(cores / node.cores, 1.0))),
            meter.gauge("k8s.node.memory.working_set", "By", ({}, round(memory * MEBIBYTE))),
            meter.gauge("k8s.node.memory.available", "By", ({}, round((node.memory - memory) * MEBIBYTE))),
            meter.gauge("k8s.node.memory.utilization", "1", ({}, memory / node.memory)),
        ]
        found = [meter.resource(resource, metrics, self.SCOPE)]
        for placement in self.kubernetes.placements:
            if placement.container.node is node:
                found += self._pod(meter, placement, interval)
        return found

    def _pod(self, meter: Meter, placement: Placement, interval: float) -> list[ResourceMetrics]:
        container, name = placement.container, placement.workload[1]
        last = self._last.get(placement.uid, (0.0, 0, 0))
        now = self._last[placement.uid] = container.cpu_seconds_now(), container.periods, container.throttled_periods
        cores = max(now[0] - last[0], 0.0) / interval
        pod = {
            "k8s.cluster.name": self.node.cluster,
            "k8s.namespace.name": self.kubernetes.namespace,
            "k8s.pod.name": placement.name,
            "k8s.pod.uid": placement.uid,
            "k8s.node.name": self.node.name,
        }
        whole = _usage(meter, "k8s.pod", container, cores)
        own = _usage(meter, "container", container, cores)
        if container.limit is not None and now[1] > last[1]:
            throttled = (now[2] - last[2]) / (now[1] - last[1])
            own.append(meter.gauge("container.cpu.throttling_ratio", "1", ({}, min(throttled, 1.0))))
        return [meter.resource(pod, whole, self.SCOPE), meter.resource(pod | {"k8s.container.name": name}, own, self.SCOPE)]


def _usage(meter: Meter, of: str, container: Container, cores: float) -> list[Metric]:
    share_of = "k8s.container" if of == "container" else of
    used = container.memory_used
    metrics = [
        meter.gauge(f"{of}.cpu.usage", "{cpu}", ({}, cores)),
        meter.gauge(f"{of}.memory.working_set", "By", ({}, round(used * MEBIBYTE))),
        meter.gauge(f"{share_of}.memory_limit_utilization", "1", ({}, min(used / container.memory_limit, 1.0))),
    ]
    if container.limit is not None:
        metrics.append(meter.gauge(f"{share_of}.cpu_limit_utilization", "1", ({}, cores / container.limit)))
    return metrics


def cluster_metrics(meter: Meter, kubernetes: Kubernetes, services: Mapping[str, Service]) -> list[ResourceMetrics]:
    """The k8s_cluster receiver: deployments, pods, containers and nodes as the API server knows them."""
    scope = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/k8sclusterreceiver"
    cluster = kubernetes.cluster
    namespace: dict[str, Value] = {"k8s.cluster.name": cluster, "k8s.namespace.name": kubernetes.namespace}
    found = [
        meter.resource({"k8s.cluster.name": cluster, "k8s.node.name": node.name}, [meter.gauge("k8s.node.condition_ready", "", ({}, int(node.ready)))], scope)
        for node in kubernetes.nodes
    ]
    for name, available in kubernetes.available(services).items():
        metrics = [
            meter.gauge("k8s.deployment.desired", "{pod}", ({}, kubernetes.desired[name])),
            meter.gauge("k8s.deployment.available", "{pod}", ({}, available)),
        ]
        found.append(meter.resource(namespace | {"k8s.deployment.name": name}, metrics, scope))
    for placement in kubernetes.placements:
        pod: dict[str, Value] = namespace | {"k8s.pod.name": placement.name, "k8s.pod.uid": placement.uid, "k8s.node.name": placement.container.node.name}
        found.append(meter.resource(pod, [meter.gauge("k8s.pod.phase", "", ({}, 2))], scope))
        own = pod | {"k8s.container.name": placement.workload[1]}
        if placement.last_reason:
            own["k8s.container.status.last_terminated_reason"] = placement.last_reason
        metrics = [
            meter.gauge("k8s.container.restarts", "{restart}", ({}, placement.restarts)),
            meter.gauge("k8s.container.ready", "", ({}, int(placement.ready))),
        ]
        if placement.container.limit is not None:
            metrics.append(meter.gauge("k8s.container.cpu_limit", "{cpu}", ({}, placement.container.limit)))
        found.append(meter.resource(own, metrics, scope))
    return found


def database_metrics(meter: Meter, database: Database, namespace: str) -> list[ResourceMetrics]:
    """The postgresql receiver: the server's limit, and its database; lock waits as a sqlquery receiver counts them in pg_locks."""
    spec = database.spec
    address = f"{spec.name}.{namespace}.svc.cluster.local"
    server: dict[str, Value] = {
        "k8s.cluster.name": spec.cluster,
        "k8s.namespace.name": namespace,
        "service.instance.id": f"{address}:{conventions.DATABASE_PORT}",
    }
    server |= {"server.address": address, "server.port": conventions.DATABASE_PORT}
    scope = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/postgresqlreceiver"
    mine = [
        meter.total("postgresql.backends", "1", ({}, database.connections), monotonic=False),
        meter.total("postgresql.commits", "1", ({}, database.commits)),
        meter.total("postgresql.rollbacks", "1", ({}, database.rollbacks)),
        meter.gauge("postgresql.locks.waiting", "{transaction}", ({}, database.locks.waiting)),
    ]
    return [
        meter.resource(server, [meter.gauge("postgresql.connection.max", "{connections}", ({}, spec.connection_limit))], scope),
        meter.resource(server | {"postgresql.database.name": spec.database}, mine, scope),
    ]


def cache_metrics(meter: Meter, cache: Cache, namespace: str) -> list[ResourceMetrics]:
    """The redis receiver."""
    address = f"{cache.spec.name}.{namespace}.svc.cluster.local"
    resource: dict[str, Value] = {"k8s.cluster.name": cache.spec.cluster, "k8s.namespace.name": namespace, "redis.version": "7.4.1"}
    resource |= {"server.address": address, "server.port": str(conventions.CACHE_PORT)}
    metrics = [
        meter.total("redis.keyspace.hits", "{hit}", ({}, cache.hits)),
        meter.total("redis.keyspace.misses", "{miss}", ({}, cache.misses)),
        meter.total("redis.commands.processed", "{command}", ({}, cache.commands)),
        meter.gauge("redis.db.keys", "{key}", ({"db": "0"}, cache.keys)),
    ]
    return [meter.resource(resource, metrics, "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/redisreceiver")]


def topic_metrics(meter: Meter, topic: Topic, namespace: str) -> list[ResourceMetrics]:
    """The kafkametrics receiver."""
    spec = topic.spec
    lags: list[Point] = [
        ({"group": group, "topic": spec.name, "partition": place}, partition.lag(group))
        for group in topic.groups
        for place, partition in enumerate(topic.partitions)
    ]
    ends: list[Point] = [({"topic": spec.name, "partition": place}, partition.end) for place, partition in enumerate(topic.partitions)]
    resource = {"k8s.cluster.name": spec.cluster, "k8s.namespace.name": namespace, "kafka.cluster.alias": spec.broker}
    metrics = [meter.gauge("kafka.consumer_group.lag", "1", *lags), meter.gauge("kafka.partition.current_offset", "1", *ends)]
    return [meter.resource(resource, metrics, "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/kafkametricsreceiver")]
