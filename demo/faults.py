"""The faults of the demo. Each changes a mechanism of the estate, never a piece of telemetry, and says what is truly broken.

Where it hits and how hard is drawn from the run's seed, among targets and magnitudes an on-call engineer would be paged for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from demo.compute import Container
from demo.pods import Service
from demo.simulation import Steps
from demo.stores import Database
from demo.world import World


@dataclass(frozen=True, slots=True)
class Truth:
    """What is broken: the identities (`kind:cluster/namespace/name`) any of which is a right answer, and the defect."""

    entities: tuple[str, ...]
    defect: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to break the estate. `inject` breaks it now and returns the truth."""

    name: str
    summary: str
    inject: Callable[[World, Random], Truth]


def _slow_query(world: World, random: Random) -> Truth:
    name, summary = random.choice((("catalogue-db", "SELECT products categories"), ("orders-db", "SELECT stock"), ("catalogue-db", "SELECT prices")))
    world.databases[name].slower[summary] = random.uniform(18.0, 35.0)
    return Truth((database_identity(world, world.databases[name]),), "slow_query")


def _lock_contention(world: World, random: Random) -> Truth:
    database = world.databases["orders-db"]
    held, pause = random.uniform(1.5, 2.6), random.uniform(0.2, 0.6)
    for row in ("stock/0", "stock/1"):
        world.simulation.spawn(_hold_for_ever(database, row, held, pause))
    return Truth((database_identity(world, database),), "lock_contention")


def _hold_for_ever(database: Database, row: str, held: float, pause: float) -> Steps:
    while True:
        yield from database.hold_row(row, held)
        yield pause


def _connection_pool_too_small(world: World, _: Random) -> Truth:
    service = world.services["checkout"]
    service.resize_pools(1)
    return Truth((service_identity(world, service),), "connection_pool_exhausted")


def _cpu_contention(world: World, random: Random) -> Truth:
    service = world.services[random.choice(("search", "catalogue", "recommendation"))]
    used = _cores_used(world, service)
    service.cpu_limit = used * random.uniform(0.95, 1.1)
    for pod in service.pods:
        pod.container.set_limit(service.cpu_limit)
    workload = f"workload:{service.spec.cluster}/{world.spec.namespace}/{service.spec.name}"
    return Truth((workload, *(_container_identity(world, service, pod.container, pod.placement.name) for pod in service.pods)), "cpu_limit_too_low")


def _noisy_neighbour(world: World, random: Random) -> Truth:
    node = random.choice([node for node in world.nodes if not node.data and len({each.name for each in node.containers}) >= 3])
    kubernetes = world.clusters[node.cluster]
    name = f"nightly-report-{random.randrange(28_000_000, 29_000_000)}"
    placement = kubernetes.place(f"{name}-x7k2p", ("Job", "nightly-report"), node, limit=None, weight=random.uniform(6.0, 10.0), memory=(1024.0, 400.0))
    for _ in range(random.randrange(6, 11)):
        world.simulation.spawn(_burn(placement.container))
    return Truth((f"node:{node.cluster}//{node.name}",), "cpu_saturated")


def _burn(container: Container) -> Steps:
    while True:
        yield from container.work(0.25)


def _memory_leak(world: World, random: Random) -> Truth:
    service = world.services[random.choice(("catalogue", "pricing", "search"))]
    spec = service.spec
    per_second = _requests_per_second(world, service) / max(len(service.pods), 1)
    seconds_to_limit = random.uniform(70.0, 110.0)
    service.change_behaviour(leak=(spec.memory_limit - spec.memory_base) / (seconds_to_limit * per_second))
    return Truth((service_identity(world, service),), "memory_leak")


def _bad_deploy(world: World, random: Random) -> Truth:
    service = world.services[random.choice(("catalogue", "cart", "pricing", "inventory", "account"))]
    share = random.uniform(0.25, 0.55)
    behaviour = replace(service.behaviour, version=next_version(service), error_share=share, error_message="missing field 'currency' in stored document")
    world.simulation.spawn(world.clusters[service.spec.cluster].roll_out(service, behaviour))
    return Truth((service_identity(world, service),), "code_regression")


def _slow_deploy(world: World, random: Random) -> Truth:
    service = world.services[random.choice(("recommendation", "search", "cart", "shipping", "catalogue"))]
    behaviour = replace(service.behaviour, version=next_version(service), wait=random.uniform(0.15, 0.35), cpu_factor=1.3)
    world.simulation.spawn(world.clusters[service.spec.cluster].roll_out(service, behaviour))
    return Truth((service_identity(world, service),), "slow_code")


