"""The store protocol: what every graph store can do. Frozen values in, frozen values out; times are epoch nanoseconds.

Heartbeats and statistics update in place; a validity interval opens or closes only on structural change, and that is what
`at` reads. Implementations: graph/memory_store.py (oracle), graph/sqlite_store.py, graph/neo4j_store.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from graph.attributes import EntityAttributes, RelationDependencies
from graph.records import Record
from graph.topology import Difference, Direction, Entity, Relation, RelationKey, Snapshot, StructureChange
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident, IncidentState


class StoreError(Exception):
    """The store can't do what was asked; the message says what to do. Subclasses name the trouble."""


class StoreUnavailableError(StoreError):
    """The store can't be opened, reached, or written any more."""


class StoreAwayError(StoreUnavailableError):
    """The store can't be reached at the moment: its server is down, starting, or behind a network that is."""


class StoreVersionError(StoreError):
    """The store was written by a newer Whence."""


class GraphStore(Protocol):
    """Domain verbs over the persisted estate. All writes of one call are atomic: nobody ever reads half of them.

    The validity intervals of one thing never overlap: what is dated before its last interval began or ended takes effect there.
    A call names each thing once. Whatever keeps a store from working raises StoreUnavailableError, and the caller may try again:
    a write that is repeated, its first acknowledgement lost, changes nothing more.
    Sightings by several writers merge to the same in any order of arrival. What one of them lets expire stays while another saw
    it later, and is back with the other's next sighting. Statistics are those of whoever wrote last.
    """

    async def ensure_schema(self) -> None:
        """Creates or migrates the layout. Raises StoreUnavailableError, StoreVersionError."""

    async def close(self) -> None:
        """Releases the store; what was acknowledged is on disk."""

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        """Inserts, or merges: earliest first_seen, latest last_seen, all sources; attributes of the newest upsert, by its last_seen.

        Changed attributes are a structural change at last_seen, with `describe_change` as its detail. Attributes of one instant: the
        greater stand, as `attributes_json`. What was last seen at or before it expired stays so.
        """

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        """Inserts, or merges: earliest first_seen, latest last_seen, all sources, the highest confidence; statistics are replaced.

        Unknown ends raise StoreError. What was last seen at or before it expired stays so.
        """

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> Sequence[EntityRef | RelationKey]:
        """Heartbeat: moves last_seen forward to `at`, never back. Returns those that are not there, in the order given."""

    async def expire(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        """Closes the validity at `at` of those not seen after it; an expired entity takes its relations along. They stay readable before `at`."""

    async def get(self, ref: EntityRef, at: int | None = None) -> Entity | None:
        """The entity as it is, or was at `at`."""

    async def find(self, kind: str | None = None, text: str = "", limit: int = 100, after: EntityRef | None = None) -> Sequence[Entity]:
        """Present entities whose identity holds `text` (case-insensitive), in ascending identity, after `after`."""

    async def neighbours(
        self, ref: EntityRef, depth: int = 1, at: int | None = None, *, direction: Direction = Direction.EITHER, most: int | None = None
    ) -> Snapshot:
        """What is within `depth` relations of `ref`, the nearest `most` (ties in ascending identity), and the relations among it; empty if it isn't there."""

    async def paths(self, source: EntityRef, target: EntityRef, limit: int = 10, longest: int = 8) -> Sequence[Sequence[RelationKey]]:
        """Directed simple paths, shortest first, ties in ascending order of their relations."""

    async def snapshot(self, at: int | None = None) -> Snapshot:
        """The whole estate, in ascending identity. Without `at` it is of the latest sighting in it."""

    async def changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[StructureChange]:
        """Structural changes in (since, until], in order of time, event, entity, relation; the first `limit` of them."""

    async def diff(self, before: int, after: int) -> Difference:
        """How the estate at `after` differs from that at `before`: `graph.walks.difference` of the two snapshots."""

    async def save_attributes(self, entities: Sequence[EntityAttributes], relations: Sequence[RelationDependencies] = ()) -> None:
        """Keeps the attributes of present entities, then what depends on what over present relations; those of others are passed over.

        Of an entity, what stands and is the same stays; else it goes with every dependency on it or of it, and is written anew. Without
        attributes it has none any more. Of a relation all is replaced; dependencies of attributes that its ends do not have are left
        out. An entity that expires takes its attributes along, a relation its dependencies: of the past there are none.
        """

    async def attributes(self, entities: Sequence[EntityRef]) -> Sequence[EntityAttributes | RelationDependencies]:
        """What is kept of these entities, in ascending identity, then of the relations from them."""

    async def compact(self, before: int, most: int) -> int:
        """Forgets intervals that closed before `before`, earliest first, at most `most` of them, and the changes that began or ended them.

        Changes to entities of before then go, too, unless an incident has them, at most `most`. Returns how many intervals were forgotten. The present, and the past since `before`, stay as they are.
        """

    def records(self) -> AsyncIterator[Sequence[Record]]:
        """All there is, in batches of one kind: entity intervals, relation intervals, attributes, dependencies, changes, entity changes, incidents, saved states; by identity, then time."""

    async def load(self, records: Sequence[Record]) -> None:
        """Takes records as they are, in the order of `records`; ones that are there already are not doubled."""

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        """Inserts or replaces by id; the changes before them are saved with them."""

    async def save_entity_changes(self, changes: Sequence[EntityChange]) -> None:
        """Keeps what was done to entities, known to the store or not; the same again changes nothing."""

    async def entity_changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[EntityChange]:
        """What was done in (since, until], in ascending order of time, entity as text, kind and detail; the first `limit` of them."""

    async def incidents(self, state: IncidentState | None = None, limit: int = 100) -> Sequence[Incident]:
        """Newest opening first, ties by id."""

    async def save_state(self, name: str, content: bytes) -> None:
        """Keeps a named blob (belief state, learned rates), replacing the last."""

    async def load_state(self, name: str) -> bytes | None:
        """The blob last saved under `name`."""
