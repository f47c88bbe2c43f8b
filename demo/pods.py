"""Services and the pods that run them: workers, a connection pool, memory that grows, processes that die and start again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from demo.compute import Container
from demo.declarations import Operation, ServiceSpec
from demo.resources import ConnectionPool, Histogram, Workers
from demo.simulation import Process, SimulatedFailure, Simulation, Steps
from demo.stores import Database
from demo.telemetry import Recorder

COLD_SECONDS = 12.0
COLD_SLOWNESS = 1.5
PRESSURE_FROM = 0.85


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a version of a service's code behaves. `wait`: median seconds its own code idles per request; `leak`: MiB lost per request."""

    version: str
    cpu_factor: float = 1.0
    wait: float = 0.0
    error_share: float = 0.0004
    error_message: str = "unexpected state"
    leak: float = 0.0


@dataclass(slots=True)
class Placement:
    """A pod with one container, as Kubernetes sees it. `ready`: as its kubelet last said; `workload`: kind and name of what owns it."""

    name: str
    uid: str
    ip: str
    workload: tuple[str, str]
    container: Container
    ready: bool = True
    restarts: int = 0
    last_reason: str = ""
    pod: Pod | None = None


class Pod:
    """One replica of a service. `running`: its process serves; `listed`: callers are sent to it."""

    def __init__(self, service: Service, placement: Placement, recorder: Recorder, behaviour: Behaviour) -> None:
        self.service = service
        self.placement = placement
        placement.pod = self
        self.container = placement.container
        self.simulation: Simulation = self.container.simulation
        self.recorder = recorder
        self.behaviour = behaviour
        self.running = False
        self.listed = False
        self.started_at = self.simulation.now
        self.active = 0
        self.durations: dict[tuple[str, int], Histogram] = {}
        self.workers = self._new_workers()
        self.pool: ConnectionPool | None = None
        self.on_out_of_memory: Callable[[Pod], None] = lambda _: None
        self.flush: Callable[[], None] = lambda: None  # sends the telemetry recorded so far
        self._processes: dict[Process, None] = {}

    def start(self, *, warm: bool = False) -> None:
        """Its process begins to serve; cold unless `warm`."""
        spec, database = self.service.spec, self.service.database
        self.running = self.listed = self.placement.ready = True
        self.started_at = self.simulation.now - (COLD_SECONDS * 10 if warm else 0.0)
        self.container.memory_grown = self.container.memory_held = 0.0
        self.active = 0
        self.durations = {}
        self.workers = self._new_workers()
        if database is not None:
            self.pool = ConnectionPool(
                self.simulation, self.service.pool_size, patience=spec.pool_patience, connect=database.connect, close=database.disconnect
            )
        for steps in self.service.background:
            self.adopt(self.simulation.spawn(steps(self)))

    def die(self, failure: SimulatedFailure | None) -> None:
        """Its process ends: requests in flight fail (or just never answer), telemetry not yet sent is lost."""
        self.running = False
        for process in list(self._processes):
            process.kill(failure)
        self._processes.clear()
        self.container.stop_work()
        if self.pool is not None:
            self.pool.drop_all()
        self.recorder.take()
        self.active = 0

    def adopt(self, process: Process) -> None:
        """A process that dies with the pod."""
        self._processes[process] = None

    def release(self, process: Process) -> None:
        """A process that goes on without the pod, or has ended."""
        self._processes.pop(process, None)

    def compute(self, cpu_seconds: float) -> Steps:
        """CPU work of its code: slower while it is cold, and when memory runs short and the collector works hard."""
        cold = max(0.0, 1.0 - (self.simulation.now - self.started_at) / COLD_SECONDS) * COLD_SLOWNESS
        pressure = max(0.0, self.container.memory_used / self.container.memory_limit - PRESSURE_FROM) / (1.0 - PRESSURE_FROM)
        yield from self.container.work(cpu_seconds * self.behaviour.cpu_factor * (1.0 + cold + 2.0 * pressure**2))

    def hold_memory(self, mebibytes: float) -> None:
        """Takes memory (or gives it back); past the limit the kernel kills the process."""
        container = self.container
        container.memory_held = max(container.memory_held + mebibytes, 0.0)
        if mebibytes > 0:
            container.memory_grown += self.behaviour.leak
        if container.memory_used > container.memory_limit and self.running:
            self.simulation.soon(self._out_of_memory)

    def record(self, operation: str, status: int, seconds: float) -> None:
        """Counts a served request in the SDK's histogram."""
        histogram = self.durations.get((operation, status))
        if histogram is None:
            histogram = self.durations[operation, status] = Histogram()
        histogram.record(seconds)

    def _out_of_memory(self, _: None) -> None:
        if self.running:
            self.on_out_of_memory(self)

    def _new_workers(self) -> Workers:
        return Workers(self.simulation, self.service.spec.workers, self.service.spec.queue)


class Service:
    """A deployed service and its pods."""

    def __init__(self, spec: ServiceSpec, database: Database | None, random: Random) -> None:
        self.spec = spec
        self.database = database
        self.random = random
        self.behaviour = Behaviour(spec.version)
        self.pool_size = spec.pool_size
        self.cpu_limit = spec.cpu_limit
        self.pods: list[Pod] = []
        self.operations: dict[str, Operation] = {operation.name: operation for operation in spec.operations}
        self.background: list[Callable[[Pod], Steps]] = []  # what each of its pods does besides serving

    def choose(self) -> Pod | None:
        """The pod the next call is sent to."""
        listed = [pod for pod in self.pods if pod.listed]
        return self.random.choice(listed) if listed else None

    def change_behaviour(self, **changes: float | str) -> None:
        """Every pod's code behaves differently from now on, as by a switch."""
        self.behaviour = replace(self.behaviour, **changes)  # type: ignore[arg-type]  # the fields are floats and texts
        for pod in self.pods:
            pod.behaviour = replace(pod.behaviour, **changes)  # type: ignore[arg-type]  # as above

    def resize_pools(self, size: int) -> None:
        """Every pod reloads its configuration with another pool size."""
        self.pool_size = size
        for pod in self.pods:
            if pod.pool is not None:
                pod.pool.resize(size)
