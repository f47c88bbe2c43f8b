"""How a pod works on a request: the steps of an operation interpreted, with a span for each thing an SDK would see."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from demo import conventions
from demo.declarations import Cached, Call, CallOutside, Compute, Operation, Publish, Query, Statement, Step, Together
from demo.pods import Pod, Service
from demo.simulation import TIMED_OUT, SimulatedFailure, Simulation, Steps
from demo.stores import Cache, External, Message, Network, Partition, Topic, about
from demo.telemetry import CLIENT, CONSUMER, ERROR, INFO, PRODUCER, SERVER, WARN, Value

CONNECT_TIMEOUT = 1.0
MEMORY_PER_REQUEST = 0.4
INTERNET_DELAY = 0.012


class Surroundings:
    """What a request can reach."""

    def __init__(
        self,
        simulation: Simulation,
        namespace: str,
        network: Network,
        services: Mapping[str, Service],
        caches: Mapping[str, Cache],
        topics: Mapping[str, Topic],
        externals: Mapping[str, External],
    ) -> None:
        self.simulation = simulation
        self.namespace = namespace
        self.network = network
        self.services = services
        self.caches = caches
        self.topics = topics
        self.externals = externals


def serve(around: Surroundings, pod: Pod, operation: Operation, trace: bytes, parent: bytes) -> Steps:
    """A pod answers a request. Raises SimulatedFailure with the HTTP status when it fails."""
    simulation, started = around.simulation, around.simulation.now
    work = Work(around, pod, trace, parent)
    failure: SimulatedFailure | None = None
    pod.active += 1
    pod.hold_memory(MEMORY_PER_REQUEST)
    try:
        yield from pod.workers.enter()
        try:
            yield from work.do(operation.steps)
        finally:
            pod.workers.leave()
    except SimulatedFailure as caught:
        failure = caught
    finally:
        work.finish()
        pod.active -= 1
        pod.hold_memory(-MEMORY_PER_REQUEST)
    status = _status(failure)
    pod.record(operation.name, status, simulation.now - started)
    work.report(operation.name, SERVER, started, conventions.incoming(operation.name, status), operation.log, failure)
    if failure is not None:
        raise SimulatedFailure(str(status), f"{pod.service.spec.name} answered {status}")


def consume(around: Surroundings, pod: Pod) -> Steps:
    """A pod works on the messages of the partitions it owns, one at a time, for ever."""
    consumer = pod.service.spec.consumer
    assert consumer is not None
    topic = around.topics[consumer.topic]
    topic.join(consumer.group)
    while True:
        found = _next_message(topic, consumer.group, pod)
        if found is None:
            yield topic.arrival(consumer.group), 1.0
            continue
        partition, place, message = found
        yield from _work_on(around, pod, message, place)
        if partition.waiting[consumer.group] and partition.waiting[consumer.group][0] is message:
            partition.waiting[consumer.group].popleft()
            partition.committed[consumer.group] = message.offset + 1


def _next_message(topic: Topic, group: str, pod: Pod) -> tuple[Partition, int, Message] | None:
    members = [each for each in pod.service.pods if each.running]
    rank = members.index(pod)
    for place in range(rank, len(topic.partitions), len(members)):
        waiting = topic.partitions[place].waiting[group]
        if waiting:
            return topic.partitions[place], place, waiting[0]
    return None


def _work_on(around: Surroundings, pod: Pod, message: Message, partition: int) -> Steps:
    consumer = pod.service.spec.consumer
    assert consumer is not None
    started = around.simulation.now
    own_trace = pod.recorder.trace_id() if consumer.own_trace else message.trace
    work = Work(around, pod, own_trace, b"" if consumer.own_trace else message.span)
    failure: SimulatedFailure | None = None
    pod.active += 1
    pod.hold_memory(MEMORY_PER_REQUEST)
    try:
        yield from work.do(consumer.steps)
    except SimulatedFailure as caught:
        failure = caught
    finally:
        work.finish()
        pod.active -= 1
        pod.hold_memory(-MEMORY_PER_REQUEST)
    attributes = conventions.message(consumer.topic, "process", "process", partition) | {"messaging.consumer.group.name": consumer.group}
    work.report(f"process {consumer.topic}", CONSUMER, started, attributes, consumer.log, failure, link=(message.trace, message.span))


def _status(failure: SimulatedFailure | None) -> int:
    if failure is None:
        return 200
    return 503 if failure.error_type == "503" and "overloaded" in failure.message else 500


class Work:
    """One request under way in one pod."""

    def __init__(self, around: Surroundings, pod: Pod, trace: bytes, parent: bytes) -> None:
        self.around = around
        self.pod = pod
        self.simulation = around.simulation
        self.recorder = pod.recorder
        self.random = pod.service.random
        self.context = (trace, pod.recorder.span_id(), parent)
        self._connected = False

    def do(self, steps: Iterable[Step]) -> Steps:
        """Takes the steps in order. Raises SimulatedFailure."""
        behaviour = self.pod.behaviour
        if behaviour.wait:
            yield about(self.random, behaviour.wait, 0.35)
        if self.random.random() < behaviour.error_share:
            yield from self.pod.compute(0.001)
            raise SimulatedFailure(self.pod.service.spec.exception, behaviour.error_message)
        for step in steps:
            yield from _TAKE[type(step)](self, step)

    def finish(self) -> None:
        """Gives back what the request still holds."""
        if self._connected and self.pod.pool is not None:
            self._connected = False
            self.pod.pool.release()

    def report(
        self,
        name: str,
        kind: Span.SpanKind.ValueType,
        started: float,
        attributes: dict[str, Value],
        line: str,
        failure: SimulatedFailure | None,
        link: tuple[bytes, bytes] | None = None,
    ) -> None:
        """The request's own span and its log line."""
        now, random = self.simulation.now, self.random
        exception = (failure.error_type, failure.message) if failure and not failure.error_type.isdigit() else None
        if failure is not None:
            attributes = attributes | {"error.type": exception[0] if exception else str(attributes.get("http.response.status_code", "500"))}
            self.recorder.log(now, ERROR, f"{name} failed: {failure.message}", self.context, (failure.error_type, failure.message))
        else:
            text = line.format(id=random.randrange(10_000, 99_999), n=random.randrange(1, 30), ms=round((now - started) * 1e3))
            self.recorder.log(now, INFO, text, self.context)
        self._span(self.context, name, kind, started, attributes, failure, exception=exception, link=link)

    def _compute(self, step: Compute) -> Steps:
        yield from self.pod.compute(about(self.random, step.milliseconds, 0.35) / 1e3)

    def _call(self, step: Call) -> Steps:
        if step.share < 1.0 and self.random.random() >= step.share:
            return
        try:
            yield from self._retry(step.retries, step.service, lambda resend: self._attempt(step, resend))
        except SimulatedFailure as failure:
            if not step.optional:
                raise
            self.recorder.log(self.simulation.now, WARN, f"Going on without {step.service}: {failure.message}", self.context)

    def _retry(self, retries: int, peer: str, attempt: Callable[[int], Steps]) -> Steps:
        for resend in range(retries + 1):
            try:
                return (yield from attempt(resend))
            except SimulatedFailure as failure:
                if resend == retries:
                    raise
                self.recorder.log(self.simulation.now, WARN, f"Call to {peer} failed, trying again: {failure.message}", self.context)
            yield about(self.random, 0.05 * 2**resend, 0.3)
        return None

    def _attempt(self, step: Call, resend: int) -> Steps:
        """One try of a call, with its client span."""
        started, span = self.simulation.now, self.recorder.span_id()
        target = self.around.services[step.service]
        peer = target.choose()
        answer: Any = SimulatedFailure("ConnectionRefusedError", f"connect to {step.service}: connection refused")
        if peer is not None:
            reachable = peer.container.node.up
            journey = self.simulation.spawn(_travel(self.around, self.pod, peer, target.operations[step.operation], self.context[0], span))
            answer = yield journey, step.timeout if reachable else min(step.timeout, CONNECT_TIMEOUT)
            if answer is TIMED_OUT:
                kind = "ReadTimeoutError" if reachable else "ConnectTimeoutError"
                answer = SimulatedFailure(kind, f"{step.service} did not answer within {step.timeout if reachable else CONNECT_TIMEOUT:g} s")
        failure = answer if isinstance(answer, SimulatedFailure) else None
        same = target.spec.cluster == self.pod.service.spec.cluster
        host = f"{step.service}.{self.around.namespace}.svc.{'cluster.local' if same else 'clusterset.local'}"
        attributes = conventions.outgoing(step.operation, host) | _outcome(step.operation, failure)
        if resend:
            attributes["http.request.resend_count"] = resend
        name = step.operation if conventions.is_rpc(step.operation) else step.operation.split(" ", 1)[0]
        self._span((self.context[0], span, self.context[1]), name, CLIENT, started, attributes, failure)
        if failure is not None:
            raise failure

    def _together(self, step: Together) -> Steps:
        children = [self.simulation.spawn(self._call(call)) for call in step.calls]
        for child in children:
            self.pod.adopt(child)
        failures = []
        for child in children:
            outcome = yield child
            self.pod.release(child)
            if isinstance(outcome, SimulatedFailure):
                failures.append(outcome)
        if failures:
            raise failures[0]

    def _call_outside(self, step: CallOutside) -> Steps:
        yield from self._retry(step.retries, step.host, lambda resend: self._attempt_outside(step, resend))

    def _attempt_outside(self, step: CallOutside, resend: int) -> Steps:
        started, span = self.simulation.now, self.recorder.span_id()
        answer = yield self.simulation.spawn(_travel_outside(self.around.externals[step.host], self.random)), step.timeout
        if answer is TIMED_OUT:
            answer = SimulatedFailure("ReadTimeoutError", f"{step.host} did not answer within {step.timeout:g} s")
        failure = answer if isinstance(answer, SimulatedFailure) else None
        operation = f"{step.method} {step.path}"
        attributes = conventions.outgoing(operation, step.host) | {"server.port": 443, "url.full": f"https://{step.host}{step.path}"}
        attributes |= _outcome(operation, failure) | ({"http.request.resend_count": resend} if resend else {})
        self._span((self.context[0], span, self.context[1]), step.method, CLIENT, started, attributes, failure)
        if failure is not None:
            raise failure

    def _query(self, step: Query) -> Steps:
        yield from self._run(step.statement)

    def _run(self, statement: Statement) -> Steps:
        pool = self.pod.pool
        assert pool is not None
        if not self._connected:
            yield from pool.acquire()
            self._connected = True
        try:
            yield from self._execute(statement)
        finally:
            if not self.pod.service.spec.holds_connection:
                self.finish()

    def _execute(self, statement: Statement) -> Steps:
        spec, database = self.pod.service.spec, self.pod.service.database
        assert database is not None
        started, failure = self.simulation.now, None
        try:
            yield 2 * self.around.network.delay(spec.name, database.spec.name, same_cluster=True)
            yield from database.execute(statement)
        except SimulatedFailure as caught:
            failure = caught
        attributes = conventions.query(statement, spec.database_address, database.spec.database)
        if failure is not None:
            attributes |= {"error.type": failure.error_type, "db.response.status_code": failure.error_type}
        name = statement.summary if not spec.old_names else f"{statement.summary.split()[0]} {database.spec.database}"
        self._span((self.context[0], self.recorder.span_id(), self.context[1]), name, CLIENT, started, attributes, failure)
        if failure is not None:
            raise SimulatedFailure(spec.exception, failure.message)

    def _cached(self, step: Cached) -> Steps:
        cache = self.around.caches[step.cache]
        keys = [cache.draw(step.keyspace) for _ in range(step.reads)]
        yield from self._cache_command(cache, "GET" if step.reads == 1 else "MGET")
        missed = [key for key in keys if not cache.get(step.keyspace, key)]
        for key in missed:
            yield from self._run(step.miss)
            cache.put(step.keyspace, key)
        if missed:
            yield from self._cache_command(cache, "SET")

    def _cache_command(self, cache: Cache, command: str) -> Steps:
        started = self.simulation.now
        yield 2 * self.around.network.delay(self.pod.service.spec.name, cache.spec.name, same_cluster=True) + 0.0001
        attributes = conventions.cache_command(command, f"{cache.spec.name}.{self.around.namespace}.svc.cluster.local")
        self._span((self.context[0], self.recorder.span_id(), self.context[1]), command, CLIENT, started, attributes, None)

    def _publish(self, step: Publish) -> Steps:
        topic, started, span = self.around.topics[step.topic], self.simulation.now, self.recorder.span_id()
        yield 2 * self.around.network.delay(self.pod.service.spec.name, topic.spec.broker, same_cluster=True) + about(self.random, 0.002)
        partition = topic.publish(self.context[0], span)
        attributes = conventions.message(step.topic, "send", "send", partition)
        attributes |= {"server.address": f"{topic.spec.broker}.{self.around.namespace}.svc.cluster.local", "server.port": conventions.BROKER_PORT}
        self._span((self.context[0], span, self.context[1]), f"send {step.topic}", PRODUCER, started, attributes, None)

    def _span(
        self,
        context: tuple[bytes, bytes, bytes],
        name: str,
        kind: Span.SpanKind.ValueType,
        started: float,
        attributes: dict[str, Value],
        failure: SimulatedFailure | None,
        exception: tuple[str, str] | None = None,
        link: tuple[bytes, bytes] | None = None,
    ) -> None:
        pairs = self.recorder.words.pairs(conventions.named(attributes, old=self.pod.service.spec.old_names))
        if kind == CLIENT and failure is not None and not failure.error_type.isdigit():
            exception = (failure.error_type, failure.message)
        times = (started, self.simulation.now)
        self.recorder.span(context, name, kind, times, pairs, error=failure.message if failure else "", exception=exception, link=link)


