"""The measured quantities of entities, and the metrics each is read from (OpenTelemetry semantic conventions 1.44)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scale(StrEnum):
    """What a value means, and so which detector can judge it."""

    SHARE = "share"  # of a limit or capacity, 0..1
    RATIO = "ratio"  # a natural ratio, 0..1, such as a cache's hit ratio
    AMOUNT = "amount"  # any non-negative amount, compared with its own past
    COUNT = "count"  # events; the increase in a window is what matters
    STATE = "state"  # 1 good, 0 bad


@dataclass(frozen=True, slots=True)
class MetricSource:
    """One metric that shows an attribute. `where`: point attributes that must match; `limit_metric` divides the value;

    with `complement_metric` the attribute is increase / (increase + the complement's increase).
    """

    metric: str
    where: tuple[tuple[str, str], ...] = ()
    limit_metric: str = ""
    complement_metric: str = ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A quantity an entity can have. `kinds`: the entity kinds it is resolved to, the first present in the resource wins.

    `summed`: the entity's value is the sum over its series (partitions, pools), else their mean. `immaterial`: a difference, in the attribute's unit, that no one would act on; detectors take it for noise.
    """

    name: str
    unit: str
    scale: Scale
    kinds: tuple[str, ...]
    sources: tuple[MetricSource, ...]
    immaterial: float = 0.03
    summed: bool = False


def _any(*metrics: str) -> tuple[MetricSource, ...]:
    return tuple(MetricSource(metric) for metric in metrics)


CPU_LIMIT_SHARE = Attribute(
    "cpu_limit_share",
    "1",
    Scale.SHARE,
    ("container", "pod"),
    _any("k8s.container.cpu_limit_utilization", "k8s.pod.cpu_limit_utilization", "container.cpu.limit_utilization"),
)
CPU_THROTTLED_SHARE = Attribute(
    "cpu_throttled_share", "1", Scale.SHARE, ("container", "pod"), _any("container.cpu.throttling_ratio", "k8s.container.cpu.throttled_ratio")
)
MEMORY_LIMIT_SHARE = Attribute(
    "memory_limit_share", "1", Scale.SHARE, ("container", "pod"), _any("k8s.container.memory_limit_utilization", "k8s.pod.memory_limit_utilization")
)
RESTARTS = Attribute("restarts", "{restart}", Scale.COUNT, ("container",), _any("k8s.container.restarts", "k8s.container.restart.count"), immaterial=0.2)
CONTAINER_READY = Attribute("container_ready", "1", Scale.STATE, ("container",), _any("k8s.container.ready"))
POD_READY = Attribute("pod_ready", "1", Scale.STATE, ("pod",), _any("k8s.pod.ready"))
POD_PHASE = Attribute("pod_phase", "1", Scale.AMOUNT, ("pod",), _any("k8s.pod.phase"))
AVAILABLE_REPLICAS = Attribute(
    "available_replicas",
    "{pod}",
    Scale.AMOUNT,
    ("workload",),
    _any("k8s.deployment.available", "k8s.deployment.pod.available", "k8s.statefulset.ready_pods", "k8s.statefulset.pod.ready"),
    immaterial=0.3,
)
DESIRED_REPLICAS = Attribute(
    "desired_replicas",
    "{pod}",
    Scale.AMOUNT,
    ("workload",),
    _any("k8s.deployment.desired", "k8s.deployment.pod.desired", "k8s.statefulset.desired_pods", "k8s.statefulset.pod.desired"),
    immaterial=0.3,
)
NODE_CPU_SHARE = Attribute("node_cpu_share", "1", Scale.SHARE, ("node",), _any("k8s.node.cpu.utilization", "system.cpu.utilization"))
NODE_MEMORY_SHARE = Attribute("node_memory_share", "1", Scale.SHARE, ("node",), _any("k8s.node.memory.utilization", "system.memory.utilization"))
NODE_READY = Attribute("node_ready", "1", Scale.STATE, ("node",), _any("k8s.node.condition_ready", "k8s.node.condition.ready"))
NODE_DISK_SHARE = Attribute("node_disk_share", "1", Scale.SHARE, ("node",), _any("k8s.node.filesystem.utilization", "system.filesystem.utilization"))
POOL_USE_SHARE = Attribute(
    "pool_use_share",
    "1",
    Scale.SHARE,
    ("service",),
    (
        MetricSource("db.client.connection.count", (("db.client.connection.state", "used"),), "db.client.connection.max"),
        MetricSource("db.client.connections.usage", (("state", "used"),), "db.client.connections.max"),
    ),
)
POOL_PENDING = Attribute(
    "pool_pending",
    "{request}",
    Scale.AMOUNT,
    ("service",),
    _any("db.client.connection.pending_requests", "db.client.connections.pending_requests"),
    immaterial=1.0,
    summed=True,
)
POOL_WAIT = Attribute("pool_wait", "s", Scale.AMOUNT, ("service",), _any("db.client.connection.wait_time", "db.client.connections.wait_time"), immaterial=0.01)
DATABASE_CONNECTION_SHARE = Attribute(
    "connection_share",
    "1",
    Scale.SHARE,
    ("database",),
    (MetricSource("postgresql.backends", (), "postgresql.connection.max"), MetricSource("mysql.threads", (("kind", "connected"),), "mysql.connection.max")),
)
DATABASE_LOCK_WAITS = Attribute(
    "lock_waits", "{wait}", Scale.AMOUNT, ("database",), _any("postgresql.locks.waiting", "mysql.innodb.row_lock_waits"), immaterial=0.5
)
DATABASE_CPU_SHARE = Attribute("database_cpu_share", "1", Scale.SHARE, ("database",), _any("db.server.cpu.utilization"))
HIT_RATIO = Attribute(
    "hit_ratio", "1", Scale.RATIO, ("cache",), (MetricSource("redis.keyspace.hits", complement_metric="redis.keyspace.misses"),), immaterial=0.05
)
DEADLOCKS = Attribute("deadlocks", "{deadlock}", Scale.COUNT, ("database",), _any("postgresql.deadlocks"), immaterial=0.2)
NETWORK_ERRORS = Attribute(
    "network_errors",
    "{error}",
    Scale.COUNT,
    ("pod", "node"),
    _any("k8s.pod.network.errors", "k8s.node.network.errors", "system.network.errors"),
    immaterial=1.0,
)
IN_SYNC_SHARE = Attribute("in_sync_share", "1", Scale.RATIO, ("topic",), (MetricSource("kafka.partition.replicas_in_sync", (), "kafka.partition.replicas"),))
EVICTIONS = Attribute("evictions", "{key}", Scale.COUNT, ("cache",), _any("redis.keys.evicted"), immaterial=1.0)
CACHE_MEMORY_SHARE = Attribute("cache_memory_share", "1", Scale.SHARE, ("cache",), (MetricSource("redis.memory.used", (), "redis.maxmemory"),))
CONSUMER_LAG = Attribute(
    "consumer_lag",
    "{message}",
    Scale.AMOUNT,
    ("topic", "queue"),
    _any("kafka.consumer_group.lag", "kafka.consumer_group.lag_sum", "rabbitmq.message.current"),
    immaterial=5.0,
    summed=True,
)
WORKER_USE_SHARE = Attribute("worker_use_share", "1", Scale.SHARE, ("service",), (MetricSource("http.server.active_requests", (), "http.server.max_requests"),))
SUCCESS_RATIO = Attribute("success_ratio", "1", Scale.RATIO, ("service",), _any("http.server.request.success_ratio"))
SERVER_DURATION = Attribute(
    "server_duration",
    "s",
    Scale.AMOUNT,
    ("service",),
    _any("http.server.request.duration", "http.server.duration", "rpc.server.duration", "rpc.server.call.duration"),
    immaterial=0.0005,
)
HEAP_SHARE = Attribute(
    "heap_share",
    "1",
    Scale.SHARE,
    ("service",),
    (
        MetricSource("jvm.memory.used", (("jvm.memory.type", "heap"),), "jvm.memory.limit"),
        MetricSource("process.runtime.jvm.memory.usage", (("type", "heap"),), "process.runtime.jvm.memory.limit"),
    ),
)
GC_TIME_SHARE = Attribute("gc_time_share", "1", Scale.SHARE, ("service",), _any("jvm.gc.overhead"))

ATTRIBUTES: dict[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        CPU_LIMIT_SHARE, CPU_THROTTLED_SHARE, MEMORY_LIMIT_SHARE, RESTARTS, CONTAINER_READY, POD_READY, POD_PHASE, AVAILABLE_REPLICAS,
        DESIRED_REPLICAS, NODE_CPU_SHARE, NODE_MEMORY_SHARE, NODE_READY, NODE_DISK_SHARE, POOL_USE_SHARE, POOL_PENDING, POOL_WAIT,
        DATABASE_CONNECTION_SHARE, DATABASE_LOCK_WAITS, DATABASE_CPU_SHARE, DEADLOCKS, NETWORK_ERRORS, IN_SYNC_SHARE, HIT_RATIO, EVICTIONS, CACHE_MEMORY_SHARE, CONSUMER_LAG,
        WORKER_USE_SHARE, SUCCESS_RATIO, SERVER_DURATION, HEAP_SHARE, GC_TIME_SHARE,
    )
}  # fmt: skip
