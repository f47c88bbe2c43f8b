"""Whoever speaks of a thing, in whatever words: it is one entity."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.address_book import SECOND, STRANGERS
from graph.resolver import Resolver
from graph.topology import Entity, Snapshot
from schema.batches import Resource
from schema.identity import EntityRef
from schema.semantic_conventions import RENAMED

NOW = 100 * SECOND


def pod(service: str, cluster: str = "eu", namespace: str = "shop", **more: str) -> Resource:
    """What an SDK and the Collector's k8sattributes processor say."""
    return Resource({
        "service.name": service, "service.namespace": namespace, "k8s.cluster.name": cluster, "k8s.namespace.name": namespace,
        "k8s.deployment.name": service, "k8s.pod.name": f"{service}-1", "k8s.pod.uid": f"{cluster}-{service}", "k8s.node.name": "n1",
        **{key.replace("__", "."): value for key, value in more.items()},
    })  # fmt: skip


def said(**attributes: str) -> dict[str, str]:
    """Attributes as the decoder hands them on: old names translated."""
    return {RENAMED.get(name, name): value for name, value in ((key.replace("__", "."), value) for key, value in attributes.items())}


def peer(resolver: Resolver, caller: Resource, attributes: Mapping[str, str], time: int = NOW) -> str:
    return str(resolver.peer(resolver.resource(caller, time), attributes, time))


ORDERS = "database:eu/shop/orders-db/orders"
RECEIVER = {
    "k8s.cluster.name": "eu", "k8s.namespace.name": "shop", "service.instance.id": "orders-db.shop.svc.cluster.local:5432",
    "server.address": "orders-db.shop.svc.cluster.local", "server.port": "5432",
}  # fmt: skip
CLIENTS = {
    "its full name": said(db__system__name="postgresql", db__namespace="orders", server__address="orders-db.shop.svc.cluster.local", server__port="5432"),
    "old names": said(db__system="postgresql", db__name="orders", net__peer__name="orders-db", net__peer__port="5432"),
    "no port": said(db__system__name="postgresql", db__namespace="orders", server__address="orders-db.shop.svc"),
    "the namespace only": said(db__system__name="postgresql", db__namespace="orders", server__address="Orders-DB.shop"),
    "a schema": said(db__system__name="postgresql", db__namespace="orders|public", server__address="orders-db"),
    "the first of its pods": said(db__system__name="postgresql", db__namespace="orders", server__address="orders-db-0.orders-db.shop.svc.cluster.local"),
}


@pytest.mark.parametrize("attributes", CLIENTS.values(), ids=list(CLIENTS))
def test_a_database_is_one_however_its_clients_name_it(attributes: dict[str, str]) -> None:
    assert peer(Resolver(), pod("checkout"), attributes) == ORDERS


@pytest.mark.parametrize(
    "resource",
    [
        {**RECEIVER, "postgresql.database.name": "orders"},
        {"k8s.cluster.name": "eu", "service.instance.id": "orders-db.shop.svc.cluster.local:5432", "postgresql.database.name": "orders"},
        {**RECEIVER, "postgresql.database.name": "orders", "k8s.namespace.name": "monitoring"},
    ],
    ids=["with address", "by instance", "from the collector's namespace"],
)
def test_a_database_is_one_in_its_own_metrics(resource: dict[str, str]) -> None:
    resolver = Resolver()
    assert str(resolver.metric_entity(Resource(resource), {}, ("database",), NOW)) == ORDERS


@pytest.mark.parametrize(
    "resource",
    [
        {"postgresql.database.name": "orders"},
        {"server.address": "localhost", "k8s.cluster.name": "eu", "postgresql.database.name": "orders"},
        {
            "k8s.cluster.name": "eu",
            "k8s.pod.name": "orders-db-0",
            "k8s.namespace.name": "shop",
            "k8s.statefulset.name": "orders-db",
            "postgresql.database.name": "orders",
        },
        RECEIVER,
    ],
    ids=["nothing but its name", "beside it", "in its pod", "the whole server"],
)
def test_metrics_that_say_less_are_of_the_database_the_clients_name(resource: dict[str, str]) -> None:
    resolver = Resolver()
    peer(resolver, pod("checkout"), CLIENTS["its full name"])
    assert str(resolver.metric_entity(Resource(resource), {}, ("database",), NOW)) == ORDERS


