"""Resource attributes -> entities; servers' names; the objects of events. Pure functions."""

from __future__ import annotations

import pytest

from graph.kubernetes_objects import object_ref
from graph.resources import resolve
from graph.servers import database_of, server_kind, server_name
from schema.identity import EntityRef

POD = {
    "service.name": "cart", "service.namespace": "retail", "service.version": "2", "k8s.cluster.name": "eu", "k8s.namespace.name": "shop",
    "k8s.deployment.name": "cart", "k8s.replicaset.name": "cart-5f", "k8s.pod.name": "cart-5f-1", "k8s.container.name": "app", "k8s.node.name": "n1",
    "host.name": "cart-5f-1",
}  # fmt: skip


def test_the_resource_of_an_sdk_in_a_pod() -> None:
    found = resolve(POD, "")
    service, pod, workload = (
        EntityRef("service", "eu", "retail", "cart"),
        EntityRef("pod", "eu", "shop", "cart-5f-1"),
        EntityRef("workload", "eu", "shop", "cart"),
    )
    container, node = EntityRef("container", "eu", "shop", "cart-5f-1/app"), EntityRef("node", "eu", "", "n1")
    namespace, cluster = EntityRef("namespace", "eu", "", "shop"), EntityRef("cluster", "eu", "", "eu")
    assert (found.service, found.pod, found.workload, found.container, found.node, found.namespace, found.cluster) == (
        service, pod, workload, container, node, namespace, cluster,
    )  # fmt: skip
    assert set(found.relations) == {
        (service, "runs_on", pod), (container, "part_of", pod), (pod, "part_of", workload), (pod, "runs_on", node),
        (workload, "part_of", namespace), (namespace, "part_of", cluster), (node, "part_of", cluster),
    }  # fmt: skip
    assert found.labels[service] == {"service.version": "2"}


def test_a_service_outside_kubernetes_runs_on_its_container_or_machine() -> None:
    bare = resolve({"service.name": "cart", "host.name": "vm1"}, "site")
    assert bare.relations == ((EntityRef("service", "site", "", "cart"), "runs_on", EntityRef("node", "site", "", "vm1")),)
    boxed = resolve({"service.name": "cart", "host.name": "vm1", "container.name": "cart-box"}, "site")
    assert (EntityRef("service", "site", "", "cart"), "runs_on", EntityRef("container", "site", "", "vm1/cart-box")) in boxed.relations


def test_a_service_that_nobody_named_takes_the_name_of_its_workload() -> None:
    assert resolve({**POD, "service.name": "unknown_service:java"}, "").service == EntityRef("service", "eu", "retail", "cart")


def test_the_environment_stands_for_a_cluster_nobody_named_and_slashes_do_not_break_identities() -> None:
    assert resolve({"service.name": "cart", "deployment.environment.name": "prod"}, "site").service == EntityRef("service", "prod", "", "cart")
    service = resolve({"service.name": "cart", "k8s.cluster.name": "arn:aws:eks:x:cluster/prod"}, "").service
    assert service is not None
    assert EntityRef.parse(str(service)) == service


def test_an_empty_resource_is_nothing() -> None:
    found = resolve({}, "")
    assert (found.service, found.relations, dict(found.labels)) == (None, (), {})


@pytest.mark.parametrize(
    ("kind", "name", "path", "expected"),
    [
        ("Pod", "cart-5f-1", "", "pod:eu/shop/cart-5f-1"),
        ("Pod", "cart-5f-1", "spec.containers{app}", "container:eu/shop/cart-5f-1/app"),
        ("Pod", "cart-5f-1", "spec.initContainers{migrate}", "container:eu/shop/cart-5f-1/migrate"),
        ("Node", "n1", "", "node:eu//n1"),
        ("Deployment", "cart", "", "workload:eu/shop/cart"),
        ("ReplicaSet", "cart-7d9f8b6c5", "", "workload:eu/shop/cart"),
        ("ReplicaSet", "by-hand", "", "workload:eu/shop/by-hand"),
        ("StatefulSet", "orders-db", "", "workload:eu/shop/orders-db"),
        ("Namespace", "shop", "", "namespace:eu//shop"),
        ("HorizontalPodAutoscaler", "cart", "", None),
        ("Pod", "", "", None),
    ],
)
def test_the_object_of_an_event(kind: str, name: str, path: str, expected: str | None) -> None:
    found = object_ref(kind, name, "eu", "shop", path)
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize(
    ("host", "port", "system", "database", "expected"),
    [
        ("db", "5432", "postgresql", "orders", "db/orders"),
        ("db", "", "postgresql", "orders", "db/orders"),
        ("db", "5433", "postgresql", "orders", "db:5433/orders"),
        ("db", "3306", "postgresql", "orders", "db:3306/orders"),
        ("db", "3306", "", "orders", "db/orders"),
        ("cache", "6379", "redis", "", "cache"),
    ],
)
def test_a_usual_port_goes_without_saying(host: str, port: str, system: str, database: str, expected: str) -> None:
    assert server_name(host, port, system, database) == expected


def test_what_is_a_database_and_what_only_a_part_of_one() -> None:
    assert [server_kind(system) for system in ("redis", "valkey", "postgresql", "something.new")] == ["cache", "cache", "database", "database"]
    assert database_of("postgresql", "orders|public") == database_of("postgresql", "orders") == "orders"
    assert database_of("microsoft.sql_server", "instance1|orders") == "orders"
    assert database_of("redis", "0") == ""
