"""The statements of the Neo4j store. Present things are :Entity nodes and their relationships; what is over is in nodes of its own.

A write takes `$rows`, or `$ids` and `$at`, of one batch. Relationships are typed by kind: `{type}` stands for a quoted type.
"""

from __future__ import annotations

from collections.abc import Sequence

# What a merge keeps of two sightings: all sources, the earliest first_seen, the latest last_seen.
_MERGE = """
SET {0}.sources = CASE WHEN {0}.sources = {1}.sources THEN {0}.sources
                  ELSE COLLECT {{ UNWIND {0}.sources + {1}.sources AS source RETURN DISTINCT source ORDER BY source }} END,
    {0}.first_seen = CASE WHEN {1}.first_seen < {0}.first_seen THEN {1}.first_seen ELSE {0}.first_seen END,
    {0}.last_seen = CASE WHEN {1}.last_seen > {0}.last_seen THEN {1}.last_seen ELSE {0}.last_seen END
"""

GONE_ENTITIES = "MATCH (e:Gone) WHERE e.id IN $ids RETURN e.id AS id"

# An entity that expired keeps its node, with another label, for what points at it, and because its next interval can't begin before its last one
# ended. Writing the cluster, which never differs, takes the lock before anything is read. Returns those that stay gone.
RETURN_ENTITIES = """
UNWIND $rows AS row
MATCH (e:Gone {id: row.properties.id})
SET e.cluster = row.properties.cluster
WITH e, row, e.closed AS closed, row.properties.last_seen > e.closed AS returns
CALL (e, row, closed, returns) {
  WITH e, row, closed, returns WHERE returns
  WITH e, row, CASE WHEN row.properties.first_seen > closed THEN row.properties.first_seen ELSE closed END AS opened
  SET e = row.properties, e.opened = opened
  REMOVE e:Gone
  SET e:Entity:$(row.label)
  CREATE (:StructureChange {at: opened, event: 'entity_appeared', detail: '', entity: row.properties.id})-[:OF]->(e)
}
WITH row, returns WHERE NOT returns
RETURN row.properties.id AS id
"""

# Returns what stood before where attributes changed.
UPSERT_ENTITIES = f"""
UNWIND $rows AS row
MERGE (e:Entity {{id: row.properties.id}})
SET e.cluster = row.properties.cluster
WITH e, row, properties(e) AS old
WITH e, row, old, old.attributes <> row.properties.attributes AND (row.properties.last_seen > old.told
     OR row.properties.last_seen = old.told AND row.properties.attributes > old.attributes) AS turns
CALL (e, row, old) {{
  WITH e, row, old WHERE old.opened IS NULL
  SET e = row.properties, e.opened = row.properties.first_seen
  SET e:$(row.label)
  CREATE (:StructureChange {{at: row.properties.first_seen, event: 'entity_appeared', detail: '', entity: row.properties.id}})-[:OF]->(e)
}}
CALL (e, row, old) {{
  WITH e, row, old, row.properties AS seen WHERE old.opened IS NOT NULL
  {_MERGE.format("e", "seen")}
  SET e.told = CASE WHEN old.attributes = seen.attributes AND seen.last_seen > old.told THEN seen.last_seen ELSE old.told END
}}
CALL (e, row, old, turns) {{
  WITH e, row, old, turns WHERE turns
  WITH e, row, old, CASE WHEN row.properties.last_seen > old.opened THEN row.properties.last_seen ELSE old.opened END AS turned
  CREATE (version:EntityVersion)
  SET version = old, version.closed = turned
  WITH e, row, turned, e.sources AS sources, e.first_seen AS first_seen, e.last_seen AS last_seen
  SET e = row.properties, e.opened = turned, e.sources = sources, e.first_seen = first_seen, e.last_seen = last_seen
  CREATE (:StructureChange {{at: turned, event: 'entity_changed', entity: row.properties.id}})-[:OF]->(e)
}}
WITH row, old, turns WHERE turns
RETURN row.properties.id AS id, old.attributes AS attributes
"""

