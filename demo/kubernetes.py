"""What Kubernetes does: it places pods, restarts containers, rolls out versions, notices dead nodes, and writes events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from demo.compute import Container, Node
from demo.declarations import ServiceSpec
from demo.pods import Behaviour, Placement, Pod, Service
from demo.simulation import SimulatedFailure, Simulation, Steps
from demo.telemetry import Clock, Recorder, Value, Words

LETTERS = "bcdfghjklmnpqrstvwxz2456789"
RESET = SimulatedFailure("ConnectionResetError", "connection reset by peer")
NOTICED_AFTER = 1.5  # until a dead container's pod is taken off the endpoints
GRACE_PERIOD = 20.0  # until a silent node counts as not ready
EVICTED_AFTER = 90.0  # from then until its pods are made anew elsewhere
DRAIN = 2.0
TO_NODE = 1.0


class Kubernetes:
    """The control plane of one cluster."""

    def __init__(self, simulation: Simulation, cluster: str, namespace: str, nodes: Sequence[Node], clock: Clock, words: Words, random: Random) -> None:
        self.simulation = simulation
        self.cluster = cluster
        self.namespace = namespace
        self.nodes = list(nodes)
        self.placements: list[Placement] = []
        self.events: list[tuple[dict[str, Value], LogRecord]] = []
        self.desired: dict[str, int] = {}
        self.random = random
        self._clock = clock
        self._words = words
        self._hashes: dict[str, str] = {}
        self._addresses: dict[str, int] = {}
        self._new_recorder: Callable[[Service, Placement, Behaviour], Recorder] | None = None

    def records_with(self, new_recorder: Callable[[Service, Placement, Behaviour], Recorder]) -> None:
        """How the SDK of a new pod is made."""
        self._new_recorder = new_recorder

    def deploy(self, service: Service, nodes: Sequence[Node]) -> None:
        """A service that has run for long: one warm pod on each of `nodes`."""
        self.desired[service.spec.name] = len(nodes)
        self._hashes[service.spec.name] = self._letters(9)
        for node in nodes:
            self.add_pod(service, node).start(warm=True)

    def place(self, name: str, workload: tuple[str, str], node: Node, *, limit: float | None, weight: float, memory: tuple[float, float]) -> Placement:
        """A pod of one container on a node. `memory`: its limit and what it uses, MiB."""
        container = Container(node, workload[1], limit=limit, weight=weight, memory_limit=memory[0], memory_base=memory[1])
        number = self._addresses[node.name] = self._addresses.get(node.name, 9) + 1
        place = self.nodes.index(node)
        ip = f"10.{20 + sum(map(ord, self.cluster)) % 200}.{place}.{number}"
        placement = Placement(name, self._uid(), ip, workload, container)
        self.placements.append(placement)
        return placement

    def add_pod(self, service: Service, node: Node) -> Pod:
        """A new pod of a service; its process has yet to start."""
        spec, behaviour = service.spec, service.behaviour
        name = f"{spec.name}-{self._hashes[spec.name]}-{self._letters(5)}"
        memory = spec.memory_limit, spec.memory_base
        placement = self.place(name, ("Deployment", spec.name), node, limit=service.cpu_limit, weight=_cpu_request(spec), memory=memory)
        placement.ready = False
        assert self._new_recorder is not None
        pod = Pod(service, placement, self._new_recorder(service, placement, behaviour), behaviour)
        pod.on_out_of_memory = self._out_of_memory
        service.pods.append(pod)
        return pod

    def roll_out(self, service: Service, behaviour: Behaviour) -> Steps:
        """A new version, pod by pod: each old one goes when a new one serves."""
        name, old = service.spec.name, list(service.pods)
        old_hash, new_hash = self._hashes[name], self._letters(9)
        service.behaviour = behaviour
        self._hashes[name] = new_hash
        for done, pod in enumerate(old, start=1):
            self.event("Deployment", name, "ScalingReplicaSet", f"Scaled up replica set {name}-{new_hash} to {done}")
            new = self.add_pod(service, self._roomiest(service))
            yield TO_NODE + service.spec.start_seconds
            new.start()
            self.event("Deployment", name, "ScalingReplicaSet", f"Scaled down replica set {name}-{old_hash} to {len(old) - done}")
            yield from self._stop(pod)

    def restart(self, pod: Pod, reason: str, message: str) -> None:
        """A container's process died: the kubelet starts it again."""
        pod.placement.last_reason = reason
        if reason == "OOMKilled":
            self.event("Pod", pod.placement.name, "OOMKilling", message, warning=True, container=pod.placement.workload[1])
        pod.die(RESET)
        self.simulation.spawn(self._start_again(pod))

    def node_dies(self, node: Node) -> Steps:
        """A machine stops dead. It is noticed after a while, and its pods are made anew after another."""
        lost = [placement for placement in self.placements if placement.container.node is node]
        services = {pod.service.spec.name: pod.service for pod in self._pods_of(lost)}
        node.up = False
        for pod in self._pods_of(lost):
            pod.die(None)
        yield GRACE_PERIOD
        node.ready = False
        self.event("Node", node.name, "NodeNotReady", f"Node {node.name} status is now: NodeNotReady", warning=True)
        gone = self._pods_of(lost)
        for pod in gone:
            pod.listed = pod.placement.ready = False
            self.event("Pod", pod.placement.name, "NodeNotReady", "Node is not ready", warning=True)
        yield EVICTED_AFTER
        for pod in gone:
            self.event("Pod", pod.placement.name, "TaintManagerEviction", f"Marking for deletion Pod {self.namespace}/{pod.placement.name}")
            self._remove(pod)
            new = self.add_pod(services[pod.service.spec.name], self._roomiest(pod.service))
            self.simulation.after(TO_NODE + pod.service.spec.start_seconds, lambda each: each.start(), new)

    def event(self, kind: str, name: str, reason: str, message: str, *, warning: bool = False, container: str = "") -> None:
        """Writes an event, in the shape of the Collector's k8s_events receiver."""
        now, uid = self._clock.at(self.simulation.now), self._uid()
        resource: dict[str, Value] = {"k8s.cluster.name": self.cluster, "k8s.object.kind": kind, "k8s.object.name": name, "k8s.object.uid": uid}
        resource |= {
            "k8s.object.fieldpath": f"spec.containers{{{container}}}" if container else "",
            "k8s.object.api_version": "apps/v1" if kind == "Deployment" else "v1",
        }
        source = name if kind == "Node" else next((each.container.node.name for each in self.placements if each.name == name), "")
        resource["k8s.node.name"] = source
        attributes: dict[str, Value] = {"k8s.event.reason": reason, "k8s.event.name": f"{name}.{self._letters(16)}", "k8s.event.uid": uid, "k8s.event.count": 1}
        if kind != "Node":
            attributes["k8s.namespace.name"] = self.namespace
        severity = SeverityNumber.SEVERITY_NUMBER_WARN if warning else SeverityNumber.SEVERITY_NUMBER_INFO
        record = LogRecord(
            time_unix_nano=now,
            observed_time_unix_nano=now,
            severity_number=severity,
            severity_text="Warning" if warning else "Normal",
            body=AnyValue(string_value=message),
            attributes=self._words.pairs(attributes),
        )
        self.events.append((resource, record))

    def available(self, services: Mapping[str, Service]) -> dict[str, int]:
        """Deployment -> pods that are ready."""
        return {name: sum(pod.placement.ready for pod in services[name].pods) for name in self.desired}

    def _out_of_memory(self, pod: Pod) -> None:
        used = pod.container.memory_used
        self.restart(pod, "OOMKilled", f"Memory cgroup out of memory: Killed process in container {pod.service.spec.name}, anon-rss:{used * 1024:.0f}kB")

    def _start_again(self, pod: Pod) -> Steps:
        yield NOTICED_AFTER
        pod.listed = pod.placement.ready = False
        back_off = min(10.0 * 2 ** (pod.placement.restarts - 1), 300.0) if pod.placement.restarts else 0.0
        if back_off:
            self.event("Pod", pod.placement.name, "BackOff", f"Back-off restarting failed container {pod.service.spec.name}", warning=True)
        yield back_off
        pod.placement.restarts += 1
        yield pod.service.spec.start_seconds
        if pod in pod.service.pods and pod.container.node.up:
            pod.start()

    def _stop(self, pod: Pod) -> Steps:
        self.event("Pod", pod.placement.name, "Killing", f"Stopping container {pod.service.spec.name}", container=pod.service.spec.name)
        pod.listed = pod.placement.ready = False
        yield DRAIN
        pod.flush()
        pod.die(RESET)
        self._remove(pod)

    def _remove(self, pod: Pod) -> None:
        pod.service.pods.remove(pod)
        self.placements.remove(pod.placement)
        pod.container.node.remove(pod.container)

    def _pods_of(self, placements: Sequence[Placement]) -> list[Pod]:
        return [placement.pod for placement in placements if placement.pod is not None]

    def _roomiest(self, service: Service) -> Node:
        """The node with the fewest pods of this service, then the fewest at all."""
        mine = [pod.container.node for pod in service.pods]
        able = [node for node in self.nodes if node.up and not node.data]
        return min(able, key=lambda node: (mine.count(node), len(node.containers), node.name))

    def _letters(self, number: int) -> str:
        return "".join(self.random.choice(LETTERS) for _ in range(number))

    def _uid(self) -> str:
        bits = f"{self.random.getrandbits(128):032x}"
        return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"


def _cpu_request(spec: ServiceSpec) -> float:
    """What it asks the scheduler for, and so its weight among neighbours."""
    return spec.cpu_limit / 2
