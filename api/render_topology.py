"""The estate as text: entities by kind, then who relates to whom with what travels there."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console

from api.client_results import Relation, Topology
from api.render import columns, described, heading, moment, place, say


def render_topology(console: Console, topology: Topology) -> None:
    """Kinds in ascending order; relations with traffic before those without."""
    say(console, f"{moment(topology.at)}: {len(topology.entities)} entities, {len(topology.relations)} relations.")
    for kind, members in groupby(sorted(topology.entities, key=lambda each: (each.kind, each.id)), key=lambda each: each.kind):
        console.print()
        heading(console, kind.replace("_", " "))
        rows = []
        for each in members:
            labels = ", ".join(f"{attribute.name}={attribute.value}" for attribute in each.attributes)
            rows.append((place(each.id), labels))
        columns(console, ("", ""), rows)
    if topology.relations:
        console.print()
        heading(console, "relations")
        ordered = sorted(topology.relations, key=lambda each: (each.statistics is None, each.source, each.kind, each.target))
        head = ("from", "", "to", "req/s", "errors", "mean")
        columns(console, head, (_row(relation) for relation in ordered), right=frozenset({3, 4, 5}))
    if topology.truncated:
        console.print()
        say(console, "There is more than is listed here: ask for one entity, or a smaller --depth.")


def _row(relation: Relation) -> tuple[str, str, str, str, str, str]:
    seen = relation.statistics
    traffic = ("", "", "") if seen is None else (f"{seen.request_rate:.2f}", f"{seen.error_ratio:.1%}", f"{seen.mean_duration_seconds * 1000:.1f} ms")
    return (described(relation.source), relation.kind, described(relation.target), *traffic)