DETAIL_CHANGES = """
UNWIND $rows AS row
MATCH (e:Entity {id: row.id})<-[:OF]-(change:StructureChange {event: 'entity_changed'}) WHERE change.detail IS NULL
SET change.detail = row.detail
"""

# Returns how many were there.
MERGE_RELATIONS = f"""
UNWIND $rows AS row
MATCH (a:Entity {{id: row.source}})
MATCH (b:Entity {{id: row.target}})
MATCH (a)-[r:{{type}}]->(b)
SET r.kind = $kind
SET r += row.statistics
{_MERGE.format("r", "row")}
SET r.confidence = CASE WHEN row.confidence > r.confidence THEN row.confidence ELSE r.confidence END
RETURN count(*) AS written
"""

# Returns how many had both their ends, and how many of those were made: others were there, made by somebody else since they were looked for, or stay gone.
CREATE_RELATIONS = """
UNWIND $rows AS row
MATCH (a:Entity {id: row.source})
MATCH (b:Entity {id: row.target})
CALL (a, b, row) {
  OPTIONAL MATCH (past:RelationVersion {source: row.source, kind: $kind, target: row.target})
  WITH a, b, row, max(past.closed) AS closed WHERE closed IS NULL OR row.last_seen > closed
  MERGE (a)-[r:{type}]->(b)
  WITH a, r, row, closed WHERE r.opened IS NULL
  WITH a, r, row, CASE WHEN closed > row.first_seen THEN closed ELSE row.first_seen END AS opened
  SET r = row.statistics, r.kind = $kind, r.sources = row.sources, r.confidence = row.confidence,
      r.first_seen = row.first_seen, r.last_seen = row.last_seen, r.opened = opened
  CREATE (change:StructureChange {at: opened, event: 'relation_appeared', detail: '', entity: row.source, source: row.source, kind: $kind, target: row.target})
  CREATE (change)-[:OF]->(a)
  RETURN count(change) AS made
}
RETURN count(*) AS written, sum(made) AS made
"""

MISSING_ENTITIES = """
UNWIND $ids AS id
OPTIONAL MATCH (e:Entity {id: id})
WITH id, e WHERE e IS NULL
RETURN id
"""

MISSING_RELATIONS = """
UNWIND $rows AS row
OPTIONAL MATCH (:Entity {id: row.source})-[r:{type}]->(:Entity {id: row.target})
WITH row, r WHERE r IS NULL
RETURN row.source AS source, row.target AS target
"""

_EXPIRE_RELATION = """
CALL (a, r, b) {
  MATCH (a)-[:HAS]->(own:Attribute)-[d:DEPENDS_ON]-(:Attribute {entity: b.id}) WHERE d.over = r.kind AND (d.of = 'source') = (startNode(d) = own)
  DELETE d
}
WITH a, r, b, CASE WHEN $at > r.opened THEN $at ELSE r.opened END AS closed
CREATE (past:RelationVersion)
SET past = properties(r), past.source = a.id, past.target = b.id, past.closed = closed
CREATE (change:StructureChange {at: closed, event: 'relation_expired', detail: '', entity: a.id, source: a.id, kind: r.kind, target: b.id})
CREATE (change)-[:OF]->(a)
DELETE r
"""

EXPIRE_RELATIONS = f"""
UNWIND $rows AS row
MATCH (a:Entity {{id: row.source}})
MATCH (b:Entity {{id: row.target}})
MATCH (a)-[r:{{type}}]->(b)
SET r.kind = r.kind
WITH a, r, b WHERE r.last_seen <= $at
{_EXPIRE_RELATION}
"""

EXPIRE_ATTRIBUTES = """
UNWIND $rows AS row
MATCH (e:Entity {id: row.id})
SET e.cluster = e.cluster
WITH e WHERE e.last_seen <= $at
MATCH (e)-[:HAS]->(a:Attribute)
DETACH DELETE a
"""

