"""The statements of the Neo4j store. Present things are :Entity nodes and their relationships; what is over is in nodes of its own.

A write takes `$rows`, or `$ids` and `$at`, of one batch. Relationships are typed by kind: `{type}` stands for a quoted type.
"""

from __future__ import annotations

# An entity that expired keeps its node, with another label, for what points at it, and because its next interval can't begin before its last one ended.
RETURN_ENTITIES = """
UNWIND $rows AS row
MATCH (e:Gone {id: row.properties.id})
WITH e, row, CASE WHEN row.properties.first_seen > e.closed THEN row.properties.first_seen ELSE e.closed END AS opened
SET e = row.properties, e.opened = opened
REMOVE e:Gone
SET e:Entity:$(row.label)
CREATE (:StructureChange {at: opened, event: 'entity_appeared', entity: row.properties.id})-[:OF]->(e)
"""

UPSERT_ENTITIES = """
UNWIND $rows AS row
MERGE (e:Entity {id: row.properties.id})
WITH e, row, e.opened AS opened, e.fingerprint AS fingerprint
CALL (e, row, opened) {
  WITH e, row, opened WHERE opened IS NULL
  SET e = row.properties, e.opened = row.properties.first_seen
  SET e:$(row.label)
  CREATE (:StructureChange {at: row.properties.first_seen, event: 'entity_appeared', entity: row.properties.id})-[:OF]->(e)
}
CALL (e, row, opened, fingerprint) {
  WITH e, row, opened, fingerprint WHERE opened IS NOT NULL AND fingerprint = row.properties.fingerprint
  SET e.sources = row.properties.sources,
      e.last_seen = CASE WHEN row.properties.last_seen > e.last_seen THEN row.properties.last_seen ELSE e.last_seen END
}
CALL (e, row, opened, fingerprint) {
  WITH e, row, opened, fingerprint WHERE opened IS NOT NULL AND fingerprint <> row.properties.fingerprint
  WITH e, row, properties(e) AS old, CASE WHEN row.properties.last_seen > opened THEN row.properties.last_seen ELSE opened END AS turned
  CREATE (version:EntityVersion)
  SET version = old, version.closed = turned
  SET e = row.properties, e.opened = turned, e.first_seen = old.first_seen,
      e.last_seen = CASE WHEN row.properties.last_seen > old.last_seen THEN row.properties.last_seen ELSE old.last_seen END
  CREATE (:StructureChange {at: turned, event: 'entity_changed', entity: row.properties.id})-[:OF]->(e)
}
"""

# Returns how many relations had both their ends.
UPSERT_RELATIONS = """
UNWIND $rows AS row
MATCH (a:Entity {id: row.source})
MATCH (b:Entity {id: row.target})
MERGE (a)-[r:{type}]->(b)
SET r += row.properties, r.last_seen = CASE WHEN r.last_seen > row.last_seen THEN r.last_seen ELSE row.last_seen END
WITH a, b, r, row, r.opened AS opened
CALL (a, b, r, row, opened) {
  WITH a, b, r, row, opened WHERE opened IS NULL
  OPTIONAL MATCH (past:RelationVersion {source: row.source, kind: $kind, target: row.target})
  WITH a, b, r, row, max(past.closed) AS closed
  WITH a, b, r, row, CASE WHEN closed > row.first_seen THEN closed ELSE row.first_seen END AS appeared
  SET r.first_seen = row.first_seen, r.opened = appeared
  CREATE (change:StructureChange {at: appeared, event: 'relation_appeared', entity: row.source, source: row.source, kind: $kind, target: row.target})
  CREATE (change)-[:OF]->(a)
}
RETURN count(*) AS written
"""

MISSING_ENTITIES = """
UNWIND $ids AS id
OPTIONAL MATCH (e:Entity {id: id})
WITH id, e WHERE e IS NULL
RETURN id
"""

TOUCH_ENTITIES = """
UNWIND $ids AS id
MATCH (e:Entity {id: id}) WHERE e.last_seen < $at
SET e.last_seen = $at
"""

TOUCH_RELATIONS = """
UNWIND $rows AS row
MATCH (a:Entity {id: row.source})
MATCH (b:Entity {id: row.target})
MATCH (a)-[r:{type}]->(b) WHERE r.last_seen < $at
SET r.last_seen = $at
"""

_EXPIRE_RELATION = """
WITH a, r, b, CASE WHEN $at > r.opened THEN $at ELSE r.opened END AS closed
CREATE (past:RelationVersion)
SET past = properties(r), past.source = a.id, past.kind = toLower(type(r)), past.target = b.id, past.closed = closed
CREATE (change:StructureChange {at: closed, event: 'relation_expired', entity: a.id, source: a.id, kind: toLower(type(r)), target: b.id})
CREATE (change)-[:OF]->(a)
DELETE r
"""

EXPIRE_RELATIONS = f"""
UNWIND $rows AS row
MATCH (a:Entity {{id: row.source}})
MATCH (b:Entity {{id: row.target}})
MATCH (a)-[r:{{type}}]->(b)
{_EXPIRE_RELATION}
"""

EXPIRE_RELATIONS_OF_ENTITIES = f"""
UNWIND $ids AS id
MATCH (e:Entity {{id: id}})-[r]-(:Entity)
WITH DISTINCT r, startNode(r) AS a, endNode(r) AS b
{_EXPIRE_RELATION}
"""