def test_a_receiver_heard_before_any_client_names_the_server_by_its_database() -> None:
    resolver = Resolver()
    resolver.learn([Resource({**RECEIVER, "postgresql.database.name": "orders"})], NOW)
    assert str(resolver.metric_entity(Resource(RECEIVER), {}, ("database",), NOW)) == ORDERS


def test_a_receiver_that_says_too_little_joins_the_clients_once_they_speak() -> None:
    resolver = Resolver(default_cluster="eu")
    little = Resource({"postgresql.database.name": "orders"})
    resolver.learn([little], NOW)
    assert str(resolver.metric_entity(little, {}, ("database",), NOW)) == "database:eu//orders"
    peer(resolver, pod("checkout"), CLIENTS["its full name"])
    assert str(resolver.metric_entity(little, {}, ("database",), NOW)) == ORDERS


def test_databases_of_one_server_stay_apart_and_so_do_servers_of_one_name() -> None:
    resolver = Resolver()
    other = said(db__system__name="postgresql", db__namespace="stock", server__address="orders-db")
    assert peer(resolver, pod("checkout"), other) == "database:eu/shop/orders-db/stock"
    assert peer(resolver, pod("checkout", namespace="web"), CLIENTS["a schema"]) == "database:eu/web/orders-db/orders"
    assert peer(resolver, pod("checkout", cluster="us"), CLIENTS["a schema"]) == "database:us/shop/orders-db/orders"


def test_a_client_that_names_no_database_means_the_only_one_at_its_host_in_its_own_namespace() -> None:
    resolver = Resolver()
    unnamed = said(db__system__name="postgresql", server__address="orders-db")
    peer(resolver, pod("checkout", namespace="web"), CLIENTS["a schema"])
    assert peer(resolver, pod("checkout"), unnamed) == "database:eu/shop/orders-db"
    assert peer(resolver, pod("checkout", namespace="web"), unnamed) == "database:eu/web/orders-db/orders"


def test_a_managed_database_is_the_same_from_every_cluster() -> None:
    resolver = Resolver()
    attributes = said(db__system__name="mysql", db__namespace="orders", server__address="orders.abc.eu-west-1.rds.amazonaws.com", server__port="3306")
    assert {peer(resolver, pod("checkout", cluster), attributes) for cluster in ("eu", "us")} == {"database://orders.abc.eu-west-1.rds.amazonaws.com/orders"}


def test_a_cache_is_one_for_clients_and_receiver_whatever_number_they_select() -> None:
    resolver = Resolver()
    names = {
        peer(resolver, pod("cart"), said(db__system__name="redis", db__namespace=number, server__address=host))
        for number, host in (("0", "cache"), ("1", "cache.shop.svc.cluster.local"))
    }
    resource = Resource({"k8s.cluster.name": "eu", "k8s.namespace.name": "shop", "server.address": "cache.shop.svc.cluster.local", "server.port": "6379"})
    assert names == {str(resolver.metric_entity(resource, {}, ("cache",), NOW))} == {"cache:eu/shop/cache"}


def test_a_database_within_the_process_belongs_to_its_service() -> None:
    resolver = Resolver()
    embedded = said(db__system__name="sqlite", db__namespace="app.db")
    assert peer(resolver, pod("cart"), embedded) == "database:eu/shop/cart/app.db"
    assert peer(resolver, pod("search"), embedded) == "database:eu/shop/search/app.db"