EXPIRE_RELATIONS_OF_ENTITIES = f"""
UNWIND $rows AS row
MATCH (e:Entity {{id: row.id}})
SET e.cluster = e.cluster
WITH e WHERE e.last_seen <= $at
MATCH (e)-[r]-(:Entity)
WITH DISTINCT r, startNode(r) AS a, endNode(r) AS b
{_EXPIRE_RELATION}
"""

EXPIRE_ENTITIES = """
UNWIND $rows AS row
MATCH (e:Entity {id: row.id}) WHERE e.last_seen <= $at
WITH e, row, properties(e) AS old, CASE WHEN $at > e.opened THEN $at ELSE e.opened END AS closed
CREATE (version:EntityVersion)
SET version = old, version.closed = closed
SET e = {id: old.id, kind: old.kind, cluster: old.cluster, namespace: old.namespace, name: old.name, closed: closed}
REMOVE e:Entity:$(row.label)
SET e:Gone
CREATE (:StructureChange {at: closed, event: 'entity_expired', detail: '', entity: old.id})-[:OF]->(e)
"""

# What began or ended an interval that is still there stays, so that every interval is told of.
COMPACT = """
CALL () {
  MATCH (v:EntityVersion) WHERE v.closed < $before RETURN v ORDER BY v.closed LIMIT $most
  UNION ALL
  MATCH (v:RelationVersion) WHERE v.closed < $before RETURN v ORDER BY v.closed LIMIT $most
}
WITH v ORDER BY v.closed LIMIT $most
DELETE v
RETURN count(*) AS forgotten
"""
COMPACT_CHANGES = """
MATCH (c:StructureChange) WHERE c.at < $before AND c.entity IS NOT NULL AND c.source IS NULL
AND NOT EXISTS { MATCH (e:Entity {id: c.entity}) WHERE e.opened = c.at }
AND NOT EXISTS { MATCH (v:EntityVersion {id: c.entity}) WHERE v.opened = c.at OR v.closed = c.at }
DETACH DELETE c
"""
COMPACT_RELATION_CHANGES = """
MATCH (c:StructureChange) WHERE c.at < $before AND c.entity IS NOT NULL AND c.source IS NOT NULL
AND NOT EXISTS { MATCH (:Entity {id: c.source})-[r]->(:Entity {id: c.target}) WHERE r.kind = c.kind AND r.opened = c.at }
AND NOT EXISTS { MATCH (v:RelationVersion {source: c.source, kind: c.kind, target: c.target}) WHERE v.opened = c.at OR v.closed = c.at }
DETACH DELETE c
"""
# A gone entity without any past left is as one that never was; its node stays while something points at it.
COMPACT_GONE = """
MATCH (g:Gone) WHERE g.closed < $before AND NOT EXISTS { MATCH (:EntityVersion {id: g.id}) }
SET g.closed = -1
WITH g WHERE NOT EXISTS { (g)--() }
DELETE g
"""

