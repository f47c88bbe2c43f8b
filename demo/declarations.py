"""What an estate is made of, as frozen declarations: services, their operations and the steps these take, stores, nodes.

Times are milliseconds where the name says so, otherwise seconds; memory is MiB; CPU is cores.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Compute:
    """CPU work of about so many milliseconds on one core."""

    milliseconds: float


@dataclass(frozen=True, slots=True)
class Statement:
    """A query: what it costs the database's CPU and storage. `hot_rows`: it locks one of so many rows; the first is the most wanted."""

    summary: str
    text: str
    cpu_milliseconds: float
    io_milliseconds: float = 0.5
    hot_rows: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """Runs a statement on the service's database, over its connection pool."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class Keyspace:
    """Keys of a cache: how many there are, how uneven their popularity is (Zipf exponent), how long an entry lives."""

    name: str
    keys: int
    skew: float
    seconds_to_live: float


@dataclass(frozen=True, slots=True)
class Cached:
    """Reads `reads` keys through a cache; those it misses are read by `miss` and put in."""

    cache: str
    keyspace: Keyspace
    miss: Statement
    reads: int = 1


@dataclass(frozen=True, slots=True)
class Call:
    """Calls an operation of a service. `share`: in this share of requests; `optional`: the answer can do without."""

    service: str
    operation: str
    timeout: float = 2.0
    retries: int = 0
    share: float = 1.0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Together:
    """Calls at the same time; all are waited for."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class CallOutside:
    """Calls an operation of an external service over the internet."""

    host: str
    method: str
    path: str
    timeout: float = 3.0
    retries: int = 1


@dataclass(frozen=True, slots=True)
class Publish:
    """Publishes a message to a topic."""

    topic: str


Step = Compute | Query | Cached | Call | Together | CallOutside | Publish


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a service does on request. `name`: `METHOD /route`, or `package.Service/Method`; `log`: the line it writes, with fields."""

    name: str
    steps: tuple[Step, ...]
    log: str


@dataclass(frozen=True, slots=True)
class Consumer:
    """How a service works on the messages of a topic. `own_trace`: a new trace linked to the producer's, instead of going on in it."""

    topic: str
    group: str
    steps: tuple[Step, ...]
    log: str
    own_trace: bool = False


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A deployed service. `old_names`: it still sends the convention names of before version 1.20 or so; `exception`: what its failures are called.

    `database`: the one its queries go to; `holds_connection`: it keeps a pooled connection from its first query to the request's end.
    """

    name: str
    cluster: str
    version: str
    operations: tuple[Operation, ...] = ()
    consumer: Consumer | None = None
    replicas: int = 2
    cpu_limit: float = 0.5
    memory_limit: float = 512.0
    memory_base: float = 210.0
    workers: int = 24
    queue: int = 96
    database: str = ""
    database_address: str = ""
    pool_size: int = 10
    pool_patience: float = 2.0
    holds_connection: bool = False
    old_names: bool = False
    exception: str = "java.lang.IllegalStateException"
    start_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A machine of a cluster. `data`: it runs the stateful sets, and no service."""

    name: str
    cluster: str
    cores: float = 2.0
    memory: float = 8192.0
    data: bool = False


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """A PostgreSQL server with one database of interest."""

    name: str
    cluster: str
    database: str
    connection_limit: int = 100
    cores: float = 4.0


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """A Redis server."""

    name: str
    cluster: str


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A Kafka topic and the broker that holds it."""

    name: str
    broker: str
    cluster: str
    partitions: int = 4


@dataclass(frozen=True, slots=True)
class ExternalSpec:
    """A service of someone else."""

    host: str
    median_milliseconds: float
    error_share: float


@dataclass(frozen=True, slots=True)
class Visit:
    """What visitors ask of the entry service, and how often among all visits."""

    operation: str
    weight: float


@dataclass(frozen=True, slots=True)
class EstateSpec:
    """A whole estate. `namespace`: of Kubernetes and of the services; `rate`: visits per second."""

    namespace: str
    entry: str
    rate: float
    visits: tuple[Visit, ...]
    nodes: tuple[NodeSpec, ...]
    services: tuple[ServiceSpec, ...]
    databases: tuple[DatabaseSpec, ...]
    caches: tuple[CacheSpec, ...]
    topics: tuple[TopicSpec, ...]
    externals: tuple[ExternalSpec, ...]