def _network_delay(world: World, random: Random) -> Truth:
    caller, callee = random.choice(
        (("storefront", "catalogue"), ("storefront", "account"), ("catalogue", "pricing"), ("checkout", "cart"), ("cart", "inventory"))
    )
    world.network.added[caller, callee] = random.uniform(0.06, 0.15)
    spec = world.services[caller].spec
    return Truth((f"network_path:{spec.cluster}/{world.spec.namespace}/{caller}->{callee}",), "network_delay")


def _slow_consumer(world: World, random: Random) -> Truth:
    service = world.services[random.choice(("fulfilment", "notification"))]
    service.change_behaviour(wait=random.uniform(0.9, 1.4))
    return Truth((service_identity(world, service),), "slow_consumer")


def _cache_flush(world: World, random: Random) -> Truth:
    cache = world.caches["product-cache"]
    world.simulation.spawn(_flush_again_and_again(world, random.uniform(8.0, 14.0)))
    return Truth((f"cache:{cache.spec.cluster}/{world.spec.namespace}/{cache.spec.name}",), "cold_cache")


def _flush_again_and_again(world: World, every: float) -> Steps:
    while True:
        world.caches["product-cache"].flush()
        yield every


def _node_down(world: World, random: Random) -> Truth:
    node = random.choice([node for node in world.nodes if not node.data])
    world.simulation.spawn(world.clusters[node.cluster].node_dies(node))
    return Truth((f"node:{node.cluster}//{node.name}",), "down")


def _external_outage(world: World, random: Random) -> Truth:
    external = next(iter(world.externals.values()))
    external.outage, external.outage_share = random.choice(("refuses", "silent")), random.uniform(0.8, 1.0)
    return Truth((f"external_service://{external.spec.host}",), "outage")


def _traffic_surge(world: World, random: Random) -> Truth:
    world.rate = world.spec.rate * random.uniform(3.2, 4.2)
    return Truth((service_identity(world, world.services[world.spec.entry]),), "traffic_surge")


FAULTS: tuple[Fault, ...] = (
    Fault("slow_query", "A lost index makes one query scan its table.", _slow_query),
    Fault("lock_contention", "A maintenance job keeps transactions open on the rows everybody updates.", _lock_contention),
    Fault("connection_pool_too_small", "A configuration reload leaves checkout one database connection per pod.", _connection_pool_too_small),
    Fault("cpu_contention", "A service's CPU limit is resized below what it needs.", _cpu_contention),
    Fault("noisy_neighbour", "A batch job without a limit takes a node's CPU.", _noisy_neighbour),
    Fault("memory_leak", "A service loses memory with each request until the kernel kills it.", _memory_leak),
    Fault("bad_deploy", "A new version fails a share of its requests.", _bad_deploy),
    Fault("slow_deploy", "A new version waits on something needless in its own code.", _slow_deploy),
    Fault("network_delay", "Packets between two services take far longer than they did.", _network_delay),
    Fault("slow_consumer", "A consumer works on messages more slowly than they come.", _slow_consumer),
    Fault("cache_flush", "A runaway script flushes the cache over and over.", _cache_flush),
    Fault("node_down", "A machine dies with the pods on it.", _node_down),
    Fault("external_outage", "The payment provider stops answering.", _external_outage),
    Fault("traffic_surge", "Several times as many visitors come.", _traffic_surge),
)


def fault_named(name: str) -> Fault | None:
    """The fault of that name."""
    return next((fault for fault in FAULTS if fault.name == name), None)


def service_identity(world: World, service: Service) -> str:
    """How the service is named everywhere."""
    return f"service:{service.spec.cluster}/{world.spec.namespace}/{service.spec.name}"


def database_identity(world: World, database: Database) -> str:
    """How the database is named everywhere."""
    return f"database:{database.spec.cluster}/{world.spec.namespace}/{database.spec.name}/{database.spec.database}"


def _container_identity(world: World, service: Service, container: Container, pod: str) -> str:
    return f"container:{service.spec.cluster}/{world.spec.namespace}/{pod}/{container.name}"


def next_version(service: Service) -> str:
    """The version after the one it runs."""
    major, minor, _ = service.behaviour.version.split(".")
    return f"{major}.{int(minor) + 1}.0"


def _cores_used(world: World, service: Service) -> float:
    """Cores a pod of the service has used on average since it started."""
    return sum(pod.container.cpu_seconds_now() for pod in service.pods) / len(service.pods) / max(world.simulation.now, 1.0)


def _requests_per_second(world: World, service: Service) -> float:
    served = sum(histogram.count for pod in service.pods for histogram in pod.durations.values())
    return max(served / max(world.simulation.now, 1.0), 0.1)
