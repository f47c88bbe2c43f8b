"""Each fault changes what its mechanism should, measured against a quiet run of the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from statistics import fmean

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from demo.faults import FAULTS
from demo.shop import SHOP
from demo.world import World
from schema.identity import EntityRef
from schema.loader import load_knowledge
from tests.demo.living import Run, SentSpan, live

INJECTED, SETTLED, END = 10.0, 15.0, 45.0
Measure = Callable[[Run, str], float]


def worse(quiet: Run, fault: str, measure: Measure, *, seconds: float = END) -> tuple[float, float]:
    """The measure in the quiet run and in the one with the fault; it is given the name part of the true entity."""
    broken = live(seconds, fault=fault, inject_at=INJECTED)
    assert broken.truth is not None
    name = broken.truth.entities[0].split("/", 2)[-1]
    return measure(quiet, name), measure(broken, name)


def mean_seconds(spans: Iterable[SentSpan]) -> float:
    return fmean(each.seconds for each in spans)


def failed_share(spans: Iterable[SentSpan]) -> float:
    return fmean(each.failed for each in spans)


def client_spans(run: Run, address: str) -> list[SentSpan]:
    """Calls to what stands at an address, after the fault has settled."""
    return [
        each
        for each in run.spans
        if each.span.kind == Span.SPAN_KIND_CLIENT and each.start >= SETTLED and str(each.attributes.get("server.address", "")).startswith(address)
    ]


def queries(run: Run, name: str) -> float:
    return mean_seconds(client_spans(run, name.split("/", maxsplit=1)[0]))


def test_a_slow_query_makes_the_database_slow(quiet: Run) -> None:
    before, after = worse(quiet, "slow_query", queries)
    assert after > 1.8 * before


def test_lock_contention_makes_transactions_wait_for_rows(quiet: Run) -> None:
    def waiting(run: Run, name: str) -> float:
        cluster_database = name.split("/", maxsplit=1)[0]
        points = [
            value
            for resource, at, value in run.gauges("postgresql.locks.waiting")
            if str(resource["server.address"]).startswith(cluster_database) and at > SETTLED
        ]
        return fmean(points)

    before, after = worse(quiet, "lock_contention", waiting)
    assert before < 0.2
    assert after > 0.8


def test_too_small_a_pool_makes_requests_wait_for_connections(quiet: Run) -> None:
    def wait(run: Run, name: str) -> float:
        pools = [pod.pool for pod in run.world.services[name].pods if pod.pool is not None]
        return sum(pool.wait_time.sum for pool in pools) / sum(pool.wait_time.count for pool in pools)

    before, after = worse(quiet, "connection_pool_too_small", wait)
    assert before < 0.01
    assert after > 0.05


def test_cpu_contention_throttles_the_containers(quiet: Run) -> None:
    def throttled(run: Run, name: str) -> float:
        pods = run.world.services[name.rsplit("/", 1)[-1]].pods
        return sum(pod.container.throttled_periods for pod in pods) / sum(pod.container.periods for pod in pods)

    before, after = worse(quiet, "cpu_contention", throttled)
    assert before < 0.05
    assert after > 0.3


def test_a_noisy_neighbour_uses_up_the_nodes_cores(quiet: Run) -> None:
    def utilization(run: Run, name: str) -> float:
        return fmean(value for resource, at, value in run.gauges("k8s.node.cpu.utilization") if resource["k8s.node.name"] == name and at > SETTLED + 10.0)

    before, after = worse(quiet, "noisy_neighbour", utilization)
    assert before < 0.5
    assert after > 0.95


def test_a_memory_leak_ends_in_a_kill_and_a_restart(quiet: Run, leaking: Run) -> None:
    def restarts(run: Run, name: str) -> float:
        return float(sum(pod.placement.restarts for pod in run.world.services[name].pods))

    assert leaking.truth is not None
    name = leaking.truth.entities[0].rsplit("/", 1)[-1]
    assert restarts(quiet, name) == 0.0
    assert restarts(leaking, name) >= 1.0
    used = [
        value
        for resource, at, value in leaking.gauges("k8s.container.memory_limit_utilization")
        if resource["k8s.container.name"] == name and at < INJECTED + 60.0
    ]
    assert used == pytest.approx(sorted(used), abs=0.1)
    assert max(used) > 0.7
    reasons = {record.attributes[0].value.string_value for _, record in leaking.logs if record.attributes and record.attributes[0].key == "k8s.event.reason"}
    assert "OOMKilling" in reasons


def test_a_bad_deploy_fails_requests_under_a_new_version(quiet: Run) -> None:
    def failures_of(run: Run, name: str, versions: int) -> float:
        assert len({each.resource["service.version"] for each in run.served(name)}) == versions
        return failed_share(run.served(name, after=INJECTED + 20.0))

    broken = live(END, fault="bad_deploy", inject_at=INJECTED)
    assert broken.truth is not None
    name = broken.truth.entities[0].rsplit("/", 1)[-1]
    assert failures_of(quiet, name, versions=1) < 0.02
    assert failures_of(broken, name, versions=2) > 0.15


def test_a_slow_deploy_slows_the_services_own_code(quiet: Run) -> None:
    before, after = worse(quiet, "slow_deploy", lambda run, name: mean_seconds(run.served(name, after=INJECTED + 20.0)))
    assert after > before + 0.1


def test_a_network_delay_stands_between_the_two_ends(quiet: Run) -> None:
    def gap(run: Run, name: str) -> float:
        caller, callee = name.split("->")
        inside = {each.span.parent_span_id: each.seconds for each in run.served(callee, after=SETTLED)}
        calls = [each for each in run.spans if each.resource["service.name"] == caller and each.span.span_id in inside]
        return fmean(each.seconds - inside[each.span.span_id] for each in calls)

    before, after = worse(quiet, "network_delay", gap)
    assert before < 0.02
    assert after > before + 0.1


def test_a_slow_consumer_lets_messages_pile_up(quiet: Run) -> None:
    def lag(run: Run, name: str) -> float:
        return float(sum(partition.lag(name) for topic in run.world.topics.values() for partition in topic.partitions))

    before, after = worse(quiet, "slow_consumer", lag)
    assert before < 5.0
    assert after > 30.0


def test_a_flushed_cache_sends_its_users_to_the_database(quiet: Run) -> None:
    def database_queries(run: Run, _: str) -> float:
        return float(len(client_spans(run, "catalogue-db")))

    before, after = worse(quiet, "cache_flush", database_queries)
    assert after > 2.0 * before


def test_a_dead_node_takes_its_pods_off_the_lists(quiet: Run) -> None:
    def lost(run: Run, name: str) -> float:
        return float(sum(not pod.listed for pod in run.world.pods() if pod.container.node.name == name))

    before, after = worse(quiet, "node_down", lost)
    assert before == 0.0
    assert after >= 2.0


def test_a_node_that_died_is_silent_and_not_ready() -> None:
    broken = live(END, fault="node_down", inject_at=INJECTED)
    assert broken.truth is not None
    name = broken.truth.entities[0].rsplit("/", 1)[-1]
    heard = [at for resource, at, _ in broken.gauges("k8s.node.cpu.utilization") if resource["k8s.node.name"] == name]
    assert max(heard) <= INJECTED
    ready = [(at, value) for resource, at, value in broken.gauges("k8s.node.condition_ready") if resource["k8s.node.name"] == name]
    assert ready[0][1] == 1.0
    assert ready[-1][1] == 0.0


def test_an_outage_outside_fails_the_calls_out(quiet: Run) -> None:
    before, after = worse(quiet, "external_outage", lambda run, name: failed_share(client_spans(run, name)))
    assert before < 0.05
    assert after > 0.7


def test_a_traffic_surge_multiplies_visits(quiet: Run) -> None:
    before, after = worse(
        quiet, "traffic_surge", lambda run, name: float(sum(each.start < SETTLED + 10.0 for each in run.served(name, after=SETTLED))), seconds=30.0
    )
    assert after > 2.5 * before


def test_the_quiet_estate_is_quiet(quiet: Run) -> None:
    for service in SHOP.services:
        served = list(quiet.served(service.name))
        assert failed_share(served) < 0.02
        early, late = [each for each in served if each.start < END / 2], [each for each in served if each.start >= END / 2]
        assert mean_seconds(late) == pytest.approx(mean_seconds(early), rel=0.3)
    assert max(value for _, _, value in quiet.gauges("k8s.node.cpu.utilization")) < 0.5
    assert all(pod.placement.restarts == 0 for pod in quiet.world.pods())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_truth_is_an_identity_and_a_defect_whence_could_name(fault: object) -> None:
    knowledge = load_knowledge()
    chosen = next(each for each in FAULTS if each is fault)
    for seed in (1, 2, 3):
        world = World(SHOP, seed, 0)
        world.run_until(1.0)
        truth = chosen.inject(world, Random(seed))
        for entity in truth.entities:
            assert str(EntityRef.parse(entity)) == entity
            assert truth.defect in knowledge.kinds[EntityRef.parse(entity).kind].defects
