"""Keeps the attributes of the estate in the store in line with the live graph: what came is told, what is there is left alone. Not a part of heartbeats."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

from api.pipeline import Step
from graph.attribute_model import AttributeModel
from graph.attributes import EntityAttributes, RelationDependencies
from graph.live import LiveGraph
from graph.store import GraphStore
from graph.topology import RelationKey, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import Incident, IncidentState

Thing = TypeVar("Thing")
MOST_ENTITIES = 10_000
BACK = 0.9  # an estate that shrinks below this share of the limit is told whole again
ENTITIES, RELATIONS = 200, 1_000  # told at once, by a store that is fast
SLOW_SECONDS = 0.3  # the writes of the next window wait that long
LEAST = 0.05  # of them, by one that is slow
MOST_OPEN = 1_000
CAME = frozenset({StructureEvent.ENTITY_APPEARED, StructureEvent.RELATION_APPEARED})
WENT = frozenset({StructureEvent.ENTITY_EXPIRED, StructureEvent.RELATION_EXPIRED})


class AttributeKeeper:
    """Of all entities while the estate has at most `most`, else of those that open incidents are about.

    What it has not told yet waits here, no more than the estate itself; nothing is lost where the store is away, and at a start
    the store is compared with the live graph.
    """

    def __init__(self, graph: LiveGraph, model: AttributeModel, *, most: int = MOST_ENTITIES, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, to tell a slow store."""
        self._graph = graph
        self._model = model
        self._most = most
        self._whole: bool | None = None  # None until the first comparison
        self._about: dict[str, frozenset[EntityRef]] = {}
        self._compared: dict[EntityRef, None] = {}
        self._entities: dict[EntityRef, None] = {}
        self._relations: dict[RelationKey, None] = {}
        self._clock = clock
        self._portion = 1.0

    def note(self, step: Step) -> None:
        """What a window changed."""
        for change in (*step.closed.changes, *step.expired):
            what = change.relation or change.entity
            if change.event in CAME:
                self.tell(what)
            elif change.event in WENT:
                self._entities.pop(what, None) if isinstance(what, EntityRef) else self._relations.pop(what, None)
        for incident in step.incidents:
            self._follow(incident)

    def tell(self, what: EntityRef | RelationKey) -> None:
        """The store does not hold it: it is new, or another writer let it expire."""
        if isinstance(what, RelationKey):
            self._relations[what] = None
        else:
            self._entities[what] = None

    def know(self, model: AttributeModel) -> None:
        """Another knowledge is in force: what it tells otherwise is told anew."""
        self._model = model
        self.compare()

    def compare(self) -> None:
        """What the store holds may be anything: it is compared with the live graph, from now on, a part at a time."""
        self._compared = dict.fromkeys(entity.ref for entity in self._graph.entities())

    async def keep(self, store: GraphStore, interrupted: Callable[[], bool]) -> None:
        """Until all is told or somebody waits for the store. Raises StoreUnavailableError; what was not told then is told the next time."""
        if self._whole is None:
            for incident in await store.incidents(IncidentState.OPEN, MOST_OPEN):
                self._follow(incident)
        whole = self._graph.entity_count <= (self._most if self._whole is not False else self._most * BACK)
        if whole is not self._whole:
            self._whole = whole
            self.compare()
        while (self._compared or self._entities or self._relations) and not interrupted():
            began = self._clock()
            if self._compared:
                await self._compare(store)
            elif self._entities:
                await self._tell_entities(store)
            else:
                await self._tell_relations(store)
            self._portion = max(min(self._portion * (0.5 if self._clock() - began > SLOW_SECONDS else 2.0), 1.0), LEAST)

    def _follow(self, incident: Incident) -> None:
        before = self._about.pop(incident.id, frozenset())
        now = frozenset[EntityRef]()
        if incident.state == IncidentState.OPEN:
            now = self._about[incident.id] = frozenset(
                {incident.cause.entity, *(symptom.entity for symptom in incident.symptoms), *(effect.condition.entity for effect in incident.impacts)}
            )
        if not self._whole:
            self._compared.update(dict.fromkeys(before ^ now))

    def _wanted(self, ref: EntityRef) -> bool:
        return self._graph.entity(ref) is not None and (bool(self._whole) or any(ref in about for about in self._about.values()))

    async def _compare(self, store: GraphStore) -> None:
        chosen = self._first(self._compared, ENTITIES)
        held = await store.attributes(chosen)
        attributes = {each.entity: each for each in held if isinstance(each, EntityAttributes)}
        over = {each.relation: each for each in held if isinstance(each, RelationDependencies)}
        unwanted = [EntityAttributes(ref, (), ()) for ref in chosen if ref in attributes and self._graph.entity(ref) is not None and not self._wanted(ref)]
        if unwanted:
            await store.save_attributes(unwanted)
        for ref in chosen:
            if self._wanted(ref):
                self._compare_one(ref, attributes.get(ref), over)
            self._compared.pop(ref, None)

    def _compare_one(self, ref: EntityRef, attributes: EntityAttributes | None, over: Mapping[RelationKey, RelationDependencies]) -> None:
        outgoing = [relation.key for relation in self._graph.relations(source=ref)]
        if attributes != self._model.of_entity(ref):
            # Written anew, it has no dependencies any more, in either direction.
            self._entities[ref] = None
            outgoing += [relation.key for relation in self._graph.relations(target=ref)]
            self._relations.update(dict.fromkeys(outgoing))
        else:
            self._relations.update(dict.fromkeys(key for key in outgoing if over.get(key) != self._model.of_relation(key)))

    async def _tell_entities(self, store: GraphStore) -> None:
        chosen = self._first(self._entities, ENTITIES)
        told = (self._model.of_entity(ref) for ref in chosen if self._wanted(ref))
        await store.save_attributes([each for each in told if each is not None])
        for ref in chosen:
            self._entities.pop(ref, None)

    async def _tell_relations(self, store: GraphStore) -> None:
        chosen = self._first(self._relations, RELATIONS)
        told = (self._model.of_relation(key) for key in chosen if self._wanted(key.source) and self._wanted(key.target))
        await store.save_attributes([], [each for each in told if each is not None])
        for key in chosen:
            self._relations.pop(key, None)

    def _first(self, things: Iterable[Thing], most: int) -> list[Thing]:
        return list(islice(things, round(most * self._portion)))