EXPIRE_ENTITIES = """
UNWIND $rows AS row
MATCH (e:Entity {id: row.id})
WITH e, row, properties(e) AS old, CASE WHEN $at > e.opened THEN $at ELSE e.opened END AS closed
CREATE (version:EntityVersion)
SET version = old, version.closed = closed
SET e = {id: old.id, kind: old.kind, cluster: old.cluster, namespace: old.namespace, name: old.name, closed: closed}
REMOVE e:Entity:$(row.label)
SET e:Gone
CREATE (:StructureChange {at: closed, event: 'entity_expired', entity: old.id})-[:OF]->(e)
"""

SAVE_INCIDENTS = """
UNWIND $rows AS row
MERGE (i:Incident {id: row.id})
SET i = row
WITH i, row
OPTIONAL MATCH (i)-[old:CAUSED_BY|SHOWS]->()
DELETE old
WITH DISTINCT i, row
CALL (i, row) {
  MATCH (e:Entity|Gone {id: row.cause}) CREATE (i)-[:CAUSED_BY {defect: row.defect, probability: row.probability}]->(e)
}
CALL (i, row) {
  UNWIND range(0, size(row.symptom_entities) - 1) AS place
  MATCH (e:Entity|Gone {id: row.symptom_entities[place]}) CREATE (i)-[:SHOWS {condition: row.symptom_conditions[place]}]->(e)
}
"""

SAVE_STATE = "MERGE (s:SavedState {name: $name}) SET s.content = $content"
LOAD_STATE = "MATCH (s:SavedState {name: $name}) RETURN s.content AS content"

INCIDENTS = """
MATCH (i:Incident) WHERE $state IS NULL OR i.state = $state
RETURN properties(i) AS properties ORDER BY i.opened_at DESC, i.id LIMIT $limit
"""

CHANGES = """
MATCH (c:StructureChange) WHERE c.at > $since AND ($until IS NULL OR c.at <= $until)
RETURN c.at AS at, c.event AS event, c.entity AS entity, c.source AS source, c.kind AS kind, c.target AS target
"""

FIND = """
MATCH (e:Entity)
WHERE e.id > $after AND e.id STARTS WITH $start AND toLower(e.id) CONTAINS $text
RETURN properties(e) AS properties ORDER BY e.id LIMIT $limit
"""

_ENTITY = "properties({}) AS properties"
_RELATION = "a.id AS source, toLower(type(r)) AS kind, b.id AS target, properties(r) AS properties"
_PAST_RELATION = "past.source AS source, past.kind AS kind, past.target AS target, properties(past) AS properties"
_HELD = "{0}.opened <= $at AND {0}.closed > $at"

ENTITIES = f"MATCH (e:Entity) RETURN {_ENTITY.format('e')}"
ENTITIES_THEN = f"""
MATCH (e:Entity) WHERE e.opened <= $at RETURN {_ENTITY.format("e")}
UNION ALL
MATCH (past:EntityVersion) WHERE {_HELD.format("past")} RETURN {_ENTITY.format("past")}
"""
ENTITIES_AMONG = f"MATCH (e:Entity) WHERE e.id IN $ids RETURN {_ENTITY.format('e')}"
ENTITIES_AMONG_THEN = f"""
MATCH (e:Entity) WHERE e.id IN $ids AND e.opened <= $at RETURN {_ENTITY.format("e")}
UNION ALL
MATCH (past:EntityVersion) WHERE past.id IN $ids AND {_HELD.format("past")} RETURN {_ENTITY.format("past")}
"""

RELATIONS = f"MATCH (a:Entity)-[r]->(b:Entity) RETURN {_RELATION}"
RELATIONS_THEN = f"""
MATCH (a:Entity)-[r]->(b:Entity) WHERE r.opened <= $at RETURN {_RELATION}
UNION ALL
MATCH (past:RelationVersion) WHERE {_HELD.format("past")} RETURN {_PAST_RELATION}
"""
RELATIONS_AMONG = f"MATCH (a:Entity)-[r]->(b:Entity) WHERE a.id IN $ids AND b.id IN $ids RETURN {_RELATION}"
RELATIONS_AMONG_THEN = f"""
MATCH (a:Entity)-[r]->(b:Entity) WHERE a.id IN $ids AND b.id IN $ids AND r.opened <= $at RETURN {_RELATION}
UNION ALL
MATCH (past:RelationVersion) WHERE past.source IN $ids AND past.target IN $ids AND {_HELD.format("past")} RETURN {_PAST_RELATION}
"""
RELATIONS_ONWARD = "MATCH (a:Entity)-[r]->(b:Entity) WHERE a.id IN $ids RETURN a.id AS source, toLower(type(r)) AS kind, b.id AS target"

# One step of a walk, and which of those it came to were there.
STEP = "MATCH (e:Entity)--(other:Entity) WHERE e.id IN $ids RETURN DISTINCT other.id AS id"
STEP_THEN = f"""
MATCH (e:Entity)-[r]-(other:Entity) WHERE e.id IN $ids AND r.opened <= $at RETURN other.id AS id
UNION
MATCH (past:RelationVersion) WHERE past.source IN $ids AND {_HELD.format("past")} RETURN past.target AS id
UNION
MATCH (past:RelationVersion) WHERE past.target IN $ids AND {_HELD.format("past")} RETURN past.source AS id
"""
THERE = "MATCH (e:Entity) WHERE e.id IN $ids RETURN e.id AS id"
THERE_THEN = f"""
MATCH (e:Entity) WHERE e.id IN $ids AND e.opened <= $at RETURN e.id AS id
UNION
MATCH (past:EntityVersion) WHERE past.id IN $ids AND {_HELD.format("past")} RETURN past.id AS id
"""


def of_type(statement: str, quoted: str) -> str:
    """The statement with its relationships' type; a type can't be a parameter where it must be found fast."""
    return statement.replace("{type}", quoted)