LOAD_PAST_ENTITIES = """
UNWIND $rows AS row
MERGE (v:EntityVersion {id: row.properties.id, opened: row.opened, closed: row.closed, told: row.properties.told})
SET v += row.properties
WITH row.properties AS properties, row.closed AS closed
CALL (properties, closed) {
  WITH properties, closed WHERE NOT EXISTS { MATCH (:Entity {id: properties.id}) }
  MERGE (g:Gone {id: properties.id})
  SET g.kind = properties.kind, g.cluster = properties.cluster, g.namespace = properties.namespace, g.name = properties.name,
      g.closed = CASE WHEN g.closed > closed THEN g.closed ELSE closed END
}
"""
LOAD_ENTITIES = """
UNWIND $rows AS row
CALL (row) {
  MATCH (g:Gone {id: row.properties.id})
  REMOVE g:Gone
  SET g:Entity
}
MERGE (e:Entity {id: row.properties.id})
SET e = row.properties, e.opened = row.opened
SET e:$(row.label)
"""
LOAD_PAST_RELATIONS = """
UNWIND $rows AS row
MERGE (v:RelationVersion {source: row.source, kind: $kind, target: row.target, opened: row.opened, closed: row.closed})
SET v += row.statistics, v.sources = row.sources, v.confidence = row.confidence, v.first_seen = row.first_seen, v.last_seen = row.last_seen
"""
LOAD_RELATIONS = """
UNWIND $rows AS row
MATCH (a:Entity {id: row.source})
MATCH (b:Entity {id: row.target})
MERGE (a)-[r:{type}]->(b)
SET r += row.statistics, r.kind = $kind, r.sources = row.sources, r.confidence = row.confidence,
    r.first_seen = row.first_seen, r.last_seen = row.last_seen, r.opened = row.opened
"""
LOAD_CHANGES = """
UNWIND $rows AS row
CALL (row) {
  WITH row WHERE row.source IS NULL
  MERGE (c:StructureChange {at: row.at, event: row.event, entity: row.entity, detail: row.detail})
  WITH c, row
  MATCH (e:Entity|Gone {id: row.entity})
  MERGE (c)-[:OF]->(e)
}
CALL (row) {
  WITH row WHERE row.source IS NOT NULL
  MERGE (c:StructureChange {at: row.at, event: row.event, entity: row.entity, source: row.source, kind: row.kind, target: row.target, detail: row.detail})
  WITH c, row
  MATCH (e:Entity|Gone {id: row.entity})
  MERGE (c)-[:OF]->(e)
}
"""

SAVE_STATE = "MERGE (s:SavedState {name: $name}) SET s.content = $content"
LOAD_STATE = "MATCH (s:SavedState {name: $name}) RETURN s.content AS content"

CHANGES = """
MATCH (c:StructureChange) WHERE c.at > $since AND c.at <= $until AND c.entity IS NOT NULL
RETURN c.at AS at, c.event AS event, c.entity AS entity, c.source AS source, c.kind AS kind, c.target AS target, c.detail AS detail
ORDER BY at, event, entity, source, kind, target LIMIT $limit
"""
# A page in the same order, after the place of the last one; of changes that say the same their own identity tells which is next.
CHANGES_AFTER = """
MATCH (c:StructureChange) WHERE c.at >= $since AND c.entity IS NOT NULL
WITH c, [c.at, c.event, c.entity, coalesce(c.source, ''), coalesce(c.kind, ''), coalesce(c.target, ''), elementId(c)] AS place
WHERE place > $after
WITH c, place ORDER BY place LIMIT $limit
RETURN c.at AS at, c.event AS event, c.entity AS entity, c.source AS source, c.kind AS kind, c.target AS target, c.detail AS detail, place
ORDER BY place
"""


def _listed(*parts: str) -> str:
    """One record that lists the rows of all parts: the driver's work is by the record."""
    return f"CALL () {{ {' UNION ALL '.join(parts)} }} RETURN collect(row) AS rows"


# Columns, in the order of neo4j_rows.entity_of and relation_of; of intervals a few more.
_ENTITY = ("id", "attributes", "sources", "first_seen", "last_seen")
_ENTITY_INTERVAL = (*_ENTITY, "opened", "closed", "told")
_RELATION = ("sources", "confidence", "first_seen", "last_seen", "requests", "errors", "duration_seconds", "window_seconds")
_RELATION_INTERVAL = (*_RELATION, "opened", "closed")
HELD = "past.opened <= $at AND past.closed > $at"
_PAGE = "{0} > $after AND {0} <= $last"


def entity_columns(of: str, columns: Sequence[str] = _ENTITY) -> str:
    """The list that neo4j_rows.entity_of reads."""
    return f"[{', '.join(f'{of}.{name}' for name in columns)}]"


def relation_columns(columns: Sequence[str] = _RELATION) -> str:
    """The list that neo4j_rows.relation_of reads, of `(a)-[r]->(b)`."""
    return f"[a.id, r.kind, b.id, {', '.join(f'r.{name}' for name in columns)}]"


