"""What lies around an entity in Neo4j: the server walks all steps in one statement."""

from __future__ import annotations

from graph.neo4j_statements import HELD, entity_columns, relation_columns
from graph.topology import Direction

_ARROWS = {Direction.EITHER: ("-", "-"), Direction.DEPENDENCIES: ("-", "->"), Direction.DEPENDENTS: ("<-", "-")}


def walk(depth: int, direction: Direction) -> str:
    """The present around `$id`, the nearest `$most`; one record, `entities` and `relations`. The pattern's length can't be a parameter."""
    # Asked for the least length alone, the server looks at each entity once.
    left, right = _ARROWS[direction]
    return f"""
MATCH way = (:Entity {{id: $id}}){left}[*0..{depth}]{right}(e:Entity) WHERE all(place IN nodes(way) WHERE place:Entity)
WITH e, min(length(way)) AS steps ORDER BY steps, e.id LIMIT $most
WITH collect(e) AS found
CALL (found) {{ UNWIND found AS a MATCH (a)-[r]->(b:Entity) WHERE b IN found RETURN collect({relation_columns()}) AS relations }}
RETURN [e IN found | {entity_columns("e")}] AS entities, relations
"""


def walk_then(depth: int, direction: Direction) -> str:
    """The `entities` of then, at `$at`: step by step, over what still stands and what is over."""
    steps = "".join(_step_then(number, direction) for number in range(depth))
    reached = [f"ids{number}" for number in range(depth + 1)]
    nearest = " UNION ALL ".join(f"UNWIND {ids} AS id RETURN id, {number} AS steps" for number, ids in enumerate(reached))
    return f"""
CALL () {{ {_there("$id", "e.id AS id", "past.id AS id")} }}
WITH collect(id) AS ids0
{steps}
CALL ({", ".join(reached)}) {{ {nearest} }}
WITH id, min(steps) AS steps ORDER BY steps, id LIMIT $most
WITH collect(id) AS found
CALL (found) {{
  UNWIND found AS id
  CALL (id) {{ {_there("id", f"{entity_columns('e')} AS row", f"{entity_columns('past')} AS row")} }}
  RETURN collect(row) AS entities
}}
RETURN entities
"""


def _step_then(number: int, direction: Direction) -> str:
    """From `ids<number>` to those one relation further that were there; nothing where `$most` are found by then."""
    left, right = _ARROWS[direction]
    ways = [f"MATCH (:Entity {{id: place}}){left}[r]{right}(e:Entity) WHERE r.opened <= $at RETURN e.id AS id"]
    if direction is not Direction.DEPENDENTS:
        ways.append(f"MATCH (past:RelationVersion {{source: place}}) WHERE {HELD} RETURN past.target AS id")
    if direction is not Direction.DEPENDENCIES:
        ways.append(f"MATCH (past:RelationVersion {{target: place}}) WHERE {HELD} RETURN past.source AS id")
    return f"""
CALL (ids{number}) {{
  UNWIND CASE WHEN size(ids{number}) < $most THEN ids{number} ELSE [] END AS place
  CALL (place) {{ {" UNION ".join(ways)} }}
  WITH DISTINCT id
  CALL (id) {{ {_there("id", "true AS there", "true AS there")} }}
  RETURN collect(id) AS ids{number + 1}
}}"""


def _there(ident: str, now: str, then: str) -> str:
    """What was there at `$at` of one identity."""
    return (
        f"MATCH (e:Entity {{id: {ident}}}) WHERE e.opened <= $at RETURN {now} UNION ALL MATCH (past:EntityVersion {{id: {ident}}}) WHERE {HELD} RETURN {then}"
    )
