"""What a dialled address says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.addresses import Place, Scope, host_and_port, ip_of, place_of, routable_ips


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [
        ("Orders-DB.shop.:5432", "", ("orders-db.shop", "5432")),
        ("orders-db", "5433", ("orders-db", "5433")),
        ("orders-db:1", "5433", ("orders-db", "5433")),
        ("https://user:secret@api.example.com:8443/v1?x=1", "", ("api.example.com", "8443")),
        ("[fd00::1]:5432", "", ("fd00::1", "5432")),
        ("fd00::1", "", ("fd00::1", "")),
        ("a:1,b:2", "", ("a", "1")),
        ("/var/run/postgresql/.s.PGSQL.5432", "", ("/var/run/postgresql/.s.pgsql.5432", "")),
    ],
)
def test_host_and_port(address: str, port: str, expected: tuple[str, str]) -> None:
    assert host_and_port(address, port) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("orders-db", Place(Scope.CLUSTER, "orders-db", "shop")),
        ("orders-db.shop", Place(Scope.CLUSTER, "orders-db", "shop", given=True)),
        ("orders-db.billing", Place(Scope.CLUSTER, "orders-db", "billing", given=True)),
        ("orders-db.billing.svc", Place(Scope.CLUSTER, "orders-db", "billing", given=True)),
        ("orders-db.billing.svc.cluster.local", Place(Scope.CLUSTER, "orders-db", "billing", given=True)),
        ("orders-db-0.orders-db.billing.svc.corp.internal", Place(Scope.CLUSTER, "orders-db", "billing", given=True)),
        ("checkout.shop.svc.clusterset.local", Place(Scope.CLUSTERSET, "checkout", "shop", given=True)),
        ("example.com", Place(Scope.WORLD, "example.com")),
        ("db.corp.internal", Place(Scope.SITE, "db.corp.internal")),
        ("localhost", Place(Scope.HOST, "localhost")),
        ("127.0.0.1", Place(Scope.HOST, "127.0.0.1")),
        ("0.0.0.0", Place(Scope.HOST, "0.0.0.0")),
        ("/tmp/socket", Place(Scope.HOST, "/tmp/socket")),
        ("10.1.2.3", Place(Scope.ADDRESS, "10.1.2.3")),
        ("::ffff:10.1.2.3", Place(Scope.ADDRESS, "10.1.2.3")),
        ("8.8.8.8", Place(Scope.WORLD, "8.8.8.8")),
    ],
)
def test_where_a_host_lives(host: str, expected: Place) -> None:
    assert place_of(host, "shop", {"billing"}) == expected


def test_two_labels_are_a_public_host_unless_the_second_is_a_namespace() -> None:
    assert place_of("orders.dev", "shop", set()).scope == Scope.WORLD
    assert place_of("orders.dev", "shop", {"dev"}) == Place(Scope.CLUSTER, "orders", "dev", given=True)


def test_addresses_in_a_list_are_found_and_those_that_many_hosts_share_left_out() -> None:
    assert routable_ips('["10.0.0.7","fe80::1","127.0.0.1","fd00::2"]') == ["10.0.0.7", "fd00::2"]
    assert routable_ips("not an address: 99") == []


@given(st.ip_addresses(v=4))
def test_an_address_is_known_however_it_is_written(address: object) -> None:
    assert ip_of(str(address)) == ip_of(f"::ffff:{address}") == address


@given(st.text(max_size=60), st.text(max_size=10))
def test_no_address_is_too_odd(address: str, namespace: str) -> None:
    host, _ = host_and_port(address)
    assert isinstance(place_of(host, namespace, ()), Place)
