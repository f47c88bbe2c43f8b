"""What a dialled address says about where its owner lives. Pure: text in, place out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "host.docker.internal", "kubernetes.docker.internal"})
# Reserved for private use (RFC 6762 appendix G, RFC 8375, ICANN 2024): no public host ends so.
PRIVATE_SUFFIXES = frozenset({"local", "internal", "lan", "corp", "home", "intranet", "private", "localdomain", "arpa"})
IP_TOKEN = re.compile(r"[0-9A-Fa-f:.]{2,45}")


class Scope(StrEnum):
    """How far a name reaches."""

    HOST = "host"  # the caller's own machine
    CLUSTER = "cluster"  # a name within a namespace of the caller's cluster
    CLUSTERSET = "clusterset"  # a name within a namespace, of whichever cluster exports it
    SITE = "site"  # a private name or address
    ADDRESS = "address"  # a private IP, which means little without knowing who holds it
    WORLD = "world"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address points. `name`: the host in normal form; `namespace` is set in scopes CLUSTER and CLUSTERSET only; `given`: it was spelt out."""

    scope: Scope
    name: str
    namespace: str = ""
    given: bool = False


def host_and_port(address: str, port: str = "") -> tuple[str, str]:
    """(`Orders-DB.shop.:5432`, ``) -> (`orders-db.shop`, `5432`); understands schemes, brackets and bare IPv6. An explicit port wins."""
    text = address.strip().lower().partition(",")[0]
    text = text.rpartition("://")[2]
    if text.startswith("/"):
        return text, port
    text = text.partition("/")[0].rpartition("@")[2]
    if text.startswith("["):
        host, _, tail = text[1:].partition("]")
        return host, port or tail.removeprefix(":")
    if text.count(":") > 1:
        return text, port
    host, _, inline = text.partition(":")
    return host.rstrip("."), port or inline


def place_of(host: str, home: str, namespaces: Container[str]) -> Place:
    """Where `host` (in normal form) lives, dialled from namespace `home`. `namespaces`: those known to exist.

    Kubernetes names: service, service.namespace, service.namespace.svc[.zone], pod.service.namespace.svc[.zone].
    `a.b` is one only if namespace b is known: it may as well be a public host.
    """
    if host in LOOPBACK_NAMES or host.startswith("/"):
        return Place(Scope.HOST, host)
    number = ip_of(host)
    if number is not None:
        scope = Scope.HOST if number.is_loopback or number.is_unspecified else Scope.WORLD if number.is_global else Scope.ADDRESS
        return Place(scope, str(number))
    labels = host.split(".")
    if len(labels) == 1:
        return Place(Scope.CLUSTER, host, home)
    if "svc" in labels[2:]:
        at = labels.index("svc", 2)
        scope = Scope.CLUSTERSET if labels[at + 1 :] == ["clusterset", "local"] else Scope.CLUSTER
        return Place(scope, labels[at - 2], labels[at - 1], given=True)
    if len(labels) == 2 and (labels[1] == home or labels[1] in namespaces):
        return Place(Scope.CLUSTER, labels[0], labels[1], given=True)
    return Place(Scope.SITE if labels[-1] in PRIVATE_SUFFIXES else Scope.WORLD, host)


def ip_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address a text spells, with IPv4 inside IPv6 unwrapped."""
    if not text or not (text[0].isdigit() or ":" in text):
        return None
    try:
        number = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return number.ipv4_mapped or number if isinstance(number, ipaddress.IPv6Address) else number


def routable_ips(text: str) -> list[str]:
    """The IP addresses in an attribute that may be a list, less those that many hosts share (loopback, link-local)."""
    numbers = [ip_of(token) for token in IP_TOKEN.findall(text)]
    return sorted({str(number) for number in numbers if number is not None and not number.is_loopback and not number.is_link_local})