def test_a_database_on_the_own_machine_belongs_to_the_machine_outside_pods() -> None:
    resolver = Resolver()
    laptop = Resource({"service.name": "cart", "host.name": "vm1"})
    attributes = said(db__system__name="postgresql", db__namespace="orders", server__address="localhost")
    assert peer(resolver, laptop, attributes) == "database://vm1/orders"
    assert peer(resolver, Resource({"service.name": "cart"}), attributes) == "database://cart/orders"


@pytest.mark.parametrize("address", ["cart", "cart.shop", "cart.shop.svc.cluster.local", "http://CART:8080/carts"])
def test_a_service_is_found_by_its_name_in_the_cluster(address: str) -> None:
    resolver = Resolver()
    resolver.learn([pod("cart"), pod("checkout")], NOW)
    assert peer(resolver, pod("checkout"), said(server__address=address)) == "service:eu/shop/cart"


def test_a_service_is_found_by_its_kubernetes_name_when_it_calls_itself_otherwise() -> None:
    resolver = Resolver()
    resolver.learn([Resource({**pod("cart").attributes, "service.name": "CartService", "service.namespace": "retail"})], NOW)
    assert peer(resolver, pod("checkout"), said(server__address="cart.shop.svc")) == "service:eu/retail/CartService"


def test_a_name_exported_to_all_clusters_reaches_the_service_in_another() -> None:
    resolver = Resolver()
    resolver.learn([pod("checkout", "us"), pod("storefront", "eu")], NOW)
    attributes = said(server__address="checkout.shop.svc.clusterset.local")
    assert peer(resolver, pod("storefront", "eu"), attributes) == "service:us/shop/checkout"
    resolver.learn([pod("checkout", "eu")], NOW)
    assert peer(resolver, pod("storefront", "eu"), attributes) == "service:eu/shop/checkout"


def test_a_plain_name_does_not_leave_its_namespace_or_cluster() -> None:
    resolver = Resolver()
    resolver.learn([pod("cart", "us"), pod("cart", "eu", "web")], NOW)
    assert peer(resolver, pod("checkout"), said(server__address="cart")) == "external_service:eu/shop/cart"


def test_an_uninstrumented_peer_is_one_external_service_however_it_is_dialled() -> None:
    resolver = Resolver()
    inside = {peer(resolver, pod("checkout"), said(server__address=host)) for host in ("legacy", "legacy.shop.svc", "legacy.shop.svc.cluster.local")}
    assert inside == {"external_service:eu/shop/legacy"}
    outside = {peer(resolver, pod("checkout", cluster), said(server__address="API.pay.example", server__port="443")) for cluster in ("eu", "us")}
    assert outside == {"external_service://api.pay.example"}
    assert peer(resolver, pod("checkout"), said(http__url="https://api.pay.example/v1/charges")) == "external_service://api.pay.example"


def test_a_peer_named_outright_is_that_service_wherever_it_is() -> None:
    resolver = Resolver()
    resolver.learn([pod("billing", "us", "finance")], NOW)
    assert peer(resolver, pod("checkout"), said(peer__service="billing")) == "service:us/finance/billing"
    assert peer(resolver, pod("checkout"), said(service__peer__name="mainframe")) == "service:eu//mainframe"
    assert peer(resolver, pod("cart", namespace="web"), said(service__peer__name="mainframe")) == "service:eu//mainframe"
    assert peer(resolver, pod("checkout"), said(peer__service="api.pay.example:443")) == "external_service://api.pay.example"


def test_a_proxy_on_the_own_machine_is_no_peer_and_counted() -> None:
    resolver = Resolver()
    assert peer(resolver, pod("cart"), said(server__address="localhost", server__port="15001")) == "None"
    assert resolver.dropped == {"peer_on_own_host": 1}