def past_relation_columns(columns: Sequence[str] = _RELATION) -> str:
    """The same of `(past:RelationVersion)`."""
    return entity_columns("past", ("source", "kind", "target", *columns))


def _entities(where: str, columns: Sequence[str] = _ENTITY) -> str:
    return f"MATCH (e:Entity) WHERE {where.format('e.id')} RETURN {entity_columns('e', columns)} AS row"


def _past_entities(where: str, columns: Sequence[str] = _ENTITY) -> str:
    return f"MATCH (past:EntityVersion) WHERE {where.format('past.id')} RETURN {entity_columns('past', columns)} AS row"


def _relations(where: str, columns: Sequence[str] = _RELATION) -> str:
    # From their sources: few relations leave a thing, and many may come to a hub.
    return f"MATCH (a:Entity)-[r]->(b:Entity) USING INDEX a:Entity(id) WHERE {where.format('a.id')} RETURN {relation_columns(columns)} AS row"


def _past_relations(where: str, columns: Sequence[str] = _RELATION) -> str:
    return f"MATCH (past:RelationVersion) WHERE {where.format('past.source')} RETURN {past_relation_columns(columns)} AS row"


FIND = _listed(
    f"""MATCH (e:Entity) WHERE e.id > $after AND e.id STARTS WITH $start AND toLower(e.id) CONTAINS $text
        WITH e ORDER BY e.id LIMIT $limit RETURN {entity_columns("e")} AS row"""
)
GET = _listed(_entities("{0} = $id"))
GET_THEN = _listed(_entities("{0} = $id AND e.opened <= $at"), _past_entities(f"{{0}} = $id AND {HELD}"))

# A snapshot is read in pages of identities, `$after` exclusive to `$last` inclusive.
PAGE_END = "MATCH (e:Entity) WHERE e.id > $after WITH e.id AS id ORDER BY id LIMIT $limit RETURN max(id) AS last, count(*) AS number"
ENTITIES = _listed(_entities(_PAGE))
ENTITIES_THEN = _listed(_entities(f"{_PAGE} AND e.opened <= $at"), _past_entities(f"{_PAGE} AND {HELD}"))
RELATIONS = _listed(_relations(_PAGE))
RELATIONS_THEN = _listed(_relations(f"{_PAGE} AND r.opened <= $at"), _past_relations(f"{_PAGE} AND {HELD}"))
RELATIONS_AMONG_THEN = _listed(
    _relations("{0} IN $ids AND b.id IN $ids AND r.opened <= $at"), _past_relations(f"{{0}} IN $ids AND past.target IN $ids AND {HELD}")
)
RELATIONS_ONWARD = _listed("MATCH (a:Entity)-[r]->(b:Entity) WHERE a.id IN $ids RETURN [a.id, r.kind, b.id] AS row")

# Every identity that has an interval, or a relation that had one, page by page.
PAGE = """
CALL () {
  MATCH (e:Entity) WHERE e.id > $after RETURN e.id AS id ORDER BY id LIMIT $limit
  UNION
  MATCH (v:EntityVersion) WHERE v.id > $after RETURN DISTINCT v.id AS id ORDER BY id LIMIT $limit
  UNION
  MATCH (v:RelationVersion) WHERE v.source > $after RETURN DISTINCT v.source AS id ORDER BY id LIMIT $limit
}
RETURN id ORDER BY id LIMIT $limit
"""
ENTITY_INTERVALS = _listed(_entities("{0} IN $ids", _ENTITY_INTERVAL), _past_entities("{0} IN $ids", _ENTITY_INTERVAL))
RELATION_INTERVALS = _listed(_relations("{0} IN $ids", _RELATION_INTERVAL), _past_relations("{0} IN $ids", _RELATION_INTERVAL))
STATES = "MATCH (s:SavedState) RETURN s.name AS name ORDER BY name"


def of_type(statement: str, quoted: str) -> str:
    """The statement with its relationships' type; a type can't be a parameter where it must be found fast."""
    return statement.replace("{type}", quoted)
