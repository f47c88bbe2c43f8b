"""A declared estate set up to run: what stands where, who can reach whom, and who sends telemetry when."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from demo import metrics
from demo.compute import Node
from demo.declarations import Cached, EstateSpec, ServiceSpec
from demo.kubernetes import Kubernetes
from demo.pods import Behaviour, Placement, Pod, Service
from demo.requests import Surroundings, consume, serve
from demo.simulation import SimulatedFailure, Simulation, Steps
from demo.stores import Cache, Database, External, Network, Topic
from demo.telemetry import Clock, Recorder, Value, Words

ExportRequest = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest
SPANS_EVERY, METRICS_EVERY = 2.0, 10.0
READS_PER_VISIT = 1.4  # of each keyspace, on average over all visits


class World:
    """One estate. Everything random in it comes from `seed`; `start` is the epoch nanosecond at which it begins."""

    def __init__(self, spec: EstateSpec, seed: int, start: int) -> None:
        self.spec = spec
        self.seed = seed
        self.simulation = Simulation()
        self.clock = Clock(start)
        self.words = Words()
        self.outbox: list[ExportRequest] = []
        self.rate = spec.rate
        self.visits = 0
        self.network = Network(self.random("network"))
        self.nodes = [Node(self.simulation, each.name, each.cluster, cores=each.cores, memory=each.memory, data=each.data) for each in spec.nodes]
        self.clusters = {name: self._cluster(name) for name in sorted({node.cluster for node in spec.nodes})}
        self.databases = {each.name: self._database(each.name) for each in spec.databases}
        self.caches = {each.name: Cache(self.simulation, each, self.random(each.name)) for each in spec.caches}
        self.topics = {each.name: Topic(self.simulation, each, self.random(each.name)) for each in spec.topics}
        self.externals = {each.host: External(self.simulation, each, self.random(each.host)) for each in spec.externals}
        self.services = {each.name: Service(each, self.databases.get(each.database), self.random(each.name)) for each in spec.services}
        self.around = Surroundings(self.simulation, spec.namespace, self.network, self.services, self.caches, self.topics, self.externals)
        self._set_up()

    def random(self, purpose: str) -> Random:
        """A source of randomness of its own for each purpose, so that a change to one thing leaves the others as they were."""
        return Random(f"{self.seed}/{purpose}")

    def run_until(self, seconds: float) -> list[ExportRequest]:
        """Lets the estate live until then; what it sent meanwhile, in order."""
        self.simulation.run_until(seconds)
        sent, self.outbox = self.outbox, []
        return sent

    def pods(self) -> list[Pod]:
        """All pods of services."""
        return [pod for service in self.services.values() for pod in service.pods]

    def _cluster(self, name: str) -> Kubernetes:
        nodes = [node for node in self.nodes if node.cluster == name]
        kubernetes = Kubernetes(self.simulation, name, self.spec.namespace, nodes, self.clock, self.words, self.random(f"kubernetes/{name}"))
        kubernetes.records_with(self._recorder)
        return kubernetes

    def _database(self, name: str) -> Database:
        spec = next(each for each in self.spec.databases if each.name == name)
        placement = self._stateful(name, spec.cluster, cores=spec.cores)
        return Database(self.simulation, spec, placement.container, self.random(name))

    def _stateful(self, name: str, cluster: str, cores: float) -> Placement:
        kubernetes = self.clusters[cluster]
        node = next(node for node in kubernetes.nodes if node.data)
        return kubernetes.place(f"{name}-0", ("StatefulSet", name), node, limit=cores, weight=cores / 2, memory=(4096.0, 1700.0))

    def _set_up(self) -> None:
        for cache in self.spec.caches:
            self._stateful(cache.name, cache.cluster, cores=1.0)
        for topic in self.spec.topics:
            self._stateful(topic.broker, topic.cluster, cores=2.0)
        taken = dict.fromkeys(self.clusters, 0)
        for service in self.services.values():
            spec = service.spec
            service.background.append(self._send_spans)
            service.background.append(self._send_metrics)
            if spec.consumer is not None:
                service.background.append(lambda pod: consume(self.around, pod))
            nodes = [node for node in self.clusters[spec.cluster].nodes if not node.data]
            self.clusters[spec.cluster].deploy(service, [nodes[(taken[spec.cluster] + i) % len(nodes)] for i in range(spec.replicas)])
            taken[spec.cluster] += spec.replicas
        self._warm_caches()
        for node in self.nodes:
            self.simulation.spawn(self._send_kubelet(node))
        for kubernetes in self.clusters.values():
            self.simulation.spawn(self._send_cluster(kubernetes))
        self.simulation.spawn(self._receive())
        self.simulation.spawn(self._visit())

    def _warm_caches(self) -> None:
        """Each keyspace as it would stand after hours."""
        steps = [step for service in self.services.values() for operation in service.spec.operations for step in operation.steps]
        for cache, keyspace in dict.fromkeys((step.cache, step.keyspace) for step in steps if isinstance(step, Cached)):
            self.caches[cache].warm(keyspace, self.spec.rate * READS_PER_VISIT)

    def _recorder(self, service: Service, placement: Placement, behaviour: Behaviour) -> Recorder:
        resource = pod_resource(self.spec.namespace, service.spec, placement, behaviour.version)
        return Recorder(self.clock, self.words, resource, self.random(f"ids/{placement.uid}"))

    def _visit(self) -> Steps:
        """Visitors come as they like (a Poisson process) and give up after a while; they send no telemetry."""
        random, entry = self.random("visitors"), self.services[self.spec.entry]
        operations = [entry.operations[visit.operation] for visit in self.spec.visits]
        weights = [visit.weight for visit in self.spec.visits]
        while True:
            yield random.expovariate(self.rate)
            pod = entry.choose()
            self.visits += 1
            if pod is not None and pod.running:
                operation = random.choices(operations, weights)[0]
                self.simulation.spawn(self._one_visit(pod, serve(self.around, pod, operation, pod.recorder.trace_id(), b"")))

    def _one_visit(self, pod: Pod, steps: Steps) -> Steps:
        process = self.simulation.current
        assert process is not None
        pod.adopt(process)
        try:
            yield from steps
        except SimulatedFailure:
            pass
        finally:
            pod.release(process)

    def _send_spans(self, pod: Pod) -> Steps:
        pod.flush = lambda: self._send_recorded(pod)
        yield self._phase(pod.placement.uid, SPANS_EVERY)
        while True:
            self._send_recorded(pod)
            yield SPANS_EVERY

    def _send_recorded(self, pod: Pod) -> None:
        spans, logs = pod.recorder.take()
        scope = "io.opentelemetry.auto"
        if spans:
            scoped = ScopeSpans(spans=spans)
            scoped.scope.name = scope
            self.outbox.append(ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=pod.recorder.resource, scope_spans=[scoped])]))
        if logs:
            self.outbox.append(ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=pod.recorder.resource, scope_logs=[ScopeLogs(log_records=logs)])]))

    def _send_metrics(self, pod: Pod) -> Steps:
        started = self.clock.at(self.simulation.now)
        yield self._phase(pod.placement.uid, METRICS_EVERY)
        while True:
            self._send([metrics.pod_metrics(self._meter(started), pod)])
            yield METRICS_EVERY

    def _send_kubelet(self, node: Node) -> Steps:
        kubelet = metrics.Kubelet(node, self.clusters[node.cluster])
        last = 0.0
        yield self._phase(node.name, METRICS_EVERY)
        while node.up:
            self._send(kubelet.collect(self._meter(self.clock.start), max(self.simulation.now - last, 0.1)))
            last = self.simulation.now
            yield METRICS_EVERY

    def _send_cluster(self, kubernetes: Kubernetes) -> Steps:
        yield self._phase(kubernetes.cluster, METRICS_EVERY)
        services = {name: self.services[name] for name in kubernetes.desired}
        since = METRICS_EVERY
        while True:
            if since >= METRICS_EVERY:
                self._send(metrics.cluster_metrics(self._meter(self.clock.start), kubernetes, services))
                since = 0.0
            self._send_events(kubernetes)
            since += 1.0
            yield 1.0

    def _send_events(self, kubernetes: Kubernetes) -> None:
        events, kubernetes.events = kubernetes.events, []
        if events:
            groups = [
                ResourceLogs(resource=Resource(attributes=self.words.pairs(resource)), scope_logs=[ScopeLogs(log_records=[record])])
                for resource, record in events
            ]
            self.outbox.append(ExportLogsServiceRequest(resource_logs=groups))

    def _receive(self) -> Steps:
        """The Collector's receivers ask the stores."""
        namespace = self.spec.namespace
        yield self._phase("receivers", METRICS_EVERY)
        while True:
            meter = self._meter(self.clock.start)
            found = [each for database in self.databases.values() for each in metrics.database_metrics(meter, database, namespace)]
            found += [each for cache in self.caches.values() for each in metrics.cache_metrics(meter, cache, namespace)]
            found += [each for topic in self.topics.values() for each in metrics.topic_metrics(meter, topic, namespace)]
            self._send(found)
            yield METRICS_EVERY

    def _send(self, found: Sequence[ResourceMetrics]) -> None:
        self.outbox.append(ExportMetricsServiceRequest(resource_metrics=found))

    def _meter(self, started: int) -> metrics.Meter:
        return metrics.Meter(self.words, started, self.clock.at(self.simulation.now))

    def _phase(self, name: str, interval: float) -> float:
        return self.random(f"phase/{name}").uniform(0.0, interval)


def pod_resource(namespace: str, spec: ServiceSpec, placement: Placement, version: str) -> dict[str, Value]:
    """The resource of a pod's SDK, with what the Collector's k8sattributes processor adds."""
    return {
        "service.name": spec.name,
        "service.namespace": namespace,
        "service.version": version,
        "service.instance.id": f"{namespace}.{placement.name}.{spec.name}",
        "telemetry.sdk.name": "opentelemetry",
        "k8s.cluster.name": spec.cluster,
        "k8s.namespace.name": namespace,
        "k8s.deployment.name": spec.name,
        "k8s.pod.name": placement.name,
        "k8s.pod.uid": placement.uid,
        "k8s.pod.ip": placement.ip,
        "k8s.container.name": spec.name,
        "k8s.node.name": placement.container.node.name,
    }