def test_an_address_is_the_service_of_the_pod_that_holds_it_then() -> None:
    resolver = Resolver()
    resolver.learn([pod("cart", k8s__pod__ip="10.0.0.7")], 100 * SECOND)
    resolver.learn([pod("search", k8s__pod__ip="10.0.0.7")], 300 * SECOND)
    called = said(network__peer__address="10.0.0.7")
    assert [peer(resolver, pod("checkout"), called, time * SECOND) for time in (100, 200, 300, 350)] == [
        "service:eu/shop/cart", "service:eu/shop/cart", "service:eu/shop/search", "service:eu/shop/search",
    ]  # fmt: skip


def test_the_same_address_in_two_clusters_is_two_pods() -> None:
    resolver = Resolver()
    resolver.learn([pod("cart", "eu", k8s__pod__ip="10.0.0.7"), pod("search", "us", k8s__pod__ip="10.0.0.7")], NOW)
    assert peer(resolver, pod("checkout", "us"), said(net__peer__ip="10.0.0.7")) == "service:us/shop/search"


def test_thousands_of_addresses_of_nobody_make_few_entities() -> None:
    resolver = Resolver()
    names = {peer(resolver, pod("crawler"), said(server__address=f"10.{number // 250}.{number % 250}.9")) for number in range(3000)} - {"None"}
    assert len(names) == STRANGERS
    assert "external_service:eu//10.0.0.9" in names
    assert resolver.dropped == {"unknown_address": 3000 - STRANGERS}


def test_a_topic_belongs_to_its_cluster_and_a_queue_to_a_namespace() -> None:
    resolver = Resolver()
    topic = said(messaging__system="kafka", messaging__destination="orders")
    queue = said(messaging__system="rabbitmq", messaging__destination__name="tasks")
    assert {peer(resolver, pod("a", namespace=namespace), topic) for namespace in ("shop", "web")} == {"topic:eu//orders"}
    assert [peer(resolver, pod("a", namespace=namespace), queue) for namespace in ("shop", "web")] == ["queue:eu/shop/tasks", "queue:eu/web/tasks"]
    receiver = Resource({"k8s.cluster.name": "eu", "k8s.namespace.name": "kafka"})
    assert str(resolver.metric_entity(receiver, {"topic": "orders", "group": "g"}, ("topic", "queue"), NOW)) == "topic:eu//orders"
    assert str(resolver.metric_entity(Resource({}), {"topic": "orders"}, ("topic", "queue"), NOW)) == "topic:eu//orders"


def test_names_that_brokers_make_up_are_no_queues() -> None:
    resolver = Resolver()
    assert peer(resolver, pod("a"), said(messaging__system="rabbitmq", messaging__destination__name="amq.gen-x7Kq")) == "None"
    assert resolver.dropped == {"temporary_destination": 1}


def test_a_span_that_names_no_peer_has_none() -> None:
    assert peer(Resolver(), pod("cart"), {}) == "None"


def test_metrics_are_of_the_first_kind_that_the_resource_has() -> None:
    resolver = Resolver()
    kubelet = Resource({"k8s.cluster.name": "eu", "k8s.namespace.name": "shop", "k8s.pod.name": "cart-1"})
    assert str(resolver.metric_entity(kubelet, {}, ("container", "pod"), NOW)) == "pod:eu/shop/cart-1"
    assert resolver.metric_entity(Resource({}), {}, ("container", "pod"), NOW) is None
    assert resolver.dropped == {"metric_without_entity": 1}


def test_service_graph_metrics_make_the_services_that_nobody_else_knows() -> None:
    resolver = Resolver(default_cluster="eu")
    assert str(resolver.service_in_metrics("cart", Resource({}))) == "service:eu//cart"
    resolver.learn([pod("cart")], NOW)
    assert str(resolver.service_in_metrics("cart", Resource({}))) == "service:eu/shop/cart"