_TAKE: Mapping[type, Callable[[Work, Any], Generator[Any, Any, Any]]] = {
    Compute: Work._compute,  # noqa: SLF001
    Query: Work._query,  # noqa: SLF001
    Cached: Work._cached,  # noqa: SLF001
    Call: Work._call,  # noqa: SLF001
    Together: Work._together,  # noqa: SLF001
    CallOutside: Work._call_outside,  # noqa: SLF001
    Publish: Work._publish,  # noqa: SLF001
}


def _outcome(operation: str, failure: SimulatedFailure | None) -> dict[str, Value]:
    """What a client's span says of the answer: its status if there was one, and what went wrong."""
    if failure is None:
        return conventions.answered(operation, 200)
    if not failure.error_type.isdigit():
        return {"error.type": failure.error_type}
    status = conventions.answered(operation, int(failure.error_type))
    return status | {"error.type": str(next(iter(status.values())))}


def _travel(around: Surroundings, caller: Pod, callee: Pod, operation: Operation, trace: bytes, parent: bytes) -> Steps:
    """A request on its way to a pod, in it, and its answer on the way back."""
    ends = caller.service.spec, callee.service.spec
    same = ends[0].cluster == ends[1].cluster
    yield around.network.delay(ends[0].name, ends[1].name, same_cluster=same)
    if not callee.container.node.up:
        yield 60.0
    if not callee.running:
        raise SimulatedFailure("ConnectionRefusedError", f"connect to {ends[1].name}: connection refused")
    journey = around.simulation.current
    assert journey is not None
    callee.adopt(journey)
    failure: SimulatedFailure | None = None
    try:
        yield from serve(around, callee, operation, trace, parent)
    except SimulatedFailure as caught:
        failure = caught
    callee.release(journey)
    yield around.network.delay(ends[0].name, ends[1].name, same_cluster=same)
    if failure is not None:
        raise failure


def _travel_outside(external: External, random: Any) -> Steps:
    yield about(random, INTERNET_DELAY)
    failure: SimulatedFailure | None = None
    try:
        yield from external.handle()
    except SimulatedFailure as caught:
        failure = caught
    yield about(random, INTERNET_DELAY)
    if failure is not None:
        raise failure
