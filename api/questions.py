"""What the client commands ask a running Whence, and how people may name what they mean: a full identity, or a name that is the only one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from api.client import QueryRefusedError, WhenceClient, WhenceClientError
from api.client_results import Entity, Relation, Topology, read, selection
from api.client_verdicts import Impact, Intervention
from api.instants import InstantError, parse_instant
from api.terminal import CommandError

IDENTITY = re.compile(r"[a-z_]+:[^/]*/[^/]*/.+")
TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
PAGE = 100
MOST_ENTITIES = 2_000
MOST_ROOTS = 50
DEPTH = 5
NOT_FOUND = "NOT_FOUND"


@contextmanager
def asking(server: str) -> Iterator[WhenceClient]:
    """A client of the Whence at a URL; what it can't get leaves as CommandError: 1 where the server knows no such thing, else 2."""
    try:
        with WhenceClient(server) as client:
            yield client
    except QueryRefusedError as refused:
        raise CommandError(str(refused), code=1 if NOT_FOUND in refused.codes else 2) from refused
    except WhenceClientError as error:
        raise CommandError(str(error)) from error


def instant(text: str) -> int | None:
    """The instant of --at; None for now. Raises CommandError."""
    try:
        return parse_instant(text) if text else None
    except InstantError as error:
        raise CommandError(f"--at: {error}") from error


def identity(client: WhenceClient, text: str) -> str:
    """The identity of the entity meant. Raises CommandError: 1 when there is none, 2 when there are several."""
    if IDENTITY.fullmatch(text):
        return text
    found = client.entities(text=text, first=PAGE)
    exact = [each for each in found if each.name == text] or list(found)
    services = [each for each in exact if each.kind == "service"]
    chosen = exact if len(exact) == 1 else services
    if len(chosen) == 1:
        return chosen[0].id
    if not exact:
        raise CommandError(f"No entity is called {text!r}: `whence topology` lists those there are.", code=1)
    listed = ", ".join(each.id for each in exact[:5])
    raise CommandError(f"{text!r} may be any of {len(exact)} entities: {listed}{', …' if len(exact) > 5 else ''}. Write the whole identity.")


def intervention(client: WhenceClient, text: str) -> Intervention:
    """Reads ENTITY.NAME=true|false. Raises CommandError."""
    target, equals, value = text.rpartition("=")
    entity, dot, name = target.rpartition(".")
    if not (equals and dot and entity and name) or value.strip().lower() not in TRUTH:
        raise CommandError(f"{text!r} is no intervention: write ENTITY.NAME=true or =false, e.g. service:prod/shop/cart.slow_code=false.")
    return Intervention(identity(client, entity), name, TRUTH[value.strip().lower()])


def impact(client: WhenceClient, target: str, defect: str | None, condition: str | None, first: int) -> Impact:
    """What ENTITY.NAME takes down, or an entity's `defect` or `condition`. Raises CommandError."""
    if defect is None and condition is None:
        entity, dot, name = target.rpartition(".")
        if not (dot and entity and name):
            raise CommandError(f"{target!r} names no defect or condition: write ENTITY.NAME, e.g. service:prod/shop/cart.slow_code.")
        entity = identity(client, entity)
        try:
            return client.impact(entity, defect=name, first=first)
        except QueryRefusedError as refused:
            if NOT_FOUND not in refused.codes:
                raise
        return client.impact(entity, condition=name, first=first)
    return client.impact(identity(client, target), defect=defect, condition=condition, first=first)


def estate(client: WhenceClient, kind: str | None = None) -> Topology:
    """All entities there are, or those of a kind, with the relations among them; `truncated` where there are more than MOST_ENTITIES."""
    entities, more = _all_entities(client, kind)
    wanted = {each.id for each in entities}
    left, relations = dict.fromkeys(each.id for each in entities), dict[tuple[str, str, str], Relation]()
    at = max((each.last_seen for each in entities), default=None)
    for _ in range(MOST_ROOTS):
        root = next(iter(left), None)
        if root is None:
            break
        around = client.topology(root, depth=DEPTH if kind is None else 1)
        at = around.at
        relations.update({(each.source, each.kind, each.target): each for each in around.relations if each.source in wanted and each.target in wanted})
        # Every relation of an entity nearer than the rim was listed.
        near = _within(around, DEPTH - 1) if kind is None and not around.truncated else {root}
        left = {each: None for each in left if each not in near}
    if at is None:
        raise CommandError("The estate is empty: no telemetry has arrived, or no window of it has closed yet. Send OTLP, see `whence doctor`.", code=1)
    return Topology(at, "", entities, tuple(relations[key] for key in sorted(relations)), more or bool(left))


def _all_entities(client: WhenceClient, kind: str | None) -> tuple[tuple[Entity, ...], bool]:
    query = (
        "query($filter: EntityFilter, $first: Int, $after: String) { entities(filter: $filter, first: $first, after: $after) "
        f"{{ edges {{ node {selection(Entity)} }} pageInfo {{ hasNextPage endCursor }} }} }}"
    )
    found: list[Entity] = []
    after: str | None = None
    while True:
        page = client.ask(query, {"filter": {"kind": kind} if kind else None, "first": PAGE, "after": after})["entities"]
        found.extend(read(Entity, edge["node"]) for edge in page["edges"])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"] or len(found) >= MOST_ENTITIES:
            return tuple(found), bool(page["pageInfo"]["hasNextPage"])


def _within(around: Topology, depth: int) -> set[str]:
    touching: dict[str, set[str]] = {}
    for each in around.relations:
        touching.setdefault(each.source, set()).add(each.target)
        touching.setdefault(each.target, set()).add(each.source)
    reached = {around.root}
    frontier = {around.root}
    for _ in range(depth):
        frontier = {end for place in frontier for end in touching.get(place, ())} - reached
        reached |= frontier
    return reached