@pytest.mark.parametrize(
    ("kind", "name", "path", "expected"),
    [("Pod", "cart-1", "", "pod:eu/shop/cart-1"), ("Pod", "cart-1", "spec.containers{app}", "container:eu/shop/cart-1/app"), ("Node", "n1", "", "node:eu//n1")],
)
def test_events_speak_of_their_object(kind: str, name: str, path: str, expected: str) -> None:
    resource = Resource({"k8s.cluster.name": "eu", "k8s.object.kind": kind, "k8s.object.name": name, "k8s.object.fieldpath": path, "k8s.node.name": "n1"})
    assert str(Resolver().event_entity(resource, {"k8s.event.reason": "BackOff", "k8s.namespace.name": "shop"})) == expected


def test_an_event_without_an_object_is_of_whoever_sent_it_or_counted() -> None:
    resolver = Resolver()
    assert str(resolver.event_entity(pod("cart"), {})) == "pod:eu/shop/cart-1"
    assert resolver.event_entity(Resource({"service.name": "collector"}), {}) is None
    assert resolver.dropped == {"event_without_entity": 1}


def test_what_a_window_says_of_a_pod_completes_those_who_say_less() -> None:
    resolver = Resolver()
    bare = Resource({"service.name": "cart", "host.name": "cart-1"})
    kubelet = Resource({"k8s.cluster.name": "eu", "k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.node.name": "n1"})
    resolver.learn([bare, kubelet], NOW)
    assert resolver.resource(bare, NOW).service == EntityRef("service", "eu", "shop", "cart")


def test_a_restart_with_the_stored_estate_calls_everything_as_before() -> None:
    refs = ("service:us/shop/billing", ORDERS, "namespace:eu//finance", "topic:us//orders")
    resolver = Resolver()
    resolver.restore(Snapshot(1, tuple(Entity(EntityRef.parse(ref), {}, (), 1, 1) for ref in refs), ()))
    assert peer(resolver, pod("checkout"), said(peer__service="billing")) == "service:us/shop/billing"
    assert str(resolver.metric_entity(Resource({"postgresql.database.name": "orders"}), {}, ("database",), NOW)) == ORDERS
    assert peer(resolver, pod("checkout"), said(server__address="ledger.finance")) == "external_service:eu/finance/ledger"
    assert str(resolver.metric_entity(Resource({}), {"topic": "orders"}, ("topic",), NOW)) == "topic:us//orders"


RESOURCES = st.lists(
    st.sampled_from([
        pod("cart", k8s__pod__ip="10.0.0.7"), pod("cart", "us"), pod("search", k8s__pod__ip="10.0.0.7"), pod("search", namespace="web"),
        Resource({"service.name": "cart", "host.name": "cart-1", "host.ip": "10.0.0.9"}), Resource({"service.name": "search", "k8s.pod.uid": "eu-search"}),
        Resource({"service.name": "bare"}), Resource({**RECEIVER, "postgresql.database.name": "orders"}),
        Resource({**RECEIVER, "postgresql.database.name": "stock"}), Resource({"k8s.cluster.name": "us", "k8s.node.name": "n1"}),
    ]),
    max_size=8,
)  # fmt: skip
ASKED = [
    said(server__address="cart"), said(server__address="search.web"), said(server__address="10.0.0.7"), said(server__address="10.0.0.9"),
    said(peer__service="bare"),
    said(server__address="cart.shop.svc.clusterset.local"), said(db__system="postgresql", server__address="orders-db"),
    said(db__system="postgresql", db__name="stock"),
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(RESOURCES, st.randoms(use_true_random=False))
def test_the_order_in_which_resources_of_a_window_are_learnt_does_not_matter(resources: list[Resource], random: object) -> None:
    shuffled = list(resources)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    one, other = Resolver(), Resolver()
    one.learn(resources, NOW)
    other.learn(shuffled, NOW)
    assert [one.resource(each, NOW) for each in resources] == [other.resource(each, NOW) for each in resources]
    assert [peer(one, pod("checkout"), asked) for asked in ASKED] == [peer(other, pod("checkout"), asked) for asked in ASKED]
