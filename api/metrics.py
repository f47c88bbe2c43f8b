"""/metrics: what the process did and where it stands, read from its owners when a scraper asks. The registry is the application's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.runtime import Runtime
from ingest.otlp.receiving import ReceiverCounts

SECOND = 1_000_000_000
MOST_CAUSES = 10


def make_registry(runtime: Runtime, received: ReceiverCounts | None, requests: Counter[str]) -> CollectorRegistry:
    """`requests`: GraphQL requests by outcome."""
    registry = CollectorRegistry()
    registry.register(RuntimeCollector(runtime, requests))
    if received is not None:
        registry.register(ReceiverCollector(received))
    ProcessCollector(registry=registry)
    return registry


class RuntimeCollector(Collector):
    """The runtime's state and the GraphQL door's counts."""

    def __init__(self, runtime: Runtime, requests: Counter[str]) -> None:
        self._runtime = runtime
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        runtime, status = self._runtime, self._runtime.status()
        yield _gauge("whence_ready", "1 when telemetry and questions are taken.", runtime.ready)
        yield _gauge("whence_store_ok", "1 when the store takes writes.", not status.store_trouble)
        yield _gauge("whence_event_time_seconds", "Event time of the latest diagnosis, as a Unix time; 0 before the first.", status.at / SECOND)
        lag = (status.at - status.durable_through) / SECOND if status.durable_through else 0.0
        yield _gauge("whence_durable_lag_seconds", "Event time between the latest diagnosis and what the store holds.", max(0.0, lag))
        yield _gauge("whence_store_journal_writes", "Writes that wait in the local journal for the store to return.", status.journalled)
        yield _counter("whence_store_intervals_compacted", "Intervals of the past forgotten because they ended before the retention.", [((), status.compacted)])
        yield _gauge("whence_entities", "Entities of the live graph.", status.entities)
        yield _gauge("whence_relations", "Relations of the live graph.", status.relations)
        yield _gauge("whence_open_incidents", "Incidents that are open.", status.open_incidents)
        yield self._knowledge(status.knowledge)
        yield _gauge("whence_knowledge_ok", "1 when the rule files read last are in force, 0 when they were refused.", not status.knowledge_trouble)
        yield _counter("whence_knowledge_reloads", "Rule files read again while running, by outcome.", _labelled(runtime.knowledge_reloads), "outcome")
        yield _gauge("whence_unsettled_entities", "Entities of which belief found no rest, as their symptoms contradict each other.", len(status.unsettled))
        yield self._root_causes()
        yield _counter("whence_windows_closed", "Windows of event time that were concluded.", [((), runtime.windows_closed)])
        yield _counter("whence_dropped", "Telemetry that was not used, by reason.", _labelled(status.dropped), "reason")
        yield _gauge("whence_subscribers", "Listeners to diagnoses.", runtime.hub.subscribers)
        yield _counter("whence_subscribers_refused", "Listeners turned away because there were too many.", [((), runtime.hub.refused)])
        yield _counter("whence_graphql_requests", "GraphQL requests by outcome.", _labelled(self._requests), "outcome")

    def _knowledge(self, version: str) -> Metric:
        family = GaugeMetricFamily("whence_knowledge_info", "The causal knowledge in force.", labels=["version"])
        family.add_metric([version], 1.0)
        return family

    def _root_causes(self) -> Metric:
        family = GaugeMetricFamily(
            "whence_root_cause_probability", f"Posterior of the {MOST_CAUSES} most probable root causes.", labels=["entity", "kind", "defect"]
        )
        for cause in self._runtime.diagnosis.root_causes[:MOST_CAUSES]:
            family.add_metric([f"{cause.cause.entity}", cause.cause.entity.kind, cause.cause.defect], float(cause.probability))
        return family


class ReceiverCollector(Collector):
    """What came through the OTLP doors."""

    def __init__(self, received: ReceiverCounts) -> None:
        self._received = received

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        received = self._received
        yield _counter("whence_otlp_requests", "OTLP requests by signal.", _labelled(received.requests), "signal")
        yield _counter("whence_otlp_items", "Spans, metric points and log records received.", _labelled(received.received_items), "signal")
        yield _counter("whence_otlp_items_refused", "Those refused out of good requests, by reason.", received.refused_items.items(), "signal", "reason")
        yield _counter("whence_otlp_requests_refused", "Whole requests refused, by reason.", received.refused_requests.items(), "signal", "reason")


def _labelled(counts: Mapping[str, int]) -> Iterable[tuple[tuple[str, ...], int]]:
    return [((label,), count) for label, count in counts.items()]


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _counter(name: str, help_text: str, values: Iterable[tuple[tuple[str, ...], int]], *labels: str) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for key, count in sorted(values):
        family.add_metric(list(key), float(count))
    return family
