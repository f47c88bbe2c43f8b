"""Names: what is unambiguous is answered, what is not is left open."""

from __future__ import annotations

from itertools import permutations

from graph.directory import Directory
from schema.identity import EntityRef


def service(name: str, namespace: str = "shop", cluster: str = "c") -> EntityRef:
    return EntityRef("service", cluster, namespace, name)


def directory(*services: EntityRef) -> Directory:
    known = Directory(limit=100)
    for each in services:
        known.add_service(each, [(each.namespace, each.name)])
    return known


def test_a_service_is_found_in_its_namespace_and_from_elsewhere_while_its_name_is_unique() -> None:
    known = directory(service("cart"))
    assert known.service("c", "shop", "cart") == known.service("c", "web", "cart") == service("cart")
    assert known.service("c", "web", "cart", here_only=True) is None
    assert known.service("d", "shop", "cart") is None
    assert known.service_anywhere("cart") == known.service_anywhere("cart", "shop") == service("cart")
    assert known.service_anywhere("cart", "web") is None


def test_a_name_that_two_bear_names_neither_outside_their_namespaces() -> None:
    known = directory(service("cart"), service("cart", "web"))
    assert known.service("c", "web", "cart") == service("cart", "web")
    assert known.service("c", "other", "cart") is None
    assert known.service_anywhere("cart") is None


def test_the_service_that_bears_the_name_goes_before_those_whose_workload_does() -> None:
    known = directory(service("cart"))
    known.add_service(service("cart-worker"), [("shop", "cart-worker"), ("shop", "cart")])
    assert known.service("c", "shop", "cart") == service("cart")


def test_servers_are_found_by_host_and_database_and_told_apart_by_namespace() -> None:
    known = directory()
    orders, other = EntityRef("database", "c", "shop", "db/orders"), EntityRef("database", "c", "web", "db/orders")
    known.add_server(orders, "db", "orders")
    assert known.server("database", "c", "", database="orders") == known.server("database", "", "x", host="db") == orders
    assert known.server("database", "d", "shop", host="db") is None
    assert known.server("cache", "c", "shop", host="db") is None
    known.add_server(other, "db", "orders")
    assert known.server("database", "c", "", host="db") is None
    assert known.server("database", "c", "web", host="db", database="orders") == other


def test_a_server_outside_all_clusters_is_reached_from_each() -> None:
    known = directory()
    managed = EntityRef("database", "", "", "orders.rds.example.com/orders")
    known.add_server(managed, "orders.rds.example.com", "orders")
    assert known.server("database", "c", "shop", database="orders") == managed


def test_tables_are_bounded_and_what_is_refused_is_counted() -> None:
    known = Directory(limit=2)
    for name in "abc":
        known.add_service(service(name), [("shop", name)])
        known.add_server(EntityRef("cache", "c", "shop", name), name, "")
        known.add_namespace(name)
    assert [known.service("c", "shop", name) for name in "abc"] == [service("a"), service("b"), None]
    assert known.server("cache", "c", "shop", host="c") is None
    assert known.dropped == {"service_table_full": 1, "server_table_full": 1, "namespace_table_full": 1}


def test_a_server_with_endless_addresses_is_bounded_too() -> None:
    known, orders = Directory(limit=2), EntityRef("database", "c", "shop", "db/orders")
    for number in range(5):
        known.add_server(orders, f"10.0.0.{number}", "orders")
    assert known.server("database", "c", "shop", host="10.0.0.1") == known.server("database", "c", "shop", database="orders") == orders
    assert known.server("database", "c", "shop", host="10.0.0.4") is None
    assert known.dropped == {"server_table_full": 3}


def test_the_order_of_introduction_does_not_matter() -> None:
    all_services = [service("cart"), service("cart", "web"), service("cart", "shop", "d")]
    answers = {tuple(directory(*order).service("c", namespace, "cart") for namespace in ("shop", "web", "x")) for order in permutations(all_services)}
    assert answers == {(service("cart"), service("cart", "web"), None)}
